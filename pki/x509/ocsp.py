"""OCSP requests and answers as values (RFC 6960, RFC 5019, RFC 9654)."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from core.errors import InvalidInput
from pki.x509 import der
from pki.x509.crl import Reason
from pki.x509.signing import PrivateKey, default_hash

MAX_OCTETS = 2_048
MAX_NONCE_OCTETS = 128  # RFC 9654 §2.1
_ALGORITHMS: dict[str, hashes.HashAlgorithm] = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}  # noqa: S303 - CertID hashes are identifiers (RFC 5019 §2.1.1), not signatures


class OcspMalformed(InvalidInput):
    """Not an OCSP request we can read; the answer is malformedRequest."""

    code = "ocsp_malformed"
    next_step = "Send one DER-encoded OCSPRequest for one certificate (RFC 5019)."


@dataclass(frozen=True)
class CertId:
    """Which certificate is asked for: hashes of its issuer's name and key, and its serial number (§4.1.1)."""

    hash: str
    name_hash: bytes
    key_hash: bytes
    serial: int


@dataclass(frozen=True)
class OcspQuestion:
    """A decoded request for one certificate."""

    certificate: CertId
    nonce: bytes | None


@dataclass(frozen=True)
class Good:
    """Issued and not revoked."""


@dataclass(frozen=True)
class Unknown:
    """Never issued here. OpenBao and others call such a certificate good."""


@dataclass(frozen=True)
class Revoked:
    """Revoked, or on hold."""

    at: datetime
    reason: Reason


Status = Good | Unknown | Revoked


def read_request(data: bytes) -> OcspQuestion:
    """Decode a request. Raises OcspMalformed, also for a request that asks for several certificates."""
    if len(data) > MAX_OCTETS:
        raise OcspMalformed("The OCSP request is too large.")
    try:
        request = ocsp.load_der_ocsp_request(data)
        algorithm = request.hash_algorithm.name
        certificate = CertId(
            algorithm, request.issuer_name_hash, request.issuer_key_hash, request.serial_number
        )
        nonce = _nonce(request)
    except (ValueError, UnsupportedAlgorithm, NotImplementedError, x509.DuplicateExtension):
        raise OcspMalformed("The OCSP request cannot be read.") from None
    if (
        certificate.serial < 0
    ):  # RFC 5280 §4.1.2.2: no certificate has one, and no answer could be written
        raise OcspMalformed("The serial number is negative.")
    if algorithm not in _ALGORITHMS:
        raise OcspMalformed(f"CertID hash {algorithm} is not supported: use SHA-1 or SHA-256.")
    return OcspQuestion(certificate, nonce)


def _nonce(request: ocsp.OCSPRequest) -> bytes | None:
    found = None
    for extension in request.extensions:
        if isinstance(extension.value, x509.OCSPNonce):
            found = extension.value.nonce
            if not 1 <= len(found) <= MAX_NONCE_OCTETS:  # RFC 9654 §2.1: MUST reject
                raise ValueError("nonce length")
        elif extension.critical:  # §4.4: ignored, unless critical
            raise ValueError("unknown critical extension")
    return found


def issuer_hashes(issuer: x509.Certificate, algorithm: str) -> tuple[bytes, bytes]:
    """Hash an issuer's name and public key as CertID does (§4.1.1): `algorithm` is "sha1" or "sha256"."""
    spki = issuer.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    # The BIT STRING's octets without the count of unused bits.
    key = der.children(spki, der.read(spki, 0))[1]
    name = issuer.subject.public_bytes()
    return (
        hashlib.new(algorithm, name, usedforsecurity=False).digest(),
        hashlib.new(algorithm, spki[key.content + 1 : key.end], usedforsecurity=False).digest(),
    )


@dataclass(frozen=True)
class ResponderKey:
    """A delegated responder: its certificate (id-kp-OCSPSigning, id-pkix-ocsp-nocheck) and its key."""

    certificate: x509.Certificate
    key: PrivateKey


def sign_answer(
    responder: ResponderKey,
    certificate: CertId,
    status: Status,
    *,
    this_update: datetime,
    next_update: datetime,
    nonce: bytes | None = None,
) -> bytes:
    """Build and sign a successful answer for one certificate, DER. The responder is named by its key (§4.2.2.3)."""
    revoked = status if isinstance(status, Revoked) else None
    # §4.4.5 / RFC 5280 §5.3.1: removeFromCRL and unspecified are not said.
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response_by_hash(
            issuer_name_hash=certificate.name_hash,
            issuer_key_hash=certificate.key_hash,
            serial_number=certificate.serial,
            algorithm=_ALGORITHMS[certificate.hash],
            cert_status=_cert_status(status),
            this_update=this_update,
            next_update=next_update,
            revocation_time=revoked.at if revoked else None,
            revocation_reason=_reason_flag(revoked.reason) if revoked else None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, responder.certificate)
        .certificates([responder.certificate])
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    public = responder.key.public_key()
    response = builder.sign(responder.key, default_hash(public))
    return response.public_bytes(serialization.Encoding.DER)


def _cert_status(status: Status) -> ocsp.OCSPCertStatus:
    match status:
        case Good():
            return ocsp.OCSPCertStatus.GOOD
        case Revoked():
            return ocsp.OCSPCertStatus.REVOKED
    return ocsp.OCSPCertStatus.UNKNOWN


def _reason_flag(reason: Reason) -> x509.ReasonFlags | None:
    return None if reason is Reason.unspecified else x509.ReasonFlags[_snake(reason.name)]


def _snake(name: str) -> str:
    return {
        "keyCompromise": "key_compromise",
        "cACompromise": "ca_compromise",
        "affiliationChanged": "affiliation_changed",
        "cessationOfOperation": "cessation_of_operation",
        "certificateHold": "certificate_hold",
        "removeFromCRL": "remove_from_crl",
        "privilegeWithdrawn": "privilege_withdrawn",
        "aACompromise": "aa_compromise",
    }.get(name, name)


def error_answer(status: str) -> bytes:
    """An unsigned error: "malformedRequest", "internalError", "tryLater" or "unauthorized" (§4.2.1)."""
    kinds = {
        "malformedRequest": ocsp.OCSPResponseStatus.MALFORMED_REQUEST,
        "internalError": ocsp.OCSPResponseStatus.INTERNAL_ERROR,
        "tryLater": ocsp.OCSPResponseStatus.TRY_LATER,
        "unauthorized": ocsp.OCSPResponseStatus.UNAUTHORIZED,
    }
    unsuccessful = ocsp.OCSPResponseBuilder.build_unsuccessful(kinds[status])
    return unsuccessful.public_bytes(serialization.Encoding.DER)
