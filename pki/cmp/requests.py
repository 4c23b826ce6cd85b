"""Certificate requests in CRMF (RFC 4211) and PKCS #10, as CMP carries them: read, and proved."""

from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature

from pki.cmp.errors import CmpMalformed, PossessionUnproven, TemplateRefused
from pki.cmp.messages import Message, inner, members, sequence
from pki.cmp.protection import verify
from pki.x509 import der
from pki.x509.csr import SigningRequest, read_csr, reread

_SERIAL: Final = 0x81
_ISSUER: Final = 0xA3
_VALIDITY: Final = 0xA4
_SUBJECT: Final = 0xA5
_PUBLIC_KEY: Final = 0xA6
_EXTENSIONS: Final = 0xA9
_SIGNATURE: Final = 0xA1  # POPOSigningKey
_EXTENSION_REQUEST: Final = bytes.fromhex("06092a864886f70d01090e")  # RFC 2985 §5.4.2
_OLD_CERTIFICATE: Final = bytes.fromhex("06092b0601050507050105")
_DIRECTORY_NAME: Final = 0xA4
_MOST: Final = (1 << 31) - 1
_NO_NAME: Final = b"\x30\x00"
# ecdsa-with-SHA256: read, and never looked at.
_NO_SIGNATURE: Final = bytes.fromhex("300a06082a8648ce3d040302") + b"\x03\x01\x00"


@dataclass(frozen=True)
class OldCertificate:
    """A certificate by its issuer (a Name in DER) and its serial number."""

    issuer: bytes
    serial: int


@dataclass(frozen=True)
class Wanted:
    """What a message asks for: the number of the request in it (-1 in p10cr), and the request, proved. `old`: which
    certificate it is to succeed, where it says so. `issuer`: who shall issue (a Name in DER), where it says so.
    `dated`: it asks for a validity or a serial number.
    """

    number: int
    request: SigningRequest
    old: OldCertificate | None = None
    issuer: bytes | None = None
    dated: bool = False


def wanted(message: Message) -> Wanted:
    """The one request of an ir, cr, kur or p10cr.

    Raises CmpMalformed, PossessionUnproven, TemplateRefused, and what `read_csr` raises.
    """
    if message.kind == "p10cr":
        return Wanted(-1, read_csr(message.body))
    try:
        return _crmf(message.body)
    except (ValueError, IndexError):
        raise CmpMalformed("The certificate request in the message cannot be read.") from None


def _crmf(body: bytes) -> Wanted:
    requests = members(body, sequence(body, 0))
    if len(requests) != 1:  # RFC 9483 §4.1
        raise TemplateRefused("A message asks for one certificate at a time.")
    asked, *others = members(body, requests[0])
    number, template, *controls = members(body, asked)
    request = reread(_as_pkcs10(body, template))
    proof = next((each for each in others if each.tag == _SIGNATURE), None)
    if proof is None:
        raise PossessionUnproven("The request is not signed with its own key.")
    _prove(body, proof, body[asked.start : asked.end], request)
    parts = {each.tag: each for each in members(body, template)}
    issuer = parts.get(_ISSUER)
    return Wanted(
        _number(body, number),
        request,
        _old(body, controls),
        issuer=None if issuer is None else body[issuer.content : issuer.end],
        dated=not parts.keys().isdisjoint({_SERIAL, _VALIDITY}),
    )


def _number(body: bytes, element: der.Element) -> int:
    number = int.from_bytes(body[element.content : element.end], "big", signed=True)
    if element.tag != der.INTEGER or not 0 <= number <= _MOST:
        raise CmpMalformed("The number of the request is none that can be given back.")
    return number


def _old(body: bytes, controls: list[der.Element]) -> OldCertificate | None:
    """RFC 4211 §6.5: oldCertID."""
    for listed in controls:
        for control in members(body, listed):
            oid, *value = members(body, control)
            if body[oid.start : oid.end] == _OLD_CERTIFICATE:
                issuer, serial = members(body, value[0])
                name = inner(body, issuer) if issuer.tag == _DIRECTORY_NAME else issuer
                return OldCertificate(
                    issuer=body[name.start : name.end],
                    serial=int.from_bytes(body[serial.content : serial.end], "big"),
                )
    return None


def _as_pkcs10(body: bytes, template: der.Element) -> bytes:
    """A PKCS #10 request without a signature with what a CertTemplate has (RFC 4211 §5), for one reader of requests.

    A certificate template names what is wanted of a certificate; of it counts what a request can have.
    """
    parts = {each.tag: each for each in members(body, template)}
    key = parts.get(_PUBLIC_KEY)
    if key is None:
        raise TemplateRefused(
            "The template has no public key; keys are made by those who use them."
        )
    name = parts.get(_SUBJECT)
    subject = _NO_NAME
    if name is not None:
        found = inner(body, name)
        subject = body[found.start : found.end]
    attributes = b""
    if (extensions := parts.get(_EXTENSIONS)) is not None:
        listed = der.tlv(der.SEQUENCE, body[extensions.content : extensions.end])
        attributes = der.tlv(der.SEQUENCE, _EXTENSION_REQUEST + der.tlv(0x31, listed))
    info = (
        der.integer(0)
        + subject
        + der.tlv(der.SEQUENCE, body[key.content : key.end])
        + der.tlv(0xA0, attributes)
    )
    return der.tlv(der.SEQUENCE, der.tlv(der.SEQUENCE, info) + _NO_SIGNATURE)


def _prove(body: bytes, proof: der.Element, signed: bytes, request: SigningRequest) -> None:
    """RFC 4211 §4.1: a signature over the CertRequest; not over a POPOSigningKeyInput, as the template has the key."""
    parts = members(body, proof)
    if len(parts) != 2 or parts[1].tag != der.BIT_STRING:
        raise PossessionUnproven("The proof of possession is of a kind that is not taken here.")
    identifier, bits = parts
    signature = body[bits.content + 1 : bits.end]
    try:
        verify(request.public_key, body[identifier.start : identifier.end], signature, signed)
    except InvalidSignature:
        raise PossessionUnproven("The request is not signed with its own key.") from None
