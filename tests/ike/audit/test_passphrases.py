"""Passphrases of keys and PINs of tokens are judged where the key is there and needs one."""

from pathlib import Path

import pytest

from ike.audit import passphrases, secrets
from ike.audit.values import Finding, Role, Severity
from ike.secrets.reading import read
from ike.secrets.values import Dialect, Kind
from tests.ike.audit.corpus import making
from tests.ike.audit.premises import NOW, RFC, Premises

PHRASE = "swordfish"
STRONG = "hB7pQ2xW9zK4mR8vTyLq3Nd6"
BOTH = ["passphrase-beside-key", "passphrase-weak"]


@pytest.fixture
def host(tmp_path: Path) -> Premises:
    return Premises(tmp_path)


def judged(host: Premises, path: str, text: str) -> list[Finding]:
    host.put(path, text, Role.SECRETS)
    facts, problems = secrets.look(host.files, host.discovered(path, dialect=Dialect.STRONGSWAN))
    assert list(problems) == []
    return [finding for each in facts for finding in each.judge(RFC, NOW)]


def rules(findings: list[Finding]) -> list[str]:
    return sorted(each.rule.id for each in findings)


@pytest.mark.parametrize(
    "line",
    [
        f': RSA gw.pem "{PHRASE}"',
        f"gw1 : RSA gw.pem {PHRASE}",
        f": PKCS8 'gw.pem' '{PHRASE}'  # a remark",
        f": P12\tgw.pem\t'{PHRASE}'",
        f": ECDSA /etc/ipsec.d/private/gw.pem 0x{PHRASE.encode().hex()}",
    ],
)
def test_a_passphrase_in_ipsec_secrets(host: Premises, line: str) -> None:
    host.put("/etc/ipsec.d/private/gw.pem", making.key_pem(passphrase=PHRASE))
    found = judged(host, "/etc/ipsec.secrets", line + "\n")
    assert rules(found) == BOTH
    assert all("gw.pem" in each.evidence and PHRASE not in each.evidence for each in found)
    assert {each.place.line for each in found} == {1}


def test_a_common_passphrase(host: Premises) -> None:
    host.put("/etc/ipsec.d/private/gw.pem", making.key_pem(passphrase="secret"))
    found = judged(host, "/etc/ipsec.secrets", ': RSA gw.pem "secret"\n')
    assert rules(found) == ["passphrase-beside-key", "secret-sample-value"]


@pytest.mark.parametrize(
    "line",
    [
        ": RSA gw.pem",
        ": RSA gw.pem %prompt",
        ": RSA gw.pem  # a remark",
        f': RSA elsewhere.pem "{PHRASE}"',
        ": RSA { 0x00 }",
        f': PIN 50 "{PHRASE}"',
    ],
)
def test_what_is_no_passphrase_of_a_key_here(host: Premises, line: str) -> None:
    host.put("/etc/ipsec.d/private/gw.pem", making.key_pem(passphrase=PHRASE))
    assert judged(host, "/etc/ipsec.secrets", line + "\n") == []


def test_a_passphrase_of_a_key_that_needs_none(host: Premises) -> None:
    host.put("/etc/ipsec.d/private/gw.pem", making.key_pem())
    assert judged(host, "/etc/ipsec.secrets", f': RSA gw.pem "{PHRASE}"\n') == []


def test_the_keys_of_one_daemon_are_not_those_of_the_other(host: Premises) -> None:
    host.put("/etc/swanctl/private/gw.pem", making.key_pem(passphrase=PHRASE))
    assert judged(host, "/etc/ipsec.secrets", f': RSA gw.pem "{PHRASE}"\n') == []
    section = f"secrets {{ private-gw {{ file = gw.pem\n secret = {PHRASE}\n }} }}"
    assert rules(judged(host, "/etc/swanctl/swanctl.conf", section)) == BOTH


@pytest.mark.parametrize(
    ("pin", "rule"),
    [
        ("1234", "secret-sample-value"),
        ("123456", "secret-sample-value"),
        ("7391", "token-pin-weak"),
        ("19840316", "token-pin-weak"),
        ("739104", ""),
        (STRONG, ""),
    ],
)
def test_pins_of_tokens(host: Premises, pin: str, rule: str) -> None:
    token = f"secrets {{ token-1 {{ handle = 11\n pin = {pin}\n }} }}"
    for found in (
        judged(host, "/etc/ipsec.secrets", f": PIN %smartcard1@opensc:50 {pin}\n"),
        judged(host, "/etc/swanctl/swanctl.conf", token),
    ):
        assert rules(found) == ([rule] if rule else [])
        assert all(pin not in each.evidence for each in found)
        assert {each.weight for each in found} <= {Severity.MEDIUM, Severity.LOW}


def test_a_token_that_asks_for_its_pin(host: Premises) -> None:
    assert judged(host, "/etc/swanctl/swanctl.conf", "secrets { token-1 { handle = 11\n } }") == []
    assert judged(host, "/etc/ipsec.secrets", ": PIN %smartcard:50 %prompt\n") == []


def test_a_key_that_cannot_be_looked_at_keeps_its_passphrase(host: Premises) -> None:
    (host.root / "etc/ipsec.d/private").mkdir(parents=True)
    (host.root / "etc/ipsec.d/private/gw.pem").mkdir()
    host.put("/etc/ipsec.secrets", f': RSA gw.pem "{PHRASE}"\n', Role.SECRETS)
    found = read(host.files, ["/etc/ipsec.secrets"], dialect=Dialect.STRONGSWAN)
    assert [each.kind for each in passphrases.of_keys(host.files, found).entries] == [
        Kind.PASSPHRASE
    ]
