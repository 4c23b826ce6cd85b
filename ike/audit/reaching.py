"""The way to a file that is to be changed: folder by folder from the root's descriptor, and through no link."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from ike.audit.values import Sort

_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SIGHT: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC  # opens nothing that could notice
_HANDLE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
_KINDS: Final = {Sort.FILE: stat.S_ISREG, Sort.FOLDER: stat.S_ISDIR}


class Refused(OSError):
    """A file is left as it is; the message says why, in words without an end."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EPERM, reason)
        self.reason = reason


@contextmanager
def opened(path: str, sort: Sort, top: int) -> Iterator[int]:
    """A descriptor of a regular file or folder, reached from the folder `top` through folders alone.

    Raises Refused, OSError. Looked at before it is opened: to open a device may do something.
    """
    if sort not in _KINDS:
        raise Refused("it is no regular file and no folder")
    parts = [part for part in path.split("/") if part]
    if not parts or ".." in parts or "." in parts:
        raise Refused("it is the root itself, or not named from there")
    folder = os.dup(top)
    try:
        for number, part in enumerate(parts[:-1], 1):
            try:
                following = os.open(part, _FOLDER, dir_fd=folder)
            except NotADirectoryError:
                here = "/" + "/".join(parts[:number])
                raise Refused(
                    f"{here} on the way to it is no folder, but a link or a file"
                ) from None
            os.close(folder)
            folder = following
        descriptor = _opened_in(folder, parts[-1], sort)
    finally:
        os.close(folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _opened_in(folder: int, name: str, sort: Sort) -> int:
    is_kind = _KINDS[sort]
    seen = os.open(name, _SIGHT, dir_fd=folder)
    try:
        sight = os.fstat(seen)
        if not is_kind(sight.st_mode):
            raise Refused(f"it is no {sort} any more")
        try:
            descriptor = os.open(name, _HANDLE, dir_fd=folder)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Refused(f"it is no {sort} any more") from None
            raise
    finally:
        os.close(seen)
    with _closed_on_failure(descriptor):
        status = os.fstat(descriptor)
        if not is_kind(status.st_mode) or not os.path.samestat(status, sight):
            raise Refused("another file was put in its place just now")
    return descriptor


@contextmanager
def _closed_on_failure(descriptor: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(OSError):
            os.close(descriptor)
        raise


def worded(error: OSError) -> str:
    """Why the system refused, in words without an end."""
    if error.errno == errno.EAGAIN:
        return "somebody holds a lease on it: try again"
    if error.errno == errno.EPERM:
        return "the system forbids it: not root, or the file is immutable (lsattr)"
    return (error.strerror or "it failed").lower()
