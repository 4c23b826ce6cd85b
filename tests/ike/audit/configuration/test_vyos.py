"""VyOS' own configuration is judged like what VyOS makes of it, where that is not there."""

from pathlib import Path

from ike.audit.configuration import look
from ike.audit.configuration.values import Tunnel
from ike.audit.values import Policy
from ike.secrets.tree import Tree
from tests.ike.audit.configuration.test_rules import NOW, Start, found, ids, seen

CONFIG = """vpn {
    ipsec {
        esp-group E {
            lifetime 3600
            mode tunnel
            pfs dh-group20
            proposal 1 {
                encryption aes256gcm128
                hash sha384
            }
        }
        ike-group I {
            key-exchange ikev2
            lifetime 14400
            proposal 1 {
                dh-group 20
                encryption aes256gcm128
                hash sha384
                prf prfsha384
            }
        }
        site-to-site {
            peer lyon {
                authentication {
                    mode x509
                    remote-id gw.lyon.example
                }
                default-esp-group E
                ike-group I
                local-address 192.0.2.1
                remote-address 192.0.2.9
                tunnel 0 {
                    local {
                        prefix 10.1.0.0/16
                    }
                    remote {
                        prefix 10.2.0.0/16
                    }
                }
            }
        }
    }
}
"""
# What VyOS makes of it, but for what it cannot be told: revocation.
MADE = """connections {
  lyon {
    proposals = aes256gcm128-sha384-prfsha384-ecp384
    version = 2
    local_addrs = 192.0.2.1
    remote_addrs = 192.0.2.9
    rekey_time = 14400s
    local {
      auth = pubkey
    }
    remote {
      id = "gw.lyon.example"
      auth = pubkey
    }
    children {
      lyon-tunnel-0 {
        esp_proposals = aes256gcm128-sha384-ecp384
        life_time = 3600s
        local_ts = 10.1.0.0/16
        remote_ts = 10.2.0.0/16
        mode = tunnel
      }
    }
  }
}
"""


def tunnel(folder: Path, text: str) -> Tunnel:
    configuration = seen(folder, "vyos-config", text)
    assert not configuration.problems
    (one,) = configuration.tunnels
    return one


def test_it_is_read_as_vyos_writes_it(tmp_path: Path) -> None:
    ours = tunnel(tmp_path, CONFIG)
    (made,) = seen(tmp_path, "swanctl", MADE).tunnels
    assert ours.ike.proposals == made.ike.proposals
    assert ours.children[0].offers[0].proposals == made.children[0].offers[0].proposals
    assert (ours.rekey, ours.versions) == (made.rekey, made.versions) == (14400, (2,))
    assert (ours.local_addrs, ours.remote_addrs) == (made.local_addrs, made.remote_addrs)
    assert (ours.children[0].local, ours.children[0].remote) == (("10.1.0.0/16",), ("10.2.0.0/16",))
    assert (ours.children[0].life, ours.children[0].mode) == (3600, "tunnel")
    assert not found(seen(tmp_path, "vyos-config", CONFIG))


def test_its_defaults_are_known(tmp_path: Path) -> None:
    bare = (
        CONFIG.replace("            key-exchange ikev2\n", "")
        .replace("            lifetime 14400\n", "")
        .replace("                dh-group 20\n", "")
        .replace("            pfs dh-group20\n", "")
    )
    one = tunnel(tmp_path, bare)
    assert one.versions == (1, 2)
    assert one.rekey == 28800
    names = [each.name for each in one.children[0].offers[0].proposals[0].transforms]
    assert "MODP_1024" in names  # PFS by the group of IKE, which is 2 where none is set
    assert "MODP_1024" in [each.name for each in one.ike.proposals[0].transforms]


def test_each_fault_is_found_where_it_stands(tmp_path: Path) -> None:
    bad = (
        CONFIG.replace("dh-group 20", "dh-group 2")
        .replace(
            "encryption aes256gcm128\n                hash sha384\n            }\n        }\n        ike",
            "encryption 3des\n                hash md5\n            }\n        }\n        ike",
        )
        .replace("pfs dh-group20", "pfs disable")
        .replace("key-exchange ikev2", "key-exchange ikev1\n            mode aggressive")
        .replace("mode x509", "mode pre-shared-secret")
        .replace("lifetime 3600", "lifetime 86400")
    )
    findings = found(seen(tmp_path, "vyos-config", bad), baseline="nist")
    assert {
        "ike-proposal-weak-group",
        "esp-proposal-3des",
        "esp-proposal-md5",
        "no-pfs",
        "ikev1",
        "aggressive-mode-psk",
        "child-lifetime-long",
    } <= ids(findings)
    lines = bad.split("\n")
    for rule, text in (("ikev1", "key-exchange ikev1"), ("aggressive-mode-psk", "mode aggressive")):
        (one,) = [each for each in findings if each.rule.id == rule]
        assert lines[one.place.line - 1].strip() == text
    (weak,) = [each for each in findings if each.rule.id == "ike-proposal-weak-group"]
    assert "the IKE group of lyon" in weak.fix
    (without,) = [each for each in findings if each.rule.id == "no-pfs"]
    assert without.fix.startswith("Set `pfs dh-group20` in the ESP group of lyon")
    assert all(
        "tunnel 0" in each.subject for each in findings if each.rule.id.startswith("esp-proposal")
    )


def test_a_peer_from_anywhere_with_a_key_is_told(tmp_path: Path) -> None:
    text = CONFIG.replace("mode x509", "mode pre-shared-secret").replace(
        "remote-address 192.0.2.9", "remote-address any"
    )
    assert ids(found(seen(tmp_path, "vyos-config", text))) == {"any-peer-by-psk"}


def test_users_come_from_anywhere(tmp_path: Path) -> None:
    text = CONFIG.replace(
        "        site-to-site {",
        "        remote-access {\n            connection staff {\n                authentication {\n"
        "                    client-mode eap-mschapv2\n                    server-mode x509\n"
        "                }\n                esp-group E\n                ike-group I\n"
        "                local-address 192.0.2.1\n            }\n        }\n        site-to-site {",
    )
    staff, lyon = sorted(
        seen(tmp_path, "vyos-config", text).tunnels, key=lambda each: each.name, reverse=True
    )
    assert (staff.name, staff.remote[0].auth, staff.remote_addrs) == ("staff", "eap", ("%any",))
    assert lyon.name == "lyon"
    assert not found(seen(tmp_path, "vyos-config", text))


def test_what_vyos_made_of_it_is_judged_instead(tmp_path: Path) -> None:
    for path, text in (
        ("config/config.boot", CONFIG.replace("dh-group 20", "dh-group 2")),
        ("etc/swanctl/swanctl.conf", MADE),
    ):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    starts = [
        Start("/config/config.boot", "vyos-config"),
        Start("/etc/swanctl/swanctl.conf", "swanctl"),
    ]
    both = look(Tree(tmp_path), starts)
    assert [each.place.path for each in both.tunnels] == ["/etc/swanctl/swanctl.conf"]
    alone = look(Tree(tmp_path), starts[:1])
    assert [each.place.path for each in alone.tunnels] == ["/config/config.boot"]


def test_what_is_wrong_ends_nothing(tmp_path: Path) -> None:
    text = CONFIG.replace("encryption aes256gcm128", "encryption rot13", 1).replace(
        "lifetime 14400", "lifetime soon"
    )
    configuration = seen(tmp_path, "vyos-config", text)
    assert [each.message for each in configuration.problems] == [
        "an algorithm that strongSwan does not know: the proposal is not judged"
    ]
    (one,) = configuration.tunnels
    assert one.rekey == 28800
    assert not seen(
        tmp_path, "vyos-config", "vpn {\n ipsec {\n site-to-site {\n peer x {\n"
    ).tunnels
    list(configuration.judge(Policy(), NOW))
