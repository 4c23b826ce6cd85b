"""Certificate signing requests (PKCS#10, RFC 2986): read with suspicion, checked before anything else happens."""

import base64
import hashlib
import warnings
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtensionOID

from core.errors import InvalidInput, TooLarge
from pki.x509.malformed import MALFORMED
from pki.x509.names import GeneralName
from pki.x509.signing import PublicKey

# `cryptography` complains on stderr of X.520 lengths in whatever a stranger sends; `draft.subject_for` checks them.
warnings.filterwarnings("ignore", "Attribute's length must be", UserWarning)

MAX_OCTETS = 16_384
_KNOWN_EXTENSIONS = {
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER,
}


class CsrMalformed(InvalidInput):
    """Not a PKCS#10 request in PEM or DER."""

    code = "csr_malformed"
    next_step = "Send a PKCS#10 request in PEM, or its DER in base64: `openssl req -new -key KEY` makes one."


class CsrTooLarge(TooLarge):
    """More octets than any honest request has."""

    code = "csr_too_large"
    next_step = f"Send a request of at most {MAX_OCTETS} octets."


class CsrSignatureInvalid(InvalidInput):
    """The requester does not hold the private key, or the request was altered (RFC 2986 §4.2)."""

    code = "csr_signature_invalid"
    next_step = "Make the request anew with the private key that belongs to it."


class CsrExtensionRefused(InvalidInput):
    """The request asks for something this authority does not give to requesters."""

    code = "csr_extension_refused"
    next_step = "Ask only for subjectAltName; the profile decides everything else."


@dataclass(frozen=True)
class SigningRequest:
    """A request whose signature was verified: the requester holds the private key of `public_key`."""

    der: bytes
    public_key: PublicKey
    spki_sha256: str
    subject: x509.Name
    names: tuple[GeneralName, ...]


def read_csr(data: bytes) -> SigningRequest:
    """Decode a request (PEM, DER, or DER in base64) and check its signature: proof of possession.

    Raises CsrMalformed, CsrTooLarge, CsrSignatureInvalid, CsrExtensionRefused, or InvalidName for a
    subjectAltName that no certificate may carry.
    """
    if len(data) > MAX_OCTETS:
        raise CsrTooLarge(f"The request has {len(data)} octets.")
    request = _decode(data)
    key = _public_key(request)
    _check_signature(request)
    names = _requested_names(request)
    return SigningRequest(
        der=request.public_bytes(serialization.Encoding.DER),
        public_key=key,
        spki_sha256=spki_sha256(key),
        subject=_subject(request),
        names=names,
    )


def spki_sha256(key: PublicKey) -> str:
    """Hash a SubjectPublicKeyInfo: how the same key is recognised in several certificates."""
    spki = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).hexdigest()


def _decode(data: bytes) -> x509.CertificateSigningRequest:
    text = data.strip()
    if text.startswith(b"-----") and text.count(b"-----BEGIN ") > 1:
        raise CsrMalformed(
            "There is more than one PEM block.", next_step="Send one request at a time."
        )
    try:
        if text.startswith(b"-----"):
            return x509.load_pem_x509_csr(text)
        if not text.startswith(b"0") or text[:2].isalnum():
            text = base64.b64decode(b"".join(text.split()), validate=True)
            return x509.load_der_x509_csr(text)
        return x509.load_der_x509_csr(data)
    except MALFORMED:
        raise CsrMalformed("This is not a certificate signing request.") from None


def _public_key(request: x509.CertificateSigningRequest) -> PublicKey:
    try:
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise CsrMalformed("The public key in the request cannot be read.") from None
    if not isinstance(key, PublicKey):
        raise CsrMalformed("The request has a kind of public key that is not supported.")
    return key


def _check_signature(request: x509.CertificateSigningRequest) -> None:
    try:
        digest = request.signature_hash_algorithm
        valid = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        raise CsrSignatureInvalid("The request's signature algorithm is not supported.") from None
    if isinstance(digest, hashes.MD5 | hashes.SHA1):
        raise CsrSignatureInvalid(f"The request is signed with {digest.name}, which is broken.")
    if not valid:
        raise CsrSignatureInvalid("The request's signature does not fit its public key.")


def _subject(request: x509.CertificateSigningRequest) -> x509.Name:
    try:
        return request.subject
    except ValueError:
        raise CsrMalformed("The subject in the request cannot be read.") from None


def _requested_names(request: x509.CertificateSigningRequest) -> tuple[GeneralName, ...]:
    try:
        extensions = list(request.extensions)
    except (
        ValueError,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ):
        raise CsrMalformed("The extensions in the request cannot be read.") from None
    names: tuple[GeneralName, ...] = ()
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.SubjectAlternativeName):
            names = tuple(GeneralName.from_x509(name) for name in value)
        elif isinstance(value, x509.BasicConstraints) and value.ca:
            raise CsrExtensionRefused("The request asks to become a certificate authority.")
        elif extension.oid not in _KNOWN_EXTENSIONS and extension.critical:
            # RFC 5280 §4.2: a critical extension that is not understood is not ignored.
            oid = extension.oid.dotted_string
            raise CsrExtensionRefused(f"The request has the unknown critical extension {oid}.")
    return names
