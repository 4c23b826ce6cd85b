"""BER to DER: what OpenSSL's PKCS #7 code writes (indefinite lengths, strings in pieces) in the one form that is read.

Only these two are changed. Whatever has definite lengths stays as it is, octet by octet: certificates and signed
attributes have been signed so.
"""

from collections.abc import Iterator
from typing import Final

from pki.x509.der import OCTET_STRING, tlv

_CONSTRUCTED: Final = 0x20
_LONG_TAG: Final = 0x1F
_INDEFINITE: Final = 0x80
_END: Final = b"\0\0"
_IN_PIECES: Final = OCTET_STRING | _CONSTRUCTED
# A message with certificates in an envelope is some fifteen deep.
_MAX_DEPTH: Final = 40
# A certificate has some two hundred, a message up to ten of them. What there is of an element is made many objects of.
MAX_ELEMENTS: Final = 6000
# Universal strings but OCTET STRING (X.690 §8.6, §8.23), which nobody sends in pieces here.
_STRINGS: Final = frozenset(
    number | _CONSTRUCTED for number in (3, 12, 18, 19, 20, 21, 22, 25, 26, 27, 28, 30)
)


def to_der(data: bytes) -> bytes:
    """The same value without indefinite lengths and without octet strings in pieces.

    Raises ValueError for what is not exactly one BER element, has tags of several octets or too many parts, or is
    nested too deep.
    """
    changed, end = _element(data, 0, len(data), 0, iter(range(MAX_ELEMENTS)))
    if end != len(data):
        raise ValueError("something follows the element")
    return data if changed is None else changed


def _element(
    data: bytes, at: int, end: int, depth: int, left: Iterator[int]
) -> tuple[bytes | None, int]:
    """The new encoding of the element at `at`, None where it stays as it is; and where it ends."""
    if at + 2 > end or depth > _MAX_DEPTH or next(left, None) is None:
        raise ValueError("ends too early, is nested too deep, or has too many parts")
    tag, first = data[at], data[at + 1]
    if tag & _LONG_TAG == _LONG_TAG or not tag:
        raise ValueError("an unknown tag")
    if first == _INDEFINITE:
        return _indefinite(data, at, end, depth, left)
    content = at + 2
    length = first
    if first & 0x80:
        content += first & 0x7F
        if content > end or content - at > 6:
            raise ValueError("a length that is too long")
        length = int.from_bytes(data[at + 2 : content], "big")
    stop = content + length
    if stop > end:
        raise ValueError("ends too early")
    if not tag & _CONSTRUCTED:
        return None, stop
    parts: list[bytes] = []
    is_changed = tag == _IN_PIECES
    here = content
    while here < stop:
        changed, following = _element(data, here, stop, depth + 1, left)
        is_changed = is_changed or changed is not None
        parts.append(data[here:following] if changed is None else changed)
        here = following
    return (_joined(tag, parts) if is_changed else None), stop


def _indefinite(
    data: bytes, at: int, end: int, depth: int, left: Iterator[int]
) -> tuple[bytes, int]:
    tag, here = data[at], at + 2
    if not tag & _CONSTRUCTED:
        raise ValueError("a primitive element without a length")
    parts: list[bytes] = []
    while data[here : here + 2] != _END or here + 2 > end:
        changed, following = _element(data, here, end, depth + 1, left)
        parts.append(data[here:following] if changed is None else changed)
        here = following
    return _joined(tag, parts), here + 2


def _joined(tag: int, parts: list[bytes]) -> bytes:
    if tag in _STRINGS:
        raise ValueError("a string in pieces")
    if tag != _IN_PIECES:
        return tlv(tag, b"".join(parts))
    return tlv(OCTET_STRING, joined_octets(parts))


def joined_octets(parts: list[bytes]) -> bytes:
    """The octets of a string that came in pieces, each a whole OCTET STRING in DER. Raises ValueError."""
    pieces = []
    for part in parts:
        if part[0] != OCTET_STRING:
            raise ValueError("a piece of a string is no string")
        start = 2 + (part[1] & 0x7F if part[1] & 0x80 else 0)
        pieces.append(part[start:])
    return b"".join(pieces)
