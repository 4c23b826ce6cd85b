"""Rules about what an end entity's key may be used for."""

from typing import Final

from pki.x509.lint.facts import Facts
from pki.x509.lint.rule import ALL, RuleBook

BOOK: Final = RuleBook("end entity")

_ANY = "2.5.29.37.0"
_SERVER = "1.3.6.1.5.5.7.3.1"
_CLIENT = "1.3.6.1.5.5.7.3.2"
_EMAIL = "1.3.6.1.5.5.7.3.4"
_OCSP_SIGNING = "1.3.6.1.5.5.7.3.9"
_IPSEC_IKE = "1.3.6.1.5.5.7.3.17"
_IKE_END = "1.3.6.1.5.5.8.2.1"
_IKE_INTERMEDIATE = "1.3.6.1.5.5.8.2.2"
# id-kp-ipsecEndSystem, -Tunnel, -User of 1999
_OBSOLETE = ("1.3.6.1.5.5.7.3.5", "1.3.6.1.5.5.7.3.6", "1.3.6.1.5.5.7.3.7")
_NSS_IPSEC: Final = (
    *_OBSOLETE,
    _IPSEC_IKE,
    _IKE_END,
    _IKE_INTERMEDIATE,
    _ANY,
    _SERVER,
    _CLIENT,
    _EMAIL,
)

_FIX_KEY_USAGE: Final = "Issue it with keyUsage digitalSignature."
_FIX_SERVER: Final = "Add serverAuth to extendedKeyUsage of a gateway's certificate."


@BOOK.rule(
    "rfc4945.key_usage_forbids_signing",
    fail=("rfc4945",),
    source="RFC 4945 section 5.1.3.2",
    fix=_FIX_KEY_USAGE,
)
@BOOK.rule(
    "strongswan.key_usage_forbids_signing",
    fail=("strongswan",),
    source="strongSwan pubkey_authenticator.c is_compliant_cert",
    fix=_FIX_KEY_USAGE,
)
@BOOK.rule(
    "libreswan.key_usage_forbids_signing",
    fail=("libreswan",),
    source="NSS certdb.c, certificateUsageIPsec (seen with vfychain 3.87: error -8102)",
    fix=_FIX_KEY_USAGE,
)
@BOOK.rule(
    "windows.key_usage_forbids_signing",
    fail=("windows",),
    source="RFC 5280 section 4.2.1.3; IKEEXT signs with the key (not tried)",
    fix=_FIX_KEY_USAGE,
)
@BOOK.rule(
    "apple.key_usage_forbids_signing",
    fail=("apple",),
    source="RFC 5280 section 4.2.1.3 (not tried)",
    fix=_FIX_KEY_USAGE,
)
@BOOK.rule(
    "cisco.key_usage_forbids_signing",
    fail=("cisco",),
    source="RFC 5280 section 4.2.1.3; IOS rsa-sig needs a signature key (not tried)",
    fix=_FIX_KEY_USAGE,
)
def key_usage_forbids_signing(facts: Facts) -> str | None:
    """The keyUsage is there and allows neither digitalSignature nor nonRepudiation."""
    usage = facts.key_usage
    if usage is None or usage.digital_signature or usage.content_commitment:
        return None
    return "The keyUsage allows neither digitalSignature nor nonRepudiation."


@BOOK.rule(
    "x509.key_usage_missing",
    info=ALL,
    source="RFC 5280 section 4.2.1.3",
    fix="Issue it with critical keyUsage digitalSignature, so that the key serves nothing else.",
)
def key_usage_missing(facts: Facts) -> str | None:
    """There is no keyUsage, so the key may be used for anything."""
    return "There is no keyUsage." if facts.key_usage is None else None


@BOOK.rule(
    "x509.key_usage_not_critical",
    warn=("rfc4945",),
    info=("strongswan", "libreswan", "windows", "apple", "cisco"),
    source="RFC 5280 section 4.2.1.3",
    fix="Mark keyUsage critical.",
)
def key_usage_not_critical(facts: Facts) -> str | None:
    """The keyUsage is not critical."""
    if facts.key_usage is not None and "2.5.29.15" not in facts.critical:
        return "The keyUsage is not critical."
    return None


@BOOK.rule(
    "x509.key_usage_unfit",
    warn=("rfc4945",),
    info=("strongswan", "libreswan", "windows", "apple", "cisco"),
    source="RFC 8813 section 3 for EC, RFC 9295 section 3 for EdDSA",
    fix="Leave keyEncipherment and dataEncipherment to RSA keys.",
)
def key_usage_unfit(facts: Facts) -> str | None:
    """The keyUsage promises encryption to a key that can only sign."""
    usage = facts.key_usage
    if usage is None or facts.algorithm.startswith("rsa-"):
        return None
    if usage.key_encipherment or usage.data_encipherment:
        return f"The keyUsage allows encipherment, which a key of kind {facts.algorithm} cannot do."
    return None


@BOOK.rule(
    "x509.end_entity_certifies",
    warn=ALL,
    source="RFC 5280 sections 4.2.1.3 and 4.2.1.9",
    fix="Leave keyCertSign and cRLSign to authorities.",
)
def end_entity_certifies(facts: Facts) -> str | None:
    """An end entity's keyUsage has keyCertSign or cRLSign."""
    usage = facts.key_usage
    if usage is not None and (usage.key_cert_sign or usage.crl_sign):
        return "The keyUsage of an end entity allows signing certificates or CRLs."
    return None


@BOOK.rule(
    "x509.end_entity_is_authority",
    fail=ALL,
    source="RFC 5280 section 4.2.1.9; NSS refuses it for IPsec (seen with vfychain 3.87: -8101)",
    fix="Issue it with basicConstraints CA:FALSE; revoke this one, its holder can make certificates.",
)
def end_entity_is_authority(facts: Facts) -> str | None:
    """An end entity has basicConstraints CA:TRUE, so its holder can issue certificates."""
    if facts.basic_constraints is not None and facts.basic_constraints.ca:
        return "The certificate names an end entity and is marked as an authority."
    return None


@BOOK.rule(
    "rfc4945.extended_key_usage_present",
    warn=("rfc4945",),
    source="RFC 4945 section 5.1.3.12: the CA SHOULD NOT include it",
    fix="Use the profile strict-rfc4945 if no peer needs extendedKeyUsage (Windows and Apple do).",
)
def extended_key_usage_present(facts: Facts) -> str | None:
    """There is an extendedKeyUsage, even if one that IKE accepts."""
    if facts.has_usage(_IPSEC_IKE, _ANY):
        return "The certificate has an extendedKeyUsage."
    return None


@BOOK.rule(
    "rfc4945.extended_key_usage_excludes_ike",
    fail=("rfc4945",),
    source="RFC 4945 section 5.1.3.12",
    fix="Leave extendedKeyUsage out, or add id-kp-ipsecIKE (1.3.6.1.5.5.7.3.17).",
)
def extended_key_usage_excludes_ike(facts: Facts) -> str | None:
    """The extendedKeyUsage has neither id-kp-ipsecIKE nor anyExtendedKeyUsage."""
    if facts.extended_key_usage is None or facts.has_usage(_IPSEC_IKE, _ANY):
        return None
    return "The extendedKeyUsage has neither ipsecIKE nor anyExtendedKeyUsage."


@BOOK.rule(
    "rfc4945.extended_key_usage_obsolete",
    warn=("rfc4945",),
    source="RFC 4945 section 5.1.3.12: ipsecEndSystem, ipsecTunnel and ipsecUser are deprecated",
    fix="Replace the usage of 1999 by id-kp-ipsecIKE, or leave extendedKeyUsage out.",
)
def extended_key_usage_obsolete(facts: Facts) -> str | None:
    """The extendedKeyUsage has one of the IPsec usages of 1999."""
    if facts.has_usage(*_OBSOLETE):
        return "The extendedKeyUsage has ipsecEndSystem, ipsecTunnel or ipsecUser."
    return None


@BOOK.rule(
    "libreswan.extended_key_usage_excludes_ike",
    fail=("libreswan",),
    source="NSS certdb.c cert_ComputeCertType, bug 1537927 "
    "(each usage tried with vfychain 3.87: error -8101)",
    fix="Leave extendedKeyUsage out, or add ipsecIKE, ikeIntermediate, serverAuth or clientAuth.",
)
def nss_excludes_ike(facts: Facts) -> str | None:
    """The extendedKeyUsage has none of the usages that NSS accepts for IPsec."""
    if facts.extended_key_usage is None or facts.has_usage(*_NSS_IPSEC):
        return None
    return "The extendedKeyUsage has no usage that NSS accepts for IPsec."


@BOOK.rule(
    "windows.extended_key_usage_excludes_ike",
    fail=("windows",),
    source="strongSwan documentation, windowsCertRequirements (error 13801 without serverAuth)",
    fix=_FIX_SERVER,
)
@BOOK.rule(
    "apple.extended_key_usage_excludes_ike",
    fail=("apple",),
    source="Apple HT210176: server certificates have id-kp-serverAuth",
    fix=_FIX_SERVER,
)
def no_tls_usage(facts: Facts) -> str | None:
    """The extendedKeyUsage has neither serverAuth nor clientAuth."""
    if facts.extended_key_usage is None or facts.has_usage(_SERVER, _CLIENT, _ANY):
        return None
    return "The extendedKeyUsage has neither serverAuth nor clientAuth."


@BOOK.rule(
    "windows.server_auth_missing",
    warn=("windows",),
    source="strongSwan documentation, windowsCertRequirements (error 13801 without serverAuth)",
    fix=_FIX_SERVER,
)
@BOOK.rule(
    "apple.server_auth_missing",
    warn=("apple",),
    source="Apple HT210176: server certificates have an extendedKeyUsage with id-kp-serverAuth",
    fix=_FIX_SERVER,
)
def no_extended_key_usage(facts: Facts) -> str | None:
    """There is no extendedKeyUsage, while clients ask a gateway for serverAuth."""
    if facts.extended_key_usage is None:
        return "Without serverAuth the certificate may not be accepted from a gateway."
    return None


@BOOK.rule(
    "windows.client_only",
    info=("windows",),
    source="strongSwan documentation, windowsCertRequirements",
    fix="For a gateway, " + _FIX_SERVER[0].lower() + _FIX_SERVER[1:],
)
@BOOK.rule(
    "apple.client_only",
    info=("apple",),
    source="Apple HT210176",
    fix="For a gateway, " + _FIX_SERVER[0].lower() + _FIX_SERVER[1:],
)
def client_only(facts: Facts) -> str | None:
    """The extendedKeyUsage has clientAuth without serverAuth: good for clients only."""
    if facts.has_usage(_CLIENT) and not facts.has_usage(_SERVER, _ANY):
        return "With clientAuth alone the certificate serves a client, not a gateway."
    return None


@BOOK.rule(
    "windows.ike_intermediate_missing",
    info=("windows",),
    source="RRAS chooses its certificate by ikeIntermediate (1.3.6.1.5.5.8.2.2), Microsoft Always On VPN",
    fix="Add ikeIntermediate to extendedKeyUsage if the gateway is Windows Server.",
)
def ike_intermediate_missing(facts: Facts) -> str | None:
    """A gateway's extendedKeyUsage has serverAuth without ikeIntermediate."""
    if facts.has_usage(_SERVER) and not facts.has_usage(_IKE_INTERMEDIATE):
        return "Windows Server with several serverAuth certificates may choose another one."
    return None


@BOOK.rule(
    "x509.ocsp_signing_usage",
    warn=ALL,
    source="RFC 6960 section 4.2.2.2",
    fix="Leave OCSPSigning to the authority's own responder.",
)
def ocsp_signing_usage(facts: Facts) -> str | None:
    """A certificate with names of a peer may also sign OCSP answers for its authority."""
    if facts.has_usage(_OCSP_SIGNING) and facts.names is not None:
        return "The holder could declare any certificate of the authority valid."
    return None
