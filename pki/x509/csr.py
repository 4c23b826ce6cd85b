"""Certificate signing requests (PKCS#10, RFC 2986): read with suspicion, checked before anything else happens."""

import base64
import hashlib
import warnings
from dataclasses import dataclass
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtensionOID

from core.errors import InvalidInput, TooLarge
from pki.x509 import der
from pki.x509.der import Element
from pki.x509.malformed import MALFORMED
from pki.x509.names import GeneralName
from pki.x509.signing import PublicKey

# `cryptography` complains on stderr of X.520 lengths in whatever a stranger sends; `draft.subject_for` checks them.
warnings.filterwarnings("ignore", "Attribute's length must be", UserWarning)

MAX_OCTETS = 16_384
_ATTRIBUTES = 0xA0
_EXTENSIONS = bytes.fromhex("06092a864886f70d01090e")  # extensionRequest (RFC 2985 §5.4.2)
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
    """A request whose signature was verified: the requester holds the private key of `public_key`. `sha1`: that it is
    signed with SHA-1, where that was allowed.
    """

    der: bytes
    public_key: PublicKey
    spki_sha256: str
    subject: x509.Name
    names: tuple[GeneralName, ...]
    sha1: bool = False


Csr: TypeAlias = bytes | SigningRequest


def known_csr(csr: Csr) -> SigningRequest:
    """A request that was read already, or reads it. Raises what `read_csr` raises."""
    return csr if isinstance(csr, SigningRequest) else read_csr(csr)


def read_csr(data: bytes, *, sha1: bool = False) -> SigningRequest:
    """Decode a request (PEM, DER, or DER in base64) and check its signature: proof of possession. `sha1`: one of an old
    device may be signed with SHA-1.

    Raises CsrMalformed, CsrTooLarge, CsrSignatureInvalid, CsrExtensionRefused, or InvalidName for a
    subjectAltName that no certificate may carry.
    """
    if len(data) > MAX_OCTETS:
        raise CsrTooLarge(f"The request has {len(data)} octets.")
    request, original = _decode(data)
    _check_signature(request, _public_key(request), original, sha1=sha1)
    return _read(request, original)


def _read(request: x509.CertificateSigningRequest, original: bytes | None) -> SigningRequest:
    key = _public_key(request)
    names = _requested_names(request)
    return SigningRequest(
        der=original or request.public_bytes(serialization.Encoding.DER),
        public_key=key,
        spki_sha256=spki_sha256(key),
        subject=_subject(request),
        names=names,
        sha1=isinstance(request.signature_hash_algorithm, hashes.SHA1),
    )


def stripped(csr: SigningRequest) -> bytes:
    """The request (DER) without its attributes but the extensions, one of which may be a password: to be kept, and read
    with `reread`. The signature is not for it.
    """
    data = csr.der
    info, *rest = der.children(data, der.read(data, 0))
    kept = b"".join(
        _extensions_alone(data, one) if one.tag == _ATTRIBUTES else data[one.start : one.end]
        for one in der.children(data, info)
    )
    after = b"".join(data[one.start : one.end] for one in rest)
    return der.tlv(der.SEQUENCE, der.tlv(der.SEQUENCE, kept) + after)


def _extensions_alone(data: bytes, attributes: Element) -> bytes:
    kept = []
    for one in der.children(data, attributes):
        kind = der.children(data, one)[0]
        if data[kind.start : kind.end] == _EXTENSIONS:
            kept.append(data[one.start : one.end])
    return der.tlv(_ATTRIBUTES, b"".join(kept))


def reread(data: bytes) -> SigningRequest:
    """Read what `stripped` gave for a request whose signature was checked then. Raises as `read_csr` does."""
    return _read(_decode(data)[0], data)


def spki_sha256(key: PublicKey) -> str:
    """Hash a SubjectPublicKeyInfo: how the same key is recognised in several certificates."""
    spki = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).hexdigest()


def _decode(data: bytes) -> tuple[x509.CertificateSigningRequest, bytes | None]:
    """The request; and its DER as it came, where what is read has its attributes in another order."""
    text = data.strip()
    if text.startswith(b"-----") and text.count(b"-----BEGIN ") > 1:
        raise CsrMalformed(
            "There is more than one PEM block.", next_step="Send one request at a time."
        )
    try:
        if text.startswith(b"-----"):
            return x509.load_pem_x509_csr(text), None
        if not text.startswith(b"0") or text[:2].isalnum():
            data = base64.b64decode(b"".join(text.split()), validate=True)
        try:
            return x509.load_der_x509_csr(data), None
        except MALFORMED:
            return x509.load_der_x509_csr(_in_order(data)), data
    except MALFORMED:
        raise CsrMalformed("This is not a certificate signing request.") from None


def _in_order(data: bytes) -> bytes:
    """The same request with its attributes as DER orders them (X.690 §11.6): charon's `pki --scep` 5.9.8 puts them in
    the order of its options. Raises ValueError for one that is no DER otherwise.
    """
    whole = der.read(data, 0)
    info, *rest = der.children(data, whole)
    *fixed, attributes = der.children(data, info)
    if whole.end != len(data) or attributes.tag != _ATTRIBUTES:
        raise ValueError("no attributes at the end")
    each = [data[one.start : one.end] for one in der.children(data, attributes)]
    kinds = {
        data[one.content : der.children(data, one)[0].end] for one in der.children(data, attributes)
    }

    def together(parts: list[bytes]) -> bytes:
        before = b"".join(data[one.start : one.end] for one in fixed)
        new = der.tlv(der.SEQUENCE, before + der.tlv(_ATTRIBUTES, b"".join(parts)))
        return der.tlv(der.SEQUENCE, new + b"".join(data[one.start : one.end] for one in rest))

    if together(each) != data or len(kinds) != len(each):
        raise ValueError("there is more wrong than the order")
    return together(sorted(each))


def _public_key(request: x509.CertificateSigningRequest) -> PublicKey:
    try:
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise CsrMalformed("The public key in the request cannot be read.") from None
    if not isinstance(key, PublicKey):
        raise CsrMalformed("The request has a kind of public key that is not supported.")
    return key


def _check_signature(
    request: x509.CertificateSigningRequest, key: PublicKey, original: bytes | None, *, sha1: bool
) -> None:
    try:
        digest = request.signature_hash_algorithm
        if sha1 and isinstance(digest, hashes.SHA1):  # which `cryptography` checks for nobody
            original = original or request.public_bytes(serialization.Encoding.DER)
        valid = (
            request.is_signature_valid if original is None else _is_signed(request, key, original)
        )
    except (ValueError, UnsupportedAlgorithm):
        raise CsrSignatureInvalid("The request's signature algorithm is not supported.") from None
    if isinstance(digest, hashes.MD5) or (isinstance(digest, hashes.SHA1) and not sha1):
        raise CsrSignatureInvalid(f"The request is signed with {digest.name}, which is broken.")
    if not valid:
        raise CsrSignatureInvalid("The request's signature does not fit its public key.")


def _is_signed(request: x509.CertificateSigningRequest, key: PublicKey, original: bytes) -> bool:
    """Whether the octets as they came are signed with the key."""
    signed = der.children(original, der.read(original, 0))[0]
    over = original[signed.start : signed.end]
    how, digest = request.signature_algorithm_parameters, request.signature_hash_algorithm
    try:
        if isinstance(key, rsa.RSAPublicKey) and isinstance(how, padding.AsymmetricPadding):
            key.verify(request.signature, over, how, digest or hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(how, ec.ECDSA):
            key.verify(request.signature, over, how)
        else:
            return False
    except InvalidSignature:
        return False
    return digest is not None


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
