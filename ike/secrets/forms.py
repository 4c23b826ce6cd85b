"""Values as they are written in secrets files, and what they mean. Pure."""

import base64
import binascii
import re
from typing import Final

from core.secret import Secret
from ike.secrets.values import Form

_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+\Z")
_GROUPED: Final = re.compile(r"[0-9A-Fa-f]{2}(?:_?[0-9A-Fa-f]{2})*\Z")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}\Z")


class Unreadable(ValueError):
    """A value that its daemon refuses, or reads as something that nobody meant. Says why, and never the value."""


def octets(text: str) -> bytes:
    """The octets of text that was read with `surrogateescape`."""
    return text.encode("utf-8", "surrogateescape")


def strongswan(text: str) -> tuple[Secret, Form]:
    """A value as strongSwan reads it: `0x` and `0s` in either case, everything else as it stands. Raises Unreadable."""
    return _prefixed(text) or (Secret(octets(text)), Form.PLAIN)


def libreswan(text: str) -> tuple[Secret, Form]:
    """A value without quotes as Libreswan reads it: `0x`, `0s` or `0t` must stand before it. Raises Unreadable."""
    if text[:2] in ("0t", "0T"):
        return Secret(octets(text[2:])), Form.TEXT
    found = _prefixed(text, grouped=True)
    if found is None:
        raise Unreadable("the value has neither quotes nor 0x, 0s or 0t before it")
    return found


def _prefixed(text: str, *, grouped: bool = False) -> tuple[Secret, Form] | None:
    prefix, rest = text[:2].lower(), text[2:]
    if prefix == "0x" and rest:
        # strongSwan takes colons between the octets, Libreswan underscores.
        digits = rest if grouped else rest.replace(":", "")
        if not (_GROUPED if grouped else _HEX).match(digits):
            raise Unreadable("the value after 0x is not pairs of hexadecimal digits")
        return Secret(bytes.fromhex(digits.replace("_", ""))), Form.HEX
    if prefix == "0s" and rest:
        return Secret(_from_base64(rest, padded=grouped)), Form.BASE64
    return None


def _from_base64(text: str, *, padded: bool) -> bytes:
    """`padded`: Libreswan takes none whose padding is missing, and strongSwan needs none."""
    if not _BASE64.match(text):
        raise Unreadable("the value after 0s is not base64")
    bare = text.rstrip("=")
    try:
        return base64.b64decode(text if padded else bare + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error:
        raise Unreadable("the value after 0s is not base64") from None
