"""The challenge password of a request (RFC 2985 §5.4.1): by it a device proves that it may have a first certificate."""

from typing import Final

from core.secret import Secret
from pki.x509 import der
from pki.x509.request_attributes import attribute_values

_OID: Final = bytes.fromhex("2a864886f70d010907")
_BMP: Final = 0x1E
# DirectoryString and what devices write in its place: UTF8, Printable, Teletex, IA5.
_STRINGS: Final = frozenset({0x0C, 0x13, 0x14, 0x16})
_MAX: Final = 1000


def challenge_password(csr: bytes) -> Secret | None:
    """The password of a request that `read_csr` has read; None where there is none, or it is empty.

    Raises ValueError for one that is no text.
    """
    values = attribute_values(csr, _OID)
    return _password(values) if values else None


def _password(values: list[bytes]) -> Secret | None:
    if len(values) != 1:
        raise ValueError("not one password")
    value = der.read(values[0], 0)
    octets = values[0][value.content : value.end]
    if value.tag == _BMP:
        octets = octets.decode("utf-16-be").encode("utf-8")
    elif value.tag not in _STRINGS:
        raise ValueError("the password is no text")
    if len(octets) > _MAX:
        raise ValueError("the password is too long")
    return Secret(octets) if octets else None
