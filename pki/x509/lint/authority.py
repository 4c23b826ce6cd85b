"""Rules about the certificates of authorities."""

from collections import Counter
from typing import Final

from cryptography import x509

from pki.x509.lint.facts import Facts
from pki.x509.lint.rule import ALL, RuleBook

BOOK: Final = RuleBook("authority")

_KIND_NAMES: Final[dict[type[x509.GeneralName], str]] = {
    x509.DNSName: "dNSName",
    x509.IPAddress: "iPAddress",
    x509.RFC822Name: "rfc822Name",
    x509.DirectoryName: "directoryName",
}
_IKE_KINDS: Final = (x509.DNSName, x509.IPAddress, x509.RFC822Name)
_NSS_IPSEC: Final = (
    "2.5.29.37.0",
    "1.3.6.1.5.5.7.3.1",
    "1.3.6.1.5.5.7.3.2",
    "1.3.6.1.5.5.7.3.4",
    "1.3.6.1.5.5.7.3.5",
    "1.3.6.1.5.5.7.3.6",
    "1.3.6.1.5.5.7.3.7",
    "1.3.6.1.5.5.7.3.17",
    "1.3.6.1.5.5.8.2.1",
    "1.3.6.1.5.5.8.2.2",
)

_FIX_CERT_SIGN: Final = "Issue it with critical keyUsage keyCertSign and cRLSign."


@BOOK.rule(
    "x509.ca_basic_constraints_missing",
    fail=("rfc4945", "strongswan", "windows", "apple", "cisco"),
    warn=("libreswan",),
    source="RFC 5280 section 4.2.1.9; strongSwan x509_cert.c issued_by (seen with pki --verify); "
    "NSS accepts it where the administrator trusts it by hand",
    fix="Issue it with critical basicConstraints CA:TRUE.",
)
def basic_constraints_missing(facts: Facts) -> str | None:
    """An authority has no basicConstraints."""
    return "There is no basicConstraints." if facts.basic_constraints is None else None


@BOOK.rule(
    "x509.ca_basic_constraints_not_critical",
    fail=("rfc4945",),
    info=("strongswan", "libreswan", "windows", "apple", "cisco"),
    source="RFC 5280 section 4.2.1.9",
    fix="Mark basicConstraints critical.",
)
def basic_constraints_not_critical(facts: Facts) -> str | None:
    """An authority's basicConstraints are not critical."""
    if facts.basic_constraints is not None and "2.5.29.19" not in facts.critical:
        return "The basicConstraints are not critical."
    return None


@BOOK.rule(
    "x509.ca_path_length_missing",
    info=ALL,
    source="RFC 5280 section 4.2.1.9",
    fix="Give an authority that only issues end entities pathLenConstraint 0.",
)
def path_length_missing(facts: Facts) -> str | None:
    """Nothing limits how many authorities may follow this one."""
    basic = facts.basic_constraints
    # A root's length is a matter of its own policy; what it hands down is not.
    if basic is not None and basic.path_length is None and not facts.self_issued:
        return "There is no pathLenConstraint."
    return None


@BOOK.rule(
    "x509.ca_key_usage_missing",
    fail=("rfc4945",),
    warn=("strongswan", "libreswan", "windows", "apple", "cisco"),
    source="RFC 5280 section 4.2.1.3",
    fix=_FIX_CERT_SIGN,
)
def key_usage_missing(facts: Facts) -> str | None:
    """An authority has no keyUsage."""
    return "There is no keyUsage." if facts.key_usage is None else None


@BOOK.rule(
    "x509.ca_key_cert_sign_missing",
    fail=("rfc4945", "libreswan", "windows", "apple", "cisco"),
    warn=("strongswan",),
    source="RFC 5280 section 4.2.1.3; NSS refuses the chain (seen with vfychain 3.87: -8102); "
    "strongSwan does not look (seen with pki --verify 5.9.8)",
    fix=_FIX_CERT_SIGN,
)
def key_cert_sign_missing(facts: Facts) -> str | None:
    """An authority's keyUsage lacks keyCertSign."""
    if facts.key_usage is not None and not facts.key_usage.key_cert_sign:
        return "The keyUsage lacks keyCertSign."
    return None


@BOOK.rule(
    "x509.ca_crl_sign_missing",
    fail=("strongswan",),
    warn=("rfc4945", "libreswan", "windows", "apple", "cisco"),
    source="RFC 5280 section 4.2.1.3; strongSwan 5.9.11 and later refuse CRLs of such an authority",
    fix=_FIX_CERT_SIGN,
)
def crl_sign_missing(facts: Facts) -> str | None:
    """An authority's keyUsage lacks cRLSign."""
    if facts.key_usage is not None and not facts.key_usage.crl_sign:
        return "The keyUsage lacks cRLSign, so the authority's CRLs are refused."
    return None


@BOOK.rule(
    "x509.ca_subject_key_identifier_missing",
    fail=("rfc4945",),
    warn=("strongswan", "libreswan", "windows", "apple", "cisco"),
    source="RFC 5280 section 4.2.1.2; strongSwan finds issuers by key identifier",
    fix="Issue it with a subjectKeyIdentifier.",
)
def subject_key_identifier_missing(facts: Facts) -> str | None:
    """An authority has no subjectKeyIdentifier."""
    return None if facts.has_subject_key_identifier else "There is no subjectKeyIdentifier."


@BOOK.rule(
    "x509.ca_subject_empty",
    fail=ALL,
    source="RFC 5280 section 4.1.2.6",
    fix="Give the authority a distinguished name.",
)
def subject_empty(facts: Facts) -> str | None:
    """An authority has an empty subject, so no certificate can name it as its issuer."""
    return "The subject of the authority is empty." if facts.subject_empty else None


@BOOK.rule(
    "x509.name_constraints_not_critical",
    fail=("rfc4945",),
    warn=("strongswan", "libreswan", "windows", "apple", "cisco"),
    source="RFC 5280 section 4.2.1.10",
    fix="Mark nameConstraints critical.",
)
def name_constraints_not_critical(facts: Facts) -> str | None:
    """The nameConstraints are not critical, so a peer may ignore them."""
    if facts.name_constraints is not None and "2.5.29.30" not in facts.critical:
        return "The nameConstraints are not critical."
    return None


@BOOK.rule(
    "x509.name_constraints_partial",
    warn=ALL,
    source="RFC 5280 section 4.2.1.10: a kind that no subtree mentions is not restricted",
    fix="Constrain every kind: permit its own subtree, or exclude 0.0.0.0/0, ::/0 and all mailboxes.",
)
def name_constraints_partial(facts: Facts) -> str | None:
    """The nameConstraints leave a kind of IKE identity open."""
    limits = facts.name_constraints
    if limits is None:
        return None
    mentioned = {
        type(tree) for tree in _subtrees(limits.permitted_subtrees, limits.excluded_subtrees)
    }
    free = [_KIND_NAMES[kind] for kind in _IKE_KINDS if kind not in mentioned]
    if not free:
        return None
    return f"The nameConstraints do not restrict {' and '.join(free)}."


@BOOK.rule(
    "strongswan.name_constraints_excluded_dn",
    fail=("strongswan",),
    source="strongSwan 6.0.6 NEWS (CVE-2026-35331): every certificate below is rejected",
    fix="Permit the wanted directoryName subtree instead of excluding others.",
)
def excluded_directory_name(facts: Facts) -> str | None:
    """The nameConstraints exclude a directoryName."""
    limits = facts.name_constraints
    if limits is not None and any(
        isinstance(tree, x509.DirectoryName) for tree in limits.excluded_subtrees or ()
    ):
        return "The nameConstraints exclude a directoryName."
    return None


@BOOK.rule(
    "strongswan.name_constraints_addresses",
    warn=("strongswan",),
    source="strongSwan issue 1991: iPAddress constraints are read since 5.9.12",
    fix="Make sure that every strongSwan peer is 5.9.12 or later.",
)
def address_constraints(facts: Facts) -> str | None:
    """The nameConstraints hold addresses, which older strongSwan releases cannot read."""
    limits = facts.name_constraints
    if limits is None:
        return None
    if any(
        isinstance(t, x509.IPAddress)
        for t in _subtrees(limits.permitted_subtrees, limits.excluded_subtrees)
    ):
        return "The nameConstraints hold an iPAddress."
    return None


@BOOK.rule(
    "strongswan.name_constraints_several",
    warn=("strongswan",),
    source="strongSwan issue 2432: constraints_validator.c before 6.0.6 wants all of them matched",
    fix="Permit one subtree of each kind, or make sure that every strongSwan peer is 6.0.6 or later.",
)
def several_permitted(facts: Facts) -> str | None:
    """The nameConstraints permit several subtrees of one kind."""
    limits = facts.name_constraints
    if limits is None:
        return None
    counts = Counter(type(tree) for tree in limits.permitted_subtrees or ())
    several = [_KIND_NAMES.get(kind, kind.__name__) for kind, n in counts.items() if n > 1]
    return f"Several subtrees of kind {several[0]} are permitted." if several else None


@BOOK.rule(
    "strongswan.name_constraints_bypass",
    info=("strongswan",),
    source="strongSwan 6.0.6 NEWS (CVE-2026-35331); issue 2114",
    fix="Update strongSwan peers to 6.0.6, and repeat the constraints in authorities below for older.",
)
def constraints_bypass(facts: Facts) -> str | None:
    """Before 6.0.6 strongSwan's check of nameConstraints has holes."""
    if facts.name_constraints is not None:
        return "Before 6.0.6 strongSwan does not enforce nameConstraints in every case."
    return None


def _subtrees(*lists: list[x509.GeneralName] | None) -> list[x509.GeneralName]:
    return [tree for trees in lists for tree in trees or ()]


@BOOK.rule(
    "libreswan.ca_usage_excludes_ike",
    fail=("libreswan",),
    source="NSS lets an authority's extendedKeyUsage limit the chain (seen with vfychain 3.87: -8101)",
    fix="Leave extendedKeyUsage out of authorities, or add ipsecIKE and serverAuth.",
)
def usage_excludes_ike(facts: Facts) -> str | None:
    """An authority's extendedKeyUsage has no usage that NSS accepts for IPsec."""
    if facts.extended_key_usage is None or facts.has_usage(*_NSS_IPSEC):
        return None
    return "The authority's extendedKeyUsage has no usage that NSS accepts for IPsec."


@BOOK.rule(
    "windows.ca_usage_excludes_server_auth",
    fail=("windows",),
    source="Windows certificate chains: a chain has the usages all its authorities share (not tried)",
    fix="Leave extendedKeyUsage out of authorities, or add serverAuth and clientAuth.",
)
def usage_excludes_server_auth(facts: Facts) -> str | None:
    """An authority's extendedKeyUsage lacks serverAuth."""
    if facts.extended_key_usage is None or facts.has_usage("1.3.6.1.5.5.7.3.1", "2.5.29.37.0"):
        return None
    return "The authority's extendedKeyUsage lacks serverAuth."
