"""What the file system says of a path and of all that is on the way to it."""

import os
from pathlib import Path

import pytest

from ike.audit import accounts, attributes
from ike.audit.ground import Ground
from ike.audit.values import Grant, Role, Sort
from ike.secrets.tree import Refused
from tests.fixtures.needs import left_out, needs_root
from tests.ike.audit.conftest import (
    GROUP,
    GROUP_,
    GROUP_OBJ,
    MASK,
    NONE,
    OTHER,
    PASSWD,
    USER,
    USER_OBJ,
    Files,
    acl,
)


def way(ground: Ground, path: str) -> tuple[str, list[str]]:
    """Where a path leads, and by what."""
    item = ground.item(path, Role.KEY)
    return item.real, [
        step.path + (f" -> {step.target}" if step.target else "") for step in item.steps
    ]


def test_folders_and_links_stand_in_the_order_in_which_they_are_passed(files: Files) -> None:
    files.put("/srv/keys/gw.key")
    files.link("/etc/swanctl/private", "../../srv/./current//")
    files.link("/srv/current", "/srv/keys")
    files.link("/srv/keys/now.key", "gw.key")
    assert way(Ground(files.root), "/etc/swanctl/private/now.key") == (
        "/srv/keys/gw.key",
        [
            "/etc",
            "/etc/swanctl",
            "/etc/swanctl/private -> ../../srv/./current//",
            "/srv",
            "/srv/current -> /srv/keys",
            "/srv/keys",
            "/srv/keys/now.key -> gw.key",
        ],
    )


def test_links_stay_in_the_copy(files: Files) -> None:
    files.link("/etc/a", "/../../../../etc/b")
    files.put("/etc/b", "here")
    item = Ground(files.root).item("/etc/a", Role.SECRETS)
    assert (item.real, item.status.size) == ("/etc/b", 4)


@pytest.mark.parametrize("target", ["loop", "/etc/loop", "nothing", "passwd/x", "a\nb"])
def test_links_that_lead_nowhere(files: Files, target: str) -> None:
    files.link("/etc/loop", target)
    with pytest.raises(OSError, match=r"symbolic links|No such file|Not a directory"):
        Ground(files.root).item("/etc/loop", Role.KEY)


def test_what_is_no_path(files: Files) -> None:
    ground = Ground(files.root)
    for path in ("/etc/\0", "/etc/" + "x" * 300, "/" + "/x" * 3000):
        with pytest.raises(OSError, match=r"No such file|File name too long"):
            ground.item(path, Role.KEY)


def test_what_stands_under_a_name(files: Files) -> None:
    os.mkfifo(files.folder("/run") / "fifo")
    ground = Ground(files.root)
    assert ground.item("/run/fifo", Role.SOCKET).status.sort is Sort.OTHER
    assert ground.item("/run", Role.FOLDER).status.sort is Sort.FOLDER
    with pytest.raises(Refused, match="not a regular file"):
        ground.read("/run/fifo")
    with pytest.raises(Refused, match="not a regular file"):
        ground.beginning("/run", 10)


def test_a_file_of_any_size_has_a_beginning(files: Files) -> None:
    here = files.put("/etc/huge", "-----BEGIN")
    os.truncate(here, 10 * 2**30)
    ground = Ground(files.root)
    assert ground.beginning("/etc/huge", 10) == b"-----BEGIN"
    with pytest.raises(Refused, match="larger than 2 MiB"):
        ground.read("/etc/huge", 2 * 2**20)


def test_the_host_itself() -> None:
    ground = Ground()
    assert ground.is_live
    assert way(ground, "/etc/passwd") == ("/etc/passwd", ["/", "/etc"])
    assert ground.accounts.user(0) == "root"


@needs_root
def test_in_a_copy_that_lost_its_owners_its_own_stands_for_root(files: Files) -> None:
    files.put("/etc/mine", owner=(4242, 4343))
    files.put("/etc/theirs", owner=(1000, 1000))
    os.chown(files.root, 4242, 4343)
    ground = Ground(files.root)
    mine, theirs = (ground.item(path, Role.KEY).status for path in ("/etc/mine", "/etc/theirs"))
    assert ((mine.uid, mine.gid), (theirs.uid, theirs.gid)) == ((0, 0), (1000, 1000))


def test_times_that_no_calendar_has(files: Files) -> None:
    here = files.put("/etc/old")
    try:
        os.utime(here, (2**40, 2**40))
    except OSError:
        left_out("no such times here")
    assert Ground(files.root).item("/etc/old", Role.KEY).status.changed.year >= 1970


def test_an_acl() -> None:
    plain = [(USER_OBJ, 6, NONE), (GROUP_OBJ, 4, NONE), (OTHER, 0, NONE)]
    assert attributes.acl(acl(*plain)) == ()
    assert attributes.acl(acl(*plain, (USER, 4, 7), (GROUP_, 6, 8), (MASK, 5, NONE))) == (
        Grant("group", None, 4),
        Grant("user", 7, 4),
        Grant("group", 8, 6),
        Grant("mask", None, 5),
    )
    assert attributes.acl(acl(*plain, (MASK, 7, NONE))[:-3]) == ()
    for broken in (b"", b"\2\0\0", b"\3\0\0\0" + b"x" * 16):
        assert attributes.acl(broken) == ()


def test_capabilities() -> None:
    held = bytes.fromhex("0100000200340000000000000000000000000000")
    assert attributes.capabilities(held) == "cap_net_bind_service,cap_net_admin,cap_net_raw"
    third = bytes.fromhex("010000030200000000000000800000000000000000000000")
    assert attributes.capabilities(third) == "cap_dac_override,cap_bpf"
    for broken in (b"", b"\1\0\0\2", b"\0\0\0\x09" + b"\0" * 16):
        assert attributes.capabilities(broken) == ""


def test_accounts() -> None:
    found = accounts.parse(PASSWD + "broken\n:x:1:1::/:\nx:y:z:1::/:\n", GROUP + "junk:::\n")
    assert found.user(1000) == "alice"
    assert found.user(77) == "77"
    assert found.members["staff"] == ("alice", "bob")
    assert found.members["strongswan"] == ("strongswan",)  # whose own group it is
    assert found.homes == {"/home/alice": "alice", "/srv/people/bob": "bob"}


def test_no_accounts(tmp_path: Path) -> None:
    assert Ground(tmp_path).accounts.user(0) == "0"
