"""What `--fix` changes, what it refuses, and the way back."""

import json
import os
import resource
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ike.audit.fixing import Change, Outcome, carry_out, merged, narrowed, rehearse
from ike.audit.undoing import (
    UndoFileExists,
    UndoFileInvalid,
    UndoFileNotWritable,
    read,
    undo,
)
from tests.fixtures.needs import left_out, needs_root
from tests.ike.audit.planted import NOW, item, make, rights

KEY = "/etc/swanctl/private/gw.pem"
EVERYBODY = 0o077


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    made.mkdir()
    return made


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "undo.jsonl"


def change(root: Path, path: str = KEY, without: int = EVERYBODY, *, owner: bool = False) -> Change:
    made = narrowed(item(root, path), without, owner=owner, group=owner)
    assert made is not None
    return made


def fix(root: Path, book: Path, *changes: Change) -> list[Outcome]:
    return carry_out(changes, root, book, NOW)


def reason(root: Path, book: Path, made: Change) -> str:
    """Why it is refused; the rehearsal says the same, and nothing was changed."""
    before = rights(root / made.path[1:])
    [rehearsed] = rehearse([made], root)
    [outcome] = fix(root, book, made)
    assert outcome.reason == rehearsed.reason
    assert not outcome.done
    assert rights(root / made.path[1:]) == before
    assert not book.exists()
    return outcome.reason


@needs_root
def test_it_takes_rights_away_and_hands_files_to_root(root: Path, book: Path) -> None:
    key = make(root, KEY, 0o664, (1000, 1000))
    made = change(root, owner=True)
    assert made.words == "chmod 0664 to 0600, owner 1000 to 0, group 1000 to 0"
    assert rehearse([made], root) == [Outcome(made)]
    assert rights(key) == (0o664, 1000, 1000)
    assert fix(root, book, made) == [Outcome(made)]
    assert rights(key) == (0o600, 0, 0)
    assert rights(book)[0] == 0o600
    [undone] = undo(book)
    assert undone.done
    assert rights(key) == (0o664, 1000, 1000)


def test_a_folder_keeps_what_it_needs(root: Path, book: Path) -> None:
    make(root, KEY, 0o600)
    folder = root / "etc/swanctl/private"
    folder.chmod(0o2777)
    fix(root, book, change(root, "/etc/swanctl/private", 0o022))
    assert rights(folder)[0] == 0o2755
    undo(book)
    assert rights(folder)[0] == 0o2777


def test_nothing_to_change_is_no_change(root: Path, book: Path) -> None:
    make(root, KEY, 0o600)
    assert narrowed(item(root, KEY), EVERYBODY) is None
    assert fix(root, book) == []
    assert not book.exists()


@needs_root
def test_a_program_is_not_handed_over_with_its_set_id_bits(root: Path) -> None:
    make(root, KEY, 0o6755, (1000, 1000))
    assert change(root, without=0o022, owner=True).mode == 0o755


def test_changes_of_one_file_become_one(root: Path) -> None:
    make(root, KEY, 0o666)
    make(root, "/etc/swanctl/a", 0o666)
    first, second = change(root, without=0o022), change(root, without=0o044)
    folder = change(root, "/etc/swanctl/private", 0o055)
    first = replace(first, findings=("one",))
    second = replace(second, findings=("two",), barred="why")
    planned = merged([first, second, change(root, "/etc/swanctl/a"), folder])
    assert [each.path for each in planned] == ["/etc/swanctl/a", "/etc/swanctl/private", KEY]
    assert planned[-1].mode == 0o600
    assert planned[-1].findings == ("one", "two")
    assert planned[-1].barred == "why"


def test_a_link_in_place_of_the_file(root: Path, book: Path, tmp_path: Path) -> None:
    key = make(root, KEY, 0o644)
    made = change(root)
    outside = make(tmp_path, "/shadow", 0o640)
    key.unlink()
    key.symlink_to(outside)
    assert "no file any more" in reason(root, book, made)
    assert rights(outside)[0] == 0o640


@pytest.mark.parametrize("folder", ["/etc", "/etc/swanctl", "/etc/swanctl/private"])
def test_a_link_in_place_of_a_folder(root: Path, book: Path, tmp_path: Path, folder: str) -> None:
    make(root, KEY, 0o644)
    made = change(root)
    there = root / folder[1:]
    # Even to the very file that was meant.
    there.rename(tmp_path / "moved")
    there.symlink_to(tmp_path / "moved")
    assert f"{folder} on the way" in reason(root, book, made)


def test_a_link_inside_of_the_root_is_not_followed_either(root: Path, book: Path) -> None:
    key = make(root, KEY, 0o644)
    key.rename(key.with_name("real.pem"))
    key.symlink_to("real.pem")
    made = narrowed(
        replace(item(root, "/etc/swanctl/private/real.pem", links=(KEY,)), path=KEY), EVERYBODY
    )
    assert made is not None
    assert "link" in reason(root, book, made)


def test_a_path_that_climbs(root: Path, book: Path) -> None:
    make(root, KEY, 0o644)
    make(root.parent, "/outside", 0o644)
    made = replace(change(root), path="/etc/../../outside")
    assert "not named from there" in reason(root, book, made)


def test_another_file(root: Path, book: Path) -> None:
    key = make(root, KEY, 0o644)
    made = change(root)
    make(root, "/etc/other", 0o644).rename(key)
    assert "another file" in reason(root, book, made)


def test_a_file_with_two_names(root: Path, book: Path) -> None:
    key = make(root, KEY, 0o644)
    os.link(key, root / "etc/second")
    assert "2 names" in reason(root, book, change(root))


def test_a_mode_that_was_changed_meanwhile(root: Path, book: Path) -> None:
    key = make(root, KEY, 0o644)
    made = change(root)
    key.chmod(0o640)
    assert "its mode was changed" in reason(root, book, made)


@needs_root
def test_an_owner_that_was_changed_meanwhile(root: Path, book: Path) -> None:
    key = make(root, KEY, 0o600, (1000, 1000))
    made = change(root, owner=True)
    os.chown(key, 1001, 1000)
    assert "its owner was changed" in reason(root, book, made)


def test_what_gives_rights_is_refused(root: Path, book: Path) -> None:
    make(root, KEY, 0o600)
    was = item(root, KEY).status
    wider = Change(KEY, 0o640, was.uid, was.gid, was)
    assert "only taken away" in reason(root, book, wider)
    given = Change(KEY, 0o600, 1000, was.gid, was)
    assert "somebody else" in reason(root, book, given)


@pytest.mark.parametrize("kind", ["fifo", "socket", "folder"])
def test_something_else_in_its_place(
    root: Path, book: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make(root, KEY, 0o644)
    made = change(root)
    key.unlink()
    if kind == "fifo":
        os.mkfifo(key)
    elif kind == "folder":
        key.mkdir()
    else:
        monkeypatch.chdir(key.parent)  # the name of a socket is short
        with socket.socket(socket.AF_UNIX) as made_socket:
            made_socket.bind(key.name)
    assert "no file any more" in reason(root, book, made)


def test_a_file_that_is_gone(root: Path, book: Path) -> None:
    key = make(root, KEY, 0o644)
    made = change(root)
    key.unlink()
    [outcome] = fix(root, book, made)
    assert outcome.reason == "no such file or directory"


def test_the_others_go_on(root: Path, book: Path) -> None:
    paths = [f"/etc/{number}" for number in range(5)]
    files = [make(root, path, 0o644) for path in paths]
    changes = [change(root, path) for path in paths]
    files[2].unlink()
    outcomes = fix(root, book, *changes)
    assert [each.done for each in outcomes] == [True, True, False, True, True]
    assert [each.path for each in read(book).records] == paths[:2] + paths[3:]


@needs_root
def test_root_that_a_person_unpacked(root: Path, book: Path) -> None:
    # The owner of such a copy stands for root: his files are not handed over, and can be narrowed.
    key = make(root, KEY, 0o644, (1000, 1000))
    seen = item(root, KEY)
    made = narrowed(replace(seen, status=replace(seen.status, uid=0, gid=0)), EVERYBODY, owner=True)
    assert made is not None
    assert fix(root, book, made)[0].done
    assert rights(key) == (0o600, 1000, 1000)
    undo(book)
    assert rights(key) == (0o644, 1000, 1000)


# ---------------------------------------------------------------- ACLs

ACL = "system.posix_acl_access"
GUEST = 12345


def acl(mask: int) -> bytes:
    """rw for the owner; read for one user and the group, as far as the mask lets them."""
    entries = ((1, 6, 2**32 - 1), (2, 4, GUEST), (4, 4, 2**32 - 1), (16, mask, 2**32 - 1))
    entries = (*entries, (32, 0, 2**32 - 1))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in entries)


def can_read(path: Path, uid: int) -> bool:
    # From inside of its folder, so that those above do not matter.
    done = subprocess.run(
        ["cat", path.name],
        cwd=path.parent,
        user=uid,
        group=uid,
        extra_groups=[],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


@needs_root
def test_an_acl_is_closed_by_its_mask_and_opened_again(root: Path, book: Path) -> None:
    key = make(root, KEY, 0o600)
    try:
        os.setxattr(key, ACL, acl(4))
    except OSError:
        left_out("no ACLs on this file system")
    assert rights(key)[0] == 0o640
    open_before = can_read(key, GUEST)
    fix(root, book, change(root))
    assert rights(key)[0] == 0o600
    assert os.getxattr(key, ACL) == acl(0)
    assert open_before
    assert not can_read(key, GUEST)
    undo(book)
    assert os.getxattr(key, ACL) == acl(4)


# ---------------------------------------------------------------- the undo file


def test_it_is_written_first_and_tells_all(root: Path, book: Path) -> None:
    make(root, KEY, 0o644)
    fix(root, book, change(root))
    head, record, made = map(json.loads, book.read_text().splitlines())
    assert head == {"version": 2, "root": str(root), "started": NOW.isoformat()}
    status = (root / KEY[1:]).stat()
    assert record == {
        "path": KEY,
        "device": status.st_dev,
        "inode": status.st_ino,
        "sort": "file",
        "before": {"mode": "0644", "uid": status.st_uid, "gid": status.st_gid},
        "after": {"mode": "0600", "uid": status.st_uid, "gid": status.st_gid},
        "size": status.st_size,
        "modified": status.st_mtime_ns,
    }
    assert made == {"changed": status.st_ctime_ns}


def test_it_is_never_written_over(root: Path, book: Path, tmp_path: Path) -> None:
    make(root, KEY, 0o644)
    book.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UndoFileExists):
        fix(root, book, change(root))
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(UndoFileNotWritable):
        fix(root, tmp_path / "none/undo", change(root))
    assert rights(root / KEY[1:])[0] == 0o644


@contextmanager
def files_end_at(octets: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_without_room_for_it_nothing_more_is_changed(root: Path, book: Path) -> None:
    paths = [f"/etc/{number}" for number in range(9)]
    files = [make(root, path, 0o644) for path in paths]
    with files_end_at(700):  # Python ignores SIGXFSZ: the write fails, in the middle of a line
        outcomes = fix(root, book, *(change(root, path) for path in paths))
    done = [each.done for each in outcomes]
    assert 0 < done.count(True) < 5
    assert done == sorted(done, reverse=True)
    assert "undo file cannot be written" in outcomes[-1].reason
    assert [rights(file)[0] for file in files] == [0o600 if each else 0o644 for each in done]
    assert not book.read_bytes().endswith(b"\n")
    assert [each.done for each in undo(book)] == [True] * done.count(True)
    assert {rights(file)[0] for file in files} == {0o644}


def test_only_what_is_as_the_fix_left_it_is_put_back(root: Path, book: Path) -> None:
    paths = [f"/etc/{name}" for name in ("same", "mode", "other", "gone", "twice", "link")]
    files = [make(root, path, 0o644) for path in paths]
    fix(root, book, *(change(root, path) for path in paths))
    _, mode, other, gone, twice, link = files
    mode.chmod(0o400)
    make(root, "/etc/new", 0o600).rename(other)
    gone.unlink()
    os.link(twice, root / "second")
    link.rename(root / "moved")
    link.symlink_to(root / "moved")
    said = {each.record.path: each.reason for each in undo(book)}
    assert said["/etc/same"] == ""
    assert said["/etc/mode"].startswith("it was changed since, to 0400")
    assert said["/etc/other"] == "another file stands there now"
    assert said["/etc/gone"] == "no such file or directory"
    assert said["/etc/twice"] == "it has 2 names (hard links) now"
    assert said["/etc/link"] == "it is no file any more"
    assert rights(files[0])[0] == 0o644
    assert rights(root / "moved")[0] == 0o600
    assert [each.record.path for each in undo(book) if each.already] == ["/etc/same"]


@needs_root
def test_half_a_change_is_undone(root: Path, book: Path) -> None:
    key = make(root, KEY, 0o664, (1000, 1000))
    fix(root, book, change(root, owner=True))
    os.chown(key, 1000, 1000)  # as if it had ended between fchmod and fchown
    assert rights(key) == (0o600, 1000, 1000)
    assert [each.done for each in undo(book)] == [True]
    assert rights(key) == (0o664, 1000, 1000)


def test_a_new_key_under_the_old_number_is_not_opened(root: Path, book: Path) -> None:
    key = make(root, KEY, 0o666)
    fix(root, book, change(root))
    number = key.stat().st_ino
    key.unlink()
    key.write_text("a new key")
    key.chmod(0o600)
    # Many file systems give the number of a removed file to the next one; here it is the one that was written down.
    book.write_text(book.read_text().replace(f'"inode": {number}', f'"inode": {key.stat().st_ino}'))
    [undone] = undo(book)
    assert undone.reason.startswith("it was written or replaced since")
    assert rights(key)[0] == 0o600


def test_a_key_that_was_written_over_in_place_is_not_opened(root: Path, book: Path) -> None:
    key = make(root, KEY, 0o666)
    before = key.stat()
    fix(root, book, change(root))
    with key.open("r+") as file:
        file.write("a" * before.st_size)
    assert not undo(book)[0].done
    # Nor when it pretends to be as old as it was: nobody can set the ctime.
    os.utime(key, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not undo(book)[0].done
    assert rights(key)[0] == 0o600


def test_a_folder_that_got_something_new_is_not_opened(root: Path, book: Path) -> None:
    make(root, KEY, 0o600)
    folder = root / "etc/swanctl/private"
    folder.chmod(0o777)
    fix(root, book, change(root, "/etc/swanctl/private", 0o077))
    make(root, "/etc/swanctl/private/new.pem", 0o644)
    [undone] = undo(book)
    assert undone.reason.startswith("what is in it was changed since")
    assert rights(folder)[0] == 0o700


def test_an_undo_file_of_an_older_version_is_told_and_nothing_is_opened(
    root: Path, book: Path
) -> None:
    key = make(root, KEY, 0o644)
    fix(root, book, change(root))
    lines = [json.loads(line) for line in book.read_text().splitlines()]
    lines[0]["version"] = 1
    del lines[1]["size"], lines[1]["modified"]
    book.write_text("".join(json.dumps(line) + "\n" for line in lines[:2]))
    [undone] = undo(book)
    assert "older version" in undone.reason
    assert rights(key)[0] == 0o600
    key.chmod(0o644)
    assert undo(book)[0].already


def test_what_a_fix_that_was_cut_off_did_not_change_is_right_already(
    root: Path, book: Path
) -> None:
    first, second = make(root, KEY, 0o644), make(root, "/etc/ipsec.secrets", 0o644)
    fix(root, book, change(root), change(root, "/etc/ipsec.secrets"))
    # As if it had ended before the second was changed.
    book.write_text("".join(book.read_text().splitlines(keepends=True)[:-1]))
    second.chmod(0o644)
    undone = undo(book)
    assert [(each.done, each.already) for each in undone] == [(True, True), (True, False)]
    assert (rights(first)[0], rights(second)[0]) == (0o644, 0o644)


def test_what_was_changed_and_not_told_so_is_put_back(root: Path, book: Path) -> None:
    key = make(root, KEY, 0o644)
    fix(root, book, change(root))
    book.write_text("".join(book.read_text().splitlines(keepends=True)[:-1]))
    assert undo(book)[0].done
    assert rights(key)[0] == 0o644


def test_a_copy_that_was_moved(root: Path, book: Path, tmp_path: Path) -> None:
    make(root, KEY, 0o644)
    fix(root, book, change(root))
    root.rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        undo(book)
    assert [each.done for each in undo(book, tmp_path / "moved")] == [True]


HEAD = {"version": 2, "root": "/", "started": NOW.isoformat()}
RECORD = {
    "path": KEY,
    "device": 1,
    "inode": 1,
    "sort": "file",
    "before": {"mode": "0600", "uid": 0, "gid": 0},
    "after": {"mode": "0600", "uid": 0, "gid": 0},
    "size": 3,
    "modified": 7,
}


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [[]],
        ["no JSON"],
        [{**HEAD, "version": 3}],
        [{**HEAD, "root": "etc"}],
        [{**HEAD, "root": 7}],
        [{**HEAD, "root": "/\0"}],
        [HEAD, {**RECORD, "path": "/x\0y"}],
        [{**HEAD, "started": "2026-01-01T00:00:00"}],
        [HEAD, []],
        [HEAD, {**RECORD, "size": -1}],
        [HEAD, {**RECORD, "modified": "7"}],
        [HEAD, {"changed": 7}],
        [HEAD, RECORD, {"changed": None}],
        [HEAD, RECORD, {"changed": 7}, {"changed": 7}],
        [HEAD, {**RECORD, "inode": True}],
        [HEAD, {**RECORD, "sort": "door"}],
        [HEAD, {**RECORD, "before": {"mode": "10000", "uid": 0, "gid": 0}}],
        [HEAD, {**RECORD, "before": {"mode": "0889", "uid": 0, "gid": 0}}],
        [HEAD, {**RECORD, "before": {"mode": 0o600, "uid": 0, "gid": 0}}],
        [HEAD, {**RECORD, "before": {"mode": "0600", "uid": 2**32 - 1, "gid": 0}}],
        # What would give more than a fix ever took:
        [HEAD, {**RECORD, "after": {"mode": "0644", "uid": 0, "gid": 0}}],
        [HEAD, {**RECORD, "after": {"mode": "0600", "uid": 1000, "gid": 0}}],
    ],
)
def test_what_is_no_undo_file(book: Path, lines: list[object]) -> None:
    book.write_text("".join(json.dumps(line) + "\n" for line in lines))
    book.chmod(0o600)
    with pytest.raises(UndoFileInvalid):
        undo(book)


def test_an_undo_file_that_others_may_write(book: Path) -> None:
    book.write_text(json.dumps(HEAD) + "\n")
    book.chmod(0o620)
    with pytest.raises(UndoFileInvalid, match="by others"):
        undo(book)
    book.chmod(0o600)
    assert undo(book) == []
    if os.geteuid() == 0:
        os.chown(book, 1000, 0)
        with pytest.raises(UndoFileInvalid, match="by others"):
            undo(book)
