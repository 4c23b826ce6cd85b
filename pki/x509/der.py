"""The few DER encodings that `cryptography` has no function for (X.690).

Used where a structure is put together from parts that are already DER: a signed certificate from its to-be-signed
part, a CRL from stored entries.
"""

from datetime import UTC, datetime
from typing import NamedTuple

SEQUENCE = 0x30
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
ENUMERATED = 0x0A
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18


class Element(NamedTuple):
    """Where one element stands: its tag, the start of its header, the start of its content, its end."""

    tag: int
    start: int
    content: int
    end: int


def tlv(tag: int, content: bytes) -> bytes:
    """Encode one element with a definite, shortest length (X.690 §10.1)."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def integer(value: int) -> bytes:
    """Encode a non-negative INTEGER."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def bit_string(octets: bytes) -> bytes:
    """Encode whole octets as a BIT STRING."""
    return tlv(BIT_STRING, b"\x00" + octets)


def time(moment: datetime) -> bytes:
    """Encode a Time: UTCTime through 2049, GeneralizedTime from 2050 (RFC 5280 §4.1.2.5). Aware datetimes only."""
    at = moment.astimezone(UTC)
    if at.year < 2050:
        return tlv(UTC_TIME, at.strftime("%y%m%d%H%M%SZ").encode())
    return generalized_time(at)


def generalized_time(moment: datetime) -> bytes:
    """Encode a GeneralizedTime in UTC without fractions (RFC 5280 §4.1.2.5.2)."""
    at = moment.astimezone(UTC)
    return tlv(GENERALIZED_TIME, f"{at.year:04d}{at:%m%d%H%M%S}Z".encode())


def read(data: bytes, at: int) -> Element:
    """Find the element that starts at `at` (one-octet tags only). Raises ValueError on anything malformed."""
    try:
        tag, length = data[at], data[at + 1]
        content = at + 2
        if length & 0x80:
            count = length & 0x7F
            if not 1 <= count <= 4:
                raise ValueError("length is not DER")
            length = int.from_bytes(data[content : content + count], "big")
            content += count
    except IndexError:
        raise ValueError("ends too early") from None
    if content + length > len(data):
        raise ValueError("ends too early")
    return Element(tag, at, content, content + length)


def children(data: bytes, parent: Element) -> list[Element]:
    """List the elements inside a constructed element. Raises ValueError."""
    found, at = [], parent.content
    while at < parent.end:
        child = read(data, at)
        found.append(child)
        at = child.end
    if at != parent.end:
        raise ValueError("an element reaches over its parent's end")
    return found
