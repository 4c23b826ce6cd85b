"""Certificate serial numbers: random, positive, and one way to write them down."""

import re

from core.errors import InvalidInput

_HEX = re.compile(r"[0-9a-f]{1,40}")
BYTES = 16


class BadSerial(InvalidInput):
    """Text that is no serial number."""

    code = "serial_malformed"
    next_step = (
        "Write the serial number in hexadecimal, at most 40 digits, as `cert list` shows it."
    )


def from_random(octets: bytes) -> int:
    """Make a serial number of 126 random bits from 16 random octets.

    The two top bits become 01: the number is positive in DER without a padding octet, never zero, and always has
    the same length (RFC 5280 §4.1.2.2: positive, at most 20 octets; CA/B practice: at least 64 random bits).
    Raises ValueError for another number of octets.
    """
    if len(octets) != BYTES:
        raise ValueError(f"need {BYTES} random octets, got {len(octets)}")
    return (int.from_bytes(octets, "big") & ((1 << 126) - 1)) | (1 << 126)


def to_hex(serial: int) -> str:
    """Write a serial number as lower-case hexadecimal with an even number of digits."""
    text = format(serial, "x")
    return text if len(text) % 2 == 0 else "0" + text


def normal(text: str) -> str:
    """Bring a serial number that a person typed (colons, blanks, 0x, upper case) into the form of `to_hex`.

    Raises BadSerial.
    """
    digits = text.strip().lower().removeprefix("0x").replace(":", "").replace(" ", "")
    if not _HEX.fullmatch(digits):
        raise BadSerial("This is not a serial number.")
    return to_hex(int(digits, 16))


def from_hex(text: str) -> int:
    """Read a serial number written in hexadecimal. Raises BadSerial."""
    return int(normal(text), 16)
