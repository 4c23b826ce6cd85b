"""Certificates of authorities: roots and issuing CAs (RFC 5280 §4.2.1.9, §4.2.1.10)."""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from pki.x509.constraints import NameConstraints
from pki.x509.signing import PublicKey, Recorder, default_hash

_CA_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,  # strongSwan >= 5.9.11 wants it on whoever signs the CRL
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class Pointers:
    """Where a verifier finds an issuer's certificate, CRL and OCSP responder: http URLs (RFC 5280 §8), or None."""

    crl: str | None = None
    ocsp: str | None = None
    ca_issuers: str | None = None

    def extensions(self) -> list[x509.Extension[x509.ExtensionType]]:
        """The CRL distribution points and authority information access extensions, not critical."""
        found: list[x509.Extension[x509.ExtensionType]] = []
        if self.crl:
            point = x509.DistributionPoint([_uri(self.crl)], None, None, None)
            found.append(_plain(x509.CRLDistributionPoints([point])))
        access = [
            x509.AccessDescription(method, _uri(url))
            for method, url in (
                (AuthorityInformationAccessOID.OCSP, self.ocsp),
                (AuthorityInformationAccessOID.CA_ISSUERS, self.ca_issuers),
            )
            if url
        ]
        if access:
            found.append(_plain(x509.AuthorityInformationAccess(access)))
        return found


@dataclass(frozen=True)
class AuthoritySpec:
    """What an authority's certificate shall say. `path_length` None means no limit."""

    subject: x509.Name
    public_key: PublicKey
    serial: int
    not_before: datetime
    not_after: datetime
    path_length: int | None
    constraints: NameConstraints
    pointers: Pointers


def draft_root(spec: AuthoritySpec) -> bytes:
    """The to-be-signed part of a self-signed root certificate."""
    return _draft(spec, spec.subject, spec.public_key)


def draft_subordinate(
    spec: AuthoritySpec, issuer: x509.Certificate, issuer_key: PublicKey
) -> bytes:
    """The to-be-signed part of an issuing CA's certificate under `issuer`."""
    return _draft(spec, issuer.subject, issuer_key)


def _draft(spec: AuthoritySpec, issuer: x509.Name, issuer_key: PublicKey) -> bytes:
    extensions: list[x509.Extension[x509.ExtensionType]] = [
        _critical(x509.BasicConstraints(ca=True, path_length=spec.path_length)),
        _critical(_CA_USAGE),
        _plain(x509.SubjectKeyIdentifier.from_public_key(spec.public_key)),
        _plain(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key)),
    ]
    if spec.constraints:
        extensions.append(_critical(spec.constraints.to_x509()))  # critical: RFC 5280 §4.2.1.10
    extensions += spec.pointers.extensions()
    recorder = Recorder(issuer_key)
    x509.CertificateBuilder(
        subject_name=spec.subject,
        issuer_name=issuer,
        public_key=spec.public_key,
        serial_number=spec.serial,
        not_valid_before=spec.not_before,
        not_valid_after=spec.not_after,
        extensions=extensions,
    ).sign(recorder.key, default_hash(issuer_key))
    return recorder.tbs


def _uri(url: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(url)


def _plain(value: x509.ExtensionType) -> x509.Extension[x509.ExtensionType]:
    return x509.Extension(value.oid, False, value)


def _critical(value: x509.ExtensionType) -> x509.Extension[x509.ExtensionType]:
    return x509.Extension(value.oid, True, value)
