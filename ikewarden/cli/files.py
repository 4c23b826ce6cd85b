"""Files that must be whole or not there: keys, certificates, tokens."""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from core.errors import Conflict

SECRET: Final = 0o600
PUBLIC: Final = 0o644
_DEVICES: Final = Path("/dev")


class FileExists(Conflict):
    """A file of this name is there, and was not to be replaced."""

    code = "file_exists"
    next_step = "Choose another name or directory."

    def __init__(self, path: Path, *, forcible: bool = False) -> None:
        step = f"{self.next_step[:-1]}, or give --force to replace it." if forcible else ""
        super().__init__(f"{path} exists.", next_step=step)


def named(file: Path) -> str:
    """What messages call a file that is read: `-` is standard input."""
    return "Standard input" if str(file) == "-" else str(file)


def check_new(path: Path) -> None:
    """Make sure that a new file can be written, before anything is done whose outcome goes there.

    Raises FileExists, and OSError with the name that was given.
    """
    if os.path.lexists(path):
        raise FileExists(path)
    try:
        _temporary(path, b"", SECRET).unlink()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that does not exist yet; a crash leaves it whole or leaves nothing of this name.

    It has its mode from the beginning, and is on disk when this returns. Raises FileExists, and OSError.
    """
    temporary = _temporary(path, content, mode)
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise FileExists(path) from None
    finally:
        temporary.unlink()
    sync(path.parent)


def write_over(path: Path, content: bytes | Iterable[bytes], mode: int) -> None:
    """Write a file, of one piece or of many, in the place of one that may exist; a crash leaves the old or the new one.

    A device or a pipe stays what it is, and is written to. Raises OSError, and what comes of making the pieces.
    """
    # Renaming over it would take /dev/null, or /dev/stdout, from the whole machine.
    if path.exists() and (not path.is_file() or path.absolute().parent == _DEVICES):
        with path.open("wb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
        return
    temporary = _temporary(path, content, mode)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def move(source: Path, target: Path, *, over: bool) -> None:
    """Give a file its final name. Raises FileExists unless `over`, and OSError."""
    if over:
        source.replace(target)
    else:
        try:
            os.link(source, target)
        except FileExistsError:
            raise FileExists(target, forcible=True) from None
        source.unlink()
    sync(target.parent)


def sync(directory: Path) -> None:
    """Bring the names in a directory to disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(path: Path, content: bytes | Iterable[bytes], mode: int) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, SECRET)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary
