"""Rules about the outer form: version, serial number, times, size, and extensions as such."""

from datetime import timedelta
from typing import Final

from pki.x509.lint.facts import Facts
from pki.x509.lint.rule import ALL, RuleBook

BOOK: Final = RuleBook("any")
END_ENTITY_BOOK: Final = RuleBook("end entity")

_SHORT_SERIAL_BITS = 56  # of 64 random bits, fewer than these are left once in 256 times
_APPLE_LIFETIME = timedelta(days=825)
_LARGE = 3000
_MAX_PACKET = 10000  # charon.max_packet
_OTHER_PAYLOADS = 1000  # IDs, AUTH, SA and TS payloads, and a few certificate requests

_STANDARD: Final = {
    "2.5.29.9": "subjectDirectoryAttributes",
    "2.5.29.14": "subjectKeyIdentifier",
    "2.5.29.15": "keyUsage",
    "2.5.29.17": "subjectAltName",
    "2.5.29.18": "issuerAltName",
    "2.5.29.19": "basicConstraints",
    "2.5.29.30": "nameConstraints",
    "2.5.29.31": "cRLDistributionPoints",
    "2.5.29.32": "certificatePolicies",
    "2.5.29.33": "policyMappings",
    "2.5.29.35": "authorityKeyIdentifier",
    "2.5.29.36": "policyConstraints",
    "2.5.29.37": "extendedKeyUsage",
    "2.5.29.46": "freshestCRL",
    "2.5.29.54": "inhibitAnyPolicy",
    "1.3.6.1.5.5.7.1.1": "authorityInfoAccess",
    "1.3.6.1.5.5.7.1.7": "ipAddrBlocks",
    "1.3.6.1.5.5.7.1.11": "subjectInfoAccess",
    "1.3.6.1.5.5.7.1.24": "tlsFeature",
    "1.3.6.1.5.5.7.48.1.5": "ocspNoCheck",
}
_NEVER_CRITICAL: Final = frozenset(
    {"2.5.29.9", "2.5.29.14", "2.5.29.35", "2.5.29.46", "1.3.6.1.5.5.7.1.1", "1.3.6.1.5.5.7.1.11"}
)
# Each was tried with pki --verify 5.9.8 (x509 and openssl plugins) and vfychain 3.87.
_STRONGSWAN: Final = frozenset(_STANDARD) - {
    "2.5.29.9",
    "2.5.29.46",
    "1.3.6.1.5.5.7.1.11",
    "1.3.6.1.5.5.7.1.24",
    "1.3.6.1.5.5.7.48.1.5",
}
_NSS: Final = frozenset(
    {
        "2.5.29.15",
        "2.5.29.17",
        "2.5.29.19",
        "2.5.29.30",
        "2.5.29.32",
        "2.5.29.33",
        "2.5.29.36",
        "2.5.29.37",
        "2.5.29.54",
    }
)


@BOOK.rule(
    "x509.unreadable",
    fail=ALL,
    source="RFC 5280 sections 4.1.2 and 4.2",
    fix="Issue the certificate anew, with each extension once and in its own syntax.",
)
def unreadable(facts: Facts) -> str | None:
    """The subject, the issuer or an extension is malformed, or an extension is there twice."""
    if facts.unreadable is not None:
        return f"The certificate cannot be read: {ascii(facts.unreadable[:150])[1:-1]}."
    return None


@BOOK.rule(
    "x509.version_too_old",
    fail=("rfc4945",),
    warn=("strongswan", "libreswan", "windows", "apple", "cisco"),
    source="RFC 5280 section 4.1.2.1; RFC 4945 section 5.1.1",
    fix="Issue an X.509 version 3 certificate.",
)
def version_too_old(facts: Facts) -> str | None:
    """The certificate is not of version 3."""
    return f"The certificate is of version {facts.version}." if facts.version != 3 else None


@BOOK.rule(
    "strongswan.critical_extension",
    fail=("strongswan",),
    source="strongSwan x509_cert.c parse_certificate: critical extension not supported",
    fix="Mark the extension non-critical.",
)
def strongswan_critical(facts: Facts) -> str | None:
    """A critical extension is unknown to strongSwan."""
    return _unknown_critical(facts, _STRONGSWAN)


@BOOK.rule(
    "libreswan.critical_extension",
    fail=("libreswan",),
    source="NSS cert_HasUnknownCriticalExten (each extension tried with vfychain 3.87: -8151)",
    fix="Mark the extension non-critical.",
)
def nss_critical(facts: Facts) -> str | None:
    """A critical extension is unknown to NSS."""
    return _unknown_critical(facts, _NSS)


@BOOK.rule(
    "x509.critical_extension",
    fail=("rfc4945", "windows", "apple", "cisco"),
    source="RFC 5280 section 4.2: what is critical and not known is refused",
    fix="Mark the extension non-critical.",
)
def unknown_critical(facts: Facts) -> str | None:
    """A critical extension is not one of the common standards."""
    return _unknown_critical(facts, frozenset(_STANDARD))


def _unknown_critical(facts: Facts, known: frozenset[str]) -> str | None:
    if facts.critical <= known:
        return None
    oid = min(facts.critical - known)
    return f"The critical extension {_STANDARD.get(oid, oid)} is not supported."


@BOOK.rule(
    "x509.critical_against_standard",
    warn=ALL,
    source="RFC 5280 sections 4.2.1.1, 4.2.1.2, 4.2.1.8, 4.2.1.15, 4.2.2.1 and 4.2.2.2",
    fix="Mark the extension non-critical.",
)
def critical_against_standard(facts: Facts) -> str | None:
    """An extension is critical that must not be."""
    if facts.critical.isdisjoint(_NEVER_CRITICAL):
        return None
    oid = min(facts.critical & _NEVER_CRITICAL)
    return f"The extension {_STANDARD[oid]} must not be critical."


@BOOK.rule(
    "x509.authority_key_identifier_missing",
    fail=("rfc4945",),
    warn=("strongswan", "libreswan", "windows", "apple", "cisco"),
    source="RFC 5280 section 4.2.1.1; strongSwan finds issuers by key identifier",
    fix="Issue it with the authorityKeyIdentifier of the issuer's key.",
)
def authority_key_identifier_missing(facts: Facts) -> str | None:
    """There is no authorityKeyIdentifier."""
    if facts.has_authority_key_identifier or facts.self_issued:
        return None
    return "There is no authorityKeyIdentifier."


@END_ENTITY_BOOK.rule(
    "x509.subject_key_identifier_missing",
    warn=("rfc4945",),
    info=("strongswan", "libreswan", "windows", "apple", "cisco"),
    source="RFC 5280 section 4.2.1.2: SHOULD be in end entity certificates",
    fix="Issue it with a subjectKeyIdentifier.",
)
def subject_key_identifier_missing(facts: Facts) -> str | None:
    """An end entity has no subjectKeyIdentifier."""
    return None if facts.has_subject_key_identifier else "There is no subjectKeyIdentifier."


@END_ENTITY_BOOK.rule(
    "x509.self_signed",
    fail=("libreswan",),
    warn=("rfc4945", "strongswan", "windows", "apple", "cisco"),
    source="Libreswan nss_cert_verify.c add_decoded_cert ignores self-signed certificates of a peer",
    fix="Let an authority issue it; a self-signed certificate cannot be revoked.",
)
def self_signed(facts: Facts) -> str | None:
    """An end entity is its own issuer."""
    return "The certificate is its own issuer." if facts.self_issued else None


@BOOK.rule(
    "x509.serial_not_positive",
    fail=("rfc4945",),
    warn=("strongswan", "libreswan", "windows", "apple", "cisco"),
    source="RFC 5280 section 4.1.2.2",
    fix="Issue it with a positive serial number of 64 random bits or more.",
)
def serial_not_positive(facts: Facts) -> str | None:
    """The serial number is zero or negative."""
    return f"The serial number is {facts.serial}." if facts.serial <= 0 else None


@BOOK.rule(
    "x509.serial_too_long",
    fail=("rfc4945",),
    warn=("strongswan", "libreswan", "windows", "apple", "cisco"),
    source="RFC 5280 section 4.1.2.2: at most 20 octets",
    fix="Issue it with a serial number of at most 20 octets.",
)
def serial_too_long(facts: Facts) -> str | None:
    """The serial number has more than 20 octets."""
    octets = facts.serial.bit_length() // 8 + 1
    return f"The serial number has {octets} octets." if octets > 20 else None


@BOOK.rule(
    "x509.serial_predictable",
    warn=ALL,
    source="CA/Browser Forum Baseline Requirements section 7.1: 64 random bits",
    fix="Issue it with a serial number of 64 random bits or more.",
)
def serial_predictable(facts: Facts) -> str | None:
    """The serial number is too short to hold 64 random bits."""
    # Roots are often numbered by hand; nobody signs a root for a stranger.
    bits = facts.serial.bit_length()
    if 0 < bits < _SHORT_SERIAL_BITS and not (facts.authority and facts.self_issued):
        return f"The serial number has {bits} bits."
    return None


@BOOK.rule(
    "x509.validity_backwards",
    fail=ALL,
    source="RFC 5280 section 4.1.2.5",
    fix="Issue it with notBefore earlier than notAfter.",
)
def validity_backwards(facts: Facts) -> str | None:
    """The certificate ends before it begins."""
    return "notAfter is before notBefore." if facts.not_after < facts.not_before else None


@BOOK.rule(
    "x509.validity_endless",
    warn=ALL,
    source="RFC 5280 section 4.1.2.5: 99991231235959Z means no end",
    fix="Issue it with an end; renewal is automatic.",
)
def validity_endless(facts: Facts) -> str | None:
    """The certificate says that it never ends."""
    if facts.not_after.year == 9999:
        return f"The certificate is valid until {facts.not_after:%Y-%m-%d}."
    return None


@END_ENTITY_BOOK.rule(
    "apple.validity_too_long",
    warn=("apple",),
    source="Apple HT210176: server certificates last at most 825 days",
    fix="Issue it for at most 825 days.",
)
def validity_too_long(facts: Facts) -> str | None:
    """The certificate is valid for more than 825 days."""
    lifetime = facts.not_after - facts.not_before
    return (
        f"The certificate is valid for {lifetime.days} days."
        if lifetime > _APPLE_LIFETIME
        else None
    )


@BOOK.rule(
    "x509.expired",
    fail=ALL,
    source="RFC 5280 section 6.1.3 (a) (2); only where a time to judge by is given",
    fix="Renew it.",
)
def expired(facts: Facts) -> str | None:
    """The certificate has ended at the time it is judged."""
    if facts.at is not None and facts.at > facts.not_after:
        return f"The certificate ended at {facts.not_after:%Y-%m-%d %H:%M:%S} UTC."
    return None


@BOOK.rule(
    "x509.not_yet_valid",
    fail=ALL,
    source="RFC 5280 section 6.1.3 (a) (2); only where a time to judge by is given",
    fix="Wait, or look at the clocks of the authority and of this machine.",
)
def not_yet_valid(facts: Facts) -> str | None:
    """The certificate has not begun at the time it is judged."""
    if facts.at is not None and facts.at < facts.not_before:
        return f"The certificate begins at {facts.not_before:%Y-%m-%d %H:%M:%S} UTC."
    return None


@BOOK.rule(
    "strongswan.larger_than_packet",
    fail=("strongswan",),
    source="strongSwan option charon.max_packet (10000): a longer IKE message is dropped",
    fix="Use an EC key, fewer names and a short chain, or raise charon.max_packet on every peer.",
)
def larger_than_packet(facts: Facts) -> str | None:
    """The certificate and its chain do not fit into one IKE message of strongSwan."""
    octets = facts.size + facts.chain_octets
    if octets > _MAX_PACKET - _OTHER_PAYLOADS:
        return f"The certificate and its chain have {octets} octets."
    return None


@BOOK.rule(
    "x509.large",
    warn=ALL,
    source="RFC 7383 section 1: each certificate is sent in IKE_AUTH over UDP, in fragments",
    fix="Use an EC key and fewer names; networks that drop fragments keep such tunnels down.",
)
def large(facts: Facts) -> str | None:
    """The certificate needs many IKE fragments."""
    return f"The certificate has {facts.size} octets." if facts.size > _LARGE else None
