"""Certificate serial numbers: hard to guess, positive, and one way to write them down."""

import re
from datetime import UTC, datetime, timedelta

from core.errors import InvalidInput

_HEX = re.compile(r"[0-9a-f]{1,40}")
BYTES = 16
_TIME_BITS, _RANDOM_BITS = 44, 82  # milliseconds until the year 2527
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class BadSerial(InvalidInput):
    """Text that is no serial number."""

    code = "serial_malformed"
    next_step = (
        "Write the serial number in hexadecimal, at most 40 digits, as `cert list` shows it."
    )


def from_random(octets: bytes, at: datetime) -> int:
    """Make a serial number: the millisecond `at` which it is made, then 82 of the random bits in 16 octets.

    The two top bits are 01: the number is positive in DER without a padding octet, never zero, and always has the same
    length (RFC 5280 §4.1.2.2: positive, at most 20 octets; CA/B practice: at least 64 random bits). The time says no
    more than notBefore does; in front it keeps what is written together together in every index, and so a busy
    authority's commits small. Raises ValueError for another number of octets.
    """
    if len(octets) != BYTES:
        raise ValueError(f"need {BYTES} random octets, got {len(octets)}")
    milliseconds = (at - _EPOCH) // _MILLISECOND
    random = int.from_bytes(octets, "big") & ((1 << _RANDOM_BITS) - 1)
    return 1 << 126 | (milliseconds & ((1 << _TIME_BITS) - 1)) << _RANDOM_BITS | random


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
