"""A fault is found whoever's configuration it is in, and mended in the words of that one."""

from pathlib import Path

import pytest

from ike.audit.values import Finding, Severity
from ike.secrets.values import Dialect
from tests.ike.audit.configuration.test_rules import (
    LIBRESWAN,
    STRONGSWAN,
    found,
    ids,
    seen,
    swanctl,
)


def ipsec(folder: Path, text: str, more: str) -> dict[str, Finding]:
    dialect = Dialect.STRONGSWAN if text is STRONGSWAN else Dialect.LIBRESWAN
    written = text.replace("SETUP", "").replace("MORE", more)
    configuration = seen(folder, "ipsec.conf", written, dialect)
    assert not configuration.problems
    return {each.rule.id: each for each in found(configuration)}


def by_rule(folder: Path, text: str) -> dict[str, Finding]:
    return {each.rule.id: each for each in found(seen(folder, "swanctl", text))}


# ---------------------------------------------------------------- AH


def test_libreswan_is_told_to_leave_ah(tmp_path: Path) -> None:
    fix = ipsec(tmp_path, LIBRESWAN, "phase2=ah\n    ah=sha2_512")["ah-only"].fix
    assert "Set `phase2=esp`, with `esp` in the place of `ah` or `phase2alg`" in fix
    assert "`esp=aes_gcm256;dh20`" in fix


def test_strongswan_is_told_to_take_ah_out(tmp_path: Path) -> None:
    fix = ipsec(tmp_path, STRONGSWAN, "ah=sha256-ecp256!")["ah-only"].fix
    assert fix.startswith("Take out `ah`. Set `esp=aes256gcm16-ecp384!` in conn site")


def test_ah_that_is_not_strict(tmp_path: Path) -> None:
    findings = ipsec(tmp_path, STRONGSWAN, "ah=sha256-ecp256")
    assert findings["proposals-not-strict"].fix == "Put a `!` at the end of `ah` in conn site."


def test_swanctl_is_told_to_take_ah_out(tmp_path: Path) -> None:
    findings = by_rule(tmp_path, swanctl(ESP="ah_proposals = sha1"))
    for rule in ("ah-only", "esp-proposal-sha1", "no-pfs"):
        fix = findings[rule].fix
        assert fix.startswith("Take out `ah_proposals`. Set `esp_proposals = aes256gcm16-ecp384`")
        assert "connections.site.children.net" in fix


@pytest.mark.parametrize(
    "both",
    [
        "ah_proposals = sha256-ecp256\n esp_proposals = aes256gcm16-ecp384",
        "esp_proposals = aes256gcm16-ecp384\n ah_proposals = sha256-ecp256",
    ],
)
def test_ah_beside_esp_may_be_chosen(tmp_path: Path, both: str) -> None:
    [finding] = by_rule(tmp_path, swanctl(ESP=both)).values()
    assert (finding.rule.id, finding.weight) == ("ah-taken", Severity.HIGH)
    assert finding.fix == (
        "Take out `ah_proposals` in connections.site.children.net, and on the peer."
    )


# ---------------------------------------------------------------- signatures


def test_libreswan_is_told_of_authby(tmp_path: Path) -> None:
    finding = ipsec(tmp_path, LIBRESWAN, "authby=rsa-sha1")["signature-sha1-taken"]
    assert finding.fix == (
        "Set `authby=rsa-sha2` or `authby=ecdsa` in conn site, and the like on the peer."
    )
    assert finding.evidence.startswith("`authby`")


def test_one_hash_of_several_is_found_too(tmp_path: Path) -> None:
    assert "signature-sha1-taken" in ipsec(tmp_path, LIBRESWAN, "authby=rsa-sha2,rsa-sha1")


@pytest.mark.parametrize(
    ("text", "more"),
    [
        (LIBRESWAN, "authby=rsa-sha1\n    ikev2=no"),
        (STRONGSWAN, "rightauth=rsa-2048-sha1\n    keyexchange=ikev1"),
    ],
)
def test_ikev1_has_no_hash_of_its_own_for_signatures(tmp_path: Path, text: str, more: str) -> None:
    findings = ipsec(tmp_path, text, more)
    assert "ikev1" in findings
    assert "signature-sha1-taken" not in findings


def test_ipsec_conf_has_no_remote_section(tmp_path: Path) -> None:
    findings = ipsec(tmp_path, STRONGSWAN, "rightauth=rsa-2048-sha1")
    fix = findings["signature-sha1-taken"].fix
    assert "`rightauth`" in fix
    assert "conn site" in fix
    findings |= ipsec(tmp_path, STRONGSWAN, "rightauth=eap-md5\n    rightsendcert=never")
    assert "`rightauth=eap-tls`" in findings["eap-md5"].fix
    assert not [each.fix for each in findings.values() if "section" in each.fix]


def test_certificates_are_asked_for_in_the_words_of_each(tmp_path: Path) -> None:
    for text, more, words in (
        (STRONGSWAN, "authby=psk", "`leftauth=pubkey` and `rightauth=pubkey` in conn site"),
        (LIBRESWAN, "authby=secret", "`authby=rsa-sha2` or `authby=ecdsa`"),
        # IKEv1 has no signatures with SHA-2.
        (LIBRESWAN, "authby=secret\n    ikev2=no\n    ike=aes256-sha2;dh14", "`authby=rsasig`"),
    ):
        dialect = Dialect.STRONGSWAN if text is STRONGSWAN else Dialect.LIBRESWAN
        written = text.replace("SETUP", "").replace("MORE", more)
        configuration = seen(tmp_path, "ipsec.conf", written, dialect)
        findings = found(configuration, certificates_only=True)
        [fix] = [each.fix for each in findings if each.rule.id == "psk-instead-of-certificate"]
        assert words in fix


# ---------------------------------------------------------------- hashes that are cut


@pytest.mark.parametrize(
    ("text", "more", "setting"),
    [
        (LIBRESWAN, "esp=aes256-sha2_256;dh19\n    sha2-truncbug=yes", "sha2-truncbug"),
        (LIBRESWAN, "esp=aes256-sha2_256;dh19\n    sha2_truncbug=yes", "sha2-truncbug"),
        (LIBRESWAN, "sha2-truncbug=yes", "sha2-truncbug"),  # its defaults have it too
        (STRONGSWAN, "esp=aes256-sha256-ecp256!\n    sha256_96=yes", "sha256_96"),
    ],
)
def test_a_setting_that_cuts_sha256(tmp_path: Path, text: str, more: str, setting: str) -> None:
    findings = ipsec(tmp_path, text, more)
    finding = findings["esp-proposal-truncated-hash"]
    assert finding.evidence == f'`{setting}` of "site" cuts SHA-256 to 96 bits.'
    assert finding.fix == f"Set `{setting}=no` in conn site, and on the peer."
    where = text.replace("SETUP", "").replace("MORE", more).split("\n")[finding.place.line - 1]
    assert where.strip().replace("_truncbug", "-truncbug") == f"{setting}=yes"
    assert len(findings) == 1


@pytest.mark.parametrize(
    "more",
    [
        "esp=aes256-sha2_512;dh19\n    sha2-truncbug=yes",
        "esp=aes_gcm256\n    sha2-truncbug=yes",
        "esp=aes256-sha2_256;dh19\n    sha2-truncbug=no",
    ],
)
def test_a_hash_that_is_not_cut(tmp_path: Path, more: str) -> None:
    assert not ipsec(tmp_path, LIBRESWAN, more)


def test_swanctl_cuts_it_by_the_child(tmp_path: Path) -> None:
    text = swanctl(ESP="esp_proposals = aes256-sha256-ecp256", CHILD="sha256_96 = yes")
    [finding] = by_rule(tmp_path, text).values()
    assert finding.rule.id == "esp-proposal-truncated-hash"
    assert str(finding.place) == "/file:20"
    assert "`sha256_96 = no` in connections.site.children.net" in finding.fix


# ---------------------------------------------------------------- any certificate

ANYONE = """config setup
    crl-strict=yes
    strictcrlpolicy=yes

conn site
    keyexchange=ikev2
    ike=aes256gcm16-prfsha384-ecp384!
    esp=aes256gcm16-ecp384!
    left=192.0.2.1
    leftcert=own
    right=RIGHT
    leftsubnet=NET
    rightsubnet=NET
    auto=add
    MORE
"""
PLUTO = ANYONE.replace("    ike=aes256gcm16-prfsha384-ecp384!\n", "").replace(
    "    esp=aes256gcm16-ecp384!\n", ""
)
ALL = {"one-policy-for-everyone", "any-certificate-taken"}


@pytest.mark.parametrize(
    ("dialect", "more", "rules"),
    [
        (Dialect.LIBRESWAN, "rightid=%fromcert", ALL),
        (Dialect.LIBRESWAN, "rightid=%fromcert\n    rightca=%any", ALL),
        (Dialect.LIBRESWAN, "rightid=%any", ALL),
        (Dialect.LIBRESWAN, "", ALL),
        (Dialect.LIBRESWAN, "rightid=%fromcert\n    rightca=%same", {"one-policy-for-everyone"}),
        (Dialect.LIBRESWAN, "rightid=%fromcert\n    rightcert=peer", set()),
        (Dialect.LIBRESWAN, "rightid=@gw.example", set()),
        (Dialect.STRONGSWAN, "", ALL),
        (Dialect.STRONGSWAN, "rightid=%any", ALL),
        (Dialect.STRONGSWAN, 'rightca="CN=Users"', {"one-policy-for-everyone"}),
        (Dialect.STRONGSWAN, "rightcert=peer.pem", set()),
        (Dialect.STRONGSWAN, "rightid=gw.example", set()),
    ],
)
def test_whoever_has_a_certificate_comes_in(
    tmp_path: Path, dialect: Dialect, more: str, rules: set[str]
) -> None:
    text = ANYONE if dialect is Dialect.STRONGSWAN else PLUTO
    text = text.replace("RIGHT", "%any").replace("NET", "0.0.0.0/0").replace("MORE", more)
    findings = found(seen(tmp_path, "ipsec.conf", text, dialect))
    assert ids(findings) == rules
    for each in findings:
        assert "section" not in each.fix or each.rule.id == "one-policy-for-everyone"
        if each.rule.id == "any-certificate-taken":
            assert each.weight is Severity.INFO
            assert "`rightid` in conn site" in each.fix


@pytest.mark.parametrize("dialect", Dialect)
def test_a_peer_without_an_identity_has_its_address_for_one(
    tmp_path: Path, dialect: Dialect
) -> None:
    text = ANYONE if dialect is Dialect.STRONGSWAN else PLUTO
    text = text.replace("NET", "10.0.0.0/8").replace("MORE", "")
    assert not found(seen(tmp_path, "ipsec.conf", text.replace("RIGHT", "192.0.2.9"), dialect))
    any_id = text.replace("RIGHT", "192.0.2.9\n    rightid=%any")
    [finding] = found(seen(tmp_path, "ipsec.conf", any_id, dialect))
    assert (finding.rule.id, finding.weight) == ("any-certificate-taken", Severity.LOW)


# ---------------------------------------------------------------- lifetimes


def test_what_never_is_rekeyed_is_to_be(tmp_path: Path) -> None:
    findings = ipsec(tmp_path, STRONGSWAN, "rekey=no")
    assert findings["ike-lifetime-unlimited"].fix == (
        "Set `rekey=yes` and `ikelifetime=4h` in conn site."
    )
    assert findings["child-lifetime-unlimited"].fix == (
        "Set `rekey=yes` and `lifetime=1h` in conn site."
    )


# ---------------------------------------------------------------- policies in a connection's clothes

SHUNT = """connections {
  bypass {
    MORE
    children {
      lan {
        mode = MODE
        local_ts = 0.0.0.0/0
        remote_ts = 0.0.0.0/0
      }
    }
  }
}
"""


@pytest.mark.parametrize("mode", ["pass", "drop"])
@pytest.mark.parametrize("more", ["", "remote {\n auth = psk\n }", "local_addrs = 192.0.2.1"])
def test_charon_answers_for_what_is_only_passed_by(tmp_path: Path, mode: str, more: str) -> None:
    findings = by_rule(tmp_path, SHUNT.replace("MODE", mode).replace("MORE", more))
    assert findings.keys() >= {"ikev1-taken", "default-proposals"}
    assert "one-policy-for-everyone" not in findings
    assert ("any-peer-by-psk" in findings) == ("psk" in more)
    for each in findings.values():
        assert "`remote_addrs = 127.0.0.1` in connections.bypass" in each.fix


@pytest.mark.parametrize(
    "more", ["remote_addrs = 127.0.0.1", "remote_addrs = ::1", "local_addrs = 127.0.0.1"]
)
def test_nobody_gets_to_what_has_the_hosts_own_address(tmp_path: Path, more: str) -> None:
    assert not by_rule(tmp_path, SHUNT.replace("MODE", "pass").replace("MORE", more))


def test_libreswan_never_negotiates_what_is_passed_by(tmp_path: Path) -> None:
    findings = ipsec(tmp_path, LIBRESWAN, "type=passthrough\n    authby=rsasig")
    assert findings.keys() == {"clear-text-let-through"}
