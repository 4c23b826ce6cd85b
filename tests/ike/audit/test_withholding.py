"""A secret that stands where a name or an identity belongs is in no report, and ordinary names are."""

from collections.abc import Iterable

import pytest

from ike.audit import rules
from ike.audit.forms import csv, html, json, junit, sarif, text
from ike.audit.ground import Ground
from ike.audit.host import Wanted
from ike.audit.values import Policy
from ike.audit.whole import Task, carry_out
from ike.audit.withholding import is_like_key
from tests.ike.audit.conftest import NOW, Files

BASE64 = "q0Lw4+TzR1mVh8Ks/x3YpB9nUeG6fJcD2aXiO7tMvE5k"
HEX = "9f3c07d1e84ab26570cc1fe93bd8a4465e02b71d"
OTHER = "Zr8vK1xQ5mT3wY7bN2cF6hJ9"
FORMS = {
    "text": lambda found: text.write(found, everything=True),
    "json": json.write,
    "sarif": lambda found: sarif.write(found, rules.RULES, "0.1.0"),
    "junit": lambda found: junit.write(found, rules.RULES),
    "html": html.write,
    "csv": csv.write,
}

SWANCTL = (
    "connections {{ {0} {{ version = 1\n aggressive = yes\n proposals = 3des-sha1-modp1024\n"
    " remote_addrs = 192.0.2.9\n local {{ auth = psk\n id = gw1\n }}\n remote {{ auth = psk\n id = {1}\n }}\n"
    " children {{ {2} {{ esp_proposals = 3des-md5\n }} }} }} }}\n"
    "secrets {{ ike-{3} {{ id = gw9\n secret = {4}\n }} }}\n"
)
XML = (
    "<opnsense><OPNsense><IPsec><preSharedKeys><preSharedKey><ident>{2}</ident><keyType>PSK</keyType><Key>{0}</Key>"
    "</preSharedKey></preSharedKeys></IPsec><Swanctl><Connections><Connection uuid='c1'><enabled>1</enabled>"
    "<version>1</version><proposals>3des-sha1-modp1024</proposals><remote_addrs>192.0.2.9</remote_addrs>"
    "<description>{1}</description></Connection></Connections><locals><local uuid='l1'><enabled>1</enabled>"
    "<connection>c1</connection><auth>psk</auth><id>gw1</id></local></locals><remotes><remote uuid='r1'>"
    "<enabled>1</enabled><connection>c1</connection><auth>psk</auth><id>gw2</id></remote></remotes></Swanctl>"
    "</OPNsense></opnsense>"
)
PHASE1 = (
    "<opnsense><ipsec><enable>1</enable><phase1><ikeid>1</ikeid><iketype>ikev1</iketype><mode>aggressive</mode>"
    "<remote-gateway>192.0.2.9</remote-gateway><descr>{0}</descr>"
    "<authentication_method>pre_shared_key</authentication_method><pre-shared-key></pre-shared-key></phase1>"
    "</ipsec></opnsense>"
)
IPSEC = (
    "conn {0}\n left=192.0.2.1\n right=192.0.2.2\n authby=secret\n keyexchange=ikev1\n aggressive=yes\n"
    " ike=3des-sha1-modp1024!\n esp=3des-md5!\n auto=add\n"
)
RACOON = (
    "remote {0} {{ exchange_mode aggressive; proposal {{ encryption_algorithm 3des; hash_algorithm md5;"
    " authentication_method pre_shared_key; dh_group 2; }} }}\n"
)
NETWORK = (
    "[connection]\nid={0}\ntype=vpn\n[vpn]\nservice-type=org.freedesktop.NetworkManager.strongswan\n"
    "address=gw.example.com\nmethod=psk\nproposal=yes\nike=3des-sha1-modp1024\nesp=3des-md5\n[vpn-secrets]\n"
    "password={0}\n"
)
VYOS = "vpn {{\n ipsec {{\n authentication {{\n psk a {{\n id {0}\n secret {1}\n }}\n }}\n }}\n}}\n"
XML_PATH = "/conf/config.xml"
CONNECTIONS = "/etc/swanctl/swanctl.conf"
PSKS = "/etc/racoon/psk.txt"
NM = "/etc/NetworkManager/system-connections/a.nmconnection"
MISPLACED = {
    "description": (BASE64, {XML_PATH: XML.format(BASE64, BASE64, "gw2")}),
    "swanctl": (OTHER, {CONNECTIONS: SWANCTL.format(OTHER, "gw2", "net", "a", OTHER)}),
    "child": (OTHER, {CONNECTIONS: SWANCTL.format("a", "gw2", OTHER, "a", BASE64)}),
    "section": (OTHER, {CONNECTIONS: SWANCTL.format("a", "gw2", "net", OTHER, "gw2")}),
    "networkmanager": (BASE64, {NM: NETWORK.format(BASE64)}),
    "conn": (BASE64, {"/etc/ipsec.conf": IPSEC.format(BASE64)}),
    "racoon": (BASE64, {"/etc/racoon/racoon.conf": RACOON.format(BASE64)}),
    "phase1": (BASE64, {XML_PATH: PHASE1.format(BASE64)}),
    "owner": (HEX, {"/etc/ipsec.secrets": f'{HEX} : PSK "gw2"\n'}),
    "owners": (HEX, {"/etc/ipsec.secrets": f'192.0.2.1 {HEX} : PSK "abc"\n'}),
    "alphanumeric": (OTHER, {"/etc/ipsec.secrets": f'{OTHER} : PSK "gw2"\n'}),
    "swapped": (HEX, {"/etc/ipsec.secrets": f'gw2 : PSK {HEX}\n{HEX} : PSK "gw2"\n'}),
    "short": ("Tr0ub4dor!9", {"/etc/ipsec.secrets": 'a : PSK Tr0ub4dor!9\n@Tr0ub4dor!9 : PSK "b"\n'}),
    "decoded": (HEX, {"/etc/ipsec.secrets": f"gw2 : PSK 0x{HEX}\n@{HEX} : PSK abc\n"}),
    "psk.txt": (HEX, {PSKS: f"{HEX} gw2\n@{HEX} vpn\n"}),
    "vyos": (HEX, {"/config/config.boot": VYOS.format(HEX, "gw2")}),
    "ident": (HEX, {XML_PATH: XML.format("gw2", "lyon", HEX)}),
}  # fmt: skip


def reports(files: Files, given: dict[str, str]) -> dict[str, str]:
    """The report in every format."""
    for path, content in given.items():
        files.put(path, content)
    found = carry_out(Ground(files.root), Task("gw1", Wanted()), lambda: NOW).audit
    assert found.findings
    return {name: write(found) for name, write in FORMS.items()}


def heard(told: Iterable[str], secret: str) -> bool:
    return any(secret.lower() in each.lower() for each in told)


@pytest.mark.parametrize("case", MISPLACED)
def test_a_secret_is_shown_in_no_format(files: Files, case: str) -> None:
    secret, given = MISPLACED[case]
    told = reports(files, given)
    assert [name for name, each in told.items() if heard([each], secret)] == []
    assert "may be a secret" in told["json"]


def test_one_withheld_name_is_told_from_another(files: Files) -> None:
    one, other = HEX, HEX[::-1]
    files.put("/etc/ipsec.secrets", f'{one} : PSK "gw2"\n{other} : PSK "gw3"\n')
    found = rules.judged(files.seen(), Policy(), NOW)
    weak = [each for each in found if each.rule.area == "secrets"]
    assert len({each.id for each in weak}) == len({each.subject for each in weak}) >= 2


# Beside the names: what the audit itself says of algorithms.
NAMES = (
    "site-to-site-frankfurt-paris-2",
    "2f0c5a1e-8d43-4b6f-9a77-c0e1d2b3a495",
    "office-berlin-muenchen-backup-01",
    "SiteToSiteFrankfurtParis2",
    "azure-vng-prod-westeurope-01-to-onprem-fw02",
    "customer-4711-datacenter-eu-west-1",
    "vpn-0123456789abcdef0-tunnel-1",
    "DESKTOP-8J2K4LQ-anna-mueller-laptop",
    "peer_203-0-113-45_tunnel_0",
    "aes256gcm16-sha384-ecp384",
    "AES_CBC_256/HMAC_SHA2_256_128",
    "remoteworker2024accounting",
    "strongswan",
    "gw1lyon/net4711berlin2paris",
    "ike=aes256gcm16-prfsha384-ecp384",
    "proposals=aes256gcm16-prfsha384-x25519-ke1_mlkem768",
)


@pytest.mark.parametrize("name", NAMES)
def test_ordinary_names_stay(files: Files, name: str) -> None:
    assert not is_like_key(name)
    if set(name) & {"/", "="}:
        return  # not to be the name of a section
    told = reports(
        files, {CONNECTIONS: SWANCTL.format(name, "gw2.example.com", "net", "a", BASE64)}
    )
    assert name in told["json"]
    assert "may be a secret" not in told["json"]


def test_a_weak_value_garbles_no_sentence(files: Files) -> None:
    """It is left out where it is a whole name, and not as a word of ours."""
    given = "connection : PSK password\nconnection2 : PSK gw2\n@gw2.example.com : PSK private\n"
    told = reports(
        files, {"/etc/ipsec.secrets": given, "/etc/ipsec.conf": IPSEC.format("gw2-lyon")}
    )
    assert "may be a secret" not in told["json"]
    assert "gw2.example.com" in told["json"]


def test_ids_of_keys_stay(files: Files) -> None:
    told = reports(files, {"/etc/ipsec.secrets": f'@#{HEX} : PSK "gw2"\n'})
    assert f"keyid:#{HEX}" in told["json"]
