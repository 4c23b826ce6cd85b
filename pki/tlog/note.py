"""Signed heads: C2SP tlog-checkpoint, which are C2SP signed notes (https://c2sp.org/signed-note, /tlog-checkpoint).

A head is text: the log's name, the number of leaves, the root, an empty line, and a line with a signature. A public
key is one line too, as Go's sumdb writes it: NAME+ID+BASE64. Keys are Ed25519, or ECDSA where the key store makes no
Ed25519.
"""

import base64
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from pki.tlog.errors import LogKeyUnreadable, NoteUnreadable, NoteUntrusted
from pki.x509.signing import PrivateKey

LONGEST: Final = 64 * 1024
_ED25519: Final = b"\x01"
_ECDSA: Final = b"\x02"
_ID: Final = 4
_HASH: Final = 32
_NAME: Final = re.compile(r"[^\s+]+")
_SIGNATURE: Final = re.compile(r"— (?P<name>[^\s+]+) (?P<signature>[A-Za-z0-9+/=]+)")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,17}")
_KEY: Final = re.compile(r"(?P<name>[^\s+]+)\+(?P<id>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/=]+)")
LogPublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True)
class VerifierKey:
    """The public key of a log, and the log's name. `str()` is the line that `parse` reads."""

    name: str
    key: LogPublicKey

    @property
    def id(self) -> bytes:
        """Four octets that tell signatures of several keys apart."""
        kind, encoded = self._encoded()
        if kind == _ECDSA:
            return sha256(encoded).digest()[:_ID]
        return sha256(self.name.encode() + b"\n" + kind + encoded).digest()[:_ID]

    def __str__(self) -> str:
        kind, encoded = self._encoded()
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(kind + encoded).decode()}"

    @classmethod
    def parse(cls, line: str) -> "VerifierKey":
        """Read the line. Raises LogKeyUnreadable."""
        found = _KEY.fullmatch(line.strip())
        if found is None:
            raise LogKeyUnreadable("This is no public key of a log.")
        try:
            content = base64.b64decode(found["key"], validate=True)
            known = cls(found["name"], _decoded(content[:1], content[1:]))
        except ValueError:
            raise LogKeyUnreadable("This public key cannot be read.") from None
        if known.id.hex() != found["id"]:
            raise LogKeyUnreadable("This public key does not have the id that it is given with.")
        return known

    def verify(self, signature: bytes, text: bytes) -> None:
        """Raise InvalidSignature unless this key signed the text."""
        if isinstance(self.key, ed25519.Ed25519PublicKey):
            self.key.verify(signature, text)
        else:
            self.key.verify(signature, text, ec.ECDSA(hashes.SHA256()))

    def _encoded(self) -> tuple[bytes, bytes]:
        if isinstance(self.key, ed25519.Ed25519PublicKey):
            return _ED25519, self.key.public_bytes_raw()
        return _ECDSA, self.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _decoded(kind: bytes, encoded: bytes) -> LogPublicKey:
    if kind == _ED25519:
        return ed25519.Ed25519PublicKey.from_public_bytes(encoded)
    key = load_der_public_key(encoded) if kind == _ECDSA else None
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key
    raise ValueError("another kind of key")


def verifier_key(name: str, key: PrivateKey) -> VerifierKey:
    """The public key that goes with a signer. Raises ValueError for a name or a kind of key that notes do not have."""
    public = key.public_key()
    if not isinstance(public, LogPublicKey) or not _NAME.fullmatch(name):
        raise ValueError("neither Ed25519 nor ECDSA, or no name of a log")
    return VerifierKey(name, public)


@dataclass(frozen=True)
class Checkpoint:
    """A head: which log, how many leaves, which root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign(head: Checkpoint, key: PrivateKey) -> str:
    """The head as a note, signed in its log's name. Raises what the key's `sign` raises."""
    known = verifier_key(head.origin, key)
    text = head.text.encode()
    if isinstance(key, ed25519.Ed25519PrivateKey):
        signature = key.sign(text)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        signature = key.sign(text, ec.ECDSA(hashes.SHA256()))
    else:
        raise TypeError("verifier_key lets no other kind through")
    line = base64.b64encode(known.id + signature).decode()
    return f"{head.text}\n— {known.name} {line}\n"


def read(note: str) -> Checkpoint:
    """What a note says, its signature unseen: for one whose origin is trusted otherwise. Raises NoteUnreadable."""
    return _split(note)[0]


def verify(note: str, key: VerifierKey) -> Checkpoint:
    """What a note says, once the key's signature under it is found right. Raises NoteUnreadable, NoteUntrusted.

    Signatures of others, as of witnesses, are let be: the specification wants it.
    """
    head, lines = _split(note)
    if head.origin != key.name:
        raise NoteUntrusted(
            f"This is a head of {head.origin!r}, and the key is of {key.name!r}.",
            next_step="If it is of an older log of the same instance, from before `audit-log accept-gap`, "
            "give the key of that one too, as another --key. If it is not, the head is of somebody else.",
        )
    signatures = [
        raw[_ID:] for name, raw in map(_signature, lines) if (name, raw[:_ID]) == (key.name, key.id)
    ]
    if not signatures:
        raise NoteUntrusted("The head is not signed by this key.")
    for signature in signatures:
        try:
            key.verify(signature, head.text.encode())
        except InvalidSignature:
            raise NoteUntrusted("The signature of the head is wrong.") from None
    return head


def _split(note: str) -> tuple[Checkpoint, list[str]]:
    """The head and the lines of signatures. Extension lines are refused: nobody writes them into a log of ours."""
    wrong = NoteUnreadable("This is no signed head of a log.")
    # The last empty line parts text and signatures.
    text, parted, signatures = note.rpartition("\n\n")
    lines = text.split("\n")
    if not parted or len(note) > LONGEST or len(lines) != 3 or not signatures.endswith("\n"):
        raise wrong
    origin, size, root = lines
    try:
        digest = base64.b64decode(root, validate=True)
    except ValueError:
        raise wrong from None
    head = Checkpoint(origin, int(size), digest) if _SIZE.fullmatch(size) else None
    if head is None or len(digest) != _HASH or not _NAME.fullmatch(origin):
        raise wrong
    if head.text != text + "\n":
        raise wrong  # base64 that could be written in two ways
    return head, signatures.removesuffix("\n").split("\n")


def _signature(line: str) -> tuple[str, bytes]:
    found = _SIGNATURE.fullmatch(line)
    if found is None:
        raise NoteUnreadable("A line of signatures cannot be read.")
    try:
        raw = base64.b64decode(found["signature"], validate=True)
    except ValueError:
        raise NoteUnreadable("A signature cannot be read.") from None
    return found["name"], raw
