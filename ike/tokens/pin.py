"""The PIN of a token: in a file that only the agent's user can read."""

import os
import stat
from pathlib import Path
from typing import Final

from core.secret import Secret
from ike.tokens.errors import PinUnreadable

_LONGEST: Final = 256
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# swanctl.conf must hold it too, in quotes.
_REFUSED: Final = frozenset('"\\')

Stamp = list[int]
"""Tells one state of the file from another without telling the PIN."""


def read_pin(path: Path) -> tuple[Secret, Stamp]:
    """The PIN, and the stamp of the file it is from. Raises PinUnreadable."""
    try:
        descriptor = os.open(path, _OPEN)
    except OSError as error:
        raise PinUnreadable(f"{path}: {os.strerror(error.errno or 0)}.") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()):
            raise PinUnreadable(f"{path} is no plain file of this user.")
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise PinUnreadable(f"{path} is open to others (mode {mode:04o}).")
        content = file.read(_LONGEST + 1).rstrip(b"\r\n")
    text = content.decode("ascii", "replace")
    if not text or len(content) > _LONGEST or not text.isascii() or not text.isprintable():
        raise PinUnreadable(f"{path} does not hold one line of printable ASCII.")
    if _REFUSED & set(text):
        raise PinUnreadable(f"The PIN in {path} holds a quotation mark or backslash.")
    return Secret(content), [status.st_ino, status.st_mtime_ns, status.st_size]
