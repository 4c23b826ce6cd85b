"""Attributes of requests that only some protocols know (RFC 2986 §4.1), from requests that `read_csr` has read."""

from typing import Final

from pki.x509 import der

_ATTRIBUTES: Final = 0xA0


def attribute_values(csr: bytes, oid: bytes) -> list[bytes]:
    """The values (each in DER) of the first attribute with an OID, given as the content of its encoding; none where it
    is not there. Raises ValueError.
    """
    info = der.children(csr, der.read(csr, 0))[0]
    for each in der.children(csr, info):
        if each.tag == _ATTRIBUTES:
            for attribute in der.children(csr, each):
                name, values = der.children(csr, attribute)
                if csr[name.content : name.end] == oid:
                    return [csr[one.start : one.end] for one in der.children(csr, values)]
    return []
