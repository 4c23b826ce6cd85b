"""Secrets whose values a test knows, and the search for them in whatever is written down: every usual spelling of each,
and private keys by their structure.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key

# Shorter runs are found by chance: a hash has more than these.
_SHORTEST = 8
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{40,}={0,2}")
_HEX = re.compile(rb"(?:[0-9a-f]{2}){20,}|(?:[0-9A-F]{2}){20,}")
# A SEQUENCE with a version 0 or 1 at its beginning. What follows decides whether it is a key.
_DER = re.compile(rb"\x30(?:\x81.|\x82..|[\x20-\x7f])\x02\x01[\x00\x01]", re.DOTALL)
_PEM = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----|AGE-SECRET-KEY-1")


@dataclass
class Canaries:
    """What must not be found, by name. `guessable` ones must not be there as a plain hash either."""

    spellings: dict[bytes, str] = field(default_factory=dict)

    def add(self, name: str, value: bytes | str, *, guessable: bool = False) -> None:
        """Look for this value from now on."""
        octets = value.encode() if isinstance(value, str) else value
        assert len(octets) >= _SHORTEST
        for how, spelled in spelled_out(octets):
            self.spellings.setdefault(spelled, f"{name}, {how}")
        if guessable:
            digest = hashlib.sha256(octets).digest()
            self.spellings[digest] = f"{name}, as a hash"
            self.spellings[digest.hex().encode()] = f"{name}, as a hash in hexadecimal"

    def add_key(self, name: str, key: Any) -> None:
        """Look for the number that a private key consists of; its forms are found without being known."""
        if isinstance(key, ec.EllipticCurvePrivateKey):
            number = key.private_numbers().private_value
            self.add(name, number.to_bytes((key.key_size + 7) // 8))
        elif isinstance(key, rsa.RSAPrivateKey):
            prime = key.private_numbers().p
            self.add(name, prime.to_bytes((prime.bit_length() + 7) // 8))
        else:
            self.add(name, key.private_bytes_raw())

    def found(self, content: bytes) -> set[str]:
        """What of it is in there, and what private keys."""
        found = {name for spelled, name in self.spellings.items() if spelled in content}
        return found | private_keys(content)


def spelled_out(value: bytes) -> Iterator[tuple[str, bytes]]:
    """The ways in which a value gets written down, as it is itself first."""
    yield "as it is", value
    yield "in hexadecimal", value.hex().encode()
    yield "in HEXADECIMAL", value.hex().upper().encode()
    for shift in range(3):
        yield f"in base64, shifted by {shift}", _in_base64(value, shift)
        yield f"in base64url, shifted by {shift}", _in_base64(value, shift, b"-_")
    yield "in a URL", quote(value, safe="").encode()
    yield "in a query", quote_plus(value).encode()
    text = value.decode("latin-1")
    yield "in JSON", json.dumps(text)[1:-1].encode()
    yield "in Python", repr(value)[2:-1].encode()
    yield "in UTF-16", text.encode("utf-16-le")
    yield "backwards", value[::-1]


def _in_base64(value: bytes, shift: int, characters: bytes = b"+/") -> bytes:
    """The characters that stand in base64 for the whole value, and nothing else, after so many other octets."""
    written = base64.b64encode(bytes(shift) + value, altchars=characters)
    first = -(-shift * 8 // 6)
    return written[first : (shift + len(value)) * 8 // 6]


def private_keys(content: bytes) -> set[str]:
    """The kinds of unencrypted private keys in there: PEM, DER, and DER in base64 or hexadecimal."""
    found = {match[0].decode() for match in _PEM.finditer(content)}
    if _has_key(content):
        found.add("a private key in DER")
    # PEM without its lines, with their ends as they are in JSON, or as they are.
    flat = content.replace(b"\\n", b"").replace(b"\n", b"")
    for name, octets in _unwrapped(flat):
        if _has_key(octets):
            found.add(f"a private key in DER in {name}")
    return found


def _unwrapped(content: bytes) -> Iterator[tuple[str, bytes]]:
    for match in _BASE64.finditer(content):
        run = match[0].rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        if len(run) % 4 == 1:
            run = run[:-1]
        yield "base64", base64.b64decode(run + b"=" * (-len(run) % 4))
    for match in _HEX.finditer(content):
        with_pairs = match[0][: len(match[0]) // 2 * 2]
        yield "hexadecimal", binascii.unhexlify(with_pairs)


def _has_key(content: bytes) -> bool:
    return any(_is_key(content[match.start() :]) for match in _DER.finditer(content))


def _is_key(content: bytes) -> bool:
    """Whether a private key begins there: PKCS#8 (RFC 5958), PKCS#1 (RFC 8017), or SEC 1 (RFC 5915)."""
    size, head = content[1], 2
    if size & 0x80:
        head = 2 + (size & 0x7F)
        size = int.from_bytes(content[2:head])
    try:
        load_der_private_key(content[: head + size], None)
    except (ValueError, TypeError):
        return False
    except Exception:  # noqa: BLE001 - a kind that is not supported is a key all the same
        return True
    return True
