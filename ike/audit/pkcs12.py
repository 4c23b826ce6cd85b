"""Whether a PKCS#12 file is protected (RFC 7292). Pure.

Only the empty password is tried, on the code that authenticates the file, and only where its calculation is bounded.
What is encrypted is not decrypted: the number of rounds of what stands within is its maker's choice.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from ike.audit import weak_keys
from ike.audit.effort import Effort
from ike.audit.weak_keys import PublicKey, algorithm_of, number, oid_of
from pki.x509 import der

_DATA: Final = "1.2.840.113549.1.7.1"
_SIGNED: Final = "1.2.840.113549.1.7.2"
_KEY_BAG: Final = "1.2.840.113549.1.12.10.1.1"
_PBMAC1: Final = "1.2.840.113549.1.5.14"
_HASHES: Final = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_HMACS: Final = {
    "1.2.840.113549.2.7": "sha1",
    "1.2.840.113549.2.9": "sha256",
    "1.2.840.113549.2.10": "sha384",
    "1.2.840.113549.2.11": "sha512",
}
_MAX_ROUNDS: Final = 200_000
_MAX_DEPTH: Final = 12


@dataclass(frozen=True)
class Bag:
    """What the file is for whoever has it: a key, or several, open or under a password that is not empty."""

    encrypted: bool
    public: PublicKey | None = None


def is_one(data: bytes) -> bool:
    """Whether this is a PFX: version 3, and a ContentInfo of data or signed data. Raises ValueError."""
    parts = der.children(data, der.read(data, 0))
    if data[parts[0].content : parts[0].end] != b"\x03":
        return False
    name = oid_of(data, der.children(data, parts[1])[0])
    return name in (_DATA, _SIGNED)


def bags(data: bytes, effort: Effort) -> list[Bag]:
    """What protects it: keys that stand in it open, or one entry for all that is encrypted.

    Raises ValueError; TooCostly where the empty password was not tried.
    """
    parts = der.children(data, der.read(data, 0))
    content = _content(data, parts[1])
    open_keys = _open_keys(content)
    if open_keys:
        return [Bag(False, key) for key in open_keys]
    opens = len(parts) == 3 and _opens_empty(data, parts[2], content, effort)
    return [Bag(encrypted=not opens)]


def _content(data: bytes, info: der.Element) -> bytes:
    """The octets of a ContentInfo of data; none of those that a signature is made for."""
    parts = der.children(data, info)
    if oid_of(data, parts[0]) != _DATA or len(parts) < 2:
        return b""
    inner = der.read(data, parts[1].content)
    if inner.tag == der.OCTET_STRING:
        return data[inner.content : inner.end]
    # BER, as some write it: pieces.
    return b"".join(data[piece.content : piece.end] for piece in der.children(data, inner))


def _open_keys(safe: bytes) -> list[PublicKey | None]:
    """The keys in bags that are not encrypted (RFC 7292 §4.2.1)."""
    found: list[PublicKey | None] = []
    if not safe:
        return found
    for info in der.children(safe, der.read(safe, 0)):
        content = _content(safe, info)
        if not content:
            continue
        for bag in der.children(content, der.read(content, 0)):
            parts = der.children(content, bag)
            if oid_of(content, parts[0]) == _KEY_BAG:
                found.append(_public(content[parts[1].content : parts[1].end]))
    return found


def _public(key: bytes) -> PublicKey | None:
    """The public part of an RSA key; of others it is not needed to say that it stands open."""
    parts = der.children(key, der.read(key, 0))
    name, parameters = algorithm_of(key, parts[1])
    inner = key[parts[2].content : parts[2].end]
    if name in weak_keys.RSA:
        numbers = der.children(inner, der.read(inner, 0))
        return weak_keys.rsa(number(inner, numbers[1]), number(inner, numbers[2]))
    return weak_keys.ec(weak_keys.curve_of(key, parameters)) if name == weak_keys.EC else None


def _opens_empty(data: bytes, mac: der.Element, content: bytes, effort: Effort) -> bool:
    """Whether the code fits an empty password, or none (two things to RFC 7292, and both are written)."""
    parts = der.children(data, mac)
    digest_info = der.children(data, parts[0])
    name, parameters = algorithm_of(data, digest_info[0])
    expected = data[digest_info[1].content : digest_info[1].end]
    if name == _PBMAC1:
        keys, hashed = _pbmac1(data, parameters, effort)
    else:
        hashed = _HASHES.get(name, "")
        salt = data[parts[1].content : parts[1].end]
        rounds = number(data, parts[2]) if len(parts) > 2 else 1
        if not hashed or not 0 < rounds <= _MAX_ROUNDS or len(salt) > 1024:
            return False
        effort.spend(2 * rounds)
        keys = [_derived(password, salt, rounds, hashed) for password in (b"\0\0", b"")]
    return any(
        hmac.compare_digest(hmac.digest(key, content, hashed), expected) for key in keys if hashed
    )


def _derived(password: bytes, salt: bytes, rounds: int, hashed: str) -> bytes:
    """RFC 7292 appendix B.2, for a MAC key, which is as long as the hash."""
    block = hashlib.new(hashed, usedforsecurity=False).block_size
    filled = b"".join(
        (octets * (block // len(octets) + 2))[: -(-len(octets) // block) * block]
        for octets in (salt, password)
        if octets
    )
    value = b"\x03" * block + filled
    for _ in range(rounds):
        value = hashlib.new(hashed, value, usedforsecurity=False).digest()
    return value


def _pbmac1(data: bytes, parameters: der.Element | None, effort: Effort) -> tuple[list[bytes], str]:
    """RFC 9579, with PBKDF2."""
    if parameters is None:
        return [], ""
    kdf, scheme = der.children(data, parameters)
    hashed = _HMACS.get(algorithm_of(data, scheme)[0], "")
    _, options = algorithm_of(data, kdf)
    if options is None or not hashed:
        return [], ""
    salt, rounds, *rest = der.children(data, options)
    count = number(data, rounds)
    length, pseudo = 0, "sha1"
    for part in rest:
        if part.tag == der.INTEGER:
            length = number(data, part)
        elif part.tag == der.SEQUENCE:
            pseudo = _HMACS.get(algorithm_of(data, part)[0], "")
    if not 0 < count <= _MAX_ROUNDS or not pseudo or not 0 < length <= 64:
        return [], ""
    effort.spend(count)
    octets = data[salt.content : salt.end]
    return [hashlib.pbkdf2_hmac(pseudo, b"", octets, count, length)], hashed
