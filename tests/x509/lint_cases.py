"""For each lint rule a certificate that breaks it, and what else the linter is told."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Network, ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ed448, mldsa, padding, x25519
from cryptography.x509.oid import ObjectIdentifier

from tests.x509.workshop import (
    NOW,
    SERIAL,
    access,
    altered,
    authority,
    crl_at,
    dns,
    ec_key,
    ed25519_key,
    end_entity,
    key_usage,
    long_name,
    name,
    rsa_key,
    rsa_public,
    usages,
)

SERVER, CLIENT, OCSP_SIGNING = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.9"
CODE, IPSEC_IKE, IPSEC_USER = "1.3.6.1.5.5.7.3.3", "1.3.6.1.5.5.7.3.17", "1.3.6.1.5.5.7.3.7"
UNKNOWN = ObjectIdentifier("1.3.6.1.4.1.32473.1")


# The library warns when it meets what the linter is about to report.
QUIET = pytest.mark.filterwarnings(
    "ignore:Parsed a serial number", "ignore:Attribute's length must be"
)


@dataclass(frozen=True)
class Case:
    """A certificate made when it is first asked for, and arguments of `lint`."""

    make: Callable[[], x509.Certificate]
    arguments: Mapping[str, object] = field(default_factory=dict)

    def certificate(self) -> x509.Certificate:
        return _made(self.make)


@cache
def _made(make: Callable[[], x509.Certificate]) -> x509.Certificate:
    return make()


def _leaf(**order: object) -> Case:
    return Case(lambda: end_entity(**order))


def _plus(value: x509.ExtensionType, *, critical: bool = False, **order: object) -> Case:
    return Case(lambda: end_entity(plus=[(value, critical)], **order))


def _ca_plus(value: x509.ExtensionType, *, critical: bool = True) -> Case:
    return Case(lambda: authority(plus=[(value, critical)]))


def _key(make: Callable[[], object]) -> Case:
    return Case(lambda: end_entity(public_key=make()))


def _patched(make: Callable[[], x509.Certificate], old: str, new: str) -> Case:
    return Case(lambda: altered(make(), bytes.fromhex(old), bytes.fromhex(new)))


def _unrecognized(oid: ObjectIdentifier, value: bytes = b"\x05\x00") -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(oid, value)


def _constraints(
    permitted: list[x509.GeneralName] | None, excluded: list[x509.GeneralName] | None = None
) -> x509.NameConstraints:
    return x509.NameConstraints(permitted, excluded)


def _points(**parts: object) -> x509.CRLDistributionPoints:
    usual = {
        "full_name": [x509.UniformResourceIdentifier("http://pki.example.com/a.crl")],
        "relative_name": None,
        "reasons": None,
        "crl_issuer": None,
    }
    return x509.CRLDistributionPoints([x509.DistributionPoint(**{**usual, **parts})])


def _many_names(count: int) -> Case:
    return _plus(
        dns("gw1.example.com", *(f"gw{n:04}.{'x' * 40}.example.com" for n in range(count)))
    )


def _signed_by_rsa() -> x509.Certificate:
    return end_entity(signer=rsa_key())


_GW = "gw1.example.com"
_NO_SIGNING = _plus(key_usage("key_encipherment"), critical=True)
_SHA256_WITH_RSA, _SHA1_WITH_RSA = "2a864886f70d01010b", "2a864886f70d010105"
_ECDSA_SHA256, _ECDSA_UNKNOWN = "2a8648ce3d040302", "2a8648ce3d040377"
_P256, _P256_UNKNOWN = "2a8648ce3d030107", "2a8648ce3d030177"
_DNS_TREE = x509.DNSName("example.com")
_DN_TREE = x509.DirectoryName(name(o="Example"))
_IP_TREE = x509.IPAddress(IPv4Network("192.0.2.0/24"))
_WILD = _plus(dns("*.example.com"))
_EDDSA = _key(lambda: ed25519_key().public_key())
_CRITICAL_UNKNOWN = _plus(_unrecognized(UNKNOWN), critical=True)

CASES: Mapping[str, Case] = {
    # form
    "x509.unreadable": _plus(_unrecognized(x509.KeyUsage.oid, b"\x04\x00")),
    "x509.version_too_old": _patched(
        lambda: end_entity(
            without=(
                x509.BasicConstraints,
                x509.KeyUsage,
                x509.SubjectKeyIdentifier,
                x509.AuthorityKeyIdentifier,
                x509.SubjectAlternativeName,
                x509.CRLDistributionPoints,
                x509.AuthorityInformationAccess,
                x509.ExtendedKeyUsage,
            )
        ),
        "a003020102",
        "",
    ),
    "strongswan.critical_extension": _CRITICAL_UNKNOWN,
    "libreswan.critical_extension": _plus(crl_at("http://pki.example.com/a.crl"), critical=True),
    "x509.critical_extension": _CRITICAL_UNKNOWN,
    "x509.critical_against_standard": _plus(x509.SubjectKeyIdentifier(b"1234"), critical=True),
    "x509.authority_key_identifier_missing": _leaf(without=(x509.AuthorityKeyIdentifier,)),
    "x509.subject_key_identifier_missing": _leaf(without=(x509.SubjectKeyIdentifier,)),
    "x509.self_signed": _leaf(
        issuer=name(o="Example", cn=_GW), public_key=ec_key(number=1).public_key()
    ),
    "x509.serial_not_positive": _patched(lambda: end_entity(serial=0x55), "020155", "020100"),
    "x509.serial_too_long": _patched(
        lambda: end_entity(serial=SERIAL), f"0210{SERIAL:032x}", f"0215{SERIAL << 40:042x}"
    ),
    "x509.serial_predictable": _leaf(serial=4711),
    "x509.validity_backwards": _patched(end_entity, b"260829000000Z".hex(), b"250829000000Z".hex()),
    "x509.validity_endless": _leaf(not_after=dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)),
    "apple.validity_too_long": _leaf(not_after=NOW + dt.timedelta(days=825, seconds=1)),
    "x509.expired": Case(end_entity, {"at": NOW + dt.timedelta(days=90)}),
    "x509.not_yet_valid": Case(end_entity, {"at": NOW - dt.timedelta(days=2)}),
    "strongswan.larger_than_packet": Case(end_entity, {"chain_octets": 8900}),
    "x509.large": _many_names(60),
    # keys
    "x509.key_unreadable": _patched(end_entity, _P256, _P256_UNKNOWN),
    "x509.rsa_too_short": _key(lambda: rsa_public(1024)),
    "x509.rsa_below_3072": _key(lambda: rsa_public(2048)),
    "x509.rsa_too_long": _key(lambda: rsa_public(9000)),
    "x509.rsa_exponent": _key(lambda: rsa_public(3072, exponent=3)),
    "x509.key_cannot_sign": _key(lambda: x25519.X25519PrivateKey.generate().public_key()),
    "x509.dsa_key": _key(lambda: dsa.generate_private_key(1024).public_key()),  # noqa: S505
    "x509.curve_unusual": _key(lambda: ec_key("secp256k1").public_key()),
    "strongswan.eddsa_needs_rfc7427": _EDDSA,
    "libreswan.eddsa": _leaf(signer=ed25519_key()),
    "windows.eddsa": _EDDSA,
    "cisco.eddsa": _EDDSA,
    "windows.p521": _key(lambda: ec_key("secp521r1").public_key()),
    "cisco.p521": _key(lambda: ec_key("secp521r1").public_key()),
    "apple.certificate_type": Case(end_entity),
    "apple.ed448": _key(lambda: ed448.Ed448PrivateKey.generate().public_key()),
    "x509.ml_dsa": _key(lambda: mldsa.MLDSA65PrivateKey.generate().public_key()),
    "x509.signature_broken_hash": _patched(_signed_by_rsa, _SHA256_WITH_RSA, _SHA1_WITH_RSA),
    "x509.signature_unusual_hash": _leaf(hash=hashes.SHA224()),
    "x509.signature_unknown": _patched(end_entity, _ECDSA_SHA256, _ECDSA_UNKNOWN),
    "x509.signature_rsa_pss": _leaf(
        signer=rsa_key(), padding=padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    ),
    # identity
    "x509.identity_missing": _leaf(subject=name(), without=(x509.SubjectAlternativeName,)),
    "x509.san_missing": _leaf(
        subject=name(o="Example", cn="Gateway One"), without=(x509.SubjectAlternativeName,)
    ),
    "x509.cn_only_identity": _leaf(without=(x509.SubjectAlternativeName,)),
    "x509.cn_not_in_san": _plus(dns("gw2.example.com")),
    "x509.san_without_ike_identity": _plus(
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://example.com/gw1")])
    ),
    "x509.san_not_critical": _leaf(subject=name()),
    "rfc4945.wildcard_name": _WILD,
    "strongswan.wildcard_name": _WILD,
    "libreswan.wildcard_name": _WILD,
    "windows.address_not_dns_name": _plus(
        x509.SubjectAlternativeName([x509.DNSName(_GW), x509.IPAddress(ip_address("192.0.2.1"))])
    ),
    "windows.server_name_missing": _plus(
        x509.SubjectAlternativeName([x509.IPAddress(ip_address("2001:db8::1"))]),
        subject=name(o="Example", cn="Gateway One"),
    ),
    "x509.dns_name_malformed": _plus(dns(_GW, "gw_1.example.com")),
    "x509.cn_too_long": _leaf(subject=long_name("Gateway " * 9)),
    # usage
    "rfc4945.key_usage_forbids_signing": _NO_SIGNING,
    "strongswan.key_usage_forbids_signing": _NO_SIGNING,
    "libreswan.key_usage_forbids_signing": _NO_SIGNING,
    "windows.key_usage_forbids_signing": _NO_SIGNING,
    "apple.key_usage_forbids_signing": _NO_SIGNING,
    "cisco.key_usage_forbids_signing": _NO_SIGNING,
    "x509.key_usage_missing": _leaf(without=(x509.KeyUsage,)),
    "x509.key_usage_not_critical": _plus(key_usage("digital_signature")),
    "x509.key_usage_unfit": _plus(
        key_usage("digital_signature", "key_encipherment"), critical=True
    ),
    "x509.end_entity_certifies": _plus(
        key_usage("digital_signature", "key_cert_sign"), critical=True
    ),
    "x509.end_entity_is_authority": _plus(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    ),
    "rfc4945.extended_key_usage_present": Case(end_entity),
    "rfc4945.extended_key_usage_excludes_ike": _plus(usages(SERVER, CLIENT)),
    "rfc4945.extended_key_usage_obsolete": _plus(usages(IPSEC_USER)),
    "libreswan.extended_key_usage_excludes_ike": _plus(usages(CODE)),
    "windows.extended_key_usage_excludes_ike": _plus(usages(IPSEC_IKE)),
    "apple.extended_key_usage_excludes_ike": _plus(usages(IPSEC_IKE)),
    "windows.server_auth_missing": Case(lambda: end_entity("strict-rfc4945")),
    "apple.server_auth_missing": Case(lambda: end_entity("strict-rfc4945")),
    "windows.client_only": Case(lambda: end_entity("user")),
    "apple.client_only": Case(lambda: end_entity("user")),
    "windows.ike_intermediate_missing": _plus(usages(SERVER)),
    "x509.ocsp_signing_usage": _plus(usages(SERVER, OCSP_SIGNING)),
    # authority
    "x509.ca_basic_constraints_missing": Case(lambda: authority(without=(x509.BasicConstraints,))),
    "x509.ca_basic_constraints_not_critical": _ca_plus(
        x509.BasicConstraints(ca=True, path_length=0), critical=False
    ),
    "x509.ca_path_length_missing": _ca_plus(x509.BasicConstraints(ca=True, path_length=None)),
    "x509.ca_key_usage_missing": Case(lambda: authority(without=(x509.KeyUsage,))),
    "x509.ca_key_cert_sign_missing": _ca_plus(key_usage("crl_sign")),
    "x509.ca_crl_sign_missing": _ca_plus(key_usage("key_cert_sign")),
    "x509.ca_subject_key_identifier_missing": Case(
        lambda: authority(without=(x509.SubjectKeyIdentifier,))
    ),
    "x509.ca_subject_empty": Case(lambda: authority(subject=name())),
    "x509.name_constraints_not_critical": _ca_plus(_constraints([_DNS_TREE]), critical=False),
    "x509.name_constraints_partial": _ca_plus(_constraints([_DNS_TREE])),
    "strongswan.name_constraints_excluded_dn": _ca_plus(_constraints(None, [_DN_TREE])),
    "strongswan.name_constraints_addresses": _ca_plus(_constraints([_IP_TREE])),
    "strongswan.name_constraints_several": _ca_plus(
        _constraints([_DNS_TREE, x509.DNSName("example.net")])
    ),
    "strongswan.name_constraints_bypass": _ca_plus(_constraints([_DNS_TREE])),
    "libreswan.ca_usage_excludes_ike": _ca_plus(usages(CODE), critical=False),
    "windows.ca_usage_excludes_server_auth": _ca_plus(usages(IPSEC_IKE), critical=False),
    # revocation
    "rfc4945.crl_point_missing": _leaf(without=(x509.CRLDistributionPoints,)),
    "rfc4945.information_access_missing": _leaf(without=(x509.AuthorityInformationAccess,)),
    "x509.revocation_unknown": _leaf(
        without=(x509.CRLDistributionPoints, x509.AuthorityInformationAccess)
    ),
    "x509.crl_point_without_url": _plus(
        _points(full_name=None, crl_issuer=[x509.DirectoryName(name(cn="CRL issuer"))])
    ),
    "x509.crl_point_partial": _plus(_points(reasons=frozenset([x509.ReasonFlags.key_compromise]))),
    "x509.url_https": _plus(access(ocsp="https://pki.example.com/ocsp")),
    "x509.url_not_http": _plus(crl_at("ldap://ldap.example.com/cn=ca")),
}
