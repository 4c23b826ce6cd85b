"""OPNsense's own configuration is judged like the swanctl.conf that it writes, where that is not there."""

from pathlib import Path

from ike.audit.configuration import look
from ike.secrets.tree import Tree
from tests.ike.audit.configuration.test_rules import Start, found, ids, seen

CONFIG = """<?xml version="1.0"?>
<opnsense>
  <OPNsense>
    <Swanctl version="1.0.0">
      <Connections>
        <Connection uuid="aa000000-0000-4000-8000-000000000001">
          <enabled>1</enabled>
          <proposals>aes256gcm16-sha384-ecp384</proposals>
          <aggressive>0</aggressive>
          <version>2</version>
          <local_addrs>192.0.2.1</local_addrs>
          <remote_addrs>192.0.2.9</remote_addrs>
          <rekey_time>14400</rekey_time>
          <description>lyon</description>
        </Connection>
        <Connection uuid="aa000000-0000-4000-8000-000000000002">
          <enabled>0</enabled>
          <proposals>3des-md5-modp1024</proposals>
          <version>1</version>
          <description>old</description>
        </Connection>
      </Connections>
      <locals>
        <local uuid="bb000000-0000-4000-8000-000000000001">
          <enabled>1</enabled>
          <connection>aa000000-0000-4000-8000-000000000001</connection>
          <round>0</round>
          <auth>pubkey</auth>
          <id>gw.example</id>
          <certs>5f00</certs>
        </local>
      </locals>
      <remotes>
        <remote uuid="cc000000-0000-4000-8000-000000000001">
          <enabled>1</enabled>
          <connection>aa000000-0000-4000-8000-000000000001</connection>
          <round>0</round>
          <auth>pubkey</auth>
          <id>gw.lyon.example</id>
        </remote>
      </remotes>
      <children>
        <child uuid="dd000000-0000-4000-8000-000000000001">
          <enabled>1</enabled>
          <connection>aa000000-0000-4000-8000-000000000001</connection>
          <esp_proposals>aes256gcm16-ecp384</esp_proposals>
          <mode>tunnel</mode>
          <local_ts>10.1.0.0/16</local_ts>
          <remote_ts>10.2.0.0/16</remote_ts>
          <rekey_time>3600</rekey_time>
          <description>net</description>
        </child>
      </children>
    </Swanctl>
  </OPNsense>
</opnsense>
"""


def test_it_is_read_as_opnsense_writes_it(tmp_path: Path) -> None:
    configuration = seen(tmp_path, "opnsense-xml", CONFIG)
    (one,) = configuration.tunnels
    assert not configuration.problems
    assert (one.name, one.versions, one.rekey) == ("lyon", (2,), 14400)
    assert [str(each) for each in one.ike.proposals] == [
        "IKE:AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384"
    ]
    assert (one.local[0].auth, one.remote[0].identity) == ("pubkey", "gw.lyon.example")
    (child,) = one.children
    assert (child.name, child.rekey, child.local) == ("net", 3600, ("10.1.0.0/16",))
    assert not found(configuration)


def test_each_fault_is_found_where_it_stands(tmp_path: Path) -> None:
    bad = (
        CONFIG.replace("<version>2<", "<version>1<")
        .replace("<aggressive>0<", "<aggressive>1<")
        .replace("<auth>pubkey<", "<auth>psk<")
        .replace("aes256gcm16-sha384-ecp384", "aes256-sha1-modp1024")
        .replace("aes256gcm16-ecp384", "3des-md5")
    )
    findings = found(seen(tmp_path, "opnsense-xml", bad))
    assert ids(findings) >= {
        "ikev1",
        "aggressive-mode-psk",
        "ike-proposal-weak-group",
        "ike-proposal-sha1",
        "esp-proposal-3des",
        "esp-proposal-md5",
        "no-pfs",
    }
    lines = bad.split("\n")
    stands = {each.rule.id: lines[each.place.line - 1].strip() for each in findings}
    assert stands["ikev1"] == "<version>1</version>"
    assert stands["aggressive-mode-psk"] == "<aggressive>1</aggressive>"
    assert stands["esp-proposal-3des"].startswith("<esp_proposals>")
    (weak,) = [each for each in findings if each.rule.id == "ike-proposal-weak-group"]
    assert "connection lyon on the page VPN: IPsec: Connections" in weak.fix


def test_what_opnsense_made_of_it_is_judged_instead(tmp_path: Path) -> None:
    written = "usr/local/etc/swanctl/swanctl.conf"
    for path, text in (("conf/config.xml", CONFIG), (written, "connections {\n}\n")):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    starts = [Start("/conf/config.xml", "opnsense-xml"), Start(f"/{written}", "swanctl")]
    assert not look(Tree(tmp_path), starts).tunnels
    assert [each.name for each in look(Tree(tmp_path), starts[:1]).tunnels] == ["lyon"]


def test_what_is_wrong_ends_nothing(tmp_path: Path) -> None:
    half = CONFIG[: CONFIG.index("</children>")]
    (one,) = seen(tmp_path, "opnsense-xml", half).tunnels
    assert one.name == "lyon"
    odd = CONFIG.replace("aes256gcm16-ecp384", "rot13").replace("14400", "soon")
    configuration = seen(tmp_path, "opnsense-xml", odd)
    assert len(configuration.problems) == 2
    bomb = CONFIG.replace("<opnsense>", '<!DOCTYPE x [<!ENTITY a "b">]><opnsense>', 1)
    assert not seen(tmp_path, "opnsense-xml", bomb).tunnels
