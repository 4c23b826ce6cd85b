"""Secrets in the files of systems that write their daemons' files: found, whose, where, and never a stumble."""

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ike.secrets.appliances import firewall, networkmanager, racoon, vyos
from ike.secrets.values import Kind, Parsed, Source

BOOT = r"""
/* a remark */
interfaces {
    ethernet eth0 {
        address 192.0.2.1/24
        description "the \"outside\" {"
    }
    loopback lo {
    }
}
vpn {
    ipsec {
        authentication {
            psk site-b {
                id 192.0.2.1
                id @gw2.example.com
                secret "two words"
            }
            psk site-c {
                dhcp-interface eth1
                secret dHdvIHdvcmRz
                secret-type base64
            }
            psk site-d {
                id ""
                secret 0A0b
                secret-type hex
            }
        }
        remote-access {
            connection rw {
                authentication {
                    local-users {
                        username anna {
                            password a#b
                        }
                    }
                    pre-shared-secret everybody
                }
            }
        }
        site-to-site {
            peer 198.51.100.7 {
                authentication {
                    id 192.0.2.1
                    mode pre-shared-secret
                    pre-shared-secret old{style}
                }
            }
        }
    }
    l2tp {
        remote-access {
            authentication {
                local-users {
                    username bert {
                        password second
                    }
                }
            }
            ipsec-settings {
                authentication {
                    pre-shared-secret l2tpkey
                }
            }
        }
    }
}
// vyos-config-version: "ipsec@13"
"""
XML = """<?xml version="1.0"?>
<pfsense>
  <system><user><name>anna</name><ipsecpsk>annas</ipsecpsk></user><user><name>bert</name></user></system>
  <ipsec>
    <phase1>
      <descr><![CDATA[Lyon & more]]></descr>
      <myid_type>myaddress</myid_type>
      <myid_data></myid_data>
      <peerid_data>gw3.example.com</peerid_data>
      <remote-gateway>192.0.2.3</remote-gateway>
      <pre-shared-key>a &amp; b</pre-shared-key>
    </phase1>
    <phase1><remote-gateway>192.0.2.4</remote-gateway><pre-shared-key></pre-shared-key></phase1>
    <mobilekey><ident>any</ident><type>PSK</type><pre-shared-key>mobile</pre-shared-key></mobilekey>
    <mobilekey><ident>carl</ident><type>EAP</type><pre-shared-key>carls</pre-shared-key></mobilekey>
  </ipsec>
  <OPNsense><IPsec><preSharedKeys>
    <preSharedKey uuid="1"><ident>gw1</ident><remote_ident/><keyType>PSK</keyType><Key>k1</Key></preSharedKey>
    <preSharedKey uuid="2"><ident>dora</ident><keyType>EAP</keyType><Key>k2</Key></preSharedKey>
  </preSharedKeys></IPsec></OPNsense>
  <nested><ipsec><phase1><pre-shared-key>not one</pre-shared-key></phase1></ipsec></nested>
</pfsense>
"""
PSKS = "# remarks\n\n192.0.2.9\tthe key with spaces\r\n*  0x0a0B\n  anna@example.com x\n2001:db8::1 0xzz\nalone\n"


def told(parsed: Parsed) -> list[tuple[str, list[str], bytes, int, str]]:
    return [
        (
            str(each.kind),
            [str(o) for o in each.owners],
            each.value.reveal(),
            each.place.line,
            each.name,
        )
        for each in parsed.entries
    ]


def test_config_boot() -> None:
    parsed = vyos.parse(Source("/config/config.boot", BOOT))
    assert parsed.problems == ()
    assert told(parsed) == [
        ("psk", ["ip:192.0.2.1", "dns:gw2.example.com"], b"two words", 17, "site-b"),
        ("psk", ["keyid:dhcp eth1"], b"two words", 21, "site-c"),
        ("psk", ["%any"], b"\n\x0b", 26, "site-d"),
        ("psk", ["ip:192.0.2.1", "ip:198.51.100.7"], b"old{style}", 47, "198.51.100.7"),
        ("psk", ["%any"], b"everybody", 38, "rw"),
        ("psk", ["%any"], b"l2tpkey", 63, "l2tp"),
        ("user", ["keyid:anna"], b"a#b", 35, ""),
        ("user", ["keyid:bert"], b"second", 57, ""),
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("secret-type hex", "secret-type rot13"), "of a type that is not known"),
        (("secret 0A0b", "secret 0A0"), "is no hex"),
        (("secret dHdvIHdvcmRz", "secret dHdvIHdvcmRz!"), "is no base64"),
        (("loopback lo {\n    }", "loopback lo {\n    }\n}\n}\n}"), "a brace that closes nothing"),
        (("    l2tp {", "    l2tp { {"), "no node of a configuration"),
        (('secret "two words"', 'secret "two words'), "no node of a configuration"),
        (("// vyos", "left {\n// vyos"), "the node has no end"),
    ],
)
def test_mistakes_in_config_boot_are_told_and_quote_nothing(
    change: tuple[str, str], said: str
) -> None:
    assert change[0] in BOOT
    parsed = vyos.parse(Source("/config/config.boot", BOOT.replace(*change)))
    messages = [each.message for each in parsed.problems]
    assert any(said in each for each in messages)
    assert not any("words" in each or "0A0" in each or "dHdv" in each for each in messages)
    assert len(parsed.entries) >= 5 or "brace" in said


@pytest.mark.parametrize("line", ['a{}"', 'a{}"b', '{}"', "a {}{{", '"a" {}"', 'a"{}"'])
@pytest.mark.parametrize("blank", [" ", "\t", "\\", " a"])
def test_no_line_of_config_boot_is_tried_in_many_ways(line: str, blank: str) -> None:
    """It took minutes, in which no other thread ran."""
    text = line.replace("{}", blank * 100_000).replace("{{", "{")
    assert len(vyos.parse(Source("/x", text)).problems) <= 2


def test_the_key_of_a_dmvpn_is_everybodys() -> None:
    profile = "profile nhrp {\n authentication {\n pre-shared-secret hub\n}\n}\n"
    [entry] = vyos.parse(Source("/x", f"vpn {{\n ipsec {{\n {profile} }}\n}}\n")).entries
    assert (entry.name, [str(each) for each in entry.owners]) == ("nhrp", ["%any"])


def test_config_xml() -> None:
    parsed = firewall.parse(Source("/conf/config.xml", XML))
    assert parsed.problems == ()
    assert told(parsed) == [
        ("psk", ["dns:anna"], b"annas", 3, ""),
        ("psk", ["dns:gw3.example.com"], b"a & b", 11, "Lyon & more"),
        ("psk", ["%any"], b"mobile", 14, ""),
        ("user", ["keyid:carl"], b"carls", 15, ""),
        ("psk", ["dns:gw1"], b"k1", 18, ""),
        ("user", ["keyid:dora"], b"k2", 19, ""),
    ]


def test_private_keys_in_the_systems_own_files() -> None:
    key = base64.b64encode(b"DER").decode()
    nodes = f"certificate gw {{\n certificate AAAA\n private {{\n key {key}\n}}\n}}\n"
    boot = f"pki {{\n {nodes} ca x {{\n private {{\n key no-base64\n}}\n}}\n}}\n"
    [(place, octets)] = vyos.keys(Source("/config/config.boot", boot))
    assert (place.line, octets) == (5, b"DER")
    pem = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    coded = base64.b64encode(pem).decode()
    pair = f"<keyPair><privateKey>{pem.decode()}</privateKey></keyPair>"
    text = (
        f"<opnsense>\n<cert><prv>{coded}</prv></cert>\n<ca><prv/></ca><ca><prv>{coded}</prv></ca>\n"
        f"<OPNsense><IPsec><keyPairs>{pair}</keyPairs></IPsec></OPNsense></opnsense>"
    )
    found = firewall.keys(Source("/conf/config.xml", text))
    assert [(place.line, octets.strip()) for place, octets in found] == [
        (2, pem.strip()),
        (3, pem.strip()),
        (4, pem.strip()),
    ]
    assert firewall.parse(Source("/conf/config.xml", text)).entries == ()
    assert len(firewall.keys(Source("/conf/config.xml", text[:-20]))) == 3


def test_config_xml_that_ends_early_gives_what_was_read() -> None:
    parsed = firewall.parse(Source("/conf/config.xml", XML[: XML.index("<mobilekey>")]))
    assert [each.value.reveal() for each in parsed.entries] == [b"annas", b"a & b"]
    [problem] = parsed.problems
    assert "not well formed" in problem.message


def test_entities_are_not_replaced() -> None:
    bomb = '<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><a>&d;</a>'
    [problem] = firewall.parse(Source("/conf/config.xml", bomb)).problems
    assert "declares entities" in problem.message
    outside = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/shadow">]><a>&b;</a>'
    assert firewall.parse(Source("/conf/config.xml", outside)).problems


def test_elements_within_elements_without_an_end_are_not_read_on() -> None:
    [problem] = firewall.parse(Source("/conf/config.xml", "<a>" * 200)).problems
    assert problem.message == "the XML is nested too deeply: not read on"
    assert problem.place.line == 1


def test_keys_of_racoon() -> None:
    parsed = racoon.parse(Source("/etc/racoon/psk.txt", PSKS))
    assert told(parsed) == [
        ("psk", ["ip:192.0.2.9"], b"the key with spaces", 3, ""),
        ("psk", ["%any"], b"\n\x0b", 4, ""),
        ("psk", ["email:anna@example.com"], b"x", 5, ""),
    ]
    assert [(each.place.line, each.message) for each in parsed.problems] == [
        (6, "the value after 0x is not pairs of hexadecimal digits"),
        (7, "an identity without a key"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[vpn]\naddress=192.0.2.1\nmethod=psk\n[vpn-secrets]\npassword=key\n",
            [("psk", ["ip:192.0.2.1"], b"key", 5, "password")],
        ),
        (
            "[vpn]\naddress=gw.example\nmethod=eap\nuser=anna\n[vpn-secrets]\npassword=hers\n",
            [("user", ["keyid:anna"], b"hers", 6, "password")],
        ),
        (
            "[vpn]\nmethod=key\n[vpn-secrets]\npassword=of the key\n",
            [("passphrase", [], b"of the key", 4, "password")],
        ),
        (
            "[vpn]\nright=192.0.2.1\nleftusername=anna\n[vpn-secrets]\npskvalue=group\nxauthpassword=hers\n",
            [
                ("psk", ["ip:192.0.2.1"], b"group", 5, "pskvalue"),
                ("user", ["keyid:anna"], b"hers", 6, "xauthpassword"),
            ],
        ),
        (
            f"[vpn]\ngateway=gw.example\nipsec-psk=0s{base64.b64encode(b'l2tp').decode()}\nuser=anna\n",
            [("psk", ["dns:gw.example"], b"l2tp", 3, "ipsec-psk")],
        ),
        ("[vpn]\nright=192.0.2.1\npskvalue-flags=1\n[vpn-secrets]\npskvalue=\n", []),
        ("[ipsec]\npskvalue=of something else\n", []),
    ],
)
def test_keyfiles_of_networkmanager(text: str, expected: list[object]) -> None:
    parsed = networkmanager.parse(Source("/etc/x.nmconnection", text))
    assert told(parsed) == expected
    assert parsed.problems == ()


_TEXTS = st.text(st.sampled_from('ab {}\n"\\<>/&;[]=#0x*vpn ipsec psk secret\udcff\0')) | st.text()


@pytest.mark.parametrize("parse", [vyos.parse, firewall.parse, racoon.parse, networkmanager.parse])
@given(text=_TEXTS)
def test_nothing_makes_them_stumble(parse: Callable[[Source], Parsed], text: str) -> None:
    parsed = parse(Source("/x", text))
    assert all(each.place.line >= 0 and each.kind in Kind for each in parsed.entries)
    assert len(parsed.problems) <= 20


@given(value=st.text(min_size=1).map(lambda text: text.replace("\n", "").replace("\r", "")))
def test_a_quoted_value_of_vyos_comes_back(value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    text = f'vpn {{\n ipsec {{\n authentication {{\n psk x {{\n secret "{quoted}"\n}}\n}}\n}}\n}}\n'
    [entry] = vyos.parse(Source("/x", text)).entries
    assert entry.value.reveal() == value.encode()


# What stands where an identity belongs may be the secret itself.
MISPLACED = "S3cret!Key#2024"
NM = """\
[vpn]
gateway={gateway}
user={user}
[vpn-secrets]
psk=the value
password=of a user
"""
VYOS = """\
vpn {{
    ipsec {{
        authentication {{
            psk site-b {{
                {id}
                secret "value"
            }}
        }}
        site-to-site {{
            peer {peer} {{
                authentication {{
                    {remote}
                    pre-shared-secret other
                }}
            }}
        }}
        remote-access {{
            connection rw {{
                authentication {{
                    local-users {{
                        username {user} {{
                            password third
                        }}
                    }}
                }}
            }}
        }}
    }}
}}
"""
VYOS_GOOD = {"id": "id gw2", "peer": "gw3", "remote": "mode x", "user": "anna"}


@pytest.mark.parametrize(
    "line",
    [
        f"{MISPLACED} 192.0.2.1",
        f"{MISPLACED} gw2.example.com",
        "S3cretKey2024 192.0.2.1",
        "S3cretKey2024\t2001:db8::1  # oslo",
        "S3cretKey2024 gw2.example.com",
        "S3cret@Key2024 192.0.2.1",
        "C=CH,S3cret=Key=2024 value",
    ],
)
def test_racoons_columns_that_are_swapped_show_no_secret(line: str) -> None:
    parsed = racoon.parse(Source("/x", f"{line}\n192.0.2.9 another value\n"))
    assert len(parsed.entries) == 1
    [problem] = parsed.problems
    assert problem.place.line == 1
    assert "s3cret" not in repr(parsed).lower()


@pytest.mark.parametrize(
    "line",
    ["192.0.2.1 gw2.example.com", "gw2 a.b", "gw2.example.com x.example.com", "* 192.0.2.1", "a b"],
)
def test_racoons_lines_that_only_look_swapped(line: str) -> None:
    parsed = racoon.parse(Source("/x", line))
    assert len(parsed.entries) == 1
    assert not parsed.problems


def test_networkmanagers_misplaced_secrets_are_not_shown() -> None:
    for text in ({"gateway": MISPLACED, "user": "anna"}, {"gateway": "gw2", "user": "S3cret =x"}):
        parsed = networkmanager.parse(Source("/x", NM.format(**text)))
        assert "s3cret" not in repr(parsed).lower()
        assert [each.message for each in parsed.problems] == [
            "what stands as an identity cannot be one"
        ]
    assert not networkmanager.parse(Source("/x", NM.format(gateway="gw2", user="anna"))).problems


@pytest.mark.parametrize(
    "changed",
    [
        {"id": f'id "{MISPLACED}"'},
        {"id": "id gw2\n id 0sS3cret"},
        {"peer": MISPLACED},
        {"peer": MISPLACED, "remote": "remote-id gw3"},
        {"remote": f'remote-id "{MISPLACED}"'},
        {"remote": f'local-id "{MISPLACED}"'},
        {"user": '"S3cret =x"'},
    ],
)
def test_vyos_misplaced_secrets_are_not_shown(changed: dict[str, str]) -> None:
    parsed = vyos.parse(Source("/x", VYOS.format(**VYOS_GOOD)))
    assert len(parsed.entries) == 3
    assert not parsed.problems
    parsed = vyos.parse(Source("/x", VYOS.format(**(VYOS_GOOD | changed))))
    assert "s3cret" not in repr(parsed).lower()
    assert len(parsed.entries) >= 2


@pytest.mark.parametrize("end", ["S3cret!Key#2024 with words", "S3cret!Key#2024"])
def test_a_secret_in_the_place_of_an_identity_is_not_shown_by_a_firewall(end: str) -> None:
    text = (
        "<opnsense><OPNsense><IPsec><preSharedKeys><preSharedKey>"
        f"<ident>{end}</ident><remote_ident>192.0.2.9</remote_ident><Key>x</Key>"
        "</preSharedKey></preSharedKeys></IPsec></OPNsense></opnsense>"
    )
    parsed = firewall.parse(Source("/conf/config.xml", text))
    assert not parsed.entries
    assert [each.message for each in parsed.problems] == [
        "what stands as the key's owner is no identity"
    ]
