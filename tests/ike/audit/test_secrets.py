"""What is said of shared secrets, and that their values are never said."""

import base64
import traceback
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from ike.audit import certificate_rules, keys, nss, secret_rules, secrets
from ike.audit.discovery import Start
from ike.audit.values import Finding, Policy, Role, Severity
from ike.secrets.values import Dialect
from tests.ike.audit.corpus import making
from tests.ike.audit.premises import NOW, RFC, Premises
from tests.x509 import workshop

STRONG = "hB7pQ2xW9zK4mR8vTyLq3Nd6"
OTHER = "Vw5Xc8Zr1Mn7Tk3Jp9Ls2Gd4"
CANARY = "cAnArY-7pQ2xW9zK4mR8vTy"


@pytest.fixture
def host(tmp_path: Path) -> Premises:
    return Premises(tmp_path)


def judged(host: Premises, *paths: str, policy: Policy = RFC, dialect=None) -> list[Finding]:
    facts, problems = secrets.look(host.files, host.discovered(*paths, dialect=dialect))
    assert list(problems) == []
    return [finding for each in facts for finding in each.judge(policy, NOW)]


def test_a_value_of_very_many_is_told_of_each(host: Premises) -> None:
    lines = "".join(f'@p{number} : PSK "{STRONG}"\n' for number in range(6000))
    found = [each for each in ipsec(host, lines) if each.rule.id == "psk-shared-by-peers"]
    assert len(found) == 6000
    assert found[0].evidence.endswith("is that of others too: /etc/ipsec.secrets:2 and 5998 more.")


def rules(findings: list[Finding]) -> list[str]:
    return sorted(each.rule.id for each in findings)


def ipsec(host: Premises, text: str, **given) -> list[Finding]:
    host.put("/etc/ipsec.secrets", text, Role.SECRETS)
    return judged(host, "/etc/ipsec.secrets", **({"dialect": Dialect.STRONGSWAN} | given))


def swanctl(host: Premises, text: str) -> list[Finding]:
    host.put("/etc/swanctl/swanctl.conf", text, Role.SECRETS)
    return judged(host, "/etc/swanctl/swanctl.conf")


@pytest.mark.parametrize(
    ("value", "expected", "weight"),
    [
        ("", ["secret-sample-value"], Severity.CRITICAL),
        ("secret", ["secret-sample-value"], Severity.CRITICAL),
        ("Passw0rd", ["secret-sample-value"], Severity.CRITICAL),
        ("qx7Rk2", ["psk-weak"], Severity.HIGH),
        ("correct horse battery staple", ["psk-weak"], Severity.HIGH),
        ("hB7pQ2xW9zK4mR8v", ["psk-below-strength"], Severity.MEDIUM),
        (STRONG, [], None),
    ],
)
def test_a_key_is_judged_by_how_hard_it_is_to_guess(
    host: Premises, value: str, expected: list[str], weight: Severity | None
) -> None:
    findings = ipsec(host, f'@gw2 : PSK "{value}"\n')
    assert rules(findings) == expected
    assert [each.weight for each in findings] == ([weight] if weight else [])
    assert not any(value and value in each.evidence for each in findings)


def test_the_policy_says_how_hard(host: Premises) -> None:
    text = f'@gw2 : PSK "{STRONG}"\n'
    assert rules(ipsec(host, text, policy=Policy(psk_bits=256))) == ["psk-below-strength"]


def test_a_ppk_has_256_bits(host: Premises) -> None:
    half, whole = "0x" + "3f9a" * 8, "0s" + base64.b64encode(bytes(range(7, 250, 6))).decode()
    assert rules(swanctl(host, f"secrets {{ ppk-1 {{ id = one\n secret = {half}\n }} }}")) == [
        "ppk-short"
    ]
    strong = base64.b64encode(b"\x91\x1e\xc5\x07\xf3\x62\xaa\xd4" * 4).decode()
    assert whole
    assert strong


def test_passwords_of_users(host: Premises) -> None:
    findings = swanctl(
        host,
        f"secrets {{ eap-a {{ id = alice\n secret = qx7Rk2\n }}\n"
        f" xauth-b {{ id = bob\n secret = {STRONG}\n }}\n eap-c {{ id = carol\n secret = test\n }} }}",
    )
    assert rules(findings) == ["secret-sample-value", "user-password-weak"]
    assert {each.weight for each in findings} == {Severity.HIGH, Severity.MEDIUM}


def test_a_password_that_is_its_users_name(host: Premises) -> None:
    (found,) = swanctl(host, "secrets { eap-a { id = ottilie\n secret = Ottilie2024\n } }")
    assert found.rule.id == "user-password-weak"
    assert "it is made of the name of its owner" in found.evidence


def test_passphrases_stand_beside_their_keys(host: Premises) -> None:
    host.put("/etc/swanctl/private/gw.pem", making.key_pem(passphrase="swordfish"))
    findings = swanctl(host, "secrets { private-gw { file = gw.pem\n secret = swordfish\n } }")
    assert rules(findings) == ["passphrase-beside-key", "passphrase-weak"]


def test_one_value_for_several_peers(host: Premises) -> None:
    findings = ipsec(host, f'@gw2 : PSK "{STRONG}"\n@gw3 : PSK "{STRONG}"\n@gw4 : PSK "{OTHER}"\n')
    assert rules(findings) == ["psk-shared-by-peers"] * 2
    assert len({each.id for each in findings}) == 2
    assert "/etc/ipsec.secrets:2" in findings[0].evidence


def test_one_value_in_several_files(host: Premises) -> None:
    host.put("/etc/ipsec.d/a.secrets", f'@gw2 : PSK "{STRONG}"\n', Role.SECRETS)
    host.put("/etc/ipsec.d/b.secrets", f'@GW2 : PSK "{STRONG}"\n', Role.SECRETS)
    findings = judged(host, "/etc/ipsec.d/a.secrets", "/etc/ipsec.d/b.secrets")
    assert rules(findings) == ["psk-repeated"] * 2


def test_one_value_for_several_uses(host: Premises) -> None:
    findings = swanctl(
        host,
        f"secrets {{ ike-a {{ id = gw2\n secret = {STRONG}\n }}\n"
        f" eap-a {{ id = alice\n secret = {STRONG}\n }} }}",
    )
    assert rules(findings) == ["secret-of-several-kinds"] * 2


CONNECTION = """
  {0} {{ local {{ auth = psk
 id = gw1
 }}
 remote {{ auth = psk
 id = {0}
 }} }}
"""


def connections(*names: str) -> str:
    return "connections {" + "".join(CONNECTION.format(name) for name in names) + "}\n"


def test_one_entry_that_several_connections_use(host: Premises) -> None:
    text = connections("gw2", "gw3")
    text += f"secrets {{ ike-a {{ id-2 = gw2\n id-3 = gw3\n secret = {STRONG}\n }} }}"
    findings = swanctl(host, text)
    assert rules(findings) == ["psk-shared-by-peers"]
    assert "dns:gw2, dns:gw3" in findings[0].evidence


def test_an_entry_for_each_peer_is_fine(host: Premises) -> None:
    text = connections("gw2", "gw3")
    text += f"secrets {{ ike-a {{ id = gw2\n secret = {STRONG}\n }}\n"
    text += f" ike-b {{ id = gw3\n secret = {OTHER}\n }} }}"
    assert swanctl(host, text) == []


@pytest.mark.parametrize("line", ["id = gw2 secret = {}", "id = 0s{}", "id = two {}"])
def test_what_stands_as_an_id_and_may_be_a_secret_is_not_told(host: Premises, line: str) -> None:
    text = connections("gw2", "gw3").replace("id = gw2", line.format(CANARY))
    assert CANARY in text
    [finding] = [
        each
        for each in swanctl(host, text + f"secrets {{ ike-a {{ secret = {STRONG}\n }} }}")
        if "is that of 2 peers" in each.evidence
    ]
    assert CANARY.lower() not in finding.evidence.lower()
    assert "the peer of gw2" in finding.evidence


BY_ADDRESS = """connections {
  hub { remote_addrs = 198.51.100.7
 local { auth = psk
 id = gw1
 }
 remote { auth = psk
 id = ID
 } }
"""


@pytest.mark.parametrize(
    ("identity", "owners", "expected"),
    [
        ("peer.example.com", ("peer.example.com", "198.51.100.7"), "psk-repeated"),
        ("peer.example.com", ("peer.example.com", "198.51.100.8"), "psk-shared-by-peers"),
        ("other.example.com", ("peer.example.com", "198.51.100.7"), "psk-shared-by-peers"),
    ],
)
def test_one_peer_that_is_called_by_name_and_by_address(
    host: Premises, identity: str, owners: tuple[str, str], expected: str
) -> None:
    text = BY_ADDRESS.replace("ID", identity) + connections("gw9").partition("{")[2]
    text += f"secrets {{ ike-a {{ id = {owners[0]}\n secret = {STRONG}\n }}\n"
    text += f" ike-b {{ id = {owners[1]}\n secret = {STRONG}\n }}\n"
    text += f" ike-c {{ id = gw9\n secret = {OTHER}\n }} }}"
    findings = [each for each in swanctl(host, text) if each.rule.id != "psk-missing"]
    assert rules(findings) == [expected] * 2


def test_one_peer_with_and_without_this_end_among_the_owners(host: Premises) -> None:
    text = connections("gw2")
    text += f"secrets {{ ike-a {{ id = gw2\n secret = {STRONG}\n }}\n"
    text += f" ike-b {{ id-1 = gw1\n id-2 = gw2\n secret = {STRONG}\n }} }}"
    assert rules(swanctl(host, text)) == ["psk-for-any-peer", *["psk-repeated"] * 2]


@pytest.mark.parametrize("owners", ["", " id = %any\n", " id-1 = gw1\n id-2 = gw2\n"])
def test_an_entry_that_answers_for_any_peer(host: Premises, owners: str) -> None:
    text = connections("gw2", "gw3")
    text += f"secrets {{ ike-a {{ {owners} secret = {STRONG}\n }}\n"
    text += f" ike-b {{ id = gw3\n secret = {OTHER}\n }} }}"
    (found,) = (each for each in swanctl(host, text) if each.rule.id == "psk-for-any-peer")
    assert found.weight is Severity.HIGH


def test_with_one_peer_alone_it_weighs_less(host: Premises) -> None:
    text = connections("gw2") + f"secrets {{ ike-a {{ secret = {STRONG}\n }} }}"
    (found,) = swanctl(host, text)
    assert (found.rule.id, found.weight) == ("psk-for-any-peer", Severity.LOW)


def test_both_ends_are_the_owners_for_libreswan(host: Premises) -> None:
    assert ipsec(host, f'@gw1 @gw2: PSK "{STRONG}"\n', dialect=Dialect.LIBRESWAN) == []


def test_connections_without_a_secret_and_with_too_many(host: Premises) -> None:
    text = connections("gw2", "gw3")
    text += f"secrets {{ ike-a {{ id = gw2\n secret = {STRONG}\n }}\n"
    text += f" ike-b {{ id = gw2\n secret = {OTHER}\n }} }}"
    findings = swanctl(host, text)
    assert rules(findings) == ["psk-ambiguous", "psk-missing"]
    assert {each.subject for each in findings} == {"gw2", "gw3"}


def test_two_weak_keys_of_one_owner_in_one_file_are_two_findings(host: Premises) -> None:
    text = ': PSK "qx7Rk2"\n: PSK "zw8Tm4"\n'
    found = [each for each in ipsec(host, text) if each.rule.id == "psk-weak"]
    assert len({each.id for each in found}) == 2
    assert [each.id for each in found] == [
        each.id for each in ipsec(host, text) if each.rule.id == "psk-weak"
    ]


def test_no_rule_has_the_name_of_another() -> None:
    every = (*secret_rules.RULES, *certificate_rules.RULES, *keys.RULES, *nss.RULES)
    assert len({rule.id for rule in every}) == len(every)
    for rule in every:
        assert all((rule.title, rule.why, rule.fix, rule.references))
        assert not rule.title.endswith(".")
        assert rule.why.endswith(".")
        assert rule.fix.endswith(".")


def test_no_secret_of_any_kind_is_shown(host: Premises) -> None:
    """Unique values stand wherever a secret can; whatever is made of them is searched for each."""
    key = workshop.rsa_key()
    numbers = key.private_numbers()
    host.put(
        "/etc/swanctl/swanctl.conf",
        connections("gw2")
        + f"secrets {{ ike-a {{ id = gw2\n secret = {CANARY}1\n }}\n eap-b {{ id = bob\n secret = {CANARY}2\n }}\n"
        f" ppk-c {{ id = c\n secret = {CANARY}3\n }}\n private-d {{ file = d\n secret = {CANARY}4\n }}\n"
        f" ike-e {{ secret = {CANARY}1\n }}\n ntlm-f {{ id = f\n secret = 0x{(CANARY + '6').encode().hex()}\n }} }}",
        Role.SECRETS,
    )
    host.put(
        "/etc/ipsec.d/nsspassword", f"NSS Certificate DB:{CANARY}7\n{CANARY}8:x\n", Role.PASSWORD
    )
    host.put(
        "/etc/ipsec.secrets",
        f": RSA {{\n Modulus: 0x{numbers.public_numbers.n:x}\n PublicExponent: 0x3\n"
        f" PrivateExponent: 0x{numbers.d:x}\n }}\n",
        Role.SECRETS,
    )
    pkcs8, old = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL
    for path, octets in {
        "/a.key": key.private_bytes(Encoding.PEM, pkcs8, NoEncryption()),
        "/b.key": key.private_bytes(Encoding.DER, old, NoEncryption()),
        "/c.key": key.private_bytes(Encoding.PEM, old, BestAvailableEncryption(CANARY.encode())),
        # Half of a key, and a key where none belongs.
        "/d.key": key.private_bytes(Encoding.PEM, pkcs8, NoEncryption())[:900],
        "/e.key": f"-----BEGIN {CANARY}9-----\n-----BEGIN PRIVATE KEY-----\n{CANARY}\n",
        "/f.key": f"{CANARY}",
    }.items():
        host.put(path, octets)
    discovered = host.discovered("/etc/swanctl/swanctl.conf")
    shown = []
    for facts, problems in (
        keys.look(host.files, discovered),
        secrets.look(host.files, discovered),
    ):
        shown += [repr(facts), repr(problems)]
        for each in facts:
            policy = Policy(encrypted_keys=True, psk_bits=500, baseline="cnsa2")
            findings = list(each.judge(policy, NOW))
            shown += [repr(findings), *(finding.evidence for finding in findings)]
    text = "\n".join(shown)
    assert len(text) > 5000
    assert "cAnArY" not in text
    body = base64.b64encode(key.private_bytes(Encoding.DER, pkcs8, NoEncryption())).decode()
    for number in (numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp):
        assert str(number) not in text
        assert f"{number:x}" not in text
    assert not any(body[at : at + 40] in text for at in range(600, 1500, 40))


def test_errors_of_the_readers_quote_nothing() -> None:
    for octets in (
        f"-----BEGIN PRIVATE KEY-----\n{CANARY}".encode(),
        CANARY.encode(),
        b"\x30\x10" + CANARY.encode(),
    ):
        for read in (keys.keyfiles.parse, nss.parse):
            assert "cAnArY" not in repr(read("/x", octets))
    try:
        keys.keyfiles.private_key(keys.Place("/x", 0), b"\x30\x10" + CANARY.encode())
    except ValueError:
        assert "cAnArY" not in traceback.format_exc()


def test_a_user_is_told_of_as_one_and_given_a_password(host: Premises) -> None:
    pem = workshop.ec_key().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    host.put("/etc/swanctl/private/gw.pem", pem)
    findings = swanctl(
        host,
        "secrets { eap-a { id = alice\n secret = test\n }\n xauth-b { id = bob@example.com\n secret = qx7Rk2\n }\n"
        " private-gw { file = gw.pem\n secret = secret\n } }",
    )
    found = {each.evidence.partition(" has ")[0]: each for each in findings}
    alice = found["The password of the user alice"]
    assert alice.rule.id == "secret-sample-value"
    assert alice.fix == secret_rules.USER_PASSWORD_WEAK.fix
    assert "One answer of the gateway" not in alice.rule.why
    assert found["The password of the user bob@example.com"].rule.id == "user-password-weak"
    (passphrase,) = (
        each for each in findings if each.subject.startswith("passphrase") and each.fix
    )
    assert passphrase.fix == secret_rules.PASSPHRASE_WEAK.fix


def test_users_of_ipsec_secrets_have_no_kind_of_identity(host: Premises) -> None:
    findings = ipsec(host, 'bob : EAP "test"\n@me : XAUTH "test"\n')
    told = {each.evidence.partition(" has ")[0] for each in findings}
    assert told == {"The password of the user bob", "The password of the user me"}


# ---------------------------------------------------------------- what systems write for themselves

BOOT = """vpn {
    ipsec {
        authentication {
            psk b {
                OWN
                id gw2
                secret SECRET
            }
            psk c {
                id gw3
                secret OTHER
            }
        }
        ike-group strong {
            key-exchange ikev2
        }
        site-to-site {
            peer b {
                authentication {
                    local-id gw1
                    mode pre-shared-secret
                    remote-id gw2
                }
                ike-group strong
                local-address 192.0.2.1
                remote-address 192.0.2.2
            }
            peer c {
                authentication {
                    local-id gw1
                    mode pre-shared-secret
                    remote-id gw3
                }
                ike-group strong
                remote-address 192.0.2.3
            }
        }
    }
}
"""
CONNECTION_XML = """<Connection uuid="c{0}"><enabled>1</enabled><version>2</version>
  <remote_addrs>192.0.2.{0}</remote_addrs><description>site {0}</description></Connection>"""
ENDS_XML = """<{1} uuid="{1}{0}"><enabled>1</enabled><connection>c{0}</connection><auth>psk</auth><id>{2}</id></{1}>"""
KEY_XML = "<preSharedKey><ident>{0}</ident>{1}<keyType>PSK</keyType><Key>{2}</Key></preSharedKey>"


def opnsense(own: str) -> str:
    """`own`: the one end that the first key is for beside its peer."""
    peers = {2: "gw2", 3: "gw3"}
    first = f"<remote_ident>{own and 'gw2'}</remote_ident>"
    return (
        "<opnsense><OPNsense><IPsec><preSharedKeys>"
        + KEY_XML.format(own or "gw2", first, STRONG)
        + KEY_XML.format("gw3", "", OTHER)
        + "</preSharedKeys></IPsec><Swanctl><Connections>"
        + "".join(CONNECTION_XML.format(number) for number in peers)
        + "</Connections><locals>"
        + "".join(ENDS_XML.format(number, "local", "gw1") for number in peers)
        + "</locals><remotes>"
        + "".join(ENDS_XML.format(number, "remote", name) for number, name in peers.items())
        + "</remotes></Swanctl></OPNsense></opnsense>"
    )


PHASE1 = """<phase1><ikeid>{0}</ikeid><iketype>ikev2</iketype><remote-gateway>192.0.2.{0}</remote-gateway>
  <myid_type>{3}</myid_type><myid_data>{1}</myid_data><peerid_type>fqdn</peerid_type>
  <peerid_data>gw{0}</peerid_data><authentication_method>pre_shared_key</authentication_method>
  <pre-shared-key>{2}</pre-shared-key></phase1>"""


def old(root: str, own: str) -> str:
    kind = "fqdn" if own else "myaddress"
    phases = PHASE1.format(2, own, STRONG, kind) + PHASE1.format(3, "", OTHER, "myaddress")
    return f"<{root}><ipsec><enable>1</enable>{phases}</ipsec></{root}>"


def of_system(host: Premises, path: str, kind: str, text: str) -> list[Finding]:
    host.put(path, text, Role.SECRETS)
    discovered = replace(host.discovered(), starts=(Start(path, kind),))
    facts, problems = secrets.look(host.files, discovered)
    assert list(problems) == []
    return [finding for each in facts for finding in each.judge(RFC, NOW)]


def vyos(own: str) -> str:
    text = BOOT.replace("OWN", f"id {own}" if own else "").replace("SECRET", STRONG)
    return text.replace("OTHER", OTHER)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("vyos-config", vyos("gw1")),
        ("vyos-config", vyos("192.0.2.1").replace("local-id gw1", "")),
        ("opnsense-xml", opnsense("gw1")),
        ("opnsense-xml", old("pfsense", "gw1")),
    ],
)
def test_this_end_is_an_owner_in_a_systems_own_configuration(
    host: Premises, kind: str, text: str
) -> None:
    [found] = of_system(host, "/config", kind, text)
    assert (found.rule.id, found.weight) == ("psk-for-any-peer", Severity.HIGH)
    assert "this gateway's own identity is among its owners" in found.evidence


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("vyos-config", vyos("")),
        ("opnsense-xml", opnsense("")),
        ("opnsense-xml", old("pfsense", "")),
        ("opnsense-xml", old("opnsense", "gw1")),  # which leaves this end out for its daemon
    ],
)
def test_the_peer_alone_is_the_owner_there(host: Premises, kind: str, text: str) -> None:
    assert of_system(host, "/config", kind, text) == []


@pytest.mark.parametrize(
    "peer",
    [
        # Up to 1.3 a peer is called by its address or name, and its key stands there.
        "peer gw.example.com { authentication { pre-shared-secret KEY } }",
        "peer 192.0.2.9 { authentication { pre-shared-secret KEY } }",
        "peer @gw9 { authentication { pre-shared-secret KEY } }",
        "peer lyon { remote-address gw.example.com authentication { remote-id gw9 pre-shared-secret KEY } }",
    ],
)
def test_a_key_beside_its_peer_is_that_of_the_peer(host: Premises, peer: str) -> None:
    text = "vpn { ipsec { site-to-site { " + peer.replace("KEY", STRONG) + " } } }"
    for word in (" remote", " authentication", " pre-shared", " ipsec", " site", " peer", " }"):
        text = text.replace(word, f"\n{word}")
    assert of_system(host, "/config", "vyos-config", text) == []


def test_a_vyos_peer_from_anywhere_has_no_name(host: Premises) -> None:
    text = vyos("").replace("remote-address 192.0.2.2", "remote-address any")
    text = text.replace("remote-id gw2", "").replace("id gw2", 'id ""')
    assert rules(of_system(host, "/config", "vyos-config", text)) == ["psk-for-any-peer"]
