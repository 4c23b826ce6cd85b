"""What charon holds: certificates in the order in which it would try them, keys, revocation lists."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509

from ike.daemons import matching
from ike.daemons.port import LoadedCertificate, LoadedCrl, fingerprint
from ike.daemons.strongswan.session import Session


@dataclass(frozen=True)
class Listed:
    """A certificate of `list-certs`. charon does not say which lie in its cache only."""

    certificate: x509.Certificate
    fingerprint: str
    has_key: bool
    authority: bool


def certificates(session: Session) -> list[Listed]:
    """All X.509 certificates: those of the cache first, then those loaded, the newest first.

    That is the order in which charon looks for a certificate with a key for its own identity.
    """
    listed: dict[str, Listed] = {}
    for entry in session.stream("list-certs", "list-cert", {"type": "X509"}):
        certificate = _parsed(entry.get("data", b""))
        if certificate is not None:
            has_key = entry.get("has_privkey") == "yes"
            authority = entry.get("flag") == "CA"
            name = fingerprint(certificate)
            listed.setdefault(name, Listed(certificate, name, has_key, authority))
    return list(listed.values())


def in_use(listed: list[Listed]) -> set[str]:
    """Fingerprints of the certificates that charon takes first for one of their identities.

    Issuers are kept apart: charon prefers a certificate whose chain leads to a CA that the peer asks for.
    """
    taken: set[tuple[str, x509.Name]] = set()
    used = set()
    for each in listed:
        if each.has_key and not each.authority:
            claims = {(name, each.certificate.issuer) for name in _claims(each.certificate)}
            if claims - taken:
                used.add(each.fingerprint)
            taken |= claims
    return used


def goes_before(listed: list[Listed], wanted: str) -> Listed | None:
    """The certificate that charon takes in the place of the wanted one; None when it takes that."""
    for each in listed:
        if each.fingerprint == wanted:
            break
        if each.has_key and not each.authority:
            ours = next((other for other in listed if other.fingerprint == wanted), None)
            if ours is None or (
                each.certificate.issuer == ours.certificate.issuer
                and set(_claims(each.certificate)) & set(_claims(ours.certificate))
            ):
                return each
    return None


def keys(session: Session) -> tuple[str, ...]:
    """The ids of the private keys that charon holds, sorted."""
    return tuple(sorted(session.ask("get-keys").get("keys", [])))


def loaded_certificates(listed: list[Listed]) -> tuple[LoadedCertificate, ...]:
    """As values of the port. What has no key and is no CA came from a peer, or is an old one whose key is gone."""
    used = in_use(listed)
    return tuple(
        LoadedCertificate(
            each.fingerprint,
            each.certificate.subject.rfc4514_string(),
            authority=each.authority,
            has_key=each.has_key,
            cached=not each.has_key and not each.authority,
            in_use=each.fingerprint in used,
        )
        for each in listed
    )


def crls(session: Session) -> Iterator[x509.CertificateRevocationList]:
    """The revocation lists, without those that are too large for a VICI message."""
    told = session.stream("list-certs", "list-cert", {"type": "X509_CRL"})
    for data in dict.fromkeys(entry.get("data", b"") for entry in told):  # some come twice
        with suppress(ValueError):
            yield x509.load_der_x509_crl(data)


def crl_number(crl: x509.CertificateRevocationList) -> int | None:
    """RFC 5280 §5.2.3."""
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (x509.ExtensionNotFound, *matching.MALFORMED):
        return None


def loaded_crl(crl: x509.CertificateRevocationList) -> LoadedCrl:
    return LoadedCrl(crl.issuer.rfc4514_string(), crl_number(crl))


def _claims(certificate: x509.Certificate) -> Iterator[str]:
    return (each.lower() for each in matching.identities(certificate))


@lru_cache(maxsize=512)
def _parsed(der: bytes) -> x509.Certificate | None:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        return None  # what charon reads and we cannot is none of ours
