"""The encryption of a backup: the age format (age-encryption.org/v1), by a library that is kept.

To recipients it is a plain age file. With a passphrase, a key of its own is made for the backup: the file begins with
that key, encrypted to the passphrase (armored), and then comes the age file. age authenticates every piece, its place,
and the end, so that nothing is taken from a file that was cut off or changed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import pyrage
from pyrage import passphrase as by_passphrase
from pyrage import x25519

from core.secret import Secret
from ikewarden.backup.errors import BackupNotForThis, BackupRecipientUnusable, BackupUnreadable

_BEGIN: Final = b"-----BEGIN AGE ENCRYPTED FILE-----\n"
_END: Final = b"-----END AGE ENCRYPTED FILE-----\n"
_MAGIC: Final = b"age-encryption.org/v1\n"
_MOST_LINES: Final = 64
_LONGEST_LINE: Final = 128
_TRIES: Final = 10


class Source(Protocol):
    """What bytes are read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; none at the end."""


class Sink(Protocol):
    """What bytes are written to."""

    def write(self, piece: bytes, /) -> int:
        """Take all of them."""

    def flush(self) -> None:
        """Nothing is left behind."""


class File(Source, Protocol):
    """An opened backup."""

    def readline(self, size: int = -1, /) -> bytes:
        """Up to the next line end."""

    def seek(self, offset: int, /) -> int:
        """Go to a place."""


@dataclass(frozen=True)
class Opener:
    """What opens a backup: the passphrase, or identities of age, one a line."""

    passphrase: Secret | None = None
    identities: Secret | None = None


class _Watched:
    """A source or a sink that keeps what it raised."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.failed: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        with self._watching():
            return bytes(self._file.read(size))

    def write(self, piece: bytes) -> int:
        with self._watching():
            self._file.write(piece)
        return len(piece)

    def flush(self) -> None:
        with self._watching():
            self._file.flush()

    @contextmanager
    def _watching(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.failed = error
            raise


def encrypt(
    source: Source, sink: Sink, recipients: Sequence[str], passphrase: Secret | None
) -> None:
    """Encrypt all that `source` has to the recipients and the passphrase, whichever there are.

    Raises BackupRecipientUnusable, and what reading and writing raise.
    """
    to = [_recipient(each) for each in recipients]
    if passphrase is not None:
        own = x25519.Identity.generate()
        words = passphrase.reveal().decode("utf-8", "surrogateescape")
        sink.write(by_passphrase.encrypt(str(own).encode(), words, armored=True))
        to.append(own.to_public())
    if not to:
        raise BackupRecipientUnusable(
            "A backup is encrypted, and nobody was named who can open it."
        )
    reading, writing = _Watched(source), _Watched(sink)
    try:
        pyrage.encrypt_io(reading, writing, to)
    except pyrage.EncryptError:
        # The library tells of our own errors as text only.
        raise reading.failed or writing.failed or BackupUnreadable("age failed.") from None


def check_recipients(recipients: Sequence[str]) -> None:
    """Raises BackupRecipientUnusable."""
    for each in recipients:
        _recipient(each)


def needs_passphrase(file: File) -> bool:
    """Whether a passphrase opens it. Leaves the file at its beginning."""
    file.seek(0)
    line = file.readline(_LONGEST_LINE)
    file.seek(0)
    return line == _BEGIN


def decrypt(file: File, sink: Sink, opener: Opener) -> None:
    """Decrypt the backup into `sink`. What was written is good only when this returns.

    Raises BackupNotForThis, BackupUnreadable, and what reading and writing raise.
    """
    file.seek(0)
    prefix, start = _prefix(file)
    identities = _identities(opener, prefix)
    file.seek(start)
    if file.readline(_LONGEST_LINE) != _MAGIC:
        raise BackupUnreadable("This is no backup.")
    file.seek(start)
    reading, writing = _Watched(file), _Watched(sink)
    try:
        pyrage.decrypt_io(reading, writing, identities)
    except (pyrage.DecryptError, OSError) as error:
        ours = reading.failed or writing.failed
        if ours is not None:
            raise ours from None
        if "No matching keys" in str(error):
            raise BackupNotForThis("The backup is not encrypted to this key.") from None
        raise BackupUnreadable("The backup was cut off or changed.") from None


def _prefix(file: File) -> tuple[bytes, int]:
    """The key under the passphrase, empty where there is none, and where the age file begins."""
    line = file.readline(_LONGEST_LINE)
    if line != _BEGIN:
        return b"", 0
    lines = [line]
    while lines[-1] != _END:
        lines.append(file.readline(_LONGEST_LINE))
        if len(lines) > _MOST_LINES:
            raise BackupUnreadable("This is no backup.")
    prefix = b"".join(lines)
    return prefix, len(prefix)


def _identities(opener: Opener, prefix: bytes) -> list[x25519.Identity]:
    try:
        if opener.identities is not None:
            return [
                x25519.Identity.from_str(line.strip())
                for line in opener.identities.reveal().decode("ascii").splitlines()
                if line.strip() and not line.startswith("#")
            ]
    except (ValueError, pyrage.IdentityError):
        raise BackupNotForThis("The file has no identities of age (AGE-SECRET-KEY-…).") from None
    if opener.passphrase is None or not prefix:
        raise BackupNotForThis("This backup is opened by an identity of age: give --identity.")
    words = opener.passphrase.reveal().decode("utf-8", "surrogateescape")
    try:
        return [x25519.Identity.from_str(_unwrap(prefix, words).decode("ascii"))]
    except (ValueError, pyrage.IdentityError):
        raise BackupUnreadable("The backup was changed.") from None


def _unwrap(prefix: bytes, words: str) -> bytes:
    """The key under the passphrase. The library guards against files that are made to keep it busy, by how fast this
    machine is at that moment: one that is busy with something else is asked again.
    """
    for _ in range(_TRIES):
        try:
            return bytes(by_passphrase.decrypt(prefix, words))
        except pyrage.DecryptError as error:
            if "xcessive" not in str(error):
                raise BackupNotForThis("The passphrase does not open the backup.") from None
    raise BackupNotForThis(
        "This machine is too slow, or too busy, for the work that the passphrase asks for.",
        next_step="Try again when it is less busy, or on a machine as fast as the one that made the backup. "
        "Nothing was written.",
    )


def _recipient(text: str) -> x25519.Recipient:
    try:
        return x25519.Recipient.from_str(text.strip())
    except pyrage.RecipientError:
        raise BackupRecipientUnusable(f"{text!r} is no recipient of age.") from None
