"""The undo file of `--fix`: what each file was before it was changed, and the way back.

One line of JSON for the whole, then one for each file, on disk before the file is changed, and one behind it when it
was. So a file may stand in it that was not changed, or of which only the mode was: `undo` looks at what is there.

Nothing is opened that was written or replaced since, though it may have the old one's number: a new key must not be
read by those whom the old one was closed to. Size and times tell: each change of a file moves its ctime, and nobody can
set that.
"""

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from core.errors import IkewardenError, InvalidInput
from ike.atomic import sync_directory
from ike.audit.reaching import Refused, opened, worded
from ike.audit.values import Sort

VERSION: Final = 2
_WITHOUT_STAMPS: Final = (
    1  # does not tell whether a file is still the same: nothing of it is put back
)
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
_LARGEST: Final = 64 * 2**20
_NUMBERS: Final = 2**64
_MODE: Final = re.compile("[0-7]{4}")
_NOBODY: Final = 2**32 - 1  # to chown(2): leave it
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class UndoFileInvalid(InvalidInput):
    """The undo file is none, or may have been written by somebody else."""

    code = "undo_file_invalid"
    next_step = "Name the file that `ikewarden audit --fix` wrote, as it wrote it."


class UndoFileExists(InvalidInput):
    """There is something where the undo file is to be made."""

    code = "undo_file_exists"
    next_step = "Name another one; the one that is there may still be needed."


class UndoFileNotWritable(IkewardenError):
    """The undo file cannot be made."""

    code = "undo_file_not_writable"
    next_step = "Name another place; nothing was changed."


@dataclass(frozen=True)
class Rights:
    """Twelve bits of mode, owner and group."""

    mode: int
    uid: int
    gid: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Those of a file."""
        return cls(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)

    def __str__(self) -> str:
        return f"{self.mode:04o} {self.uid}:{self.gid}"


@dataclass(frozen=True)
class Stamp:
    """By what it is known that a file was not written since: its size, and its mtime in nanoseconds."""

    size: int
    modified: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """That of a file."""
        return cls(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Record:
    """A file that was to be changed. `path` is that on the host; files of version 1 have no `stamp`."""

    path: str
    identity: tuple[int, int]
    sort: Sort
    before: Rights
    after: Rights
    stamp: "Stamp | None" = None
    changed: int | None = (
        None  # ctime after the change; None where the fix was cut off before it was told
    )

    @property
    def between(self) -> Rights:
        """What it is when only its mode was changed."""
        return Rights(self.after.mode, self.before.uid, self.before.gid)


class UndoFile:
    """An undo file that is being written."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._failed = False
        self.begun = False  # whether a record stands in it

    @classmethod
    @contextmanager
    def made(cls, path: Path, root: Path, now: datetime) -> Iterator[Self]:
        """A new one, with its first line on disk. Raises UndoFileExists, UndoFileNotWritable."""
        try:
            descriptor = os.open(path, _NEW, 0o600)
        except FileExistsError:
            raise UndoFileExists(f"{path} is there already.") from None
        except OSError as error:
            raise UndoFileNotWritable(f"{path} cannot be made: {error.strerror}.") from None
        try:
            file = cls(descriptor)
            head = {"version": VERSION, "root": os.path.realpath(root), "started": now.isoformat()}
            try:
                file._line(head)
                sync_directory(path.parent)
            except OSError as error:
                raise UndoFileNotWritable(f"{path} cannot be written: {error.strerror}.") from None
            yield file
        finally:
            if not file.begun:
                _remove(path, descriptor)  # there is no way back to be kept
            os.close(descriptor)

    def write(self, record: Record) -> None:
        """Bring a record to disk. Raises OSError, then and ever after: what stands behind half a line is lost."""
        stamp = {} if record.stamp is None else vars(record.stamp)
        self._append(
            {
                "path": record.path,
                "device": record.identity[0],
                "inode": record.identity[1],
                "sort": record.sort,
                "before": _document(record.before),
                "after": _document(record.after),
                **stamp,
            }
        )
        self.begun = True

    def made_so(self, status: os.stat_result) -> None:
        """Bring to disk that the change of the last record was made. Where it cannot be, the next `write` tells."""
        with suppress(OSError):
            self._append({"changed": status.st_ctime_ns})

    def _append(self, document: dict[str, Any]) -> None:
        if self._failed:
            raise OSError(0, "the undo file cannot be written any more")
        try:
            self._line(document)
        except OSError as error:
            self._failed = True
            raise OSError(
                error.errno, f"the undo file cannot be written: {error.strerror}"
            ) from None

    def _line(self, document: dict[str, Any]) -> None:
        # ASCII: names that are no UTF-8 stand in it as surrogates.
        waiting = json.dumps(document).encode("ascii") + b"\n"
        while waiting:
            waiting = waiting[os.write(self._descriptor, waiting) :]
        os.fsync(self._descriptor)


def _remove(path: Path, descriptor: int) -> None:
    """Take the file away again, if it is still the one that was made."""
    with suppress(OSError):
        if os.path.samestat(os.lstat(path), os.fstat(descriptor)):
            os.unlink(path)


@dataclass(frozen=True)
class Fix:
    """What an undo file says: records in their order, and the root that they are below."""

    root: Path
    started: datetime
    records: tuple[Record, ...]


def read(path: Path) -> Fix:
    """What an undo file says; half a last line is of a change that was not made. Raises UndoFileInvalid, OSError.

    Whoever may write it could have any file opened to all: it must be ours, and nobody else's to write.
    """
    content = _content(path)
    lines = content.split(b"\n")[:-1]
    try:
        head = json.loads(lines[0]) if lines else None
        if not isinstance(head, dict) or head.get("version") not in (VERSION, _WITHOUT_STAMPS):
            raise UndoFileInvalid(f"{path} is no undo file of this version.")
        root = Path(_text(head, "root"))
        started = datetime.fromisoformat(_text(head, "started"))
        records = tuple(_records(lines[1:], stamped=head["version"] == VERSION))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UndoFileInvalid(f"{path} is damaged, or no undo file.") from None
    if not root.is_absolute() or started.tzinfo is None:
        raise UndoFileInvalid(f"{path} is damaged, or no undo file.")
    return Fix(root, started, records)


@dataclass(frozen=True)
class Undone:
    """What became of a record; `reason` says why the file was left alone, or is empty. `already`: nothing was to be
    done, as where the fix was cut off before it changed the file.
    """

    record: Record
    reason: str = ""
    already: bool = False

    @property
    def done(self) -> bool:
        """Whether it is as it was before the fix."""
        return not self.reason


def undo(path: Path, root: Path | None = None) -> list[Undone]:
    """Put back what is still as the fix left it, the last first. May be done again after it was cut off.

    `root` stands in for that of the file, if the copy is now elsewhere. Raises UndoFileInvalid; OSError where the file
    or the root cannot be opened.
    """
    fix = read(path)
    top = os.open(root or fix.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return [_outcome(record, top) for record in reversed(fix.records)]
    finally:
        os.close(top)


def _outcome(record: Record, top: int) -> Undone:
    try:
        with opened(record.path, record.sort, top) as descriptor:
            return Undone(record, already=not _put_back(record, descriptor))
    except Refused as refused:
        return Undone(record, refused.reason)
    except OSError as error:
        return Undone(record, worded(error))


def _put_back(record: Record, descriptor: int) -> bool:
    """False where there is nothing to be put back. Raises Refused, OSError."""
    status = os.fstat(descriptor)
    if (status.st_dev, status.st_ino) != record.identity:
        raise Refused("another file stands there now")
    found, before = Rights.of(status), record.before
    if found == before:
        return False
    if record.sort is Sort.FILE and status.st_nlink != 1:
        raise Refused(f"it has {status.st_nlink} names (hard links) now")
    if found not in (record.after, record.between):
        raise Refused(f"it was changed since, to {found}")
    _same(record, status)
    # The owner first: root must not own, for a moment, what anybody may write and start as him.
    if (found.uid, found.gid) != (before.uid, before.gid):
        os.fchown(descriptor, before.uid, before.gid)
    os.fchmod(descriptor, before.mode)
    if Rights.of(os.fstat(descriptor)) != before:
        raise Refused("the file system did not take all of it")
    return True


def _same(record: Record, status: os.stat_result) -> None:
    """Raises Refused where it may be another file, or hold something else, than the one that the fix left."""
    by_hand = "look at it, and change it by hand"
    if record.stamp is None:
        raise Refused(
            f"the undo file is of an older version, which does not tell whether it is still the same file: {by_hand}"
        )
    # Where only the mode is, the fix or an undo was cut off, which moved the ctime itself.
    whole = Rights.of(status) == record.after
    moved = whole and record.changed not in (None, status.st_ctime_ns)
    if moved or Stamp.of(status) != record.stamp:
        what = (
            "it was written or replaced"
            if record.sort is Sort.FILE
            else "what is in it was changed"
        )
        raise Refused(f"{what} since, and is not opened again: {by_hand}")


def _content(path: Path) -> bytes:
    descriptor = os.open(path, _OLD)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UndoFileInvalid(f"{path} is no regular file.")
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & _OTHERS_WRITE:
            raise UndoFileInvalid(
                f"{path} can be written by others, who could have said anything in it.",
                next_step="Read it, and put back what it tells by hand.",
            )
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise UndoFileInvalid(f"{path} is larger than an undo file can be.")
    return content


def _records(lines: Iterable[bytes], *, stamped: bool) -> Iterator[Record]:
    """Each file with what was told of it when it had been changed. Raises ValueError, KeyError, TypeError."""
    last: Record | None = None
    for line in lines:
        document = json.loads(line)
        if stamped and last is not None and set(document) == {"changed"}:
            yield replace(last, changed=_time(document, "changed"))
            last = None
            continue
        if last is not None:
            yield last
        last = _record(document)
        if stamped:
            stamp = Stamp(_number(document, "size"), _time(document, "modified"))
            last = replace(last, stamp=stamp)
    if last is not None:
        yield last


def _record(document: Any) -> Record:
    """Raises ValueError, KeyError, TypeError where it does not tell of taking rights away."""
    before, after = _rights(document["before"]), _rights(document["after"])
    record = Record(
        path=_text(document, "path"),
        identity=(_number(document, "device"), _number(document, "inode")),
        sort=Sort(document["sort"]),
        before=before,
        after=after,
    )
    narrower = not after.mode & ~before.mode
    if not narrower or after.uid not in (0, before.uid) or after.gid not in (0, before.gid):
        raise ValueError("no change that was ever made")
    return record


def _document(rights: Rights) -> dict[str, Any]:
    return {"mode": f"{rights.mode:04o}", "uid": rights.uid, "gid": rights.gid}


def _rights(document: Any) -> Rights:
    text = _text(document, "mode")
    if not _MODE.fullmatch(text):
        raise ValueError("no mode")
    mode = int(text, 8)
    uid, gid = _number(document, "uid"), _number(document, "gid")
    if max(uid, gid) >= _NOBODY:
        raise ValueError("no owner")
    return Rights(mode, uid, gid)


def _number(document: Any, name: str) -> int:
    value = document[name]
    if type(value) is not int or not 0 <= value < _NUMBERS:
        raise ValueError(f"{name} is no number")
    return value


def _time(document: Any, name: str) -> int:
    value = document[name]
    if type(value) is not int or abs(value) >= _NUMBERS:
        raise ValueError(f"{name} is no time")
    return value


def _text(document: Any, name: str) -> str:
    value = document[name]
    if not isinstance(value, str) or "\0" in value:
        raise TypeError(f"{name} is no text")
    return value
