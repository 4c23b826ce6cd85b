"""Certificate requests in CRMF (RFC 4211) and PKCS #10, as CMP carries them: read, and proved."""

from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature

from pki.cmp.errors import CmpMalformed, PossessionUnproven, TemplateRefused
from pki.cmp.messages import Message, inner, members, sequence
from pki.cmp.protection import verify
from pki.x509 import der
from pki.x509.csr import SigningRequest, read_csr, reread

_SUBJECT: Final = 0xA5
_PUBLIC_KEY: Final = 0xA6
_EXTENSIONS: Final = 0xA9
_SIGNATURE: Final = 0xA1  # POPOSigningKey
_EXTENSION_REQUEST: Final = bytes.fromhex("06092a864886f70d01090e")  # RFC 2985 §5.4.2
_NO_NAME: Final = b"\x30\x00"
# ecdsa-with-SHA256: read, and never looked at.
_NO_SIGNATURE: Final = bytes.fromhex("300a06082a8648ce3d040302") + b"\x03\x01\x00"


@dataclass(frozen=True)
class Wanted:
    """What a message asks for: the number of the request in it (-1 in p10cr), and the request, proved."""

    number: int
    request: SigningRequest


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
    number, template, *_ = members(body, asked)
    request = reread(_as_pkcs10(body, template))
    proof = next((each for each in others if each.tag == _SIGNATURE), None)
    if proof is None:
        raise PossessionUnproven("The request is not signed with its own key.")
    _prove(body, proof, body[asked.start : asked.end], request)
    return Wanted(int.from_bytes(body[number.content : number.end], "big", signed=True), request)


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
