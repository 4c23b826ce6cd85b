"""What the rules look at, taken from a certificate once.

Reading every field costs about as much as all rules together, so it is done in one pass. A field
that cannot be read never stops the linter: it becomes a fact too.
"""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    NameOID,
    ObjectIdentifier,
    SignatureAlgorithmOID,
)

from pki.x509.keys import key_algorithm
from pki.x509.malformed import MALFORMED

UNKNOWN: Final = "unknown"
_ML_DSA: Final = frozenset(
    {
        SignatureAlgorithmOID.ML_DSA_44,
        SignatureAlgorithmOID.ML_DSA_65,
        SignatureAlgorithmOID.ML_DSA_87,
    }
)
# The algorithms of nearly every certificate; the rest is asked of the library, which is slower.
_HASHES: Final = {
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: "sha256",
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: "sha384",
    SignatureAlgorithmOID.RSA_WITH_SHA256: "sha256",
    SignatureAlgorithmOID.ED25519: "",
    **dict.fromkeys(_ML_DSA, ""),
}

_E = TypeVar("_E", bound=x509.ExtensionType)
_Found = Mapping[ObjectIdentifier, x509.Extension[x509.ExtensionType]]


@dataclass(frozen=True, slots=True)
class Names:
    """The subjectAltName, kind by kind; `others` counts kinds that are no IKE identity."""

    dns: tuple[str, ...] = ()
    ip: tuple[IPv4Address | IPv6Address, ...] = ()
    email: tuple[str, ...] = ()
    dn: int = 0
    others: int = 0

    @property
    def identities(self) -> int:
        """How many names a daemon can compare with an IKE identity (RFC 7296 §3.5)."""
        return len(self.dns) + len(self.ip) + len(self.email) + self.dn


@dataclass(frozen=True, slots=True)
class Facts:
    """One certificate, taken apart. Sizes in octets, times in UTC.

    `algorithm` is as `keys.key_algorithm` names it, "unknown" where the key cannot be read.
    `signature_hash` is "" where the algorithm has its own, "unknown" where it cannot be read.
    `extended_key_usage` holds dotted OIDs. None stands for an extension that is not there.
    `critical` are the dotted OIDs of critical extensions. `authority` tells whether the rules for
    authorities apply. `unreadable` says what could not be read; then the other facts are not to be
    relied on.
    """

    version: int
    size: int
    chain_octets: int
    at: datetime | None
    serial: int
    algorithm: str
    rsa_exponent: int
    signature_algorithm: ObjectIdentifier
    signature_hash: str
    self_issued: bool
    subject_empty: bool
    common_name: str | None
    not_before: datetime
    not_after: datetime
    critical: frozenset[str]
    names: Names | None
    key_usage: x509.KeyUsage | None
    extended_key_usage: frozenset[str] | None
    basic_constraints: x509.BasicConstraints | None
    name_constraints: x509.NameConstraints | None
    has_authority_key_identifier: bool
    has_subject_key_identifier: bool
    crl_points: x509.CRLDistributionPoints | None
    crl_urls: tuple[str, ...]
    ocsp_urls: tuple[str, ...]
    issuer_urls: tuple[str, ...]
    authority: bool
    unreadable: str | None

    @property
    def rsa_bits(self) -> int:
        """The size of an RSA modulus in bits; 0 for other keys."""
        return int(self.algorithm[4:]) if self.algorithm.startswith("rsa-") else 0

    @property
    def uses_ml_dsa(self) -> bool:
        """Whether the key or the signature is ML-DSA (FIPS 204)."""
        return self.signature_algorithm in _ML_DSA or self.algorithm.startswith("ml-dsa")

    @property
    def urls(self) -> tuple[str, ...]:
        """Every URL a verifier may fetch."""
        return self.crl_urls + self.ocsp_urls + self.issuer_urls

    def has_usage(self, *oids: str) -> bool:
        """Whether extendedKeyUsage is there and holds one of `oids`."""
        usages = self.extended_key_usage
        return usages is not None and not usages.isdisjoint(oids)


def read_facts(
    certificate: x509.Certificate, *, at: datetime | None = None, chain_octets: int = 0
) -> Facts:
    """Take `certificate` apart; `at` and `chain_octets` are kept for the rules that need them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is wrong with it: the rules say it better
        return _facts(certificate, at, chain_octets)


def _facts(certificate: x509.Certificate, at: datetime | None, chain_octets: int) -> Facts:
    found, unreadable = _extensions(certificate)
    algorithm, exponent = _key(certificate)
    try:
        subject, issuer = certificate.subject, certificate.issuer
    except (ValueError, TypeError) as error:
        subject = issuer = x509.Name([])
        unreadable = f"the subject or the issuer is malformed ({error})"
    names = _names(_value(found, x509.SubjectAlternativeName))
    usage = _value(found, x509.KeyUsage)
    purposes = _value(found, x509.ExtendedKeyUsage)
    basic = _value(found, x509.BasicConstraints)
    points = _value(found, x509.CRLDistributionPoints)
    ocsp_urls, issuer_urls = _access_urls(_value(found, x509.AuthorityInformationAccess) or ())
    return Facts(
        version=certificate.version.value + 1,
        size=len(certificate.public_bytes(Encoding.DER)),
        chain_octets=chain_octets,
        at=at,
        serial=certificate.serial_number,
        algorithm=algorithm,
        rsa_exponent=exponent,
        signature_algorithm=certificate.signature_algorithm_oid,
        signature_hash=_signature_hash(certificate),
        self_issued=issuer == subject,
        subject_empty=not subject.rdns,
        common_name=_common_name(subject),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        critical=frozenset(oid.dotted_string for oid, item in found.items() if item.critical),
        names=names,
        key_usage=usage,
        extended_key_usage=frozenset(oid.dotted_string for oid in purposes) if purposes else None,
        basic_constraints=basic,
        name_constraints=_value(found, x509.NameConstraints),
        has_authority_key_identifier=x509.AuthorityKeyIdentifier.oid in found,
        has_subject_key_identifier=x509.SubjectKeyIdentifier.oid in found,
        crl_points=points,
        crl_urls=_crl_urls(points or ()),
        ocsp_urls=ocsp_urls,
        issuer_urls=issuer_urls,
        authority=_is_authority(basic, usage, names),
        unreadable=unreadable,
    )


def _extensions(certificate: x509.Certificate) -> tuple[_Found, str | None]:
    try:
        return {extension.oid: extension for extension in certificate.extensions}, None
    except x509.DuplicateExtension as error:
        return {}, f"the extension {error.oid.dotted_string} is there twice"
    except x509.UnsupportedGeneralNameType:
        return {}, "there is a name of a kind that is not supported"
    except (ValueError, TypeError) as error:
        return {}, f"an extension is malformed ({error})"


def _value(found: _Found, kind: type[_E]) -> _E | None:
    extension = found.get(kind.oid)
    value = extension.value if extension is not None else None
    return value if isinstance(value, kind) else None


def _key(certificate: x509.Certificate) -> tuple[str, int]:
    try:
        key = certificate.public_key()
    except MALFORMED:
        return UNKNOWN, 0
    exponent = key.public_numbers().e if isinstance(key, rsa.RSAPublicKey) else 0
    return key_algorithm(key), exponent


def _signature_hash(certificate: x509.Certificate) -> str:
    known = _HASHES.get(certificate.signature_algorithm_oid)
    if known is not None:
        return known
    try:
        algorithm = certificate.signature_hash_algorithm
    except MALFORMED:
        return UNKNOWN
    return algorithm.name if algorithm else ""


def _common_name(subject: x509.Name) -> str | None:
    attributes = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(attributes[-1].value) if attributes else None


def _names(extension: x509.SubjectAlternativeName | None) -> Names | None:
    if extension is None:
        return None
    dns: list[str] = []
    ip: list[IPv4Address | IPv6Address] = []
    email: list[str] = []
    dn = others = 0
    for name in extension:
        if isinstance(name, x509.DNSName):
            dns.append(name.value)
        elif isinstance(name, x509.IPAddress) and isinstance(name.value, IPv4Address | IPv6Address):
            ip.append(name.value)
        elif isinstance(name, x509.RFC822Name):
            email.append(name.value)
        elif isinstance(name, x509.DirectoryName):
            dn += 1
        else:
            others += 1
    return Names(tuple(dns), tuple(ip), tuple(email), dn, others)


def _crl_urls(points: Iterable[x509.DistributionPoint]) -> tuple[str, ...]:
    return tuple(
        name.value
        for point in points
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier)
    )


def _access_urls(
    access: Iterable[x509.AccessDescription],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    ocsp: list[str] = []
    issuers: list[str] = []
    for item in access:
        place = item.access_location
        if isinstance(place, x509.UniformResourceIdentifier):
            if item.access_method == AuthorityInformationAccessOID.OCSP:
                ocsp.append(place.value)
            elif item.access_method == AuthorityInformationAccessOID.CA_ISSUERS:
                issuers.append(place.value)
    return tuple(ocsp), tuple(issuers)


def _is_authority(
    basic: x509.BasicConstraints | None, usage: x509.KeyUsage | None, names: Names | None
) -> bool:
    only_certifies = usage is not None and usage.key_cert_sign and not usage.digital_signature
    if basic is None:
        return only_certifies
    # An end entity that was marked as an authority by mistake still has the names of an end entity.
    return basic.ca and (only_certifies or names is None or not names.identities)
