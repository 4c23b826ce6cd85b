"""Certificates, CRLs and OCSP answers made by hand, to test the lab and the daemons.

Nothing of the product is used: such tests say what charon does with correct and with odd input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


def new_key(algorithm: str = "ec-p256") -> Key:
    """A fresh private key: ec-p256, ec-p384, rsa-3072 or ed25519."""
    if algorithm.startswith("ec-"):
        return ec.generate_private_key(
            {"p256": ec.SECP256R1, "p384": ec.SECP384R1}[algorithm[3:]]()
        )
    if algorithm.startswith("rsa-"):
        return rsa.generate_private_key(65537, int(algorithm[4:]))
    return ed25519.Ed25519PrivateKey.generate()


@dataclass(frozen=True)
class Leaf:
    """An end-entity certificate with its key."""

    key: Key
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Authority:
    """A CA that signs whatever it is told to; a root when it has no parent."""

    def __init__(
        self,
        name: str,
        parent: "Authority | None" = None,
        *,
        crl_url: str = "",
        serial: int = 1,
        path_length: int | None = None,
    ) -> None:
        self.parent = parent
        self.path_length = path_length
        self.key = new_key()
        builder = _start(name, serial, NOW + 30 * 24 * HOUR, self.key, (parent or self).key)
        builder = builder.issuer_name(parent.subject if parent else _name(name))
        builder = _authority(builder, path_length)
        if crl_url:
            builder = builder.add_extension(x509.CRLDistributionPoints(_points(crl_url)), False)
        self.certificate = builder.sign((parent or self).key, hashes.SHA256())

    def by(self, issuer: "Authority", serial: int) -> bytes:
        """This authority's key certified by another one: a cross-certificate, as PEM."""
        (common,) = self.subject
        builder = _start(str(common.value), serial, NOW + 20 * 24 * HOUR, self.key, issuer.key)
        builder = _authority(builder.issuer_name(issuer.subject), self.path_length)
        return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    @property
    def subject(self) -> x509.Name:
        return self.certificate.subject

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def chain(self) -> list[bytes]:
        """This CA and those above it as PEM, the root last."""
        return [self.pem, *(self.parent.chain if self.parent else [])]

    def leaf(
        self,
        dns: str,
        *,
        serial: int,
        algorithm: str = "ec-p256",
        crl_urls: Sequence[str] = (),
        ocsp_url: str = "",
    ) -> Leaf:
        """Issue a certificate for one dNSName; each CRL URL is a distribution point of its own."""
        key = new_key(algorithm)
        builder = _start(dns, serial, NOW + 10 * 24 * HOUR, key, self.key)
        builder = builder.issuer_name(self.subject)
        builder = builder.add_extension(_usage(ca=False), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), False)
        if crl_urls:
            points = x509.CRLDistributionPoints(_points(*crl_urls))
            builder = builder.add_extension(points, critical=False)
        if ocsp_url:
            place = x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp_url)
            )
            builder = builder.add_extension(x509.AuthorityInformationAccess([place]), False)
        return Leaf(key, builder.sign(self.key, hashes.SHA256()))

    def crl(
        self,
        number: int,
        revoked: Sequence[tuple[int, x509.ReasonFlags]] = (),
        *,
        scope: str = "",
        base: int | None = None,
        freshest: str = "",
        expires: timedelta = HOUR,
    ) -> bytes:
        """A CRL as DER.

        `scope` adds a critical IDP with that URL, `base` makes it a delta of that number.
        """
        issued = min(NOW, NOW + expires) - HOUR
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.subject)
        builder = builder.last_update(issued).next_update(NOW + expires)
        builder = builder.add_extension(_authority_key(self.key), critical=False)
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        if scope:
            # RFC 5280 §5.2.5: critical, and the name equals the one in the certificates' CDP.
            point = x509.IssuingDistributionPoint(
                [x509.UniformResourceIdentifier(scope)], None, False, False, None, False, False
            )
            builder = builder.add_extension(point, critical=True)
        if base is not None:
            builder = builder.add_extension(x509.DeltaCRLIndicator(base), critical=True)
        if freshest:
            builder = builder.add_extension(x509.FreshestCRL(_points(freshest)), critical=False)
        for serial, reason in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(issued)
            if reason is not x509.ReasonFlags.unspecified:
                entry = entry.add_extension(x509.CRLReason(reason), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def ocsp_signer(self) -> Leaf:
        """A delegated responder certificate (RFC 6960 §4.2.2.2)."""
        key = new_key()
        builder = _start("OCSP", 0x0C5B, NOW + 24 * HOUR, key, self.key).issuer_name(self.subject)
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
        builder = builder.add_extension(purpose, critical=False)
        builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
        return Leaf(key, builder.sign(self.key, hashes.SHA256()))

    def ocsp_answer(
        self,
        signer: Leaf,
        about: x509.Certificate,
        status: ocsp.OCSPCertStatus,
        reason: x509.ReasonFlags | None = None,
    ) -> bytes:
        """A pre-signed OCSP answer as DER: SHA-1 CertID, no nonce, good for an hour."""
        revoked = status is ocsp.OCSPCertStatus.REVOKED
        builder = ocsp.OCSPResponseBuilder().add_response(
            about,
            self.certificate,
            hashes.SHA1(),  # noqa: S303 - RFC 6960 CertID; what charon 5.9 asks with
            status,
            NOW - HOUR,
            NOW + HOUR,
            NOW - HOUR if revoked else None,
            reason if revoked else None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
        builder = builder.certificates([signer.certificate])
        return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def _start(
    name: str, serial: int, until: datetime, key: Key, issuer_key: Key
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(_name(name)).serial_number(serial)
    builder = builder.not_valid_before(NOW - HOUR).not_valid_after(until)
    builder = builder.public_key(key.public_key())
    subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.add_extension(subject_key, critical=False)
    return builder.add_extension(_authority_key(issuer_key), critical=False)


def _authority(
    builder: x509.CertificateBuilder, path_length: int | None
) -> x509.CertificateBuilder:
    builder = builder.add_extension(x509.BasicConstraints(True, path_length), critical=True)
    return builder.add_extension(_usage(ca=True), critical=True)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _authority_key(key: Key) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _points(*urls: str) -> list[x509.DistributionPoint]:
    names = [[x509.UniformResourceIdentifier(url)] for url in urls]
    return [x509.DistributionPoint(name, None, None, None) for name in names]


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
