"""Rules about the names of an end entity: what an IKE peer compares with the ID payload."""

import re
from ipaddress import IPv4Address, ip_address
from typing import Final

from pki.x509.lint.facts import Facts, Names
from pki.x509.lint.rule import ALL, RuleBook

BOOK: Final = RuleBook("end entity")

_NO_NAMES: Final = Names()
_SERVER_AUTH: Final = "1.3.6.1.5.5.7.3.1"
_ANY_USAGE: Final = "2.5.29.37.0"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DNS = re.compile(rf"(?=.{{1,253}}\Z)(?:\*\.)?{_LABEL}(?:\.{_LABEL})*\Z")
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})+\Z")
_MAILBOX = re.compile(rf"[!-?A-~]{{1,64}}@{_LABEL}(?:\.{_LABEL})*\Z")
_UB_COMMON_NAME = 64

_FIX_SAN: Final = "Put every IKE identity of this peer into subjectAltName."


def _cn_identity(facts: Facts) -> str | None:
    """The common name, where it looks like something a peer would send as its identity."""
    name = facts.common_name
    if name and (_HOST.match(name) or _MAILBOX.match(name)):
        return name
    return None


@BOOK.rule(
    "x509.identity_missing",
    fail=ALL,
    source="RFC 5280 section 4.1.2.6; RFC 4945 section 3.1",
    fix=_FIX_SAN,
)
def identity_missing(facts: Facts) -> str | None:
    """The certificate names nobody: no usable subjectAltName and an empty subject."""
    if facts.subject_empty and not (facts.names or _NO_NAMES).identities:
        return "The certificate has neither a subject nor a subjectAltName that IKE can compare."
    return None


@BOOK.rule(
    "x509.san_missing",
    fail=("apple",),
    warn=("rfc4945", "strongswan", "libreswan", "windows", "cisco"),
    source="RFC 4945 section 3.1; strongSwan x509_cert.c has_subject; Apple HT210176",
    fix=_FIX_SAN,
)
def san_missing(facts: Facts) -> str | None:
    """There is no subjectAltName, so the only identity is the whole subject."""
    if facts.names is None and not facts.subject_empty and _cn_identity(facts) is None:
        return "Without a subjectAltName the only IKE identity is the distinguished name."
    return None


@BOOK.rule(
    "x509.cn_only_identity",
    fail=("apple",),
    warn=("rfc4945", "strongswan", "libreswan", "cisco"),
    source="RFC 4945 section 3.1; strongSwan x509_cert.c has_subject never looks into the CN; "
    "Libreswan nss_cert_verify.c cert_verify_subject_alt_name; Apple HT210176",
    fix=_FIX_SAN,
)
def cn_only_identity(facts: Facts) -> str | None:
    """There is no subjectAltName, and the common name looks like the identity that was meant."""
    name = _cn_identity(facts) if facts.names is None else None
    return f"The name {name} stands only in the CN, where no IKE daemon looks." if name else None


@BOOK.rule(
    "x509.cn_not_in_san",
    warn=("rfc4945", "strongswan", "libreswan", "apple", "cisco"),
    source="RFC 4945 section 3.1; strongSwan x509_cert.c has_subject",
    fix="Repeat the CN in subjectAltName, or make it a text that is no host name.",
)
def cn_not_in_san(facts: Facts) -> str | None:
    """The common name is a host name, an address or a mailbox that subjectAltName does not hold."""
    names = facts.names
    name = _cn_identity(facts) if names is not None else None
    if name is None or names is None:
        return None
    if "@" in name:
        missing = name not in names.email
    elif name[-1].isdigit() and _is_address(name):
        missing = ip_address(name) not in names.ip
    else:
        missing = name.lower() not in [dns.lower() for dns in names.dns]
    return f"The CN {name} is not among the subjectAltNames." if missing else None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


@BOOK.rule(
    "x509.san_without_ike_identity",
    warn=ALL,
    source="RFC 7296 section 3.5: FQDN, RFC822, addresses and DN are the identities IKE compares",
    fix="Add a dNSName, iPAddress or rfc822Name with the identity the daemon is configured to send.",
)
def san_without_ike_identity(facts: Facts) -> str | None:
    """The subjectAltName holds only kinds of names that are no IKE identity."""
    names = facts.names
    if names is not None and not names.identities and not facts.subject_empty:
        return "No name in subjectAltName is of a kind that IKE compares."
    return None


@BOOK.rule(
    "x509.san_not_critical",
    fail=("rfc4945",),
    warn=("strongswan", "libreswan", "windows", "apple", "cisco"),
    source="RFC 5280 section 4.2.1.6; RFC 4945 section 5.1.3.6",
    fix="Mark subjectAltName critical, or give the certificate a subject.",
)
def san_not_critical(facts: Facts) -> str | None:
    """The subject is empty and subjectAltName is not critical."""
    if facts.subject_empty and facts.names is not None and "2.5.29.17" not in facts.critical:
        return "The subject is empty, so subjectAltName must be critical."
    return None


@BOOK.rule(
    "rfc4945.wildcard_name",
    warn=("rfc4945",),
    source="RFC 4945 section 3.1.2: no wildcard matching of dNSName with ID_FQDN",
    fix="List the names one by one.",
)
@BOOK.rule(
    "strongswan.wildcard_name",
    warn=("strongswan",),
    source="strongSwan identification.c matches: wildcards count in the configuration, "
    "not in the certificate",
    fix="List the names one by one.",
)
@BOOK.rule(
    "libreswan.wildcard_name",
    info=("libreswan",),
    source="Libreswan nss_cert_verify.c cert_verify_subject_alt_name: first label",
    fix="List the names one by one, so that one stolen key is one gateway.",
)
def wildcard_name(facts: Facts) -> str | None:
    """A dNSName has a wildcard, which some daemons take literally and some do not."""
    for name in (facts.names or _NO_NAMES).dns:
        if "*" in name:
            return f"The dNSName {name} is a wildcard."
    return None


@BOOK.rule(
    "windows.address_not_dns_name",
    warn=("windows",),
    source="strongSwan documentation, windowsCertRequirements: error 13801 when dialled by address",
    fix="Add the address as a dNSName too, as the profile windows-gateway does.",
)
def address_not_dns_name(facts: Facts) -> str | None:
    """An IPv4 address is not repeated as a dNSName, where Windows clients look for it."""
    names = facts.names
    if names is None or not _is_server(facts):
        return None
    for address in names.ip:
        if isinstance(address, IPv4Address) and str(address) not in names.dns:
            return f"A Windows client that dials {address} looks for it among the dNSNames."
    return None


@BOOK.rule(
    "windows.server_name_missing",
    warn=("windows",),
    source="strongSwan documentation, windowsCertRequirements: host name in CN or subjectAltName",
    fix="Add the host name that clients dial as a dNSName.",
)
def server_name_missing(facts: Facts) -> str | None:
    """A gateway has no host name that a Windows client could compare."""
    if _is_server(facts) and not (facts.names or _NO_NAMES).dns and _cn_identity(facts) is None:
        return "There is no host name in subjectAltName or CN."
    return None


def _is_server(facts: Facts) -> bool:
    return facts.extended_key_usage is None or facts.has_usage(_SERVER_AUTH, _ANY_USAGE)


@BOOK.rule(
    "x509.dns_name_malformed",
    fail=("rfc4945",),
    warn=("strongswan", "libreswan", "windows", "apple", "cisco"),
    source="RFC 5280 section 4.2.1.6; RFC 1034 section 3.5; RFC 1123 section 2.1",
    fix="Use letters, digits, hyphens and dots, without a dot at the end; A-labels for the rest.",
)
def dns_name_malformed(facts: Facts) -> str | None:
    """A dNSName is not in preferred name syntax."""
    for name in (facts.names or _NO_NAMES).dns:
        if not _DNS.match(name):
            return f"The dNSName {name!a} is not a host name."
    return None


@BOOK.rule(
    "x509.cn_too_long",
    warn=ALL,
    source="RFC 5280 appendix A.1: ub-common-name is 64",
    fix="Shorten the CN; the full name belongs into subjectAltName.",
)
def cn_too_long(facts: Facts) -> str | None:
    """The common name has more than 64 characters."""
    if facts.common_name and len(facts.common_name) > _UB_COMMON_NAME:
        return f"The CN has {len(facts.common_name)} characters."
    return None
