"""From files to what stands in them: includes, links, what must not be opened, and the layouts of real systems."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ike.secrets.reading import Found, read
from ike.secrets.tree import MAX_OCTETS, Tree
from ike.secrets.values import Dialect, Kind

SAMPLES = Path(__file__).parent / "samples"
PSK = '@gw{0} : PSK "value {0}"\n'


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file below the root."""

    def put(name: str, content: str | bytes = "") -> Path:
        path = tmp_path / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return put


def look(root: Path, *paths: str, dialect: Dialect = Dialect.LIBRESWAN) -> Found:
    return read(Tree(root), paths, dialect=dialect)


def owners(found: Found) -> list[str]:
    return [str(entry.owners[0]) for entry in found.entries]


def told(found: Found) -> list[tuple[str, str]]:
    return [(problem.place.path, problem.message) for problem in found.problems]


@pytest.mark.parametrize("dialect", Dialect)
def test_includes_with_globs_relative_and_nested(
    write: Callable[..., Path], tmp_path: Path, dialect: Dialect
) -> None:
    write("/etc/ipsec.secrets", "include ipsec.d/*.secrets\n" + PSK.format(9))
    write("/etc/ipsec.d/b.secrets", PSK.format(2))
    write("/etc/ipsec.d/a.secrets", PSK.format(1) + "include more/c.secrets\n")
    write("/etc/ipsec.d/more/c.secrets", PSK.format(3))
    write("/etc/ipsec.d/.hidden.secrets", PSK.format(4))
    write("/etc/ipsec.d/a.secrets.bak", PSK.format(5))
    found = look(tmp_path, dialect=dialect)
    assert owners(found) == ["dns:gw1", "dns:gw3", "dns:gw2", "dns:gw9"]
    assert not found.problems
    assert set(found.changed) == {
        "/etc/ipsec.secrets",
        "/etc/ipsec.d/a.secrets",
        "/etc/ipsec.d/b.secrets",
        "/etc/ipsec.d/more/c.secrets",
    }


def test_includes_that_go_in_circles_or_nowhere(write: Callable[..., Path], tmp_path: Path) -> None:
    write("/etc/ipsec.secrets", "include /etc/a.secrets\ninclude gone.secrets\ninclude none*\n")
    write("/etc/a.secrets", PSK.format(1) + "include b.secrets\ninclude a.secrets\n")
    write("/etc/b.secrets", PSK.format(2) + "include ipsec.secrets\n")
    found = look(tmp_path)
    assert owners(found) == ["dns:gw1", "dns:gw2"]
    assert told(found) == [
        ("/etc/ipsec.secrets", "it includes itself"),
        ("/etc/a.secrets", "it includes itself"),
        ("/etc/gone.secrets", "/etc/ipsec.secrets includes it: no such file"),
    ]


def test_includes_end_somewhere(write: Callable[..., Path], tmp_path: Path) -> None:
    for number in range(40):
        write(f"/etc/{number}.secrets", f"include {number + 1}.secrets\n" * 3)
    write("/etc/ipsec.secrets", "include 0.secrets\n")
    assert "includes are nested too deeply" in dict(told(look(tmp_path))).values()
    for number in range(1200):
        write(f"/etc/many/{number}.secrets", PSK.format(number))
    many = look(tmp_path, "/etc/many")
    assert len(many.entries) == 1000
    assert any(message.startswith("too many files") for _, message in told(many))


class Counting(Tree):
    """Counts how often it is asked what a pattern means."""

    asked = 0

    def matching(self, pattern: str) -> list[str]:
        self.asked += 1
        return super().matching(pattern)


def test_what_is_included_again_and_again_is_looked_for_once(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    for number in range(30):
        write(f"/etc/many/{number}.secrets", PSK.format(number))
    write("/etc/ipsec.secrets", "include many/*.secrets\n" * 40_000)
    files = Counting(tmp_path)
    found = read(files, ["/etc/ipsec.secrets"], dialect=Dialect.LIBRESWAN)
    assert (len(found.entries), files.asked) == (30, 1)
    lines = (f"include none{number}/*.secrets\n" for number in range(20_000))
    write("/etc/ipsec.secrets", "".join(lines) + PSK.format(99))
    files = Counting(tmp_path)
    found = read(files, ["/etc/ipsec.secrets"], dialect=Dialect.LIBRESWAN)
    assert (owners(found), files.asked) == (["dns:gw99"], 1000)
    assert told(found) == [("/etc/ipsec.secrets", "too many files: the rest is not read")]


def test_nothing_but_files_is_opened(write: Callable[..., Path], tmp_path: Path) -> None:
    folder = write("/etc/ipsec.secrets", "include d/*\n").parent / "d"
    write("/etc/d/good.secrets", PSK.format(1))
    os.mkfifo(folder / "fifo.secrets")
    (folder / "folder.secrets").mkdir()
    (folder / "null.secrets").symlink_to("/dev/zero")
    (folder / "loop.secrets").symlink_to("loop.secrets")
    write("/etc/d/large.secrets", b"x" * (MAX_OCTETS + 1))
    write("/etc/d/huge.secrets").write_bytes(b"")
    os.truncate(folder / "huge.secrets", 10 * 2**20)
    write("/etc/d/binary.secrets", b'@gw : PSK "a\0b"\n')
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket.secrets"))
        done: list[Found] = []
        thread = threading.Thread(target=lambda: done.append(look(tmp_path)), daemon=True)
        thread.start()
        thread.join(20)
    [found] = done
    assert owners(found) == ["dns:gw1"]
    assert {Path(path).name for path, _ in told(found)} >= {
        "fifo.secrets",
        "folder.secrets",
        "large.secrets",
        "huge.secrets",
        "binary.secrets",
        "socket.secrets",
    }


def test_links_stay_in_the_copy(write: Callable[..., Path], tmp_path: Path) -> None:
    root = tmp_path / "copy"
    outside = tmp_path / "outside.secrets"
    outside.write_text(PSK.format(6))
    write("/copy/srv/inside.secrets", PSK.format(1))
    folder = root / "etc"
    folder.mkdir()
    (folder / "ipsec.secrets").symlink_to("/srv/inside.secrets")
    (folder / "up.secrets").symlink_to("../../../outside.secrets")
    (folder / "away.secrets").symlink_to(outside)
    (root / "linked").symlink_to("/etc")
    assert owners(look(root)) == ["dns:gw1"]
    assert owners(look(root, "/linked/../etc/ipsec.secrets")) == ["dns:gw1"]
    for path in ("/etc/up.secrets", "/etc/away.secrets", "/../outside.secrets"):
        found = look(root, path)
        assert not found.entries
        assert told(found)


def test_a_file_is_read_once(write: Callable[..., Path], tmp_path: Path) -> None:
    write("/etc/ipsec.d/a.secrets", PSK.format(1))
    write("/etc/ipsec.d/z.secrets", "include a.secrets\n" + PSK.format(2))
    assert owners(look(tmp_path, "/etc/ipsec.d", "/etc/ipsec.d/a.secrets")) == [
        "dns:gw1",
        "dns:gw2",
    ]
    assert told(look(tmp_path, "/etc/gone")) == [("/etc/gone", "no such file")]


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    class Closed(Tree):
        def read(self, path: str) -> None:  # type: ignore[override]
            raise PermissionError(13, "Permission denied", path)

    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/ipsec.secrets").write_text(PSK.format(1))
    assert told(read(Closed(tmp_path))) == [("/etc/ipsec.secrets", "Permission denied")]


@pytest.mark.parametrize(
    ("layout", "connections", "secrets"),
    [
        (
            "vyos",
            {
                "peer_branch7": ("2", "dns:branch7.example.com"),
                "peer_supplier": ("1", "ip:198.51.100.20"),
            },
            {"psk": 2, "user": 1},
        ),
        (
            "opnsense",
            {
                "5b0a7c4e-95f1-4d37-8a0e-3f3d0e0b9c11": ("2", "dns:branch9.example.com"),
                "warehouse": ("2", "dns:warehouse.example.com"),
            },
            {"psk": 2},
        ),
        (
            "pfsense",
            {"con1": ("2", "ip:203.0.113.40"), "con2": ("12", "email:kiosk@example.com")},
            {"psk": 2},
        ),
        (
            "debian",
            {
                "oslo": ("2", "dns:oslo.example.com"),
                "berlin": ("2", "dns:berlin.example.com"),
                "paris": ("2", "dn:C=FR, O=Example, CN=paris.example.com"),
                "old-router": ("1", "ip:203.0.113.52"),
            },
            {"psk": 5, "ppk": 1, "user": 1, "passphrase": 1},
        ),
        (
            "libreswan",
            {
                "lyon": ("2", "dns:lyon.example.com"),
                "nantes": ("2", "dns:nantes.example.com"),
                "quay": ("1", "ip:203.0.113.72"),
            },
            {"psk": 3, "ppk": 1, "user": 1},
        ),
    ],
)
def test_layouts(
    layout: str, connections: dict[str, tuple[str, str]], secrets: dict[str, int]
) -> None:
    found = read(Tree(SAMPLES / layout))
    assert not found.problems
    proved = {
        each.name: ("".join(map(str, each.versions)), str(each.remote.identity))
        for each in found.connections
        if each.psk
    }
    assert proved == connections
    kinds = [entry.kind for entry in found.entries]
    assert {kind: kinds.count(Kind(kind)) for kind in secrets} == secrets
    assert len(kinds) == sum(secrets.values())
    expected = Dialect.LIBRESWAN if layout == "libreswan" else Dialect.STRONGSWAN
    assert {entry.dialect for entry in found.entries} == {expected}


def test_single_files_are_known_by_what_stands_there(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    write("/a", "connections {\n x { local { auth = psk\n } } }\n")
    write("/b", '# keys\n@x @y : PSK "some value"\n')
    write("/c", "conn x\n left=192.0.2.1\n right=192.0.2.2\n")
    found = look(tmp_path, "/a", "/b", "/c")
    assert [each.dialect for each in found.connections] == [Dialect.STRONGSWAN, Dialect.LIBRESWAN]
    assert len(found.entries) == 1
    assert not found.problems
