"""A directory of small private files, written so that a crash leaves the old state or the new one.

The directory is 0700 and its files are 0600, plain, ours and without a second hard link; anything
else is refused. A new file appears under its name whole or not at all, and never over another
file: it is written and synced under a temporary name, then linked. Whoever changes something
holds the lock file, and so may sweep away the temporary names that a killed process left behind.

Nothing is held open between calls, so an instance may be used in many threads and across a fork.
"""

import errno
import fcntl
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from hsm.errors import (
    KeyFileDamaged,
    KeyStoreError,
    KeyStoreMissing,
    KeyStoreUnavailable,
    NotAPlainFile,
    WeakMode,
    WrongOwner,
)

DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o600
LOCK_NAME: Final = ".lock"
_TEMPORARY_SUFFIX: Final = ".tmp"
_LOOK_AGAIN: Final = 0.02
_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a pipe put in a file's place must not hang us before we have looked at what it is.
_OPEN_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

Identity = tuple[int, ...]


def check_private(path: Path, status: os.stat_result, *, user: int, directory: bool) -> None:
    """Refuse what is not a plain file (or directory) that only `user` may read and write.

    Raises `NotAPlainFile`, `WrongOwner`, `WeakMode`. `path` is for the message only.
    """
    right_kind = stat.S_ISDIR if directory else stat.S_ISREG
    if not right_kind(status.st_mode):
        raise NotAPlainFile(f"{path} is not a plain {'directory' if directory else 'file'}.")
    if status.st_uid != user:
        raise WrongOwner(path, status.st_uid, wanted=user)
    if status.st_mode & 0o077:
        wanted = DIRECTORY_MODE if directory else FILE_MODE
        raise WeakMode(path, stat.S_IMODE(status.st_mode), wanted=wanted)
    if not directory and status.st_nlink > 1:
        raise NotAPlainFile(f"{path} has {status.st_nlink} hard links; it may have only one.")


class PrivateFolder:
    """One such directory. Making an instance touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    def __repr__(self) -> str:
        return f"PrivateFolder({str(self.path)!r})"

    def make(self) -> None:
        """Make the directory where there is none; its parent must exist. Raises
        `KeyStoreUnavailable`.
        """
        with _system_errors(self.path):
            try:
                os.mkdir(self.path, DIRECTORY_MODE)
            except FileExistsError:
                return
            except FileNotFoundError:
                raise KeyStoreUnavailable(
                    f"{self.path.parent} does not exist.", next_step="Make it first."
                ) from None
            os.chmod(self.path, DIRECTORY_MODE)  # the umask may have taken the owner's own bits
            parent = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(parent)
            finally:
                os.close(parent)

    def check(self, is_ours: Callable[[str], bool]) -> None:
        """Refuse the directory, or any file in it that `is_ours` names, if it is not private.

        Sweeps what killed processes left behind, where the directory can be written.
        """
        with self._opened() as directory:
            names = os.listdir(directory)
            if any(_is_temporary(name) for name in names):
                self._sweep_if_possible(directory)
            for name in sorted(filter(is_ours, names)):
                with suppress(FileNotFoundError), self._file(directory, name):
                    pass

    def names(self) -> list[str]:
        """Names of all files except the lock and temporary ones, sorted."""
        with self._opened() as directory:
            names = os.listdir(directory)
        return sorted(name for name in names if name != LOCK_NAME and not _is_temporary(name))

    def read(self, name: str, *, limit: int) -> bytes:
        """A file, whole. Raises `FileNotFoundError`, `KeyFileDamaged` over `limit` bytes."""
        with self._opened() as directory, self._file(directory, name) as descriptor:
            return self._content(descriptor, name, limit)

    def identity(self, name: str) -> Identity:
        """Changes whenever the file, its mode or owner does. Raises `FileNotFoundError`."""
        with _system_errors(self.path / name):
            status = os.lstat(f"{self.path}/{name}")
        return (status.st_dev, status.st_ino, status.st_ctime_ns, status.st_size)

    def create(self, name: str, content: bytes) -> None:
        """Write a new file, durably. Raises `FileExistsError`, with nothing changed."""
        with self._changing() as directory:
            temporary = self._write_temporary(directory, name, content)
            try:
                # link, unlike rename, never replaces what is there.
                os.link(
                    temporary,
                    name,
                    src_dir_fd=directory,
                    dst_dir_fd=directory,
                    follow_symlinks=False,
                )
            finally:
                os.unlink(temporary, dir_fd=directory)
            os.fsync(directory)

    def replace(self, name: str, content: bytes) -> None:
        """Write a file, durably, in the place of the old one if there is one."""
        with self._changing() as directory:
            temporary = self._write_temporary(directory, name, content)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)

    def update(
        self, name: str, change: Callable[[bytes | None], bytes | None], *, limit: int
    ) -> None:
        """Write what `change` makes of the file's content (None: there is no file), as the only writer; None from it
        leaves all as it is. The old content is overwritten before its blocks are given back.

        What `change` raises changes nothing. Raises `KeyFileDamaged` over `limit` bytes.
        """
        with self._changing() as directory:
            try:
                with self._file(directory, name, sweeping=False) as descriptor:
                    old = self._content(descriptor, name, limit)
            except FileNotFoundError:
                old = None
            new = change(old)
            if new is None:
                return
            temporary = self._write_temporary(directory, name, new)
            with _overwritten(directory, name):
                os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
                os.fsync(directory)

    def remove(self, name: str) -> None:
        """Remove a file, durably. Raises `FileNotFoundError`."""
        with self._changing() as directory:
            os.unlink(name, dir_fd=directory)
            os.fsync(directory)

    def shred(self, name: str) -> None:
        """Remove a file, durably, and overwrite its content; nothing where there is none."""
        with self._changing() as directory, suppress(FileNotFoundError):
            with _overwritten(directory, name):
                os.unlink(name, dir_fd=directory)
                os.fsync(directory)

    @contextmanager
    def alone(self, name: str, *, seconds: float) -> Iterator[None]:
        """Hold a lock file of this name: one holder among all threads and processes; a killed one gives it back.

        It does not keep others from changing files; where the directory is mounted read-only, nobody is waited for.
        Raises `KeyStoreUnavailable`, also where others hold it for longer than `seconds`.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        deadline, pause = time.monotonic() + seconds, threading.Event()
        with self._opened() as directory:
            try:
                lock = os.open(name, flags, FILE_MODE, dir_fd=directory)
            except OSError as error:
                if error.errno != errno.EROFS:
                    raise
                yield
                return
            try:
                while not _taken(lock):
                    if time.monotonic() > deadline:
                        raise KeyStoreUnavailable(
                            f"Others hold {self.path / name} for longer than {seconds:g} s.",
                            next_step="Try again in a few seconds.",
                        )
                    pause.wait(_LOOK_AGAIN)
                yield
            finally:
                fcntl.flock(lock, fcntl.LOCK_UN)  # a process forked meanwhile would keep it
                os.close(lock)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """A descriptor of the directory, so that every step works in the very one that was
        checked.
        """
        with _system_errors(self.path):
            try:
                directory = os.open(self.path, _OPEN_DIRECTORY)
            except FileNotFoundError:
                raise KeyStoreMissing(f"There is no key store at {self.path}.") from None
            except OSError as error:
                # Linux answers ENOTDIR for a symbolic link here, because of O_DIRECTORY.
                if error.errno in (errno.ELOOP, errno.ENOTDIR):
                    raise NotAPlainFile(f"{self.path} is not a plain directory.") from None
                raise
            try:
                check_private(self.path, os.fstat(directory), user=os.geteuid(), directory=True)
                yield directory
            finally:
                os.close(directory)

    @contextmanager
    def _file(self, directory: int, name: str, *, sweeping: bool = True) -> Iterator[int]:
        """A descriptor of a file, after checking it. Whoever holds the lock has swept already and must not again."""
        path = self.path / name
        try:
            descriptor = os.open(name, _OPEN_FILE, dir_fd=directory)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise NotAPlainFile(f"{path} is a symbolic link.") from None
            raise
        try:
            if sweeping and os.fstat(descriptor).st_nlink > 1:
                # Perhaps only a writer between link and unlink, alive or killed there.
                self._sweep_if_possible(directory)
            check_private(path, os.fstat(descriptor), user=os.geteuid(), directory=False)
            yield descriptor
        finally:
            os.close(descriptor)

    def _content(self, descriptor: int, name: str, limit: int) -> bytes:
        with os.fdopen(os.dup(descriptor), "rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise KeyFileDamaged(f"{self.path / name} is larger than {limit} bytes.")
        return content

    @contextmanager
    def _changing(self) -> Iterator[int]:
        with self._opened() as directory, self._locked(directory):
            yield directory

    @contextmanager
    def _locked(self, directory: int) -> Iterator[None]:
        """The only writer, in any process; a killed one gives the lock back. Sweeps before it
        starts.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(LOCK_NAME, flags, FILE_MODE, dir_fd=directory)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for name in filter(_is_temporary, os.listdir(directory)):
                os.unlink(name, dir_fd=directory)
            yield
        finally:
            # Unlock by name: a process forked meanwhile shares the lock and would keep it.
            fcntl.flock(lock, fcntl.LOCK_UN)
            os.close(lock)

    def _sweep_if_possible(self, directory: int) -> None:
        """Sweep, unless the directory is mounted or permitted read-only: then left-overs do no
        harm.
        """
        with suppress(OSError), self._locked(directory):
            pass

    def _write_temporary(self, directory: int, name: str, content: bytes) -> str:
        temporary = f".{name}.{secrets.token_hex(8)}{_TEMPORARY_SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, FILE_MODE, dir_fd=directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), FILE_MODE)  # whatever the umask is
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            os.unlink(temporary, dir_fd=directory)
            raise
        return temporary


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith(_TEMPORARY_SUFFIX)


@contextmanager
def _overwritten(directory: int, name: str) -> Iterator[None]:
    """Put zeros over what the file holds now, once it has lost its name in the body: whoever reads by name never sees
    them. A file system that copies on write, or a disk that moves blocks, may keep the old ones all the same.
    """
    try:
        old = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        yield
        return
    try:
        yield
        status = os.fstat(old)
        if (
            status.st_nlink == 0
        ):  # a second hard link, as some backups make them, is not ours to destroy
            os.pwrite(old, bytes(status.st_size), 0)
            os.fsync(old)
    finally:
        os.close(old)


@contextmanager
def _system_errors(path: Path) -> Iterator[None]:
    """Let what the caller handles through (ours, exists, not found); say the rest in a sentence."""
    try:
        yield
    except (KeyStoreError, FileExistsError, FileNotFoundError):
        raise
    except OSError as error:
        raise KeyStoreUnavailable(f"{path}: {os.strerror(error.errno or 0)}.") from error
