"""SQLite: where its file may lie, how a connection is set up, and who may write."""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from store.errors import StoreExposed, StoreUnreachable
from store.limits import Limits, milliseconds


def prepare(url: URL) -> Path:
    """Path of the database file, made (mode 0600) if there is none.

    Raises StoreUnreachable where it cannot be made, StoreExposed where other users may write to
    its directory or read or write the file.
    """
    if not url.database or url.database == ":memory:":
        raise StoreUnreachable(
            "The records need a database file.",
            next_step="Use sqlite:////absolute/path/to/file.db.",
        )
    path = Path(url.database).absolute()
    try:
        directory = path.parent.stat()
        if directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise _exposed(path.parent, directory.st_mode, "go-w")
        # O_EXCL, and never opening a file that exists: closing any descriptor of a file drops
        # every POSIX lock of the process on it, also those of SQLite
        # (https://www.sqlite.org/howtocorrupt.html §2.2).
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        file = path.stat()
    except OSError as error:
        reason = errno.errorcode.get(error.errno or 0, "error")
        raise StoreUnreachable(
            f"The database file {path} cannot be made or read ({reason}).",
            next_step=f"Check that {path.parent} exists and that this user may write to it.",
        ) from error
    if file.st_mode & (stat.S_IWGRP | stat.S_IRWXO):
        raise _exposed(path, file.st_mode, "go-rwx")
    return path


def _exposed(path: Path, mode: int, change: str) -> StoreExposed:
    return StoreExposed(
        f"{path} has mode {stat.S_IMODE(mode):04o}: other users could change the records.",
        next_step=f"Run: chmod {change} {path}",
    )


class Presence:
    """Makes sure that the file at the path is still the one that was opened.

    Records written to a file that was removed or replaced meanwhile would be gone with the process.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = self._identity()

    def check(self) -> None:
        """Raise StoreUnreachable when the file is gone, or another one."""
        if self._identity() != self._known:
            raise StoreUnreachable(
                f"The database file {self._path} was removed or replaced while in use.",
                next_step="Stop the service, put the database back, and start again.",
            )

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status.st_dev, status.st_ino


def engine_options(limits: Limits) -> dict[str, Any]:
    """Arguments of `create_engine`."""
    return {
        # The pool of store.engine gives a connection to one thread at a time.
        "connect_args": {"check_same_thread": False, "timeout": limits.busy.total_seconds()},
    }


def set_up(connection: Any, limits: Limits, *, read_only: bool, foreign_keys: bool) -> None:
    """Prepare a fresh `sqlite3` connection."""
    wait = milliseconds(limits.busy)
    for pragma in (
        f"busy_timeout = {wait}",
        "journal_mode = WAL",
        "synchronous = FULL",  # a commit that was acknowledged survives a power cut
        f"foreign_keys = {'ON' if foreign_keys else 'OFF'}",
        "temp_store = MEMORY",
        "cache_size = -8192",  # KiB, for each connection
        "mmap_size = 0",  # a read error of a mapped page would be a SIGBUS instead of an error
        "wal_autocheckpoint = 4000",  # pages of 4 KiB
        "journal_size_limit = 67108864",
        f"query_only = {'ON' if read_only else 'OFF'}",
    ):
        connection.execute(f"PRAGMA {pragma}").close()
