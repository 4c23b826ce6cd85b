"""ipsec.conf and its proposals, beside Libreswan's own readers, `readwriteconf` and `algparse`: no daemon is needed."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ike.audit.configuration import defaults, effective_ipsec, proposals
from ike.audit.configuration.proposals import Proposal, Protocol
from ike.audit.configuration.transforms import GROUPS, Kind
from ike.audit.configuration.values import Tunnel
from ike.secrets import ipsec_conf
from ike.secrets.reading import Reading
from ike.secrets.tree import Tree
from ike.secrets.values import Dialect
from tests.lab.unpacked import LIBRESWAN

pytestmark = pytest.mark.usefixtures("needs_pluto")
_BY_NUMBER = {f"DH{number}": name for name, number in GROUPS.items()}
_NAMES = {"NULL_AUTH_AES_GMAC": "NULL_AES_GMAC", "HMAC_SHA2_256_TRUNCBUG": "HMAC_SHA2_256_96"}


def run(tool: str, *arguments: str) -> str:
    done = subprocess.run(
        [LIBRESWAN.tree / "usr/libexec/ipsec" / tool, *arguments],
        env={**os.environ, "LD_LIBRARY_PATH": str(LIBRESWAN.libraries)},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    return done.stdout + done.stderr


# ---------------------------------------------------------------- proposals

PROPOSALS = [
    ("ike", "aes_gcm256-sha2_512-dh19"),
    ("ike", "aes256-sha1+sha2-modp2048"),
    ("ike", "aes-sha1+sha2;modp2048+dh19,3des-md5"),
    ("ike", "aes-256-sha1"),
    ("ike", "AES256-SHA1"),
    ("ike", "aes256-sha2-ecp256,aes_gcm_c256"),
    ("ike", "chacha20poly1305"),
    ("ike", "aes128-sha2_256!"),
    ("ike", "aes_gcm-dh19"),
    ("ike", "camellia256-sha512-modp8192"),
    ("ike", "aes256-sha2_256-dh31"),
    ("ike", "default"),
    ("esp", "aes256+aes128-sha2_256"),
    ("esp", "aes_gcm256"),
    ("esp", "aes_gcm128-null"),
    ("esp", "null-sha1"),
    ("esp", "aes_ccm_a256"),
    ("esp", "aes_gmac256"),
    ("esp", "aes256-sha2_512,3des-md5"),
    ("esp", "aes"),
    ("esp", "aes-sha257"),
    ("ah", "sha2_256+sha1"),
    ("ah", "sha1"),
]


def as_told(proposal: Proposal) -> tuple[list[str], list[str], list[str]]:
    """Encryption, PRF or integrity, and groups: algparse writes them so."""
    kind = Kind.PRF if proposal.protocol is Protocol.IKE else Kind.INTEGRITY
    return (
        [str(each) for each in proposal.of(Kind.ENCRYPTION)],
        [each.name.removeprefix("PRF_") for each in proposal.of(kind)],
        [each.name for each in proposal.of(Kind.EXCHANGE)],
    )


def told(line: str, protocol: str) -> tuple[list[str], list[str], list[str]]:
    parts = [part.split("+") for part in line.strip().split("-")]
    ciphers = [] if protocol == "ah" else [_cipher(name) for name in parts.pop(0)]
    hashes = [_NAMES.get(name, name) for name in parts.pop(0) if name != "NONE"] if parts else []
    groups = [_group(name) for name in parts.pop(0)] if parts else []
    return ciphers, hashes, groups


def _cipher(name: str) -> str:
    for theirs, ours in _NAMES.items():
        name = name.replace(theirs, ours)
    return name


def _group(name: str) -> str:
    return _BY_NUMBER.get(name) or re.sub(r"MODP(\d+)", r"MODP_\1", name)


@pytest.mark.parametrize(("protocol", "text"), PROPOSALS)
def test_pluto_parses_proposals_alike(protocol: str, text: str) -> None:
    said = run("algparse", "-v2", f"{protocol}={text}").splitlines()[1:]
    is_ike = protocol == "ike"
    groups = defaults.LIBRESWAN_GROUPS[2] if is_ike else ()
    try:
        found = proposals.libreswan(
            text, Protocol(protocol.upper()), groups, defaults.LIBRESWAN_HASHES[2]
        )
    except proposals.Unreadable:
        assert "ERROR" in said[0]
        return
    if text.endswith("!"):
        return  # of strongSwan and older ones: read for what is meant
    if "ERROR" not in said[0]:  # what a newer or an older release has is read too
        assert [as_told(each) for each in found] == [told(line, protocol) for line in said]


@pytest.mark.parametrize("protocol", ["ike", "esp", "ah"])
@pytest.mark.parametrize("version", [1, 2])
def test_pluto_has_these_defaults(protocol: str, version: int) -> None:
    said = run("algparse", f"-v{version}", protocol).splitlines()[1:]
    kind = Protocol(protocol.upper())
    is_ike = protocol == "ike"
    hashes = defaults.LIBRESWAN_HASHES[version] if is_ike else ("HMAC_SHA1_96",)
    groups = defaults.LIBRESWAN_GROUPS[version] if is_ike else ()
    found = proposals.libreswan(defaults.LIBRESWAN[version, kind], kind, groups, hashes)
    mine = {name for each in found for part in as_told(each) for name in part}
    theirs = {name for line in said for part in told(line, protocol) for name in part}
    assert mine == theirs


# ---------------------------------------------------------------- whole configurations

time = st.builds(
    "{}{}".format,
    st.sampled_from(["1", "90", "3600", "8", "24"]),
    st.sampled_from(["", "s", "m", "h"]),
)


def body(*pairs: tuple[str, st.SearchStrategy[str]]) -> st.SearchStrategy[dict[str, str]]:
    return st.fixed_dictionaries({}, optional=dict(pairs))


CONN = body(
    ("ikelifetime", time),
    ("salifetime", time),
    ("pfs", st.sampled_from(["yes", "no"])),
    ("aggressive", st.sampled_from(["yes", "no"])),
    ("ikev2", st.sampled_from(["yes", "no", "insist"])),
    ("authby", st.sampled_from(["secret", "rsasig", "null"])),
    ("ike", st.sampled_from(["aes256-sha1;modp1536", '"aes_gcm256-sha2;dh19"', "3des-md5"])),
    ("esp", st.sampled_from(["aes-sha1", "aes_gcm256", "aes256-sha2_512;dh14"])),
    ("phase2", st.sampled_from(["esp"])),
)


def section(name: str, values: dict[str, str]) -> str:
    return f"conn {name}\n" + "".join(f"\t{key}={value}\n" for key, value in values.items())


@st.composite
def configuration(draw: st.DrawFn) -> dict[str, str]:
    one, two, base, default = (draw(CONN) for _ in range(4))
    # pluto refuses a setting that comes by `also` as well.
    base = {key: value for key, value in base.items() if key not in one}
    ends = {"left": "192.0.2.1", "auto": "ignore"}
    text = section("%default", default)
    text += section("one", {"also": "base", **ends, "right": "192.0.2.8", **one})
    text += section("base", base)
    return {
        "ipsec.conf": f"config setup\n\tuniqueids=yes\n\n{text}\ninclude FOLDER/parts/*.conf\n",
        "parts/two.conf": section("two", {**ends, "right": "192.0.2.8", **two}),
    }


def written(text: str) -> dict[str, dict[str, str]]:
    """What readwriteconf has of each connection; the last of a name."""
    found: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("conn "):
            current = found.setdefault(line[5:].strip(), {})
        elif "=" in line and not line.strip().startswith("#"):
            key, _, value = line.strip().partition("=")
            current[key] = value.strip('"')
    return found


def seconds(text: str | None, default: int) -> int:
    return min(int(text) // 1000 if text else default, 86400)


def same(tunnel: Tunnel, theirs: dict[str, str]) -> None:
    """Raises where Libreswan has something else than what is read."""
    [child] = tunnel.children
    assert tunnel.versions == ((2,) if theirs["ikev2"] == "yes" else (1,))
    assert tunnel.rekey == seconds(theirs.get("ikelifetime"), 8 * 3600)
    assert child.life == seconds(theirs.get("salifetime"), 8 * 3600)
    assert child.pfs == (theirs["pfs"] == "yes")
    assert tunnel.aggressive == (theirs.get("aggressive") == "yes")
    assert tunnel.ike.is_default == ("ike" not in theirs)
    assert child.offers[0].is_default == ("esp" not in theirs)
    if "ike" in theirs:
        groups, hashes = (
            defaults.LIBRESWAN_GROUPS[tunnel.versions[0]],
            defaults.LIBRESWAN_HASHES[tunnel.versions[0]],
        )
        read = proposals.libreswan(theirs["ike"], Protocol.IKE, groups, hashes)
        assert tunnel.ike.proposals == read


def test_generated_connections_are_read_as_libreswan_has_them(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    seen = []

    @settings(
        max_examples=60,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(configuration())
    def compare(files: dict[str, str]) -> None:
        for name, text in files.items():
            (tmp_path / name).write_text(text.replace("FOLDER", str(tmp_path)))
        theirs = written(run("readwriteconf", "--config", str(tmp_path / "ipsec.conf")))
        reading = Reading(Tree(), again=True)
        source = reading.start(str(tmp_path / "ipsec.conf"))
        assert source is not None
        sections = ipsec_conf.read(source, reading.include)
        tunnels, problems = effective_ipsec.effective(sections, Dialect.LIBRESWAN)
        assert not [*sections.problems, *problems, *reading.problems]
        assert [each.name for each in tunnels] == ["one", "two"]
        for each in tunnels:
            same(each, theirs[each.name])
        seen.append(files)

    compare()
    assert len(seen) >= 40
