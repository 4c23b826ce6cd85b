"""A log that grows, read on from a place that was noted, through rotation and truncation."""

import hashlib
import os
import re
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

_BLOCK: Final = 1 << 18
_HEAD: Final = 256  # bytes that a file is known by, beside its number: numbers are given again
_BEFORE: Final = 1 << 16  # bytes before the place that tell what the lines behind it go on with
_LONGEST: Final = 1 << 20
_PACKED: Final = frozenset({".gz", ".bz2", ".xz", ".zst", ".lz4"})


_ROTATED: Final = re.compile(r"[.-](\d{1,10}(?:-\d{1,10})?)(?:\.(?:gz|bz2|xz|zst|lz4))?")
#: The position of a reader that has seen nothing of a log.
START: Final[dict[str, Any]] = {"inode": 0, "offset": 0, "head": "", "known": 0}


class Piece(NamedTuple):
    """Whole lines. `fresh`: a file begins with them. Empty: nothing came for now."""

    data: bytes
    fresh: bool = False


class Tail:
    """A log from `position` on, a document of `place`; from its end where that is None.

    Where the file of the position is gone, from the beginning of the one that took its place. Every method raises
    OSError as the files do.
    """

    def __init__(self, path: Path, position: dict[str, Any] | None) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""
        self._fresh = True
        self._offset = 0  # of what was given
        self._head = b""  # of that the first bytes
        self.before = b""
        if position is None:
            if path.exists():
                self._open(path)
                self._skip_to_end()
        else:
            self._resume(position)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def place(self) -> dict[str, Any]:
        """Up to where lines were given, as JSON."""
        if self._file is None:
            return START
        inode, known = os.fstat(self._file.fileno()).st_ino, len(self._head)
        head = _digest(self._head)
        return {"inode": inode, "offset": self._offset, "head": head, "known": known}

    def read(self) -> Piece:
        """What came, as whole lines. A log that is not there is an error: who is to say what is not written in it?"""
        if self._file is None:
            self._open(self._path)
        elif self._cut_off():
            self._again(self._path)
        piece = self._more()
        if piece.data:
            return piece
        if (successor := self._successor()) is not None:
            piece = self._more()  # written between the last look and the new file
            if piece.data:
                return piece
            if self._rest:
                return self._last_line()
            self._again(successor)
        else:
            return piece
        return self._more()

    # inside

    @property
    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise OSError("the log is not open")
        return self._file

    def _more(self) -> Piece:
        data = self._rest + self._opened.read(_BLOCK)
        end = data.rfind(b"\n") + 1
        if not end and len(data) > _LONGEST:
            end = len(data)
        whole, self._rest = data[:end], data[end:]
        self._offset += end
        self._know_head()
        fresh, self._fresh = self._fresh and bool(whole), self._fresh and not whole
        return Piece(whole, fresh)

    def _last_line(self) -> Piece:
        """What the file ends with, though it has no end: nobody writes to it any longer."""
        rest, self._rest = self._rest, b""
        self._offset += len(rest)
        return Piece(rest + b"\n")

    def _open(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._rest, self._offset, self._fresh, self._head = b"", 0, True, b""

    def _again(self, path: Path) -> None:
        self.close()
        self._open(path)

    def _skip_to_end(self) -> None:
        size = os.fstat(self._opened.fileno()).st_size
        self._go_to(size)
        if self.before and not self.before.endswith(b"\n"):  # a line is half written: give it whole
            start = self.before.rfind(b"\n") + 1
            self._go_to(size - len(self.before) + start)

    def _resume(self, position: dict[str, Any]) -> None:
        inode, offset = int(position.get("inode", 0)), int(position.get("offset", 0))
        for path in reversed(rotated(self._path)) if self._path.parent.is_dir() else ():
            if path.stat().st_ino != inode:
                continue
            self._open(path)
            known = int(position.get("known", 0))
            same = _digest(_first(self._opened, known)) == position.get("head")
            if same and os.fstat(self._opened.fileno()).st_size >= offset:
                self._go_to(offset)
                return
            self.close()
        # Else it was removed, packed or cut off: `read` begins with what is there now.

    def _go_to(self, offset: int) -> None:
        file = self._opened
        start = max(0, offset - _BEFORE)
        file.seek(start)
        before = file.read(offset - start)
        if start:
            before = before[before.find(b"\n") + 1 :]
        file.seek(offset)
        self.before, self._offset, self._rest, self._fresh = before, offset, b"", False
        self._know_head()

    def _know_head(self) -> None:
        if len(self._head) < min(_HEAD, self._offset):
            self._head = _first(self._opened, min(_HEAD, self._offset))

    def _cut_off(self) -> bool:
        """Whether it was emptied, however much has been written into it since."""
        mine = os.fstat(self._opened.fileno())
        is_short = mine.st_size < self._offset + len(self._rest)
        is_other = _first(self._opened, len(self._head)) != self._head
        return (is_short or is_other) and self._is_current(mine)

    def _is_current(self, mine: os.stat_result) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

    def _successor(self) -> Path | None:
        """The file that comes after this one, where this one was renamed and the new one has something in it."""
        mine = os.fstat(self._opened.fileno())
        if self._is_current(mine) or not self._path.exists():
            return None
        files = [each for each in rotated(self._path) if each.suffix not in _PACKED]
        inodes = [each.stat().st_ino for each in files]
        if mine.st_ino in inodes:
            files = files[inodes.index(mine.st_ino) + 1 :]
        else:
            files = files[-1:]
        return next((each for each in files if each.stat().st_size), None)


def rotated(path: Path) -> list[Path]:
    """The earlier files of a log and itself, oldest first: `log.2.gz`, `log-20260101`, `log.1`, `log`."""
    found: list[tuple[tuple[int, str], Path]] = []
    for sibling in path.parent.iterdir():
        if not sibling.name.startswith(path.name) or not sibling.is_file():
            continue
        number = _ROTATED.fullmatch(sibling.name[len(path.name) :])
        if number is not None:
            found.append((_age(number[1]), sibling))
    return [each for _, each in sorted(found)] + ([path] if path.exists() else [])


def _age(number: str) -> tuple[int, str]:
    """Dates go up with time, and small numbers go down."""
    return (1, number) if len(number) >= 8 else (0, f"{10**10 - int(number.partition('-')[0]):011}")


def _first(file: BinaryIO, size: int) -> bytes:
    return os.pread(file.fileno(), size, 0)


def _digest(head: bytes) -> str:
    return hashlib.sha256(head).hexdigest()[:32]
