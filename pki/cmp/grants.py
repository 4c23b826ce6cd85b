"""Whether a certificate is what was asked for, or only something like it (RFC 9810 §5.2.3)."""

from collections.abc import Iterator
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from pki.cmp.messages import sequence
from pki.cmp.requests import Wanted
from pki.x509.der import children
from pki.x509.names import GeneralName

_ATTRIBUTES: Final = 0xA0
_EXTENSION_REQUEST: Final = bytes.fromhex("06092a864886f70d01090e")  # RFC 2985 §5.4.2
# The names are compared as names. Whoever asks for no authority gets none, with or without saying so; the key has one
# identifier, whoever counts it.
_APART: Final = frozenset(
    {
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    }
)


def is_granted(wanted: Wanted, certificate: x509.Certificate) -> bool:
    """Whether a certificate has whatever a request asks for; the profile may have decided otherwise."""
    asked = wanted.request
    if asked.subject.rdns and asked.subject != certificate.subject:
        return False
    if wanted.dated or wanted.issuer not in {None, certificate.issuer.public_bytes()}:
        return False
    held = {each.oid: each.value for each in certificate.extensions}
    names = held.get(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    has = {GeneralName.from_x509(each) for each in names or ()}
    if asked.names and set(asked.names) != has:
        return False
    given = {oid: value.public_bytes() for oid, value in held.items() if oid not in _APART}
    try:
        return all(given.get(oid) == value for oid, value in _extensions(asked.der))
    except ValueError:
        return False  # something beside what anybody reads in it


def _extensions(request: bytes) -> Iterator[tuple[x509.ObjectIdentifier, bytes]]:
    """What a PKCS #10 request (DER) asks for by extensions, but those that are looked at apart: each value in DER.

    Raises ValueError.
    """
    info = children(request, sequence(request, 0))[0]
    for attributes in children(request, info):
        if attributes.tag != _ATTRIBUTES:
            continue
        for attribute in children(request, attributes):
            kind, values = children(request, attribute)
            if request[kind.start : kind.end] != _EXTENSION_REQUEST:
                continue
            for listed in children(request, values):
                for each in children(request, listed):
                    named, *_, value = children(request, each)
                    oid = _dotted(request[named.content : named.end])
                    if oid not in _APART:
                        yield oid, request[value.content : value.end]


def _dotted(content: bytes) -> x509.ObjectIdentifier:
    """X.690 §8.19."""
    numbers, number = [], 0
    for octet in content:
        number = number << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return x509.ObjectIdentifier(".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:]))))
