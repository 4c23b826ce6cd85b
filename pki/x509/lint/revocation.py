"""Rules about finding out whether a certificate is revoked."""

from typing import Final

from pki.x509.lint.facts import Facts
from pki.x509.lint.rule import ALL, RuleBook

BOOK: Final = RuleBook("any")

_FIX_POINTERS: Final = "Issue it with cRLDistributionPoints and an OCSP URL in authorityInfoAccess."


def _is_root(facts: Facts) -> bool:
    # Nobody but itself could revoke a root.
    return facts.authority and facts.self_issued


@BOOK.rule(
    "rfc4945.crl_point_missing",
    warn=("rfc4945",),
    source="RFC 4809: all certificates used in IKE have cRLDistributionPoints with valid URLs",
    fix=_FIX_POINTERS,
)
def crl_point_missing(facts: Facts) -> str | None:
    """There are no cRLDistributionPoints."""
    if facts.crl_points is None and not _is_root(facts):
        return "There are no cRLDistributionPoints."
    return None


@BOOK.rule(
    "rfc4945.information_access_missing",
    warn=("rfc4945",),
    source="RFC 4809: all certificates used in IKE have authorityInfoAccess with valid URLs",
    fix=_FIX_POINTERS,
)
def information_access_missing(facts: Facts) -> str | None:
    """There is no authorityInfoAccess with a URL."""
    if not facts.ocsp_urls and not facts.issuer_urls and not _is_root(facts):
        return "There is no authorityInfoAccess with a URL."
    return None


@BOOK.rule(
    "x509.revocation_unknown",
    warn=("strongswan", "libreswan", "windows", "cisco"),
    source="strongSwan revocation_validator.c: revocation = strict refuses it; "
    "Libreswan crl-strict=yes or ocsp-strict=yes likewise",
    fix=_FIX_POINTERS,
)
def revocation_unknown(facts: Facts) -> str | None:
    """Neither a CRL nor an OCSP responder is named."""
    if not facts.crl_urls and not facts.ocsp_urls and not _is_root(facts):
        return "No URL of a CRL or an OCSP responder is named."
    return None


@BOOK.rule(
    "x509.crl_point_without_url",
    warn=ALL,
    source="RFC 5280 section 4.2.1.13; strongSwan x509_cert.c reads fullName URLs only",
    fix="Give every distribution point a fullName with an http URL.",
)
def crl_point_without_url(facts: Facts) -> str | None:
    """The cRLDistributionPoints hold no URL."""
    if facts.crl_points is not None and not facts.crl_urls:
        return "The cRLDistributionPoints hold no URL."
    return None


@BOOK.rule(
    "x509.crl_point_partial",
    warn=ALL,
    source="RFC 5280 section 4.2.1.13; neither charon nor NSS puts CRLs by reason together",
    fix="Use one distribution point for all reasons, signed by the issuer itself.",
)
def crl_point_partial(facts: Facts) -> str | None:
    """A distribution point covers some reasons only, or another authority signs the CRL."""
    for point in facts.crl_points or ():
        if point.reasons:
            return "A distribution point covers only some reasons for revocation."
        if point.crl_issuer:
            return "A distribution point names another issuer of the CRL."
    return None


@BOOK.rule(
    "x509.url_https",
    warn=ALL,
    source="RFC 5280 section 8: https may need the very status that is looked for",
    fix="Publish CRLs, OCSP and issuers' certificates by plain http; they are signed.",
)
def url_https(facts: Facts) -> str | None:
    """A CRL, OCSP or issuer URL is https."""
    for url in facts.urls:
        if url[:6].lower() == "https:":
            return f"The URL {_shown(url)} is https."
    return None


@BOOK.rule(
    "x509.url_not_http",
    warn=ALL,
    source="RFC 5280 section 4.2.1.13; RFC 4945 section 5.1.3.13; daemons fetch http everywhere, "
    "ldap only with extra plugins",
    fix="Publish CRLs, OCSP and issuers' certificates by plain http.",
)
def url_not_http(facts: Facts) -> str | None:
    """A CRL, OCSP or issuer URL is neither http nor https."""
    for url in facts.urls:
        if url[:5].lower() != "http:" and url[:6].lower() != "https:":
            return f"The URL {_shown(url)} is not http."
    return None


def _shown(url: str) -> str:
    return ascii(url[:200])[1:-1]
