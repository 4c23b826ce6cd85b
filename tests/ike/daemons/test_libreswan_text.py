"""Libreswan's words as values, and connections as its sections: no daemon needed."""

from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from core.secret import Secret
from ike.daemons.libreswan import sections, status
from ike.daemons.libreswan.secretsfile import Entry
from ike.daemons.port import Child, Connection, ConnectionInvalid
from tests.lab.handmade import Authority

# pluto 4.10 with ESP of a kernel; an instance of a connection for any peer, from another one.
_SAMPLES = Path(__file__).parent / "samples"
STATUS = (_SAMPLES / "pluto-status.txt").read_text()
KEYS = (_SAMPLES / "pluto-keys.txt").read_text()
TRAFFIC = "006 #2: \"tunnel\", type=ESP, add_time=0, inBytes=2520, outBytes=3276, maxBytes=2^63B, id='@b'\n"


def test_status_as_values() -> None:
    now = status.parse(STATUS)
    assert now.version == "4.10"
    assert now.settings == {"crl-strict": "no", "crlcheckinterval": "3600"}
    assert now.names == {"tunnel", "any", "six", "host"}
    tunnel, _, instance, six, host = now.conns
    assert (tunnel.local_net, tunnel.local_address) == ("10.2.0.0/24", "192.0.2.2")
    assert (tunnel.remote_address, tunnel.remote_net) == ("192.0.2.1", "10.1.0.0/24")
    assert (tunnel.local_id, tunnel.remote_id) == ("@right.lab.test", "@left.lab.test")
    assert (tunnel.certificate, tunnel.algorithms) == ("own", "AES_CBC_256-HMAC_SHA2_256-DH31")
    assert (instance.instance, instance.remote_id) == (5, "C=DE, O=A; B, CN=b.lab.test")
    assert (six.local_net, six.remote_address) == ("2001:db8:1::/48", "2001:db8::2")
    assert (host.local_net, host.remote_address, host.remote_net) == ("", "192.0.2.9", "")


def test_states_as_values() -> None:
    now = status.parse(STATUS)
    ike, child, half_open, leaving = now.states
    assert (ike.number, ike.child, ike.established) == (1, False, True)
    assert (child.parent, child.spi_in, child.spi_out) == (1, "fe707589", "cf5995b3")
    assert (half_open.instance, half_open.peer, half_open.established) == (5, "192.0.2.3", False)
    conn = now.conn_of(half_open)
    assert conn is not None
    assert conn.remote_id.endswith("CN=b.lab.test")
    assert (leaving.number, leaving.established) == (11, False)
    assert status.traffic(TRAFFIC) == {2: (2520, 3276)}
    assert status.used_keys(KEYS) == {status.UsedKey("AwEAAdk+U", "Dec 08 22:13:19 UTC 2026")}


@given(st.text(max_size=400), st.integers(0, len(STATUS)))
def test_no_words_of_pluto_break_the_parser(rubbish: str, cut: int) -> None:
    for text in (rubbish, STATUS[:cut] + rubbish, STATUS[:cut] + rubbish + STATUS[cut:]):
        status.parse(text)
        status.traffic(text)
        status.used_keys(text)
        status.secrets(text)


CA = Authority("Lab Root").certificate
AROUND = sections.Around("ikewarden", "ecdsa", {"aa": CA})


def connection(**changes: object) -> Connection:
    values: dict[str, object] = {
        "name": "site",
        "local_addresses": ("192.0.2.1",),
        "remote_addresses": ("192.0.2.2",),
        "local_id": "dns:a.example",
        "remote_id": "dn:CN=b,O=Lab",
        "remote_authority": "aa",
        "children": (Child("net", ("10.1.0.0/24",), ("10.2.0.0/24",)),),
    }
    return Connection(**{**values, **changes})  # type: ignore[arg-type]


def settings(text: str, conn: str = "site") -> dict[str, str]:
    (block,) = [each for each in text.split("\nconn ") if each.startswith(f"{conn}\n")]
    lines = [line for line in block.splitlines() if line.startswith("\t")]
    return dict(line.strip().split("=", 1) for line in lines)


def test_a_connection_as_a_section() -> None:
    made = settings(sections.render(connection(), AROUND))
    assert made == {
        "left": "192.0.2.1",
        "right": "192.0.2.2",
        "leftid": "@a.example",
        "rightid": '"O=Lab, CN=b"',
        "leftcert": "ikewarden",
        "leftsendcert": "always",
        "sendca": "all",
        "rightca": '"CN=Lab Root"',
        "leftsubnet": "10.1.0.0/24",
        "rightsubnet": "10.2.0.0/24",
        "authby": "ecdsa",
        "ikev2": "insist",
        "auto": "add",
    }


def accepted(*names: str, **known: Authority) -> str | None:
    """`rightca` of a connection whose peer may be of these authorities."""
    around = sections.Around(
        "ikewarden", "ecdsa", {name: each.certificate for name, each in known.items()}
    )
    wanted = connection(remote_authority=names[0], more_authorities=names[1:])
    return settings(sections.render(wanted, around)).get("rightca")


def test_the_peer_may_be_of_several_authorities() -> None:
    root, other = Authority("Lab Root"), Authority("Other Root")
    old, same = (Authority("Issuing", root, serial=serial) for serial in (2, 3))
    new = Authority("Issuing 2", root, serial=4)
    below = Authority("Below", old, serial=5)
    known = {"root": root, "other": other, "old": old, "same": same, "new": new, "below": below}
    assert accepted("old", **known) == '"CN=Issuing"'
    assert accepted("old", "same", **known) == '"CN=Issuing"'
    assert accepted("old", "new", **known) == '"CN=Lab Root"'
    assert accepted("old", "new", old=old, new=new) == '"CN=Lab Root"'
    assert accepted("below", "new", **known) == '"CN=Lab Root"'
    assert accepted("below", "old", **known) == '"CN=Issuing"'
    assert accepted("old", "root", **known) == '"CN=Lab Root"'
    # Nothing is above both: all that pluto knows may come.
    assert accepted("old", "other", **known) is None
    # One that is not there yet counts when it is.
    assert accepted("old", "new", root=root, old=old) == '"CN=Issuing"'


def test_of_what_is_recorded_pluto_sees_nothing() -> None:
    around = sections.Around("ikewarden", "ecdsa", {"aa": CA, "bb": CA})
    both = connection(more_authorities=("bb",))
    texts = [sections.render(each, around) for each in (connection(), both)]
    assert texts[0] != texts[1]
    assert sections.parse(texts[1]) == (both,)
    assert sections.for_pluto(texts[0]) == sections.for_pluto(texts[1])


def test_children_and_networks() -> None:
    one = Child("one", ("10.1.0.0/24", "10.1.1.0/24"), ("10.2.0.0/24",), start_action="start")
    two = Child("two", ("10.1.9.1/24",), ("10.2.0.0/24",), start_action="trap")
    made = connection(children=(one, two))
    text = sections.render(made, AROUND)
    assert settings(text, "site.one")["leftsubnets"] == "{10.1.0.0/24 10.1.1.0/24}"
    assert settings(text, "site.one")["auto"] == "start"
    assert settings(text, "site.two")["leftsubnet"] == "10.1.9.0/24"
    assert settings(text, "site.two")["auto"] == "ondemand"
    assert sections.parse(sections.HEAD + text) == (made,)
    assert sections.name_of("site.one/2x1", [made]) == "site"
    assert sections.name_of("theirs/1x1", [made]) == "theirs"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("aes256gcm16-prfsha384-ecp384", "aes_gcm256-sha2_384-dh20"),
        ("aes256-sha256-modp2048", "aes256-sha2_256-dh14"),
        ("aes128gcm16-aes256gcm16-prfsha256-x25519", "aes_gcm128+aes_gcm256-sha2_256-dh31"),
    ],
)
def test_proposals(ours: str, theirs: str) -> None:
    assert settings(sections.render(connection(proposals=(ours,)), AROUND))["ike"] == theirs


def test_proposals_of_a_child() -> None:
    child = Child(
        "net", ("10.1.0.0/24",), ("10.2.0.0/24",), ("aes256gcm16-x25519", "aes256-sha256")
    )
    made = settings(sections.render(connection(children=(child,)), AROUND))
    assert made["esp"] == "aes_gcm256;dh31,aes256-sha2_256"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"proposals": ("serpent256-sha256-modp2048",)}, "serpent256"),
        ({"proposals": ("sha256-modp2048",)}, "no cipher"),
        ({"remote_addresses": ("192.0.2.2", "192.0.2.3")}, "one address"),
        ({"local_id": "dn:not a name"}, "no distinguished name"),
    ],
)
def test_what_libreswan_cannot_do_is_said(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConnectionInvalid, match=words):
        sections.render(connection(**changes), AROUND)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("dns:gw.example", "@gw.example"),
        ("ip:192.0.2.7", "192.0.2.7"),
        ("ip:2001:db8::7", "2001:db8::7"),
        ("email:a@b.example", "a@b.example"),
    ],
)
def test_identities(text: str, written: str) -> None:
    assert sections.identity(text) == written


def test_a_file_of_another_hand_is_read_as_far_as_it_goes() -> None:
    good = sections.render(connection(), AROUND)
    broken = "# ikewarden: {\n# ikewarden: []\n# ikewarden: {}\nconn x\n\tleft=1\n"
    assert sections.parse(broken + good) == (connection(),)


def test_authentication_goes_by_our_own_key() -> None:
    root = Authority("Root")
    for algorithm, methods in (("ec-p384", "ecdsa"), ("rsa-3072", "rsasig,ecdsa")):
        leaf: x509.Certificate = root.leaf("a", serial=7, algorithm=algorithm).certificate
        assert sections.methods_for(leaf) == methods
    assert sections.methods_for(None) == "rsasig,ecdsa"


# shared secrets


def test_a_connection_by_a_shared_secret() -> None:
    made = settings(sections.render(connection(authentication="psk", ppk="required"), AROUND))
    assert not {"leftcert", "leftsendcert", "sendca", "rightca"} & made.keys()
    assert (made["authby"], made["ikev2"], made["ppk"]) == ("secret", "insist", "insist")
    preferred = connection(authentication="psk", ppk="preferred", remote_authority=None)
    assert settings(sections.render(preferred, AROUND))["ppk"] == "propose"
    old = connection(authentication="psk", ike_version=1)
    assert settings(sections.render(old, AROUND))["ikev2"] == "no"
    for each in (preferred, old):
        assert sections.parse(sections.render(each, AROUND)) == (each,)


def test_what_came_later_does_not_change_the_text_of_what_there_was() -> None:
    """Else pluto would load every connection anew, and end its SAs, when the agent is replaced by a newer one."""
    text = sections.render(connection(), AROUND)
    assert not any(word in text for word in ("authentication", "ike_version", "ppk"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"authentication": "eap"}, "authentication by eap"),
        ({"ike_version": 3}, "IKE version 3"),
        ({"ppk": "perhaps"}, "PPK perhaps"),
        ({"ppk": "preferred", "ike_version": 1, "authentication": "psk"}, "a PPK with IKEv1"),
        ({"ike_version": 1}, "IKEv1 with an ECDSA certificate"),
    ],
)
def test_what_libreswan_does_not_know_is_said(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConnectionInvalid, match=words):
        sections.render(connection(**changes), AROUND)


def test_rsa_is_left_for_version_1() -> None:
    around = sections.Around("ikewarden", "rsasig,ecdsa", {"aa": CA})
    assert settings(sections.render(connection(ike_version=1), around))["authby"] == "rsasig"


LISTING = """000
000 List of Pre-shared secrets (from /etc/ipsec.secrets)
000
000     7: XAUTH 127.0.0.1
000     5: PSK 192.0.2.9 C=DE, CN=foo
000     3: PSK @z @gw-a.example more
000     1: PSK @gw-b.example @gw-a.example
000     0: RSA (none) (none)
000        ckaid: 4cf23615fe13afe54fb3fa93ae14f6aa95b959c6
"""


def test_the_secrets_that_pluto_lists() -> None:
    listing = status.secrets(LISTING)
    assert listing.root == "/etc/ipsec.secrets"

    def listed(line: int, *ids: str) -> bool:
        return listing.has(Entry("f", line, "psk", ids, Secret(b"x")))

    assert listed(1, "@GW-a.example", "@gw-b.example")
    assert listed(5, "CN=foo, C=DE", "192.0.2.9")
    assert not listed(2, "@gw-a.example", "@gw-b.example")
    assert not listed(1, "@gw-a.example", "@gw-c.example")
    assert not status.secrets("").root


VERSION_1 = """000 #9: "v1":500 STATE_MAIN_I4 (IKE SA established); REPLACE in 27921s; newest; lastdpd=-1s; idle;
000 #10: "v1":500 STATE_QUICK_I1 (sent Quick Mode request); RETRANSMIT in 3s; lastdpd=-1s; idle;
"""


def test_states_of_version_1() -> None:
    ike, quick = status.parse(VERSION_1).states
    assert (ike.version, ike.established, ike.child) == (1, True, False)
    assert (quick.version, quick.established, quick.child) == (1, False, True)
