"""Rules about the key and the signature."""

from typing import Final

from cryptography.x509.oid import SignatureAlgorithmOID

from pki.x509.keys import MAX_RSA_BITS
from pki.x509.lint.facts import UNKNOWN, Facts
from pki.x509.lint.rule import ALL, RuleBook

BOOK: Final = RuleBook("any")

_BROKEN_HASHES: Final = frozenset({"md2", "md4", "md5", "sha1"})
_USUAL_HASHES: Final = frozenset({"", "sha256", "sha384", "sha512", UNKNOWN})
_CURVES: Final = frozenset({"ec-p256", "ec-p384", "ec-p521"})
_EDDSA: Final = frozenset({"ed25519", "ed448"})
_NOT_FOR_SIGNING: Final = frozenset({"x25519", "x448"})


@BOOK.rule(
    "x509.key_unreadable",
    fail=ALL,
    source="RFC 5280 section 4.1.2.7",
    fix="Issue the certificate for a key of a standard kind: EC P-256, P-384 or RSA of 3072 bits.",
)
def key_unreadable(facts: Facts) -> str | None:
    """The public key is malformed or of an unknown kind."""
    return "The public key cannot be read." if facts.algorithm == UNKNOWN else None


@BOOK.rule(
    "x509.rsa_too_short",
    fail=ALL,
    source="NIST SP 800-131A rev. 2 section 3: less than 112 bits of strength is disallowed",
    fix="Make an RSA key of 3072 bits, or an EC key on P-256.",
)
def rsa_too_short(facts: Facts) -> str | None:
    """An RSA key has fewer than 2048 bits."""
    if 0 < facts.rsa_bits < 2048:
        return f"The RSA key has {facts.rsa_bits} bits."
    return None


@BOOK.rule(
    "x509.rsa_below_3072",
    warn=ALL,
    source="NIST SP 800-57 part 1 rev. 5 table 4: 2048 bits are acceptable to the end of 2030",
    fix="Make an RSA key of 3072 bits, or an EC key on P-256, at the next renewal.",
)
def rsa_below_3072(facts: Facts) -> str | None:
    """An RSA key has fewer than 3072 bits, but at least 2048."""
    if 2048 <= facts.rsa_bits < 3072:
        return f"The RSA key has {facts.rsa_bits} bits, which is enough until 2030."
    return None


@BOOK.rule(
    "x509.rsa_too_long",
    warn=ALL,
    source="strongSwan and Windows verify such signatures slowly; many HSMs and routers not at all",
    fix="Use RSA of 3072 or 4096 bits, or an EC key.",
)
def rsa_too_long(facts: Facts) -> str | None:
    """An RSA key is so long that verifying with it is a burden on every peer."""
    if facts.rsa_bits > MAX_RSA_BITS:
        return f"The RSA key has {facts.rsa_bits} bits."
    return None


@BOOK.rule(
    "x509.rsa_exponent",
    warn=ALL,
    source="FIPS 186-5 section A.1.1",
    fix="Make a new RSA key with the usual public exponent 65537.",
)
def rsa_exponent(facts: Facts) -> str | None:
    """The RSA public exponent is even or smaller than 65537."""
    exponent = facts.rsa_exponent
    if exponent and (exponent < 65537 or exponent % 2 == 0):
        return f"The RSA public exponent is {exponent}."
    return None


@BOOK.rule(
    "x509.key_cannot_sign",
    fail=ALL,
    source="RFC 7296 section 2.15: the AUTH payload is a signature",
    fix="Issue the certificate for a signing key: EC P-256, RSA 3072 or Ed25519.",
)
def key_cannot_sign(facts: Facts) -> str | None:
    """The key is for key agreement only."""
    if facts.algorithm in _NOT_FOR_SIGNING:
        return f"A key of kind {facts.algorithm} cannot sign."
    return None


@BOOK.rule(
    "x509.dsa_key",
    fail=ALL,
    source="FIPS 186-5 withdraws DSA; strongSwan reads no DSA key (seen with pki --verify 5.9.8)",
    fix="Make an EC key on P-256 or an RSA key of 3072 bits.",
)
def dsa_key(facts: Facts) -> str | None:
    """The key is a DSA key."""
    return "The key is a DSA key." if facts.algorithm.startswith("dsa-") else None


@BOOK.rule(
    "x509.curve_unusual",
    fail=("windows", "apple", "cisco"),
    warn=("rfc4945", "strongswan", "libreswan"),
    source="RFC 4754 section 3 knows P-256, P-384 and P-521 only",
    fix="Make an EC key on P-256 or P-384.",
)
def curve_unusual(facts: Facts) -> str | None:
    """An EC key is on a curve without an IKE authentication method of its own."""
    if facts.algorithm.startswith("ec-") and facts.algorithm not in _CURVES:
        return f"The key is on the curve {facts.algorithm[3:]}."
    return None


@BOOK.rule(
    "strongswan.eddsa_needs_rfc7427",
    info=("strongswan",),
    source="RFC 8420 section 2; strongSwan pubkey_authenticator.c sign_classic has no EdDSA method",
    fix="Make sure that every peer supports RFC 7427, or use an EC key on P-256.",
)
def eddsa(facts: Facts) -> str | None:
    """An EdDSA key works only with peers that support RFC 7427 signature authentication."""
    if facts.algorithm in _EDDSA:
        return f"{facts.algorithm.capitalize()} needs peers with RFC 7427 signature authentication."
    return None


@BOOK.rule(
    "libreswan.eddsa",
    fail=("libreswan",),
    source="NSS 3.87 cannot import the certificate (seen: SEC_ERROR_UNRECOGNIZED_OID); "
    "authby=eddsa is in the Libreswan development tree of August 2026",
    fix="Use an EC key on P-256 or P-384, or RSA of 3072 bits.",
)
@BOOK.rule(
    "windows.eddsa",
    fail=("windows",),
    source="strongSwan documentation, windowsCertRequirements: RSA, P-256 and P-384 only",
    fix="Use an EC key on P-256 or P-384, or RSA of 3072 bits.",
)
@BOOK.rule(
    "cisco.eddsa",
    fail=("cisco",),
    source="IOS and ASA trustpoints take RSA and ECDSA keys only (not tried)",
    fix="Use an EC key on P-256 or P-384, or RSA of 3072 bits.",
)
def eddsa_unsupported(facts: Facts) -> str | None:
    """The key or the issuer's signature is EdDSA."""
    if facts.algorithm in _EDDSA:
        return f"The key is of kind {facts.algorithm}."
    if facts.signature_algorithm in (SignatureAlgorithmOID.ED25519, SignatureAlgorithmOID.ED448):
        return "The issuer signed with EdDSA."
    return None


@BOOK.rule(
    "windows.p521",
    fail=("windows",),
    source="strongSwan documentation, windowsCertRequirements: no P-521",
    fix="Use an EC key on P-256 or P-384, or RSA of 3072 bits.",
)
@BOOK.rule(
    "cisco.p521",
    warn=("cisco",),
    source="IOS and ASA: P-521 keys depend on platform and release (not tried)",
    fix="Use an EC key on P-256 or P-384, or RSA of 3072 bits.",
)
def p521(facts: Facts) -> str | None:
    """The key is on the curve P-521."""
    return "The key is on the curve P-521." if facts.algorithm == "ec-p521" else None


@BOOK.rule(
    "apple.certificate_type",
    info=("apple",),
    source="Apple NetworkExtension, NEVPNProtocolIKEv2.certificateType: the default is RSA",
    fix="Set CertificateType in the VPN profile to the kind of this key.",
)
def certificate_type(facts: Facts) -> str | None:
    """Apple devices expect RSA unless the VPN profile says otherwise."""
    if facts.algorithm in _CURVES or facts.algorithm == "ed25519":
        return f"A VPN profile for Apple devices must name the key's kind ({facts.algorithm})."
    return None


@BOOK.rule(
    "apple.ed448",
    fail=("apple",),
    source="Apple NetworkExtension, NEVPNIKEv2CertificateType: RSA, ECDSA and Ed25519 only",
    fix="Use an EC key on P-256 or P-384, or RSA of 3072 bits.",
)
def ed448(facts: Facts) -> str | None:
    """The key is an Ed448 key."""
    return "The key is an Ed448 key." if facts.algorithm == "ed448" else None


@BOOK.rule(
    "x509.ml_dsa",
    fail=ALL,
    source="draft-ietf-ipsecme-ikev2-pqc-auth; no release of strongSwan (6.0.6) or Libreswan (5.4)",
    fix="Use a classical key; quantum resistance comes from RFC 9370 key exchanges or RFC 8784.",
)
def ml_dsa(facts: Facts) -> str | None:
    """The key or the signature is ML-DSA, which no released IKE daemon reads."""
    return "The certificate uses ML-DSA." if facts.uses_ml_dsa else None


@BOOK.rule(
    "x509.signature_broken_hash",
    fail=ALL,
    source="NIST SP 800-131A rev. 2 section 9; collisions are practical (sha-mbles, 2020)",
    fix="Have the authority sign with SHA-256 or SHA-384.",
)
def broken_hash(facts: Facts) -> str | None:
    """The issuer signed with MD5 or SHA-1."""
    # A root is trusted because it is installed; its own signature protects nothing.
    if facts.signature_hash in _BROKEN_HASHES and not (facts.authority and facts.self_issued):
        return f"The certificate is signed with {facts.signature_hash.upper()}."
    return None


@BOOK.rule(
    "x509.signature_unusual_hash",
    fail=("strongswan",),
    warn=("rfc4945", "libreswan", "windows", "apple", "cisco"),
    source="strongSwan reads no ECDSA with SHA-224 (seen with pki --verify 5.9.8) and no SHA-3",
    fix="Have the authority sign with SHA-256, SHA-384 or SHA-512.",
)
def unusual_hash(facts: Facts) -> str | None:
    """The issuer signed with a hash that is neither broken nor common."""
    name = facts.signature_hash
    if name not in _USUAL_HASHES and name not in _BROKEN_HASHES:
        return f"The certificate is signed with {name.upper()}."
    return None


@BOOK.rule(
    "x509.signature_unknown",
    fail=ALL,
    source="RFC 5280 section 4.1.1.2",
    fix="Have the authority sign with ECDSA or RSA and SHA-256 or SHA-384.",
)
def signature_unknown(facts: Facts) -> str | None:
    """The signature algorithm is not known."""
    if facts.signature_hash == UNKNOWN:
        return f"The signature algorithm is {facts.signature_algorithm.dotted_string}."
    return None


@BOOK.rule(
    "x509.signature_rsa_pss",
    warn=("windows", "apple", "cisco"),
    source="RFC 4055; macOS and routers fail with RSASSA-PSS certificates (strongSwan discussion 2267)",
    fix="Have the authority sign with RSASSA-PKCS1-v1_5, or use an EC authority.",
)
def signature_rsa_pss(facts: Facts) -> str | None:
    """The issuer signed with RSASSA-PSS."""
    if facts.signature_algorithm == SignatureAlgorithmOID.RSASSA_PSS:
        return "The certificate is signed with RSASSA-PSS."
    return None
