"""What both sides are asked: certificate requests, OCSP requests, and a TLS certificate for the peer."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

# As many that nobody's cache of verified requests could pass for speed.
_REQUESTS = 500


@dataclass(frozen=True)
class Asked:
    """An OCSP request in DER and the status that the answer must have."""

    request: bytes
    serial: int
    revoked: bool


def certificate_requests(count: int = _REQUESTS) -> list[str]:
    """PEM requests for P-256 keys, each with one dNSName (also as its common name, for those who need one)."""
    made = []
    for number in range(count):
        key = ec.generate_private_key(ec.SECP256R1())
        name = f"gw{number}.bench.example"
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        made.append(request.public_bytes(Encoding.PEM).decode())
    return made


def ocsp_request(issuer: x509.Certificate, serial: int, nonce: bytes | None = None) -> bytes:
    """A request with a SHA-1 CertID, as charon, pluto and openssl send it."""
    name, key = _hashed(issuer)
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(name, key, serial, hashes.SHA1())  # noqa: S303
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def _hashed(issuer: x509.Certificate) -> tuple[bytes, bytes]:
    name = hashes.Hash(hashes.SHA1())  # noqa: S303 - names the issuer, protects nothing
    name.update(issuer.subject.public_bytes())
    # RFC 6960 §4.1.1: of the key's bits, which is what method 1 of RFC 5280 §4.2.1.2 takes too.
    key = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key())
    return name.finalize(), key.digest


def check_ocsp(answer: bytes, asked: Asked) -> None:
    """Raise ValueError unless the answer is a signed one with the right status for the right certificate."""
    read = ocsp.load_der_ocsp_response(answer)
    if read.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise ValueError(f"OCSP says {read.response_status.name}")
    wanted = ocsp.OCSPCertStatus.REVOKED if asked.revoked else ocsp.OCSPCertStatus.GOOD
    if read.serial_number != asked.serial or read.certificate_status is not wanted:
        raise ValueError(f"OCSP says {read.certificate_status.name}, not {wanted.name}")


def tls_certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed P-256 certificate for 127.0.0.1; gives the files of certificate and key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=10))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    paths = directory / "tls.pem", directory / "tls.key"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].touch(mode=0o600)
    paths[1].write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    return paths


def deal(serials: Sequence[int], count: int) -> list[int]:
    """`count` serial numbers, spread evenly over the sorted list."""
    ordered = sorted(serials)
    if len(ordered) < count:
        raise ValueError(f"{count} serial numbers are wanted and {len(ordered)} are there")
    step = len(ordered) / count
    return [ordered[int(number * step)] for number in range(count)]
