"""Messages of devices: read from BER, checked, opened (RFC 8894 §3).

`read` only reads; nothing of what it gives is to be believed before `check`.
"""

import hmac
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from asn1crypto import cms
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pki.scep.algorithms import Digest, digest_named
from pki.scep.ber import to_der
from pki.scep.failures import (
    ScepAlgorithmRefused,
    ScepCheckFailed,
    ScepMessageMalformed,
    ScepTimeRefused,
    unreadable,
)
from pki.x509 import der
from pki.x509.malformed import MALFORMED

# What strangers put into certificates that they have signed themselves is no news for the service's log.
warnings.filterwarnings("ignore", "Parsed a serial number which wasn't positive")
warnings.filterwarnings("ignore", "The parsed certificate contains a NULL parameter value")

MAX_OCTETS: Final = 64 << 10
_PREFIX: Final = "2.16.840.1.113733.1.9."
MESSAGE_TYPE, PKI_STATUS, FAIL_INFO, SENDER_NONCE, RECIPIENT_NONCE, TRANSACTION_ID = (
    f"{_PREFIX}{number}" for number in range(2, 8)
)
PKCS_REQ, RENEWAL_REQ, CERT_POLL, GET_CERT, GET_CRL = "19", "17", "20", "21", "22"
CERT_REP: Final = "3"
# Reply and certificate are encrypted with the key of who signed; below this anybody could read them.
_MIN_BITS, _MAX_BITS = 2048, 8192
# A device's clock need not be better than a person sets it.
_SKEW: Final = timedelta(hours=1)
_SIGNATURES: Final = {"rsassa_pkcs1v15": None} | {
    f"{name}_rsa": name for name in ("sha1", "sha256", "sha384", "sha512")
}
_MOST: Final = 50
_UNREADABLE: Final = (*MALFORMED, KeyError, AttributeError, RecursionError)


@dataclass(frozen=True)
class PkiMessage:
    """What a device sent. `signer` is who signed it: by a certificate of this service, or by one that it made itself.

    `content` is the envelope, in BER.
    """

    transaction_id: str
    message_type: str
    sender_nonce: bytes
    signer: x509.Certificate
    content: bytes
    signing_time: datetime | None
    digest_name: str
    signature_name: str
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    message_digest: bytes = field(repr=False)

    @property
    def signer_key(self) -> rsa.RSAPublicKey:
        """The key to which the answer is encrypted. Raises ScepAlgorithmRefused for one that cannot be used so."""
        try:
            key = self.signer.public_key()
        except MALFORMED:
            key = None
        if not isinstance(key, rsa.RSAPublicKey) or not _MIN_BITS <= key.key_size <= _MAX_BITS:
            raise ScepAlgorithmRefused(
                "SCEP messages are signed with RSA keys of 2048 to 8192 bits."
            )
        return key


def read(data: bytes) -> PkiMessage:
    """Read a message. Raises ScepMessageMalformed for what cannot be answered."""
    if len(data) > MAX_OCTETS:
        raise ScepMessageMalformed(f"A message has at most {MAX_OCTETS} octets.")
    try:
        return _read(to_der(data))
    except _UNREADABLE:
        raise ScepMessageMalformed("This is not a SCEP message.") from None


def _read(encoded: bytes) -> PkiMessage:
    info = cms.ContentInfo.load(encoded, strict=True)
    if info["content_type"].native != "signed_data":
        raise ValueError("not signed")
    signed = info["content"]
    inner = signed["encap_content_info"]
    if inner["content_type"].native != "data" or len(signed["signer_infos"]) != 1:
        raise ValueError("not one signature over data")
    by = signed["signer_infos"][0]
    attributes = _attributes(by["signed_attrs"])
    signing_time = attributes.get("signing_time")
    return PkiMessage(
        transaction_id=_text(attributes[TRANSACTION_ID], 256),
        message_type=_text(attributes[MESSAGE_TYPE], 4),
        sender_nonce=_octets(attributes[SENDER_NONCE]),
        signer=_signer(signed["certificates"], by["sid"]),
        content=bytes(inner["content"].native),
        signing_time=None if signing_time is None else _moment(signing_time),
        digest_name=by["digest_algorithm"]["algorithm"].native,
        signature_name=by["signature_algorithm"]["algorithm"].native,
        # RFC 5652 §5.4: the signature is over a SET OF, not over the field with its tag [0].
        signed=b"\x31" + by["signed_attrs"].dump()[1:],
        signature=bytes(by["signature"].native),
        message_digest=bytes(attributes["message_digest"].native),
    )


def _attributes(found: Any) -> Mapping[str, Any]:
    _count(found.dump())
    attributes: dict[str, Any] = {}
    for each in found:
        name, values = each["type"].native, each["values"]
        if name in attributes:
            raise ValueError("an attribute is there twice")
        if len(values) == 1:
            attributes[name] = values[0]
    return attributes


def _count(encoded: bytes) -> None:
    """Make sure that there are not too many to be looked at one by one, before anybody has proved anything."""
    each = der.children(encoded, der.read(encoded, 0))
    values = [one for attribute in each for one in der.children(encoded, attribute)[1:]]
    if len(each) > _MOST or any(len(der.children(encoded, one)) > _MOST for one in values):
        raise ValueError("too many attributes")


def _text(value: Any, most: int) -> str:
    text = _parsed(value)
    # It comes back in the answer as a PrintableString, which clients compare with what they sent.
    if not isinstance(text, str) or not text.isascii() or not text.isprintable():
        raise ValueError("not a text")
    if not 1 <= len(text) <= most:
        raise ValueError("not a text of this length")
    return text


def _octets(value: Any) -> bytes:
    octets = _parsed(value)
    if not isinstance(octets, bytes) or not 1 <= len(octets) <= 64:
        raise ValueError("not a nonce")
    return octets


def _moment(value: Any) -> datetime:
    moment = _parsed(value)
    if not isinstance(moment, datetime):
        raise TypeError("not a time")
    return moment


def _parsed(value: Any) -> object:
    found: object = value.native
    return found


def _signer(certificates: Any, sid: Any) -> x509.Certificate:
    if len(certificates) > 10:
        raise ValueError("too many certificates")
    for each in certificates:
        if each.name == "certificate":
            found = x509.load_der_x509_certificate(each.chosen.dump())
            if _is_meant(found, sid):
                # Read when they are asked for, and not with the certificate: what cannot be is refused here.
                found.subject.public_bytes()
                found.issuer.public_bytes()
                return found
    raise ValueError("the signer's certificate is missing")


def _is_meant(certificate: x509.Certificate, sid: Any) -> bool:
    if sid.name == "issuer_and_serial_number":
        wanted = sid.chosen
        return bool(
            certificate.serial_number == wanted["serial_number"].native
            and certificate.issuer.public_bytes() == wanted["issuer"].dump()
        )
    kind = x509.SubjectKeyIdentifier
    known = certificate.extensions.get_extension_for_class(kind).value.key_identifier
    return bool(known == sid.chosen.native)


def check(message: PkiMessage, *, legacy: bool, now: datetime) -> Digest:
    """Make sure that the message is as its signer made it; give its hash function.

    Raises ScepAlgorithmRefused, ScepCheckFailed, ScepTimeRefused.
    """
    digest = digest_named(message.digest_name, legacy=legacy)
    hashed = _SIGNATURES.get(message.signature_name, message.signature_name)
    if hashed not in {None, message.digest_name}:
        raise ScepAlgorithmRefused("The signature's algorithm does not fit.")
    key = message.signer_key
    over = hashes.Hash(digest.make())
    over.update(message.content)
    if not hmac.compare_digest(over.finalize(), message.message_digest):
        raise ScepCheckFailed("The content is not what was signed.")
    try:
        key.verify(message.signature, message.signed, padding.PKCS1v15(), digest.make())
    except InvalidSignature:
        raise ScepCheckFailed("The signature does not fit.") from None
    if message.signing_time is not None and abs(now - message.signing_time) > _SKEW:
        raise ScepTimeRefused("The message was not signed just now.")
    return digest


@dataclass(frozen=True)
class IssuerAndSerial:
    """A certificate as RFC 5652 §10.2.4 names it: its issuer's name in DER, its serial number."""

    issuer: bytes
    serial: int


def read_issuer_and_serial(data: bytes) -> IssuerAndSerial:
    """Read what GetCert and GetCRL hold (RFC 8894 §3.3.4). Raises ScepCheckFailed."""
    try:
        found = cms.IssuerAndSerialNumber.load(to_der(data), strict=True)
        return IssuerAndSerial(found["issuer"].dump(), int(found["serial_number"].native))
    except _UNREADABLE:
        raise unreadable() from None
