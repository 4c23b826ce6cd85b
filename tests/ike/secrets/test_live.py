"""The parsers and the ranking beside the daemons: the same files, the same identities, the same key that signs."""

import contextlib
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ike.secrets import identities, ipsec_conf, ipsec_secrets, swanctl_conf
from ike.secrets.ranking import Keyring
from ike.secrets.reading import read
from ike.secrets.tree import Tree
from ike.secrets.values import Dialect, Entry, Kind, Source
from tests.lab import Gateway, Lab, LabError, Pluto

SAMPLES = Path(__file__).parent / "samples"
_LISTED = re.compile(r"^000 +(\d+): (\w+) (.*)$", re.MULTILINE)
ODD = r"""
secrets {
  ike-one { id = x1
    secret = abc }
  ike-two : defaults { id-2 = two.example }
  ike-three
  {
    id = fqdn:gw.example
    id-b = "@#6162"
    id-c = "C=CH, O=x y, CN=gw"
    secret = "multi\
line # no remark" # a remark
  }
  ike-four { id = ip4
    secret = 0X61:62 }
  ppk-a { id = ppk1
    secret = 0sYWJj }
  xauth-b { id = dave
    secret = "x" }
  token-c { pin = 1 }
}
defaults { secret = "from defaults"
  id = base.example }
connections {
  one : site, more.inner { remote_addrs = 192.0.2.9
  }
}
connections { one { remote { id = you.example } } }
site { version = 1
  local { auth = psk
    id = me.example } }
more { inner { remote { auth = psk
  id = not.this } } }
"""
ODD_SECRETS = r"""
@a1 @b1 : PSK "one#two"
@a2
  @b2 : PSK

  # a remark
  'single'
192.0.2.1 %any: PSK 0x6162_6364
: PSK 0sYWJjZA==
@#6162 "C=CH, O=x, CN=gw" : PSK 0tsome text # no remark
@u1 : XAUTH "password"
@a3 @b3 : PPKS "id1" 0x6162636465666768
@[text] carol@example.com : psk "key word"
2001:db8::1 @v6 : PSK "six words or so"
@q1 : PSK unquoted
@q2 : PSK 0x616
@q3 : PSK "one" two
@q4 : PSK 0sYWJjZA
@q5 : PSK `a word`
@q6 : PSK `0x6162`
 @indented : PSK "not a record of its own"
@last : PSK "unterminated
"""


@pytest.fixture
def charon(lab: Lab) -> Gateway:
    return lab.gateway("gw-a")


@pytest.fixture
def pluto(needs_pluto: None, lab: Lab) -> Pluto:
    return lab.pluto("gw-a")


def loaded(charon: Gateway, folder: Path | None, text: str = "") -> list[str]:
    """The ids of the secrets that charon has from these files, the last one first."""
    target = charon.swanctl_folder
    if folder is not None:
        shutil.copytree(folder, target, dirs_exist_ok=True)
    else:
        (target / "swanctl.conf").write_text(text)
    charon.swanctl("--load-creds", "--clear", "--noprompt")
    with charon.session() as session:
        return [name.decode() for name in session.get_shared().get("keys", [])]


@pytest.mark.parametrize(
    "folder",
    [
        "vyos/etc/swanctl",
        "opnsense/usr/local/etc/swanctl",
        "pfsense/var/etc/ipsec",
        "debian/etc/swanctl",
    ],
)
def test_charon_loads_the_secrets_that_are_read(charon: Gateway, folder: str) -> None:
    names = loaded(charon, SAMPLES / folder)
    found = read(Tree(charon.swanctl_folder), ["/swanctl.conf"])
    assert not found.problems
    assert names[::-1] == [entry.name for entry in found.entries]
    charon.swanctl("--load-conns")
    live = connections(charon)
    assert {each.name for each in found.connections} >= live.keys()
    for each in found.connections:
        assert not each.psk or live[each.name] == ends(each)


def test_charon_reads_odd_settings_alike(charon: Gateway) -> None:
    names = loaded(charon, None, ODD)
    parsed = swanctl_conf.parse(Source("swanctl.conf", ODD))
    assert not parsed.problems
    # A token's PIN is no shared secret.
    assert names[::-1] == [each.name for each in parsed.entries if each.kind is not Kind.PIN]
    charon.swanctl("--load-conns")
    assert connections(charon) == {each.name: ends(each) for each in parsed.connections}


def connections(charon: Gateway) -> dict[str, tuple[str, str, str]]:
    """Version, local and remote identity of each connection of charon's."""
    with charon.session() as session:
        listed = [dict(each) for each in session.list_conns()]
    return {
        name: (
            connection["version"].decode(),
            *(
                _id(next(part for key, part in connection.items() if key.startswith(side)))
                for side in ("local-", "remote-")
            ),
        )
        for each in listed
        for name, connection in each.items()
        if any(key.startswith("local-") for key in connection)
    }


def _id(part: dict[str, bytes]) -> str:
    return part.get("id", b"%any").decode()


def ends(connection: "ipsec_conf.Connection") -> tuple[str, str, str]:
    version = {(1,): "IKEv1", (2,): "IKEv2"}.get(connection.versions, "IKEv1/2")
    both = (connection.local.identity, connection.remote.identity)
    return (version, *("%any" if each is None else each.value for each in both))  # type: ignore[return-value]


def listed(pluto: Pluto) -> set[tuple[int, str, frozenset[str]]]:
    """Line, kind and owners of the secrets that pluto has."""
    text = pluto.whack("--listpsks").text
    return {
        (int(match[1]), match[2], _owners(match[3]))
        for match in _LISTED.finditer(text)
        if match[2] != "RSA"
    }


def _owners(text: str) -> frozenset[str]:
    """`C=CH, O=x, CN=gw @#0x6162`, as identities."""
    if text == "(none) (none)":
        return frozenset()
    words = re.findall(r"[A-Z]+=.*?(?= @|$)|\S+", text)
    return frozenset(str(identities.libreswan(word)) for word in words)


def as_listed(entries: Sequence[Entry]) -> set[tuple[int, str, frozenset[str]]]:
    kinds = {Kind.PSK: "PSK", Kind.USER: "XAUTH"}
    return {
        (entry.place.line, kinds[entry.kind], frozenset(map(str, entry.owners)))
        for entry in entries
        if entry.kind in kinds  # PPKs are not listed
    }


def test_pluto_loads_the_secrets_that_are_read(pluto: Pluto) -> None:
    folder = SAMPLES / "libreswan/etc/ipsec.d"
    for path in folder.glob("*.secrets"):
        shutil.copy(path, pluto.directory / "ipsec.d")
    pluto.write_secrets("include ipsec.d/*.secrets")
    pluto.whack("--rereadsecrets")
    found = read(Tree(pluto.directory), ["/ipsec.secrets"], dialect=Dialect.LIBRESWAN)
    assert not found.problems
    assert len(found.entries) == 5
    assert listed(pluto) == as_listed(found.entries)


def test_pluto_reads_odd_secrets_alike(pluto: Pluto) -> None:
    pluto.write_secrets(ODD_SECRETS)
    said = pluto.whack("--rereadsecrets").text
    text = (pluto.directory / "ipsec.secrets").read_text()
    parsed = ipsec_secrets.parse(Source("x", text), Dialect.LIBRESWAN)
    assert listed(pluto) == as_listed(parsed.entries)
    assert "malformed" in said
    assert len(parsed.problems) == 7


def test_pluto_reads_connections_alike(pluto: Pluto) -> None:
    for name in ("lyon", "nantes"):
        shutil.copy(SAMPLES / "libreswan/etc/ipsec.d/lyon.conf", pluto.connections / "lyon.conf")
        pluto.load(name)
    status = pluto.whack("--status").text
    source = Source("lyon.conf", (pluto.connections / "lyon.conf").read_text())
    for each in ipsec_conf.parse(source, Dialect.LIBRESWAN).connections:
        if each.psk:
            assert each.remote.identity is not None
            assert f"[@{each.remote.identity.value}" in status
            assert re.search(rf'"{each.name}".*policy: IKEv2\+PSK', status)


# Owners and value, in the order of the files; gw-b proves itself by "right" and takes nothing else.
CHARON: Sequence[list[tuple[str, str]]] = (
    [("gw-b", "wrong"), ("gw-b", "right")],
    [("gw-a gw-b", "right"), ("gw-b", "wrong")],
    [("gw-b", "right"), ("", "wrong")],
    [("%any", "right"), ("gw-a", "wrong")],
    [("gw-a", "right"), ("other", "wrong")],
)
PLUTO: Sequence[list[tuple[str, str]]] = (
    [("@gw-a @gw-b", "right"), ("@gw-b @gw-a", "wrong")],
    [("", "wrong"), ("@gw-a @gw-b", "right")],
    [("%any @gw-a", "right"), ("@gw-a", "wrong")],
    [("@gw-a", "right"), ("@gw-a @other", "wrong")],
)


def test_charon_proves_itself_by_the_key_that_is_ranked_first(lab: Lab, charon: Gateway) -> None:
    peer = lab.gateway("gw-b")
    settle(peer, "gw-b", "gw-a", charon.outside)
    secrets(peer, [("gw-a", "right")])
    settle(charon, "gw-a", "gw-b", peer.outside)
    for given in CHARON:
        text = secrets(charon, given)
        found = swanctl_conf.parse(Source("swanctl.conf", text))
        first = Keyring(found.entries).answer(found.connections[0]).first
        assert first is not None
        assert first.value.reveal() == b"right"
        with up(charon, peer):
            pass


def settle(charon: Gateway, own: str, other: str, address: str) -> None:
    (charon.swanctl_folder / "conns.conf").write_text(
        f"connections {{ tunnel {{ version = 2\n childless = force\n"
        f" local_addrs = {charon.outside}\n remote_addrs = {address}\n"
        f" local {{ auth = psk\n id = {own} }}\n remote {{ auth = psk\n id = {other} }}\n}} }}\n"
    )


def secrets(charon: Gateway, given: Sequence[tuple[str, str]]) -> str:
    sections = []
    for number, (owners, value) in enumerate(given):
        ids = "".join(f" id{at} = {owner}\n" for at, owner in enumerate(owners.split()))
        sections.append(f"ike-{number} {{\n{ids} secret = {value}\n}}\n")
    text = (
        charon.swanctl_folder / "conns.conf"
    ).read_text() + f"secrets {{ {''.join(sections)} }}\n"
    (charon.swanctl_folder / "swanctl.conf").write_text(text)
    charon.swanctl("--load-creds", "--clear", "--noprompt")
    charon.swanctl("--load-conns")
    return text


@contextlib.contextmanager
def up(charon: Gateway, peer: Gateway) -> Iterator[None]:
    """The tunnel, authenticated; raises where it is refused."""
    # No time limits of charon's own: under a clock that is moved it waits for their end.
    said = charon.swanctl("--initiate", "--ike", "tunnel", "--timeout", "0", check=False)
    try:
        assert "initiate completed successfully" in said, said
        yield
    finally:
        for each in (charon, peer):
            each.swanctl("--terminate", "--ike", "tunnel", "--timeout", "0", "--force", check=False)


def test_pluto_proves_itself_by_the_key_that_is_ranked_first(lab: Lab, pluto: Pluto) -> None:
    peer = lab.gateway("gw-b")
    settle(peer, "gw-b", "gw-a", pluto.outside)
    (path := peer.swanctl_folder / "conns.conf").write_text(
        path.read_text().replace("childless = force", "childless = allow")
    )
    secrets(peer, [("gw-a", "right-and-longer")])
    section = {
        "left": pluto.outside,
        "leftid": "@gw-a",
        "right": peer.outside,
        "rightid": "@gw-b",
        "authby": "secret",
        "ikev2": "insist",
        "auto": "add",
    }
    pluto.add_connection_file("tunnel", section)
    pluto.childless()
    source = Source("x", (pluto.connections / "tunnel.conf").read_text())
    [connection] = ipsec_conf.parse(source, Dialect.LIBRESWAN).connections
    for given in PLUTO:
        lines = [f'{owners} : PSK "{value}-and-longer"' for owners, value in given]
        pluto.write_secrets(*(line.lstrip() for line in lines))
        pluto.whack("--rereadsecrets")
        text = Source("x", (pluto.directory / "ipsec.secrets").read_text())
        entries = ipsec_secrets.parse(text, Dialect.LIBRESWAN).entries
        first = Keyring(entries).answer(connection).first
        assert first is not None
        assert first.value.reveal() == b"right-and-longer"
        pluto.load("tunnel")
        pluto.initiate("tunnel")
        pluto.terminate("tunnel")
        with contextlib.suppress(LabError):
            peer.terminate("tunnel", force=True)
        pluto.wait_until("tunnel", up=False)
