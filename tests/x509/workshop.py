"""Certificates made to order for the tests of names, profiles and lint.

The library refuses to make some of the certificates that a linter must survive, so a few are altered
after they were signed; the linter verifies no signature.
"""

import datetime as dt
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID, ObjectIdentifier

from pki.x509.builtin import builtin_profiles
from pki.x509.keys import key_algorithm

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
CRL_URL = "http://pki.example.com/crl/issuing.crl"
OCSP_URL = "http://pki.example.com/ocsp/issuing"
ISSUER_URL = "http://pki.example.com/ca/issuing.crt"
SERIAL = 0x5A0102030405060708090A0B0C0D0E0F
_NO_USAGE = dict.fromkeys(
    (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)

Extension = tuple[x509.ExtensionType, bool]


@cache
def ec_key(curve: str = "secp256r1", number: int = 0) -> ec.EllipticCurvePrivateKey:
    """The test suite's key of that curve and number."""
    curves = {
        "secp256r1": ec.SECP256R1,
        "secp384r1": ec.SECP384R1,
        "secp521r1": ec.SECP521R1,
        "secp224r1": ec.SECP224R1,
        "secp256k1": ec.SECP256K1,
    }
    return ec.generate_private_key(curves[curve]())


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    """The test suite's RSA key of 2048 bits."""
    return rsa.generate_private_key(65537, 2048)


@cache
def ed25519_key() -> ed25519.Ed25519PrivateKey:
    """The test suite's Ed25519 key."""
    return ed25519.Ed25519PrivateKey.generate()


def rsa_public(bits: int, exponent: int = 65537) -> rsa.RSAPublicKey:
    """A public key of that size that nobody has the private key of."""
    return rsa.RSAPublicNumbers(exponent, (1 << (bits - 1)) + 0x9D7).public_key()


def name(**attributes: str) -> x509.Name:
    """A distinguished name of O= and CN=, in that order."""
    oids = {"o": NameOID.ORGANIZATION_NAME, "cn": NameOID.COMMON_NAME}
    return x509.Name([x509.NameAttribute(oids[k], v) for k, v in attributes.items()])


def long_name(cn: str) -> x509.Name:
    """A subject whose common name is longer than RFC 5280 allows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn, _validate=False)])


def key_usage(*bits: str) -> x509.KeyUsage:
    """A keyUsage with those bits."""
    return x509.KeyUsage(**{**_NO_USAGE, **dict.fromkeys(bits, True)})


def usages(*oids: str) -> x509.ExtendedKeyUsage:
    """An extendedKeyUsage of dotted OIDs."""
    return x509.ExtendedKeyUsage([ObjectIdentifier(oid) for oid in oids])


def dns(*names: str) -> x509.SubjectAlternativeName:
    """A subjectAltName of dNSNames."""
    return x509.SubjectAlternativeName([x509.DNSName(name) for name in names])


def crl_at(*urls: str) -> x509.CRLDistributionPoints:
    """One distribution point with those URLs."""
    full_name = [x509.UniformResourceIdentifier(url) for url in urls]
    return x509.CRLDistributionPoints([x509.DistributionPoint(full_name, None, None, None)])


def access(ocsp: str = OCSP_URL, issuers: str = ISSUER_URL) -> x509.AuthorityInformationAccess:
    """An authorityInfoAccess with an OCSP responder and the issuer's certificate."""
    methods = AuthorityInformationAccessOID
    return x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(methods.OCSP, x509.UniformResourceIdentifier(ocsp)),
            x509.AccessDescription(methods.CA_ISSUERS, x509.UniformResourceIdentifier(issuers)),
        ]
    )


@dataclass
class Order:
    """What to make. `without` and `plus` change the usual extensions by type."""

    subject: x509.Name = field(default_factory=lambda: name(o="Example", cn="gw1.example.com"))
    issuer: x509.Name = field(default_factory=lambda: name(o="Example", cn="Issuing CA"))
    public_key: object = None
    signer: object = None
    serial: int = SERIAL
    not_before: dt.datetime = NOW - dt.timedelta(days=1)
    not_after: dt.datetime = NOW + dt.timedelta(days=89)
    hash: hashes.HashAlgorithm | None = field(default_factory=hashes.SHA256)
    padding: object = None
    without: Sequence[type[x509.ExtensionType]] = ()
    plus: Iterable[Extension] = ()


def _make(order: Order, extensions: list[Extension]) -> x509.Certificate:
    changed = [*order.plus]
    replaced = {value.oid for value, _ in changed} | {kind.oid for kind in order.without}
    builder = (
        x509.CertificateBuilder()
        .subject_name(order.subject)
        .issuer_name(order.issuer)
        .public_key(order.public_key)
        .serial_number(order.serial)
        .not_valid_before(order.not_before)
        .not_valid_after(order.not_after)
    )
    for value, critical in [*(e for e in extensions if e[0].oid not in replaced), *changed]:
        builder = builder.add_extension(value, critical)
    signer = order.signer or ec_key(number=1)
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else order.hash
    return builder.sign(signer, digest, rsa_padding=order.padding)


def end_entity(profile: str = "gateway", **order: object) -> x509.Certificate:
    """A certificate as that built-in profile has it, but for what `order` changes."""
    wanted = Order(**order)
    wanted.public_key = wanted.public_key or ec_key().public_key()
    rules = builtin_profiles()[profile]
    issuer_key = (wanted.signer or ec_key(number=1)).public_key()
    extensions: list[Extension] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (rules.key_usage_extension(key_algorithm(wanted.public_key)), rules.key_usage_critical),
        (x509.SubjectKeyIdentifier.from_public_key(wanted.public_key), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), False),
        (dns("gw1.example.com"), False),
        (crl_at(CRL_URL), False),
        (access(), False),
    ]
    purposes = rules.extended_key_usage_extension()
    if purposes is not None:
        extensions.append((purposes, False))
    return _make(wanted, extensions)


def authority(*, root: bool = False, **order: object) -> x509.Certificate:
    """An issuing authority's certificate, or a root's, but for what `order` changes."""
    wanted = Order(**{"subject": name(o="Example", cn="Issuing CA"), **order})
    wanted.public_key = wanted.public_key or ec_key(number=1).public_key()
    extensions: list[Extension] = [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (key_usage("key_cert_sign", "crl_sign"), True),
        (x509.SubjectKeyIdentifier.from_public_key(wanted.public_key), False),
    ]
    if root:
        wanted.issuer = wanted.subject
    else:
        wanted.signer = wanted.signer or ec_key(number=2)
        if "issuer" not in order:
            wanted.issuer = name(o="Example", cn="Root CA")
        key = wanted.signer.public_key()
        extensions += [
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(key), False),
            (crl_at("http://pki.example.com/crl/root.crl"), False),
            (access(), False),
        ]
    return _make(wanted, extensions)


def altered(certificate: x509.Certificate, old: bytes, new: bytes) -> x509.Certificate:
    """The certificate with `old` replaced inside; the lengths of the structures around follow."""
    body = _contents(certificate.public_bytes(Encoding.DER))
    inner = _contents(body)
    after = body[len(_sequence(inner)) :]
    if old not in inner:
        raise AssertionError("nothing to alter")
    # The signature algorithm stands inside and outside.
    inner = inner.replace(old, new, 1)
    return load(_sequence(_sequence(inner) + after.replace(old, new, 1)))


def load(der: bytes) -> x509.Certificate:
    """The certificate; the library's warning about serial numbers is the linter's business here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return x509.load_der_x509_certificate(der)


def _contents(sequence: bytes) -> bytes:
    if sequence[1] < 0x80:
        return sequence[2 : 2 + sequence[1]]
    octets = sequence[1] & 0x7F
    start = 2 + octets
    return sequence[start : start + int.from_bytes(sequence[2:start])]


def _sequence(contents: bytes) -> bytes:
    size = len(contents)
    if size < 0x80:
        return bytes([0x30, size]) + contents
    octets = (size.bit_length() + 7) // 8
    return bytes([0x30, 0x80 | octets]) + size.to_bytes(octets) + contents
