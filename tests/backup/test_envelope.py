"""The encryption of a backup: nothing is taken from a file that was cut off, changed, or is somebody else's."""

import base64
import io
import random
import re

import pytest
from pyrage import x25519

from core.errors import IkewardenError
from core.secret import Secret
from ikewarden.backup.envelope import Opener, check_recipients, decrypt, encrypt
from ikewarden.backup.errors import BackupNotForThis, BackupRecipientUnusable, BackupUnreadable

WORDS = Secret("correct horse battery")
CONTENT = random.Random(8).randbytes(200_000)


class Full(io.BytesIO):
    """A disk without room."""

    def write(self, piece: object, /) -> int:
        raise OSError(28, "No space left on device")


def encrypted(*recipients: str, passphrase: Secret | None = None) -> bytes:
    sink = io.BytesIO()
    encrypt(io.BytesIO(CONTENT), sink, recipients, passphrase)
    return sink.getvalue()


def opened(content: bytes, opener: Opener) -> bytes:
    sink = io.BytesIO()
    decrypt(io.BytesIO(content), sink, opener)
    return sink.getvalue()


@pytest.fixture(scope="module")
def identity() -> x25519.Identity:
    return x25519.Identity.generate()


@pytest.fixture(scope="module")
def backup(identity: x25519.Identity) -> bytes:
    """Opened by a passphrase, and by an identity."""
    return encrypted(str(identity.to_public()), passphrase=WORDS)


def test_each_of_those_named_opens_it(backup: bytes, identity: x25519.Identity) -> None:
    assert opened(backup, Opener(passphrase=WORDS)) == CONTENT
    text = f"# a comment\n{x25519.Identity.generate()}\n{identity}\n"
    assert opened(backup, Opener(identities=Secret(text))) == CONTENT


def test_to_a_recipient_alone_it_is_a_plain_age_file(identity: x25519.Identity) -> None:
    content = encrypted(str(identity.to_public()))
    assert content.startswith(b"age-encryption.org/v1\n")
    assert opened(content, Opener(identities=Secret(str(identity)))) == CONTENT
    with pytest.raises(BackupNotForThis):
        opened(content, Opener(passphrase=WORDS))


def test_nobody_else_opens_it(backup: bytes) -> None:
    for opener in (
        Opener(),
        Opener(passphrase=Secret("another")),
        Opener(identities=Secret(str(x25519.Identity.generate()))),
        Opener(identities=Secret("AGE-SECRET-KEY-1")),
        Opener(identities=Secret(b"\xff")),
    ):
        with pytest.raises(BackupNotForThis):
            opened(backup, opener)


def test_what_was_cut_off_or_changed_is_refused(backup: bytes, identity: x25519.Identity) -> None:
    opener = Opener(identities=Secret(str(identity)))
    start = backup.index(b"age-encryption.org/v1\n")
    places = random.Random(7).sample(range(start, len(backup)), 40)
    changed = [backup[:at] + bytes([backup[at] ^ 1]) + backup[at + 1 :] for at in places]
    cut = [backup[:at] for at in (*places, len(backup) - 1)]
    piece = 64 * 1024 + 16
    first = len(backup) - (len(CONTENT) + 16 * 4)
    swapped = (
        backup[:first]
        + backup[first + piece : first + 2 * piece]
        + backup[first : first + piece]
        + backup[first + 2 * piece :]
    )
    whole_pieces = backup[: first + 2 * piece]
    for content in (*changed, *cut, swapped, whole_pieces, backup + b"x", b"", b"\n" * 10_000):
        with pytest.raises((BackupUnreadable, BackupNotForThis)):
            opened(content, opener)
    for content in (backup[:100], backup[: start - 1], backup[:start]):
        with pytest.raises(IkewardenError):
            opened(content, Opener(passphrase=WORDS))


def test_what_is_no_recipient() -> None:
    with pytest.raises(BackupRecipientUnusable):
        check_recipients(["age1nobody"])
    with pytest.raises(BackupRecipientUnusable):
        encrypted()


def test_errors_of_files_stay_what_they_are(backup: bytes, identity: x25519.Identity) -> None:
    with pytest.raises(OSError, match="No space"):
        encrypt(io.BytesIO(CONTENT), Full(), [str(identity.to_public())], None)
    with pytest.raises(OSError, match="No space"):
        decrypt(io.BytesIO(backup), Full(), Opener(identities=Secret(str(identity))))


def test_a_file_that_asks_for_too_much_work_is_not_begun(backup: bytes) -> None:
    begin, end = b"-----BEGIN AGE ENCRYPTED FILE-----\n", b"-----END AGE ENCRYPTED FILE-----\n"
    armored, _, rest = backup.removeprefix(begin).partition(end)
    plain = base64.b64decode(armored)
    dear = re.sub(rb"(-> scrypt \S+ )\d+", rb"\g<1>40", plain, count=1)
    assert dear != plain
    text = base64.b64encode(dear)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    with pytest.raises(BackupNotForThis, match="too slow, or too busy"):
        opened(begin + b"\n".join([*lines, end]) + rest, Opener(passphrase=WORDS))
