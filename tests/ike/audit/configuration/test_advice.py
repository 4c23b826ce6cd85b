"""What is advised: it must work with the daemon and the version that it is given for, and pass the same baseline."""

import os
import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ike.audit.configuration import fixes, proposals, racoon
from ike.audit.configuration.baselines import BASELINES, Baseline
from ike.audit.configuration.looking import Configuration, look
from ike.audit.configuration.proposals import Proposal, Protocol
from ike.audit.configuration.transforms import Kind
from ike.audit.configuration.values import Offer, Tunnel, Writer
from ike.audit.values import Finding, Policy, Severity
from ike.secrets.tree import Tree
from ike.secrets.values import Dialect, Place, Source
from tests.ike.audit.configuration.test_rules import EVERYONE, LIBRESWAN, STRONGSWAN, Start, keyfile
from tests.lab import Lab
from tests.lab.unpacked import LIBRESWAN as UNPACKED

NOW = datetime(2026, 11, 29, tzinfo=UTC)
PLACE = Place("/file", 1)
_SET = re.compile(r"`[a-z_-]*(?:ike|esp|proposals) ?= ?([^`!]+)!?`")


def tunnel(writer: Writer, versions: tuple[int, ...]) -> Tunnel:
    nothing = Offer(Protocol.IKE, (), PLACE)
    return Tunnel(
        "site", PLACE, writer, versions, nothing, 1, None, (), (), (), (), (), aggressive=False
    )


def advised(writer: Writer, version: int, baseline: Baseline, protocol: Protocol) -> str:
    """The proposal in a fix, empty where it has none."""
    fix = fixes.proposals(tunnel(writer, (version,)), baseline, protocol, "net")
    if writer is Writer.RACOON:
        written = re.search("`([^`]+;)`", fix)
        return written[1] if written else ""
    if writer in (Writer.VYOS, Writer.OPNSENSE, Writer.OPNSENSE_OLD, Writer.PFSENSE):
        written = re.search("come to `([^`]+)`", fix)
        return written[1] if written else ""
    found = [one for one in _SET.findall(fix) if "yes" not in one]
    assert len(found) <= 1
    return found[0] if found else ""


def parsed(writer: Writer, text: str, protocol: Protocol) -> tuple[Proposal, ...]:
    if writer is Writer.RACOON:
        inner = f"proposal {{ {text} }}" if protocol is Protocol.IKE else ""
        esp = text if protocol is Protocol.ESP else ""
        source = Source("/racoon.conf", f"remote 192.0.2.9 {{ {inner} }}\nsainfo net {{ {esp} }}\n")
        [found], problems = racoon.effective(source)
        assert not problems
        offer = found.ike if protocol is Protocol.IKE else found.children[0].offers[0]
        return offer.proposals
    if writer in (Writer.LIBRESWAN, Writer.NM_LIBRESWAN):
        return proposals.libreswan(text, protocol)
    if writer is Writer.NM_L2TP:  # whichever of the two the host has
        both = (proposals.strongswan(text, protocol), *proposals.libreswan(text, protocol))
        assert both[0].of(Kind.EXCHANGE) == both[1].of(Kind.EXCHANGE)
        return both
    return (proposals.strongswan(text, protocol),)


EVERY = [
    (writer, version, baseline, protocol)
    for writer in Writer
    for version in (1, 2)
    if not (writer is Writer.RACOON and version == 2)
    for baseline in BASELINES.values()
    for protocol in (Protocol.IKE, Protocol.ESP)
]


@pytest.mark.parametrize(("writer", "version", "baseline", "protocol"), EVERY)
def test_what_is_advised_is_taken_and_passes_the_same_baseline(
    writer: Writer, version: int, baseline: Baseline, protocol: Protocol
) -> None:
    text = advised(writer, version, baseline, protocol)
    if not text:
        # IKEv1 has nothing for it, and L2TP is no more than that.
        assert baseline.required
        assert version == 1 or writer is Writer.NM_L2TP
        return
    for proposal in parsed(writer, text, protocol):
        assert [
            said for each in proposal.transforms if (said := baseline.objection(each, protocol))
        ] == []
        assert proposal.has_exchange
        if protocol is Protocol.IKE and version == 1:
            assert not any(each.is_aead for each in proposal.of(Kind.ENCRYPTION))
        if protocol is Protocol.IKE and baseline.required:
            assert baseline.required in {each.name for each in proposal.of(Kind.EXCHANGE)}


def test_charon_loads_what_is_advised(lab: Lab) -> None:
    charon = lab.gateway("gw-a")
    sections = []
    for version in (1, 2):
        for name, baseline in BASELINES.items():
            ike, esp = (
                advised(Writer.SWANCTL, version, baseline, protocol)
                for protocol in (Protocol.IKE, Protocol.ESP)
            )
            if ike and "mlkem" not in ike:  # which comes with strongSwan 6.0
                sections.append(
                    f"{name}{version} {{\n version = {version}\n proposals = {ike}\n remote_addrs = 192.0.2.9\n"
                    f" local {{\n auth = psk\n }}\n remote {{\n auth = psk\n }}\n"
                    f" children {{\n net {{\n esp_proposals = {esp}\n }}\n }}\n}}\n"
                )
    (charon.swanctl_folder / "swanctl.conf").write_text(
        "connections {\n" + "".join(sections) + "}\n"
    )
    charon.swanctl("--load-conns")
    with charon.session() as session:
        loaded = {name for each in session.list_conns() for name in dict(each)}
    assert len(loaded) == len(sections) == 8


@pytest.mark.usefixtures("needs_pluto")
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("baseline", BASELINES.values(), ids=list(BASELINES))
@pytest.mark.parametrize("writer", [Writer.LIBRESWAN, Writer.NM_LIBRESWAN, Writer.NM_L2TP])
def test_pluto_takes_what_is_advised(writer: Writer, version: int, baseline: Baseline) -> None:
    for protocol in (Protocol.IKE, Protocol.ESP):
        text = advised(writer, version, baseline, protocol)
        if not text or "ml_kem" in text:  # which its release here does not have
            continue
        done = subprocess.run(
            [
                UNPACKED.tree / "usr/libexec/ipsec/algparse",
                *(f"-v{version}", "-pfs", f"{protocol.lower()}={text}"),
            ],
            env={**os.environ, "LD_LIBRARY_PATH": str(UNPACKED.libraries)},
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        assert "ERROR" not in done.stdout + done.stderr
        assert done.returncode == 0


# ---------------------------------------------------------------- whole files


def seen(
    folder: Path, files: dict[str, str], starts: list[Start], dialect: Dialect | None = None
) -> Configuration:
    for path, text in files.items():
        file = folder / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return look(Tree(folder), starts, dialect)


def by_rule(configuration: Configuration, **policy: object) -> dict[str, Finding]:
    findings = configuration.judge(Policy(**policy), NOW)  # type: ignore[arg-type]
    return {each.rule.id: each for each in findings}


def everyone(**changed: str) -> str:
    text = EVERYONE
    given = {
        "REMOTE": "",
        "VERSION": "2",
        "AGGRESSIVE": "no",
        "AUTH": "pubkey",
        "TS": "dynamic",
        **changed,
    }
    for name, value in given.items():
        text = text.replace(name, value)
    return text


AGGRESSIVE = {"REMOTE": "remote_addrs = 192.0.2.9", "VERSION": "1", "AGGRESSIVE": "yes"}
ALLOWED = "charon {\n i_dont_care_about_security_and_use_aggressive_mode_psk = yes\n}\n"


@pytest.mark.parametrize(
    ("version", "option", "severity", "words"),
    [
        ("1", "", Severity.HIGH, "initiates"),
        ("1", ALLOWED, Severity.CRITICAL, "answers"),
        ("0", ALLOWED, Severity.CRITICAL, "answers"),
        ("0", "", Severity.LOW, "neither"),
    ],
)
def test_charon_answers_aggressive_mode_with_a_psk_only_if_it_is_told_to(
    tmp_path: Path, version: str, option: str, severity: Severity, words: str
) -> None:
    text = everyone(**{**AGGRESSIVE, "VERSION": version}, AUTH="psk")
    starts = [Start("/swanctl.conf", "swanctl"), Start("/strongswan.conf", "strongswan.conf")]
    files = {"/swanctl.conf": text, "/strongswan.conf": option}
    finding = by_rule(seen(tmp_path, files, starts))["aggressive-mode-psk"]
    assert finding.weight is severity
    assert words in finding.evidence
    assert "Anybody who sends one packet" not in finding.rule.why


def test_the_others_answer_it(tmp_path: Path) -> None:
    more = "ikev2=no\n    aggrmode=yes\n    authby=secret"
    text = LIBRESWAN.replace("SETUP", "").replace("MORE", more)
    configuration = seen(tmp_path, {"/f": text}, [Start("/f", "ipsec.conf")], Dialect.LIBRESWAN)
    finding = by_rule(configuration)["aggressive-mode-psk"]
    assert finding.weight is Severity.CRITICAL
    assert "answers" in finding.evidence


def test_a_client_of_networkmanager_only_initiates(tmp_path: Path) -> None:
    text = keyfile("libreswan", "right=192.0.2.9", "leftid=group")
    found = by_rule(seen(tmp_path, {"/f": text}, [Start("/f", "networkmanager")]))
    assert found["aggressive-mode-psk"].weight is Severity.HIGH


def test_strict_revocation_needs_an_answer(tmp_path: Path) -> None:
    text = everyone(REMOTE="remote_addrs = 192.0.2.9").replace("revocation = strict", "")
    configuration = seen(tmp_path, {"/f": text}, [Start("/f", "swanctl")])
    fix = by_rule(configuration)["revocation-not-required"].fix
    assert "once a CRL or OCSP answer is reachable for the peers' certificates" in fix
    assert "name no" not in fix
    without = replace(configuration, revocation_unnamed=True)
    fix = by_rule(without)["revocation-not-required"].fix
    assert "certificates on this host name no CRL and no OCSP server" in fix


@pytest.mark.parametrize(
    ("text", "dialect", "setting"),
    [
        (STRONGSWAN.replace("strictcrlpolicy=yes", ""), Dialect.STRONGSWAN, "strictcrlpolicy=yes"),
        (LIBRESWAN.replace("crl-strict=yes", ""), Dialect.LIBRESWAN, "crl-strict=yes"),
    ],
)
def test_strict_revocation_in_ipsec_conf_needs_one_too(
    tmp_path: Path, text: str, dialect: Dialect, setting: str
) -> None:
    text = text.replace("SETUP", "").replace("MORE", "")
    configuration = seen(tmp_path, {"/f": text}, [Start("/f", "ipsec.conf")], dialect)
    fix = by_rule(configuration)["revocation-not-required"].fix
    assert f"`{setting}`" in fix
    assert "once a CRL or OCSP answer is reachable" in fix
    without = replace(configuration, revocation_unnamed=True)
    assert "name no CRL" in by_rule(without)["revocation-not-required"].fix


def test_ikev1_is_advised_what_it_has(tmp_path: Path) -> None:
    text = STRONGSWAN.replace("SETUP", "").replace(
        "MORE", "keyexchange=ikev1\n    ike=3des-sha256-modp2048!"
    )
    configuration = seen(tmp_path, {"/f": text}, [Start("/f", "ipsec.conf")], Dialect.STRONGSWAN)
    fix = by_rule(configuration)["ike-proposal-3des"].fix
    assert "`ike=aes256-sha384-ecp384!`" in fix
    fix = by_rule(configuration, baseline="cnsa2")["no-post-quantum-exchange"].fix
    assert "keyexchange=ikev2" in fix
    assert "IKEv1" in fix


def test_strongswans_plugin_is_not_judged_as_libreswan(tmp_path: Path) -> None:
    text = keyfile("strongswan", "address=192.0.2.9", "method=key")
    configuration = seen(tmp_path, {"/f": text}, [Start("/f", "networkmanager")])
    findings = list(configuration.judge(Policy(), NOW))
    assert findings
    for each in findings:
        assert "Libreswan" not in each.evidence
        assert "aes_gcm256" not in each.fix
        assert "pfs=yes" not in each.fix
    fixed = {each.rule.id: each.fix for each in findings}
    assert "`proposal=yes`" in fixed["default-proposals"]
    assert "`ike=aes256gcm16-prfsha384-ecp384`" in fixed["default-proposals"] or (
        "`esp=aes256gcm16-ecp384`" in fixed["default-proposals"]
    )
    assert "`esp=aes256gcm16-ecp384`" in fixed["no-pfs"]


FIREWALL = "<opnsense/>"
SYSTEMS = [
    (
        ("/config/config.boot", "vyos-config", "vpn {\n ipsec {\n }\n}\n"),
        "/etc/swanctl/swanctl.conf",
        ("VyOS", "`set vpn ipsec ike-group NAME proposal …`"),
    ),
    (
        ("/conf/config.xml", "opnsense-xml", FIREWALL),
        "/usr/local/etc/swanctl/swanctl.conf",
        ("OPNsense", "VPN: IPsec: Connections"),
    ),
    (None, "/var/etc/ipsec/swanctl.conf", ("pfSense", "VPN > IPsec > Tunnels")),
]


@pytest.mark.parametrize(("own", "path", "words"), SYSTEMS)
def test_a_file_that_a_system_writes_is_mended_in_the_system(
    tmp_path: Path, own: tuple[str, str, str] | None, path: str, words: tuple[str, ...]
) -> None:
    text = everyone(REMOTE="remote_addrs = 192.0.2.9")
    text = text.replace("aes256-sha256-ecp256", "3des-sha256-ecp256")
    starts, files = [Start(path, "swanctl")], {path: text}
    if own is not None:
        starts.append(Start(own[0], own[1]))
        files[own[0]] = own[2]
    fix = by_rule(seen(tmp_path, files, starts))["ike-proposal-3des"].fix
    for each in words:
        assert each in fix
    assert "overwritten" in fix
    assert "aes256gcm16-prfsha384-ecp384" in fix


def test_a_file_that_no_system_writes_is_mended_in_place(tmp_path: Path) -> None:
    text = everyone().replace("aes256-sha256-ecp256", "3des-sha256-ecp256")
    beside = "/usr/local/etc/swanctl/conf.d/mine.conf"  # OPNsense leaves it alone
    for path, starts in (
        ("/etc/swanctl/swanctl.conf", []),
        (beside, [Start("/conf/config.xml", "opnsense-xml")]),
    ):
        files = {path: text, **{each.path: FIREWALL for each in starts}}
        found = by_rule(seen(tmp_path, files, [Start(path, "swanctl"), *starts]))
        assert found["ike-proposal-3des"].fix.startswith("Set `proposals =")


@pytest.mark.parametrize(
    ("baseline", "reference"),
    [
        ("rfc", ("RFC 8247 §2", "RFC 8221 §5 and §6")),
        ("nist", ("NIST SP 800-77r1 Table 1",)),
        ("cnsa1", ("RFC 9206 §5",)),
        ("cnsa2", ("draft-guthrie-cnsa2-ipsec-profile-04",)),
        ("bsi", ("BSI TR-02102-3 §3",)),
    ],
)
def test_a_finding_of_a_baseline_cites_that_one(
    tmp_path: Path, baseline: str, reference: tuple[str, ...]
) -> None:
    text = everyone(REMOTE="remote_addrs = 192.0.2.9")
    text = text.replace("aes256-sha256-ecp256", "3des-sha256-ecp256")
    text = text.replace("children {", "rekey_time = 100h\n children {")
    configuration = seen(tmp_path, {"/f": text}, [Start("/f", "swanctl")])
    found = by_rule(configuration, baseline=baseline)
    assert found["ike-proposal-3des"].sources == reference
    lifetime = found["ike-lifetime-long"].sources
    assert "RFC 7296 §2.8" in lifetime
    assert ("BSI TR-02102-3" in lifetime) == (baseline == "bsi")
    assert len(found["ike-proposal-3des"].rule.references) > 2
