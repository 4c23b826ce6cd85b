"""Mends modes and owners of files, and nothing else: rights are taken away, files are handed to root.

A file is reached from the root's descriptor, folder by folder, and no link is followed on the way. What is found there
must be the very file that was judged; its mode and owner are changed through its own descriptor, so that whatever
anybody puts under its name meanwhile is not touched. What was there before is in the undo file before it is changed
(`ike.audit.undoing`).

::

    before ── fchmod ──▶ narrowed ── fchown ──▶ after          undone: the same way back
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from ike.audit import system
from ike.audit.reaching import Refused, opened, worded
from ike.audit.undoing import Record, Rights, Stamp, UndoFile
from ike.audit.values import Item, Sort, Status

_SET_IDS: Final = stat.S_ISUID | stat.S_ISGID


@dataclass(frozen=True)
class Change:
    """What is to become of a file: `mode`, `uid` and `gid` as they shall be; `was` is what was judged.

    `path` is where it really is on the host. Where `barred` says why, it is told and not made. `findings` are the ids
    of those that it mends.
    """

    path: str
    mode: int
    uid: int
    gid: int
    was: Status
    barred: str = ""
    findings: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """As commands that would do the same: `chmod 0600, chown root`."""
        said = []
        if self.mode != self.was.mode:
            said.append(f"chmod {self.was.mode:04o} to {self.mode:04o}")
        if self.uid != self.was.uid:
            said.append(f"owner {self.was.uid} to {self.uid}")
        if self.gid != self.was.gid:
            said.append(f"group {self.was.gid} to {self.gid}")
        return ", ".join(said)


@dataclass(frozen=True)
class Outcome:
    """What became of a change; `reason` says why it was not made, or is empty."""

    change: Change
    reason: str = ""

    @property
    def done(self) -> bool:
        """Whether it was made; of a rehearsal: whether it would be."""
        return not self.reason


def narrowed(
    item: Item, without: int = 0, *, owner: bool = False, group: bool = False
) -> Change | None:
    """The change that takes the bits of `without` from an item, and hands it to root; None where that is none.

    `owner`, `group`: whether root is to be that. Whoever is handed a program must not be started as by it: the bits
    for set-user-ID and set-group-ID go then, as the kernel does it.
    """
    was = item.status
    uid, gid = 0 if owner else was.uid, 0 if group else was.gid
    mode = was.mode & ~without
    if was.sort is Sort.FILE and (uid, gid) != (was.uid, was.gid):
        mode &= ~_SET_IDS
    if (mode, uid, gid) == (was.mode, was.uid, was.gid):
        return None
    link = next((step.path for step in item.steps if step.status.sort is Sort.LINK), "")
    barred = f"{link} on the way to it is a link, and none is followed" if link else ""
    return Change(item.real, mode, uid, gid, was, barred)


def merged(changes: Iterable[Change]) -> list[Change]:
    """One change for each file, folders before what is in them: it takes away what any of its changes takes."""
    found: dict[str, Change] = {}
    for change in changes:
        there = found.get(change.path)
        found[change.path] = change if there is None else _joined(there, change)
    return sorted(found.values(), key=lambda each: each.path.split("/"))


def _joined(one: Change, other: Change) -> Change:
    was = one.was
    return replace(
        one,
        mode=one.mode & other.mode,
        uid=other.uid if one.uid == was.uid else one.uid,
        gid=other.gid if one.gid == was.gid else one.gid,
        barred=one.barred or other.barred,
        findings=tuple(dict.fromkeys((*one.findings, *other.findings))),
    )


def rehearse(changes: Sequence[Change], root: Path) -> list[Outcome]:
    """What `carry_out` would do, changing nothing. Raises OSError where `root` cannot be opened."""
    return [Outcome(change, reason) for change, reason in _tried(changes, root, None)]


def carry_out(changes: Sequence[Change], root: Path, undo: Path, now: datetime) -> list[Outcome]:
    """Make the changes below `root`; each that is refused is told, and the others go on.

    `undo` is made, and must not be there yet; without changes it is not. When it cannot be written any more, nothing
    more is changed. Raises UndoFileInvalid, OSError where `root` cannot be opened or `undo` cannot be made.
    """
    if not changes:
        return []
    with UndoFile.made(undo, root, now) as file:
        return [Outcome(change, reason) for change, reason in _tried(changes, root, file)]


def _tried(
    changes: Sequence[Change], root: Path, undo: UndoFile | None
) -> Iterator[tuple[Change, str]]:
    # The root itself may be a link: whoever named it meant where it leads.
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for change in changes:
            yield change, _outcome(change, top, undo)
    finally:
        os.close(top)


def _outcome(change: Change, top: int, undo: UndoFile | None) -> str:
    if change.barred:
        return change.barred
    try:
        with opened(change.path, change.was.sort, top) as descriptor:
            before = _judged(change, descriptor)
            if undo is not None:
                _make(change, before, descriptor, undo)
    except Refused as refused:
        return refused.reason
    except OSError as error:
        return worded(error)
    return ""


def _judged(change: Change, descriptor: int) -> os.stat_result:
    """Its status, if it is what was judged, and the change only narrows it. Raises Refused."""
    status = os.fstat(descriptor)
    was = change.was
    if (status.st_dev, status.st_ino) != was.identity:
        raise Refused("another file stands there than the one that was looked at")
    if stat.S_ISDIR(status.st_mode) and was.identity in _machines():
        raise Refused("it is a folder of this machine's system, whatever the root is called")
    if stat.S_IMODE(status.st_mode) != was.mode:
        raise Refused("its mode was changed since it was looked at")
    if not stat.S_ISDIR(status.st_mode) and status.st_nlink != 1:
        raise Refused(
            f"it has {status.st_nlink} names (hard links), and belongs to another place too"
        )
    if change.mode & ~was.mode:
        raise Refused("rights would be given, and they are only taken away")
    for now, old, new in (
        (status.st_uid, was.uid, change.uid),
        (status.st_gid, was.gid, change.gid),
    ):
        if new not in (old, 0):
            raise Refused("it would be handed to somebody else than root")
        # Who does not change is not compared: in a copy that a person unpacked, he stands for root.
        if old not in (new, now):
            raise Refused("its owner was changed since it was looked at")
    return status


def _machines() -> Iterator[tuple[int, int]]:
    """Which folders are those of the system that runs this, by whatever way one gets there."""
    for folder in system.FOLDERS:
        with suppress(OSError):
            status = os.stat(folder)
            yield status.st_dev, status.st_ino


def _make(change: Change, before: os.stat_result, descriptor: int, undo: UndoFile) -> None:
    uid = change.uid if change.uid != change.was.uid else before.st_uid
    gid = change.gid if change.gid != change.was.gid else before.st_gid
    record = Record(
        path=change.path,
        identity=change.was.identity,
        sort=change.was.sort,
        before=Rights(change.was.mode, before.st_uid, before.st_gid),
        after=Rights(change.mode, uid, gid),
        stamp=Stamp.of(before),
    )
    undo.write(record)
    # Rights go first: root must not own, for a moment, what anybody may write and start as him.
    if change.mode != change.was.mode:
        os.fchmod(descriptor, change.mode)
    if (uid, gid) != (before.st_uid, before.st_gid):
        os.fchown(descriptor, uid, gid)
    made = os.fstat(descriptor)
    undo.made_so(made)
    if Rights.of(made) != record.after:
        raise Refused("the file system did not take all of it")
