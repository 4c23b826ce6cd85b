"""The older model of config.xml, of pfSense and of OPNsense's Tunnel Settings, where nothing made of it is there."""

from pathlib import Path

import pytest

from ike.audit.configuration import look
from ike.audit.configuration.values import Writer
from ike.audit.values import Severity
from ike.secrets.tree import Tree
from tests.ike.audit.configuration.test_rules import Start, found, ids, seen

ITEM = """<encryption><item>
        <encryption-algorithm><name>aes256gcm</name><keylen>128</keylen></encryption-algorithm>
        <hash-algorithm>sha384</hash-algorithm>
        <prf-algorithm>sha256</prf-algorithm>
        <dhgroup>20</dhgroup>
      </item></encryption>"""
# pfSense before 2.4.4, and OPNsense.
DIRECT = """<encryption-algorithm><name>aes256gcm16</name></encryption-algorithm>
      <hash-algorithm>sha384,sha512</hash-algorithm>
      <dhgroup>20,21</dhgroup>"""
CONFIG = """<?xml version="1.0"?>
<ROOT>
  <ipsec>
    <enable>1</enable>
    <client></client>
    <phase1>
      <ikeid>1</ikeid>
      <iketype>ikev2</iketype>
      <mode>main</mode>
      <interface>wan</interface>
      <remote-gateway>192.0.2.9</remote-gateway>
      <protocol>inet</protocol>
      <myid_type>myaddress</myid_type>
      <myid_data></myid_data>
      <peerid_type>peeraddress</peerid_type>
      <peerid_data></peerid_data>
      ENCRYPTION
      <lifetime>14400</lifetime>
      <pre-shared-key>hB7pQ2xW9zK4mR8vTyLq3Nd6</pre-shared-key>
      <certref></certref>
      <caref></caref>
      <authentication_method>pre_shared_key</authentication_method>
      <descr><![CDATA[lyon]]></descr>
      MORE1
    </phase1>
    <phase2>
      <ikeid>1</ikeid>
      <uniqid>5f</uniqid>
      <mode>tunnel</mode>
      <localid><type>lan</type></localid>
      <remoteid><type>network</type><address>10.2.0.0</address><netbits>16</netbits></remoteid>
      <protocol>esp</protocol>
      <encryption-algorithm-option><name>aes256gcm</name><keylen>128</keylen></encryption-algorithm-option>
      <hash-algorithm-option>hmac_sha256</hash-algorithm-option>
      <hash-algorithm-option>hmac_sha512</hash-algorithm-option>
      <pfsgroup>20</pfsgroup>
      <lifetime>3600</lifetime>
      <descr>nets</descr>
      MORE2
    </phase2>
    <phase2>
      <ikeid>1</ikeid>
      <disabled></disabled>
      <mode>tunnel</mode>
      <protocol>ah</protocol>
      <hash-algorithm-option>hmac_md5</hash-algorithm-option>
    </phase2>
    <phase1>
      <ikeid>2</ikeid>
      <disabled></disabled>
      <iketype>ikev1</iketype>
      <mode>aggressive</mode>
      <authentication_method>pre_shared_key</authentication_method>
    </phase1>
  </ipsec>
</ROOT>
"""
ROOTS = ["pfsense", "opnsense"]
AES = ("<name>aes256gcm</name><keylen>128</keylen>", "<name>aes</name><keylen>auto</keylen>")


def config(root: str = "pfsense", encryption: str = "", **more: str) -> str:
    text = CONFIG.replace("ROOT", root)
    text = text.replace("ENCRYPTION", encryption or (ITEM if root == "pfsense" else DIRECT))
    return text.replace("MORE1", more.get("one", "")).replace("MORE2", more.get("two", ""))


@pytest.mark.parametrize(
    ("root", "encryption"), [("pfsense", ITEM), ("pfsense", DIRECT), ("opnsense", DIRECT)]
)
def test_it_is_read_as_the_system_writes_it(tmp_path: Path, root: str, encryption: str) -> None:
    configuration = seen(tmp_path, "opnsense-xml", config(root, encryption))
    assert not configuration.problems
    [one] = configuration.tunnels
    assert (one.name, one.versions, one.remote_addrs) == ("lyon", (2,), ("192.0.2.9",))
    assert (one.local[0].auth, one.remote[0].identity) == ("psk", "192.0.2.9")
    assert str(one.ike.proposals[0]) == "IKE:AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384"
    assert len(one.ike.proposals) == (1 if encryption is ITEM else 4)
    times = (12960, None) if root == "pfsense" else (None, 14400)
    assert (one.rekey, one.reauth) == times
    [child] = one.children
    assert (child.name, child.local, child.remote) == ("nets", ("lan",), ("10.2.0.0/16",))
    assert [str(each) for each in child.offers[0].proposals] == [
        "ESP:AES_GCM_16_256/ECP_384/NO_EXT_SEQ"
    ]
    assert not found(configuration)


FAULTS = [
    ("<iketype>ikev2<", "<iketype>ikev1<", {"ikev1"}),
    ("<iketype>ikev2<", "<iketype><", {"ikev1"}),
    ("<iketype>ikev2<", "<iketype>auto<", {"ikev1-taken"}),
    ("<dhgroup>20", "<dhgroup>2", {"ike-proposal-weak-group"}),
    ("<hash-algorithm>sha384", "<hash-algorithm>sha1", {"ike-proposal-sha1"}),
    ("<pfsgroup>20<", "<pfsgroup>0<", {"no-pfs"}),
    ("<pfsgroup>20<", "<pfsgroup>24<", {"esp-proposal-doubtful-group"}),
    ("<lifetime>14400<", "<lifetime>864000<", {"ike-lifetime-long"}),
    ("<lifetime>3600<", "<lifetime>864000<", {"child-lifetime-long"}),
    (
        "option><name>aes256gcm</name><keylen>128</keylen>",
        "option><name>3des</name>",
        {"esp-proposal-3des"},
    ),
    ("<protocol>esp<", "<protocol>ah<", {"ah-only"}),
    ("<remote-gateway>192.0.2.9<", "<remote-gateway>0.0.0.0<", {"any-peer-by-psk"}),
]


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize(("old", "new", "rules"), FAULTS)
def test_a_fault_is_found_and_mended_on_the_page(
    tmp_path: Path, root: str, old: str, new: str, rules: set[str]
) -> None:
    text = config(root).replace(old, new, 1)
    findings = found(seen(tmp_path, "opnsense-xml", text))
    assert ids(findings) == rules
    page = "VPN > IPsec > Tunnels" if root == "pfsense" else "VPN: IPsec: Tunnel Settings"
    for each in findings:
        assert 1 < each.place.line < len(text.split("\n"))
        if each.rule.id != "any-peer-by-psk":
            assert f"lyon on the page {page}" in each.fix
        assert "`set" not in each.fix.lower()


@pytest.mark.parametrize("root", ROOTS)
def test_aggressive_mode_is_answered(tmp_path: Path, root: str) -> None:
    text = config(root).replace("<iketype>ikev2<", "<iketype>ikev1<", 1)
    text = text.replace("<mode>main<", "<mode>aggressive<", 1)
    findings = {each.rule.id: each for each in found(seen(tmp_path, "opnsense-xml", text))}
    assert findings.keys() == {"ikev1", "aggressive-mode-psk"}
    one = findings["aggressive-mode-psk"]
    assert one.weight is Severity.CRITICAL
    assert text.split("\n")[one.place.line - 1].strip() == "<mode>aggressive</mode>"
    version = "IKEv2 as Key Exchange version" if root == "pfsense" else "V2 as key exchange version"
    assert f"Choose {version}, or at least Main as" in one.fix
    without = text.replace("<iketype>ikev1<", "<iketype>ikev2<", 1)
    assert not found(seen(tmp_path, "opnsense-xml", without))


@pytest.mark.parametrize("root", ROOTS)
def test_pfs_is_a_group_of_its_own(tmp_path: Path, root: str) -> None:
    text = config(root).replace("<pfsgroup>20<", "<pfsgroup>0<")
    [finding] = found(seen(tmp_path, "opnsense-xml", text))
    assert finding.fix.startswith("Choose 20 as PFS key group in phase 2 nets of lyon on the page")


def test_keys_of_any_length_and_the_prf_that_is_chosen(tmp_path: Path) -> None:
    text = config(one="<prfselect_enable>yes</prfselect_enable>").replace(*AES)
    [one] = seen(tmp_path, "opnsense-xml", text).tunnels
    assert str(one.ike.proposals[0]).endswith("PRF_HMAC_SHA2_256/ECP_384")
    [esp] = [child.offers[0] for child in one.children]
    assert len(esp.proposals) == 6
    assert str(esp.proposals[0]) == "ESP:AES_CBC_256/HMAC_SHA2_256_128/ECP_384/NO_EXT_SEQ"


@pytest.mark.parametrize("root", ROOTS)
def test_mobile_clients(tmp_path: Path, root: str) -> None:
    mobile = {"one": "<mobile></mobile>", "two": "<mobile></mobile>"}
    text = config(root, **mobile)
    [one] = seen(tmp_path, "opnsense-xml", text).tunnels
    assert not one.children  # mobile clients are off
    on = "<client><enable>1</enable><pfs_group>2</pfs_group></client>"
    text = text.replace("<client></client>", on)
    findings = found(seen(tmp_path, "opnsense-xml", text))
    assert ids(findings) == {"any-peer-by-psk", "esp-proposal-weak-group"}
    [psk] = [each for each in findings if each.rule.id == "any-peer-by-psk"]
    assert "under any identity" in psk.evidence
    assert "<authentication_method>" in text.split("\n")[psk.place.line - 1]


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("method", ["cert", "rsasig", "xauth_cert_server", "eap-mschapv2"])
def test_certificates(tmp_path: Path, root: str, method: str) -> None:
    text = config(root).replace(">pre_shared_key<", f">{method}<", 1)
    configuration = seen(tmp_path, "opnsense-xml", text)
    assert not found(configuration, certificates_only=True)
    text = text.replace("<peerid_type>peeraddress<", "<peerid_type>any<", 1)
    any_id = ids(found(seen(tmp_path, "opnsense-xml", text)))
    assert any_id == ({"any-certificate-taken"} if method in ("cert", "rsasig") else set())
    text = text.replace("<caref></caref>", "<caref>5f00</caref>", 1)
    assert not found(seen(tmp_path, "opnsense-xml", text))


def test_a_psk_where_certificates_are_wanted(tmp_path: Path) -> None:
    [finding] = found(seen(tmp_path, "opnsense-xml", config()), certificates_only=True)
    assert finding.fix.startswith("Choose Mutual Certificate as Authentication Method of phase 1")


def test_opnsense_has_one_switch_for_all(tmp_path: Path) -> None:
    off = config("opnsense").replace("<enable>1</enable>", "")
    assert not seen(tmp_path, "opnsense-xml", off).tunnels
    off = config("pfsense").replace("<enable>1</enable>", "")
    assert seen(tmp_path, "opnsense-xml", off).tunnels


def test_opnsense_may_never_rekey(tmp_path: Path) -> None:
    text = config("opnsense", one="<rekey_enable>1</rekey_enable>")
    findings = found(seen(tmp_path, "opnsense-xml", text))
    assert ids(findings) == {"ike-lifetime-unlimited", "child-lifetime-unlimited"}
    assert all("leave Disable Rekey off" in each.fix for each in findings)


@pytest.mark.parametrize(
    ("root", "written"),
    [
        ("pfsense", "var/etc/ipsec/swanctl.conf"),
        ("opnsense", "usr/local/etc/swanctl/swanctl.conf"),
    ],
)
def test_what_the_system_made_of_it_is_judged_instead(
    tmp_path: Path, root: str, written: str
) -> None:
    for path, text in (("conf/config.xml", config(root)), (written, "connections {\n}\n")):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    starts = [Start("/conf/config.xml", "opnsense-xml"), Start(f"/{written}", "swanctl")]
    assert not look(Tree(tmp_path), starts).tunnels
    [one] = look(Tree(tmp_path), starts[:1]).tunnels
    assert one.writer is (Writer.PFSENSE if root == "pfsense" else Writer.OPNSENSE_OLD)


def test_other_files_of_the_daemon_are_no_connections(tmp_path: Path) -> None:
    written = "usr/local/etc/strongswan.conf"
    for path, text in (("conf/config.xml", config("opnsense")), (written, "charon {\n}\n")):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    starts = [Start("/conf/config.xml", "opnsense-xml"), Start(f"/{written}", "strongswan.conf")]
    assert look(Tree(tmp_path), starts).tunnels


def test_what_is_wrong_ends_nothing(tmp_path: Path) -> None:
    half = config()[: config().index("<phase2>")]
    [one] = seen(tmp_path, "opnsense-xml", half).tunnels
    assert not one.children
    odd = config().replace("<name>aes256gcm<", "<name>rot13<").replace(">14400<", ">soon<")
    configuration = seen(tmp_path, "opnsense-xml", odd)
    assert len(configuration.problems) == 2
    bomb = config().replace("<pfsense>", '<!DOCTYPE x [<!ENTITY a "b">]><pfsense>', 1)
    assert not seen(tmp_path, "opnsense-xml", bomb).tunnels
