"""A gateway's files, this machine's or a copy of them below a folder: opened for reading, and never waited for.

Paths are those that the gateway knows. A link in a copy is followed as it would be on the gateway, so nothing outside
of the copy is ever opened.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Final

MAX_OCTETS: Final = 2**20
_MAX_LINKS: Final = 40
_MAX_LISTED: Final = 10_000  # of one folder
_MAX_LISTED_IN_ALL: Final = 100_000  # for one pattern
_MAX_FOUND: Final = 10_000
CUT_OFF: Final = "too many files lie where this pattern leads: not all of them are looked at"
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
_WILD: Final = frozenset("*?[")


class Refused(OSError):
    """What is there is not read: no regular file, too large, no text."""


@dataclass(frozen=True)
class File:
    """A file's octets, when it was changed, and which file it is, whatever it is called."""

    content: bytes
    changed: datetime
    identity: tuple[int, int]


def first_octets(path: str, octets: int) -> tuple[bytes, os.stat_result]:
    """The first octets of a regular file of this machine that is no link. Raises OSError; Refused for all else."""
    # Looked at before it is opened: opening a device may do something.
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise Refused(errno.EINVAL, "not a regular file")
    descriptor = os.open(path, _FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Refused(errno.EINVAL, "not a regular file")
        parts, left = [], octets
        while left and (part := os.read(descriptor, min(left, 2**20))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts), status
    finally:
        os.close(descriptor)


class Tree:
    """The files below `root`, as they would be found if that were `/`."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.cut_off: set[str] = set()  # patterns of which not all was found

    def read(self, path: str, limit: int = MAX_OCTETS) -> File:
        """A file of at most `limit` octets. Raises OSError; Refused where it is not such a file."""
        content, status = first_octets(self._resolved(path), limit + 1)
        if len(content) > limit:
            raise Refused(errno.EFBIG, f"larger than {limit // 2**20} MiB")
        return File(content, moment(status.st_mtime), (status.st_dev, status.st_ino))

    def beginning(self, path: str, octets: int) -> bytes:
        """The first octets of a file, however large it is. Raises OSError as `read` does."""
        return first_octets(self._resolved(path), octets)[0]

    def exists(self, path: str) -> bool:
        """Whether there is anything under this path."""
        try:
            os.lstat(self._resolved(path))
        except OSError:
            return False
        return True

    def is_folder(self, path: str) -> bool:
        """Whether this path is a folder."""
        try:
            return stat.S_ISDIR(os.lstat(self._resolved(path)).st_mode)
        except OSError:
            return False

    def matching(self, pattern: str) -> list[str]:
        """The paths that an absolute pattern means, sorted; as glob(7), a pattern without wildcards means itself.

        A folder that several of its names lead to is gone into once, by the first: links to a folder above would lead
        to more names with each `*`. What is left out for want of time is in `cut_off`.
        """
        found = ["/"]
        listing = _Listing(_MAX_LISTED_IN_ALL)
        for part in PurePosixPath(os.path.normpath(pattern)).parts[1:]:
            folders = found if len(found) == 1 else list(self._different(found))
            if _WILD.isdisjoint(part):
                found = [os.path.join(folder, part) for folder in folders]
            else:
                found = [
                    os.path.join(folder, name)
                    for folder in folders
                    for name in self._names(folder, part, listing)
                ]
            if listing.is_cut or len(found) > _MAX_FOUND:
                self.cut_off.add(pattern)
            del found[_MAX_FOUND:]
        return [path for path in found if self.exists(path)]

    def _different(self, folders: Iterable[str]) -> Iterator[str]:
        """Those that are folders, each once."""
        seen = set()
        for folder in folders:
            with suppress(OSError):
                status = os.lstat(self._resolved(folder))
                identity = status.st_dev, status.st_ino
                if stat.S_ISDIR(status.st_mode) and identity not in seen:
                    seen.add(identity)
                    yield folder

    def _names(self, folder: str, pattern: str, listing: "_Listing") -> Iterator[str]:
        most = min(_MAX_LISTED, listing.left)
        try:
            with os.scandir(self._resolved(folder)) as listed:
                names = sorted(each.name for each in islice(listed, most))
        except OSError:
            return
        listing.left -= len(names)
        listing.is_cut = listing.is_cut or len(names) >= most
        for name in names:
            if fnmatchcase(name, pattern) and name.startswith(".") == pattern.startswith("."):
                yield name

    def _resolved(self, path: str) -> str:
        """Where a path is on this machine, links followed within the root. Raises OSError."""
        if "\0" in path:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        waiting = _parts(path)
        at: list[str] = []
        links = 0
        while waiting:
            part = waiting.pop(0)
            if part == "..":
                at = at[:-1]
                continue
            here = os.path.join(self.root, *at, part)
            if not stat.S_ISLNK(_mode(here)):
                at.append(part)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            target = os.readlink(here)
            at = [] if target.startswith("/") else at
            waiting = _parts(target) + waiting
        return os.path.join(self.root, *at)


@dataclass
class _Listing:
    """How many names may still be looked at for a pattern, and whether some were left out."""

    left: int
    is_cut: bool = False


def moment(seconds: float) -> datetime:
    """A time that a file system tells; its beginning where that is one that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _mode(path: str) -> int:
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return 0
