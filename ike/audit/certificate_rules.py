"""The rules about certificates. The checks are in `ike.audit.certificates`."""

from typing import Final

from ike.audit.values import Area, Rule, Severity

EXPIRED: Final = Rule(
    "certificate-expired",
    Area.CERTIFICATES,
    Severity.MEDIUM,
    "A certificate has expired",
    "Peers refuse it, or were told to look away; it also leaves the revocation lists, so a stolen key is not noticed.",
    "Renew it, and remove the old one where nothing names it any more.",
    ("RFC 5280 §4.1.2.5",),
)
EXPIRING: Final = Rule(
    "certificate-expiring",
    Area.CERTIFICATES,
    Severity.LOW,
    "A certificate expires soon",
    "On that day tunnels do not come up again; where checks are then switched off in a hurry, they stay off.",
    "Renew it now, or let it be renewed by a program.",
    ("RFC 5280 §4.1.2.5",),
)
NOT_YET_VALID: Final = Rule(
    "certificate-not-yet-valid",
    Area.CERTIFICATES,
    Severity.LOW,
    "A certificate is not yet valid",
    "Peers refuse it until then. More often a clock is wrong: here, or where the certificate was made.",
    "Compare the clocks; else keep the certificate out of use until its time.",
    ("RFC 5280 §4.1.2.5",),
)
WEAK_SIGNATURE: Final = Rule(
    "certificate-weak-signature",
    Area.CERTIFICATES,
    Severity.MEDIUM,
    "A certificate is signed with SHA-1 or MD5",
    "Collisions can be calculated: who may have a certificate of this authority can make one that says something else.",
    "Have it issued anew with SHA-256 or better; check what else that authority signs.",
    ("NIST SP 800-131A rev. 2 §9", "RFC 8247 §3.2", "RFC 6194"),
)
SELF_SIGNED: Final = Rule(
    "certificate-self-signed",
    Area.CERTIFICATES,
    Severity.LOW,
    "An end entity's certificate has signed itself",
    "Nobody can revoke it: every peer that trusts it must be told by hand when its key is lost.",
    "Have the key certified by an authority that your gateways trust.",
    ("RFC 5280 §3.2",),
)
REFUSED: Final = Rule(
    "certificate-refused",
    Area.CERTIFICATES,
    Severity.MEDIUM,
    "The daemon of this host, or a peer like it, does not take a certificate",
    "The tunnel stays down, or somebody switches off the check that is in the way.",
    "Have it issued with what is missing: `ikewarden cert lint FILE` shows all that each daemon minds.",
    ("RFC 4945 §5", "RFC 5280 §4.2"),
)
DOUBTFUL: Final = Rule(
    "certificate-doubtful",
    Area.CERTIFICATES,
    Severity.INFO,
    "A certificate works with this host's daemon, and with some peers or at some cost only",
    "It is against a standard, or in the way of a peer that reads the standard strictly.",
    "Mend the profile it is made by before the next renewal: `ikewarden cert lint FILE` shows all that is minded.",
    ("RFC 4945 §5", "RFC 5280 §4.2"),
)
ISSUER_MISSING: Final = Rule(
    "certificate-without-issuer",
    Area.CERTIFICATES,
    Severity.LOW,
    "The certificate of the issuer of a gateway's own certificate is not on the host",
    "A peer that knows the root alone is not shown the way to it, and the host cannot see whether it has been revoked.",
    "Put the certificates of the authorities between it and the root beside it.",
    ("RFC 7296 §3.6", "RFC 5280 §6.1"),
)
ISSUER_MISMATCH: Final = Rule(
    "certificate-issuer-mismatch",
    Area.CERTIFICATES,
    Severity.MEDIUM,
    "A certificate was not signed by the authority on the host that has its issuer's name",
    "Either an authority has changed its key and the old certificate stayed here, or somebody made one of its name.",
    "Get the authority's current certificate, compare its fingerprint by another way, and put it in place of the old.",
    ("RFC 5280 §6.1.3",),
)
KEY_MISMATCH: Final = Rule(
    "certificate-key-mismatch",
    Area.CERTIFICATES,
    Severity.MEDIUM,
    "A private key does not fit the certificate that is named like it",
    "The gateway cannot prove itself by it after the next restart; or the certificate is not what it was taken for.",
    "Put the key and the certificate that were made together in place.",
    ("RFC 7296 §2.15",),
)
AUTHORITY_KEY: Final = Rule(
    "authority-key-on-gateway",
    Area.KEYS,
    Severity.HIGH,
    "The private key of a certificate authority lies on this host",
    "Whoever breaks into the gateway makes certificates for every other one.",
    "Move it to a token or to a machine that no peer can reach. If the gateway was exposed, make a new authority.",
    ("RFC 5280 §8", "CA/Browser Forum Network Security Requirements 2.0 §1.2.1"),
)
RULES: Final[tuple[Rule, ...]] = (
    EXPIRED,
    EXPIRING,
    NOT_YET_VALID,
    WEAK_SIGNATURE,
    SELF_SIGNED,
    REFUSED,
    DOUBTFUL,
    ISSUER_MISSING,
    ISSUER_MISMATCH,
    KEY_MISMATCH,
    AUTHORITY_KEY,
)
