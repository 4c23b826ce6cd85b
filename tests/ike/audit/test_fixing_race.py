"""Somebody swaps what is to be changed for links to files outside, as fast as he can; and the fix is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ike.audit.fixing import Change, Outcome, carry_out, narrowed
from ike.audit.undoing import Undone, read, undo
from tests.ike.audit.planted import NOW, item, make, rights

KEY = "/etc/swanctl/private/gw.pem"
AS_ROOT = os.geteuid() == 0
OWNER = (1000, 1000) if AS_ROOT else (os.geteuid(), os.getegid())
ROUNDS = 20_000

# Swaps `there` for a link to `outside` and back, with the mode of the file as it was, until its input ends.
SWAPPER = """
import os, sys, threading
there, aside, link, outside, file, mode = sys.argv[1:7]
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
key = os.open(file, os.O_RDONLY)
os.symlink(outside, link)
uid, gid = os.fstat(key).st_uid, os.fstat(key).st_gid
print("ready", flush=True)
while not ended.is_set():
    os.rename(there, aside)
    os.rename(link, there)
    os.fchown(key, uid, gid)
    os.fchmod(key, int(mode, 8))
    os.rename(there, link)
    os.rename(aside, there)
"""


@contextmanager
def swapped(there: Path, outside: Path, file: Path) -> Iterator[None]:
    aside, link = there.with_name("aside"), there.with_name("link")
    mode = f"{rights(file)[0]:o}"
    arguments = [str(each) for each in (there, aside, link, outside, file)]
    with subprocess.Popen(
        [sys.executable, "-c", SWAPPER, *arguments, mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as swapper:
        try:
            assert swapper.stdout
            assert swapper.stdout.readline() == "ready\n"
            yield
            assert swapper.poll() is None
        finally:
            assert swapper.stdin
            swapper.stdin.close()
            swapper.wait(10)


class Outside:
    """Files that nothing may touch; a change of mode or owner would show in the time of the last change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.victim = make(folder, "/gw.pem", 0o644, (1000, 1000) if AS_ROOT else OWNER)
        self._before = self._times()

    def _times(self) -> list[tuple[int, int, int, int]]:
        found = (self.folder.stat(), self.victim.stat())
        return [(each.st_ctime_ns, each.st_mode, each.st_uid, each.st_gid) for each in found]

    @property
    def untouched(self) -> bool:
        return self._times() == self._before


@pytest.fixture
def outside(tmp_path: Path) -> Outside:
    return Outside(tmp_path / "outside")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make(tmp_path / "root", KEY, 0o644, OWNER)
    return tmp_path / "root"


def swap(root: Path, outside: Outside, what: str) -> tuple[Path, Path, Path]:
    file = root / KEY[1:]
    there, target = {
        "file": (file, outside.victim),
        "folder": (file.parent, outside.folder),
        "folder above": (file.parent.parent, outside.folder.parent / "above"),
    }[what]
    if what == "folder above":  # a folder outside that leads to the victim by the same names
        target.mkdir()
        (target / "private").symlink_to(outside.folder)
    return there, target, file


def race(changes: list[Change], root: Path, undo_files: Path) -> list[Outcome]:
    """Thousands of rounds, and more until the change was made at times and refused at others: so it was a race."""
    outcomes: list[Outcome] = []
    undo_files.mkdir()
    for number in range(50):
        outcomes += carry_out(changes, root, undo_files / str(number), NOW)
        if len(outcomes) >= ROUNDS and len({each.done for each in outcomes}) == 2:
            break
    assert {each.done for each in outcomes} == {True, False}
    return outcomes


@pytest.mark.parametrize("what", ["file", "folder", "folder above"])
def test_nothing_outside_is_touched(
    root: Path, outside: Outside, tmp_path: Path, what: str
) -> None:
    judged = narrowed(item(root, KEY), 0o077, owner=AS_ROOT, group=AS_ROOT)
    assert judged is not None
    with swapped(*swap(root, outside, what)):
        race([judged] * 5000, root, tmp_path / "undo")
    assert outside.untouched


@pytest.mark.parametrize("what", ["file", "folder", "folder above"])
def test_nothing_outside_is_touched_on_the_way_back(
    root: Path, outside: Outside, tmp_path: Path, what: str
) -> None:
    change = narrowed(item(root, KEY), 0o077, owner=AS_ROOT, group=AS_ROOT)
    assert change is not None
    assert carry_out([change], root, tmp_path / "undo", NOW)[0].done
    # Without the moment of the change, as that is moved by each swap.
    head, record, _ = (tmp_path / "undo").read_text().splitlines(keepends=True)
    (tmp_path / "undo").write_text(head + record * 5000)
    outcomes: list[Undone] = []
    with swapped(*swap(root, outside, what)):
        for _ in range(50):
            outcomes += undo(tmp_path / "undo")
            if len(outcomes) >= ROUNDS and len({each.done for each in outcomes}) == 2:
                break
    assert outside.untouched
    assert {each.done for each in outcomes} == {True, False}
    assert any("link" in each.reason or "no file" in each.reason for each in outcomes)


@pytest.mark.parametrize("what", ["file", "folder", "folder above"])
def test_nothing_outside_is_touched_where_it_was_judged_in_the_race(
    root: Path, outside: Outside, tmp_path: Path, what: str
) -> None:
    # What was seen under the path may have been the file outside.
    changes = []
    with swapped(*swap(root, outside, what)):
        while len(changes) < 2000:
            try:
                change = narrowed(item(root, KEY), 0o077, owner=AS_ROOT, group=AS_ROOT)
            except OSError:
                continue
            changes += [change] if change is not None else []
        race(changes, root, tmp_path / "undo")
    assert outside.untouched


@pytest.mark.parametrize("what", ["file", "folder"])
def test_whoever_changes_by_name_loses_this_race(root: Path, outside: Outside, what: str) -> None:
    with swapped(*swap(root, outside, what)):
        for _ in range(ROUNDS):
            try:
                if not (root / KEY[1:]).is_symlink():
                    (root / KEY[1:]).chmod(0o600)
            except OSError:
                continue
            if not outside.untouched:
                break
    assert not outside.untouched


FIXER = """
import sys
from pathlib import Path
from ike.audit.fixing import carry_out, narrowed
from tests.ike.audit.planted import NOW, item
root, undo, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
owner = sys.argv[4] == "owner"
changes = [narrowed(item(root, f"/etc/{n}"), 0o077, owner=owner, group=owner) for n in range(count)]
print("ready", flush=True)
carry_out(changes, root, undo, NOW)
"""


@pytest.mark.parametrize("after", [0.0, 0.01, 0.03, 0.1, 0.2, 0.3])
def test_killed_half_way_the_undo_file_tells_all_that_was_done(
    tmp_path: Path, after: float
) -> None:
    count = 1000
    root, book = tmp_path / "root", tmp_path / "undo"
    files = [make(root, f"/etc/{number}", 0o644, OWNER) for number in range(count)]
    before = rights(files[0])
    with subprocess.Popen(
        [sys.executable, "-c", FIXER, root, book, str(count), "owner" if AS_ROOT else "mode"],
        stdout=subprocess.PIPE,
    ) as fixer:
        assert fixer.stdout
        fixer.stdout.readline()
        time.sleep(after)
        fixer.send_signal(signal.SIGKILL)
    changed = {f"/etc/{number}" for number, file in enumerate(files) if rights(file) != before}
    if not book.exists() or not book.read_bytes().count(b"\n"):
        assert not changed  # it had not begun
        return
    records = read(book).records
    assert changed <= {each.path for each in records}
    assert len(records) <= len(changed) + 1
    assert all(each.before.mode == 0o644 for each in records)
    undone = undo(book)
    assert all(each.done for each in undone)
    assert {each.record.path for each in undone if not each.already} == changed
    assert {rights(file) for file in files} == {before}
