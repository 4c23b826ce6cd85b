"""Private directories whose files are whole or not there, whatever moment the machine stops at.

Directories are 0700, files 0600, plain, ours alone. A file is written under another name, synced, renamed, and the
directory synced: after a crash there is the old content or the new. Names that begin with a dot are half-done work,
and are swept away by the next one who holds the lock.
"""

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ike.agent.errors import HomeDamaged, HomeNotPrivate, HomeNotWritable, NotEnrolled
from ike.atomic import sync_directory, write_atomically

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700
_OPEN_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

Watch = Callable[[str], None]
"""Is told of each durable step before it is done; tests end the process there."""


def nobody(_step: str) -> None:
    """Watch nothing."""


class Folder:
    """One private directory. Making an instance touches nothing."""

    def __init__(self, path: Path, watch: Watch = nobody) -> None:
        self.path = path
        self._watch = watch

    def sub(self, name: str) -> "Folder":
        """A directory in this one."""
        return Folder(self.path / name, self._watch)

    def exists(self) -> bool:
        """Whether something of this name is there."""
        return os.path.lexists(self.path)

    def make(self) -> None:
        """Make it where there is none, with its parents. Raises HomeNotWritable."""
        with told(self.path):
            if not self.exists():
                self._watch(f"make {self.path.name}")
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
                self.path.chmod(DIRECTORY_MODE)
                sync_directory(self.path.parent)

    def names(self) -> list[str]:
        """Names in it, without half-done work; none where the directory is missing."""
        with told(self.path):
            try:
                return sorted(name for name in os.listdir(self.path) if not name.startswith("."))
            except FileNotFoundError:
                return []

    def read(self, name: str, *, limit: int) -> bytes | None:
        """A file, whole; None where there is none. Raises HomeDamaged over `limit`, HomeNotPrivate, HomeNotWritable."""
        path = self.path / name
        with told(path):
            try:
                descriptor = os.open(path, _OPEN_FILE)
            except FileNotFoundError:
                return None
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise HomeNotPrivate(f"{path} is a symbolic link.") from None
                raise
            with os.fdopen(descriptor, "rb") as file:
                check_private(path, os.fstat(descriptor))
                content = file.read(limit + 1)
        if len(content) > limit:
            raise HomeDamaged(f"{path} is larger than {limit} bytes.")
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write a file, durably. Raises HomeNotWritable, with the old content in place."""
        self._watch(f"write {self.path.name}/{name}")
        with told(self.path / name):
            write_atomically(self.path / name, content)

    def remove(self, name: str) -> None:
        """Remove a file if there is one, durably."""
        self._watch(f"remove {self.path.name}/{name}")
        with told(self.path / name):
            (self.path / name).unlink(missing_ok=True)
            sync_directory(self.path)

    def put(self, name: str, files: dict[str, bytes]) -> None:
        """Make a directory with these files, all at once. Raises HomeNotWritable, with nothing of this name there."""
        half = self.path / f".{name}.new"
        with told(self.path / name):
            shutil.rmtree(half, ignore_errors=True)
            self._watch(f"begin {name}")
            half.mkdir(mode=DIRECTORY_MODE)
            half.chmod(DIRECTORY_MODE)
            for each, content in files.items():
                self._watch(f"write {name}/{each}")
                write_atomically(half / each, content)
            self._watch(f"name {name}")
            half.rename(self.path / name)
            sync_directory(self.path)

    def drop(self, name: str) -> None:
        """Remove a directory of files, all at once: after a crash it is there whole or not at all."""
        gone = self.path / f".{name}.gone"
        with told(self.path / name):
            shutil.rmtree(gone, ignore_errors=True)
            self._watch(f"drop {name}")
            with suppress(FileNotFoundError):
                (self.path / name).rename(gone)
            sync_directory(self.path)
            self._watch(f"clear {name}")
            shutil.rmtree(gone, ignore_errors=True)

    def sweep(self) -> None:
        """Remove half-done work here and below; the caller holds the lock."""
        with told(self.path):
            for entry in self._entries():
                if entry.is_symlink():
                    continue
                if entry.name.startswith("."):
                    self._watch(f"sweep {entry.name}")
                    if entry.is_dir():
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        os.unlink(entry.path)
                elif entry.is_dir():
                    self.sub(entry.name).sweep()

    def _entries(self) -> list[os.DirEntry[str]]:
        with os.scandir(self.path) as entries:
            return list(entries)

    def check(self) -> None:
        """Refuse the directory and all below it unless they are private. Raises HomeNotPrivate, NotEnrolled."""
        with told(self.path):
            try:
                status = os.lstat(self.path)
            except FileNotFoundError:
                raise NotEnrolled(f"There is no agent's home at {self.path}.") from None
            check_private(self.path, status, directory=True)
            for entry in self._entries():
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    self.sub(entry.name).check()
                else:
                    check_private(Path(entry.path), os.lstat(entry.path))


def check_private(path: Path, status: os.stat_result, *, directory: bool = False) -> None:
    """Refuse what is no plain file (or directory) that only this user may read and write. Raises HomeNotPrivate."""
    what = "directory" if directory else "file"
    mode = DIRECTORY_MODE if directory else FILE_MODE
    if not (stat.S_ISDIR if directory else stat.S_ISREG)(status.st_mode):
        raise HomeNotPrivate(
            f"{path} is not a plain {what}.", next_step="Find out who put it there; remove it."
        )
    if status.st_uid != os.geteuid():
        raise HomeNotPrivate(
            f"{path} belongs to user {status.st_uid}, not to {os.geteuid()}, who runs this.",
            next_step=f"Run as the owner, or: chown {os.geteuid()} '{path}'",
        )
    if status.st_mode & 0o077:
        raise HomeNotPrivate(
            f"{path} is open to others (mode {stat.S_IMODE(status.st_mode):04o}).",
            next_step=f"Run chmod {mode:o} '{path}'; enroll again if others may have read the key.",
        )
    if not directory and status.st_nlink > 1:
        raise HomeNotPrivate(
            f"{path} has {status.st_nlink} hard links.", next_step="Remove the other ones."
        )


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Say what the system refused in one sentence: HomeNotWritable."""
    try:
        yield
    except OSError as error:
        raise HomeNotWritable(f"{path}: {os.strerror(error.errno or 0)}.") from error
