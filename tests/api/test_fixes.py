"""How findings are mended is said in Chinese too, with the values in their places."""

import re
from collections.abc import Iterator
from itertools import product
from typing import Final

import pytest

from api.console.language import load
from api.fixes import PATTERNS, mended
from api.reporting import words
from ike.audit import rights
from ike.audit.configuration import fixes, rules, systems
from ike.audit.configuration.baselines import BASELINES
from ike.audit.configuration.proposals import Protocol
from ike.audit.configuration.values import Child, Offer, Round, Tunnel, Writer
from ike.audit.values import Finding
from ike.secrets.values import Place

HERE = Place("/etc/x", 3)
CHINESE = load("zh").say
#: What each writer writes has no AH, but for these.
WITH_AH: Final = {
    *(Writer.SWANCTL, Writer.IPSEC, Writer.LIBRESWAN, Writer.OPNSENSE_OLD, Writer.PFSENSE),
}
#: Of what is left in English: names, commands and words of other programs' pages have none of these.
ENGLISH: Final = re.compile(
    r"\b(the|in|of|set|with|that|for|to|on|take|write|by|it|is|then|its)\b",
    re.ASCII | re.IGNORECASE,
)


def tunnels() -> Iterator[tuple[Tunnel, Child]]:
    """A connection of every writer, by either version."""
    for writer, versions in product(Writer, ((1,), (2,), (1, 2))):
        offer = Offer(Protocol.ESP, (), HERE)
        child = Child("net", HERE, (offer,), 3600, 3960)
        one = Round("pubkey", HERE)
        ends = (("%any",), ("%any",), (one,), (one,), (child,))
        ike = Offer(Protocol.IKE, (), HERE)
        yield Tunnel("berlin", HERE, writer, versions, ike, 3600, None, *ends), child


def of_configurations() -> Iterator[str]:
    for (tunnel, child), baseline in product(tunnels(), BASELINES.values()):
        if tunnel.writer is not Writer.OPNSENSE or 1 not in tunnel.versions:
            yield fixes.pfs(tunnel, baseline, child)
        for protocol, name in ((Protocol.IKE, ""), (Protocol.ESP, "net")):
            yield fixes.proposals(tunnel, baseline, protocol, name)
        if tunnel.writer in WITH_AH:
            yield fixes.proposals(tunnel, baseline, Protocol.AH, "net")
    for tunnel, _ in tunnels():
        for off, name in product((False, True), (None, "net")):
            yield fixes.lifetime(tunnel, 86400, name, is_off=off)
        for tell in (
            *(fixes.ikev2, fixes.main_mode, fixes.certificates, fixes.signature, fixes.eap),
            *(fixes.certificate_of, fixes.unanswered),
        ):
            yield tell(tunnel)
        if tunnel.writer in WITH_AH:
            yield fixes.without_ah(tunnel, "net")
        yield fixes.whole_hash(tunnel, "sha256_96", "net")
        for unnamed in (False, True):
            yield fixes.strict(
                "revocation = strict",
                f"the remote section of {fixes.where(tunnel)}",
                unnamed=unnamed,
            )
            yield fixes.strict("crl-strict=yes", "`config setup`", unnamed=unnamed)


def of_systems() -> Iterator[str]:
    for system, rule in product((systems.VYOS, systems.OPNSENSE, systems.PFSENSE), rules.RULES):
        place = Place(system.written[0] + "x" * system.written[0].endswith("/"), 1)
        yield systems.told(Finding(rule, place, ""), [system]).fix


def of_files() -> Iterator[str]:
    yield rights.then_anew("chmod 600 '/etc/a b'")


@pytest.mark.parametrize("made", [of_configurations, of_systems, of_files])
def test_every_fix_is_said_in_chinese(made: object) -> None:
    assert callable(made)
    for fix in set(made()):
        assert " ," not in fix
        chinese = mended(CHINESE, fix)
        assert chinese != fix
        assert sorted(re.findall("`[^`]*`", chinese)) == sorted(re.findall("`[^`]*`", fix)), fix
        assert not ENGLISH.findall(re.sub("`[^`]*`", "", chinese)), (fix, chinese)
        assert mended(words.rules("zh"), fix) == chinese
        assert mended(load("en").say, fix) == fix


def test_what_else_a_gateway_says_is_left_as_it_is() -> None:
    for strange in (
        "",
        "{0} {1}",
        "Set {0}",
        "x" * 10_000,
        "`{0}` and",
        "chmod 600 /etc/ipsec.secrets",
    ):
        assert mended(CHINESE, strange) == strange
    assert mended(CHINESE, "Set `{1}` in {0}.") == "在 {0} 中设置 `{1}`。"


def test_names_stay_names() -> None:
    assert mended(CHINESE, "Set `pfs=yes` in secrets.") == "在 secrets 中设置 `pfs=yes`。"


def test_each_pattern_is_reached() -> None:
    """By itself, with values that are nothing else: none before it takes it."""
    for known in PATTERNS:
        values = [f"v{number}" for number in range(3)]
        assert mended(CHINESE, known.format(*values)) == CHINESE(known).format(*values), known
