"""The challenge password of a request (RFC 2985 §5.4.1): by it a device proves that it may have a first certificate."""

from typing import Final

from core.secret import Secret
from pki.x509 import der
from pki.x509.der import Element

_OID: Final = bytes.fromhex("2a864886f70d010907")
_ATTRIBUTES: Final = 0xA0
_BMP: Final = 0x1E
# DirectoryString and what devices write in its place: UTF8, Printable, Teletex, IA5.
_STRINGS: Final = frozenset({0x0C, 0x13, 0x14, 0x16})
_MAX: Final = 1000


def challenge_password(csr: bytes) -> Secret | None:
    """The password of a request that `read_csr` has read; None where there is none, or it is empty.

    Raises ValueError for one that is no text.
    """
    info = der.children(csr, der.read(csr, 0))[0]
    for each in der.children(csr, info):
        if each.tag == _ATTRIBUTES:
            for attribute in der.children(csr, each):
                name, values = der.children(csr, attribute)
                if csr[name.content : name.end] == _OID:
                    return _password(csr, der.children(csr, values))
    return None


def _password(csr: bytes, values: list[Element]) -> Secret | None:
    if len(values) != 1:
        raise ValueError("not one password")
    [value] = values
    octets = csr[value.content : value.end]
    if value.tag == _BMP:
        octets = octets.decode("utf-16-be").encode("utf-8")
    elif value.tag not in _STRINGS:
        raise ValueError("the password is no text")
    if len(octets) > _MAX:
        raise ValueError("the password is too long")
    return Secret(octets) if octets else None
