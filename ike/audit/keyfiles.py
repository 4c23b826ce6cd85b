"""What stands in files of keys and certificates, whatever their format. Pure: octets in, values out.

Of a private key the public part is kept, and whether a passphrase protects it. No passphrase is asked for or tried, but
the empty one of a PKCS#12 file, and nothing long is calculated with the private numbers: a file cannot hold up an
audit.
"""

import base64
import binascii
import hashlib
import re
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)

from ike.audit import pkcs12, weak_keys
from ike.audit.effort import UNTRIED, Effort, TooCostly
from ike.audit.weak_keys import PublicKey, number, oid_of
from ike.secrets.values import Place, Problem
from pki.x509 import der
from pki.x509.malformed import MALFORMED

_BLOCK: Final = re.compile(rb"^[ \t]*-----BEGIN ([A-Z0-9 ]{1,40})-----", re.MULTILINE)
_MAX_BLOCKS: Final = 2000  # a bundle of the world's authorities has 150
_SMALL: Final = 16_384  # octets of a key that is not RSA
_OPENSSH: Final = b"openssh-key-v1\0"
_RAW: Final = re.compile(
    rb"(?<![A-Za-z])Modulus:\s*0x([0-9A-Fa-f]{16,8192})\s+PublicExponent:\s*0x([0-9A-Fa-f]{1,64})\b"
)


@dataclass(frozen=True)
class Key:
    """A private key, without what is private. `public` is None where only the passphrase would tell it.

    `encrypted`: with a passphrase that is not empty. `old`: by the way of old PEM files, MD5 once.
    """

    place: Place
    form: str
    encrypted: bool = False
    public: PublicKey | None = None
    old: bool = False


@dataclass(frozen=True, eq=False)
class Certificate:
    """A certificate, and its key; None where that cannot be read. `label`: a database calls it so."""

    place: Place
    certificate: x509.Certificate
    public: PublicKey | None
    label: str = ""


@dataclass
class Contents:
    """What stands in a file."""

    keys: list[Key] = field(default_factory=list)
    certificates: list[Certificate] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    known: bool = False  # something else that is known: a request, a list, a public key


def parse(path: str, octets: bytes, effort: Effort | None = None) -> Contents:
    """The keys and certificates of a file. What cannot be read is a problem, and hides nothing else.

    `effort`: that of the run, of which this file is one.
    """
    contents, effort = Contents(), effort or Effort()
    found = False
    for place, label, data in _blocks(path, octets, contents):
        found = True
        try:
            _block(contents, place, label, data, effort)
        except MALFORMED:
            contents.problems.append(
                Problem(place, f"a {label.lower() or 'block'} that cannot be read")
            )
    if not found and not contents.problems and octets.strip():
        try:
            _der(contents, Place(path, 0), octets, effort)
        except MALFORMED:
            contents.problems.append(
                Problem(Place(path, 0), "no key or certificate of a known form")
            )
    return contents


def _blocks(path: str, octets: bytes, contents: Contents) -> Iterator[tuple[Place, str, bytes]]:
    """The blocks of a PEM file (RFC 7468): line, label, what stands between the lines."""
    at, line, counted = 0, 1, 0
    for count, begin in enumerate(_BLOCK.finditer(octets)):
        if begin.start() < at:
            continue
        line, counted = line + octets.count(b"\n", counted, begin.end()), begin.end()
        place, label = Place(path, line), begin[1].decode()
        if count >= _MAX_BLOCKS:
            contents.problems.append(Problem(place, "too much stands in it: the rest is not read"))
            return
        end = octets.find(b"-----END " + begin[1] + b"-----", begin.end())
        if end < 0:
            contents.problems.append(Problem(place, f"a {label.lower()} without its end"))
            return
        yield place, label, octets[begin.end() : end]
        at = end


def _block(contents: Contents, place: Place, label: str, text: bytes, effort: Effort) -> None:
    if label.endswith("PRIVATE KEY") and b"Proc-Type:" in text:
        # RFC 1421 §4.6.1.1, as OpenSSL writes it: the passphrase is hashed once, with MD5.
        contents.keys.append(Key(place, "PEM", encrypted=True, old=True))
        return
    if not label.endswith(("PRIVATE KEY", "CERTIFICATE", "PKCS12")):
        contents.known = True
        return
    data = _decoded(text)
    if label == "OPENSSH PRIVATE KEY":
        contents.keys.append(_openssh(place, data))
    elif label == "TRUSTED CERTIFICATE":
        contents.certificates.append(certificate(place, data[: der.read(data, 0).end]))
    else:
        _der(contents, place, data, effort)


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        raise ValueError("not Base64") from None


def _der(contents: Contents, place: Place, data: bytes, effort: Effort) -> None:
    """What is known by its shape. Raises ValueError."""
    if data.startswith(_OPENSSH):
        contents.keys.append(_openssh(place, data))
        return
    top = der.read(data, 0)
    if top.tag != der.SEQUENCE:
        raise ValueError("not a sequence")
    data = data[: top.end]
    tags = [part.tag for part in der.children(data, top)]
    if tags[:2] == [der.INTEGER, der.SEQUENCE] and len(tags) in (2, 3) and pkcs12.is_one(data):
        contents.keys += _bags(contents, place, data, effort)
    elif tags == [der.SEQUENCE, der.OCTET_STRING]:
        oid_of(data, der.children(data, der.children(data, top)[0])[0])
        contents.keys.append(Key(place, "PKCS#8", encrypted=True))
    elif tags == [der.SEQUENCE, der.SEQUENCE, der.BIT_STRING]:
        _signed(contents, place, data)
    elif tags == [der.SEQUENCE, der.BIT_STRING]:
        weak_keys.from_spki(data)
        contents.known = True
    else:
        contents.keys.append(private_key(place, data))


def _bags(contents: Contents, place: Place, data: bytes, effort: Effort) -> list[Key]:
    try:
        bags = pkcs12.bags(data, effort)
    except TooCostly:
        bags = [pkcs12.Bag(encrypted=True)]
        told = Problem(Place(place.path, 0), UNTRIED)
        contents.problems += [told] if told not in contents.problems else []
    return [Key(place, "PKCS#12", bag.encrypted, bag.public) for bag in bags]


def _signed(contents: Contents, place: Place, data: bytes) -> None:
    """A certificate, or a request or a revocation list, which have its shape."""
    try:
        contents.certificates.append(certificate(place, data))
    except MALFORMED:
        for load in (x509.load_der_x509_csr, x509.load_der_x509_crl):
            with suppress(*MALFORMED):
                load(data)
                contents.known = True
                return
        raise


def certificate(place: Place, data: bytes, label: str = "") -> Certificate:
    """A certificate in DER. Raises one of MALFORMED."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is wrong with it: the lint says it better
        loaded = x509.load_der_x509_certificate(data)
    public = None
    with suppress(*MALFORMED):
        public = weak_keys.from_spki(_spki(loaded.tbs_certificate_bytes))
    return Certificate(place, loaded, public, label)


def fingerprint(loaded: x509.Certificate) -> str:
    """The SHA-256 of a certificate, in hexadecimal digits."""
    return hashlib.sha256(loaded.public_bytes(Encoding.DER)).hexdigest()


def _spki(tbs: bytes) -> bytes:
    """The key of a certificate, as it stands there (RFC 5280 §4.1)."""
    parts = der.children(tbs, der.read(tbs, 0))
    versioned = parts[0].tag == 0xA0
    key = parts[6 if versioned else 5]
    return tbs[key.start : key.end]


# ---------------------------------------------------------------- private keys


def _openssh(place: Place, data: bytes) -> Key:
    """OpenSSH's own format: the public key stands in it unencrypted (PROTOCOL.key)."""
    if not data.startswith(_OPENSSH):
        raise ValueError("not OpenSSH's format")
    at = len(_OPENSSH)
    cipher, kdf, options = weak_keys.strings(data[at:], 3)
    at += 12 + len(cipher) + len(kdf) + len(options) + 4  # one key follows, says the number
    blob = next(weak_keys.strings(data[at:], 1))
    return Key(place, "OpenSSH", cipher != b"none", weak_keys.from_ssh(blob))


def private_key(place: Place, data: bytes) -> Key:
    """An unencrypted private key in DER: PKCS#8 (RFC 5958), PKCS#1 (RFC 8017), SEC 1 (RFC 5915) or DSA's own form.

    Raises ValueError.
    """
    top = der.read(data, 0)
    parts = der.children(data, top)
    tags = [part.tag for part in parts]
    if len(parts) >= 9 and set(tags[:9]) == {der.INTEGER}:
        return Key(
            place, "PKCS#1", public=weak_keys.rsa(number(data, parts[1]), number(data, parts[2]))
        )
    if tags == [der.INTEGER] * 6:
        public = weak_keys.dsa(number(data, parts[1]), number(data, parts[4]))
        return Key(place, "DSA", public=public)
    if tags[:2] == [der.INTEGER, der.OCTET_STRING]:
        return Key(place, "SEC 1", public=_on_curve(data[: top.end], ""))
    if tags[:3] == [der.INTEGER, der.SEQUENCE, der.OCTET_STRING]:
        return Key(place, "PKCS#8", public=_pkcs8(data[: top.end], parts))
    raise ValueError("no private key")


def _pkcs8(data: bytes, parts: list[der.Element]) -> PublicKey:
    name, parameters = weak_keys.algorithm_of(data, parts[1])
    inner = data[parts[2].content : parts[2].end]
    if name in weak_keys.RSA:
        numbers = der.children(inner, der.read(inner, 0))
        return weak_keys.rsa(number(inner, numbers[1]), number(inner, numbers[2]))
    if name in weak_keys.DSA and parameters is not None:
        return weak_keys.dsa(number(data, der.children(data, parameters)[0]))
    if name == weak_keys.EC:
        return _on_curve(inner, weak_keys.curve_of(data, parameters))
    return _derived(data) or weak_keys.other(name)


def _on_curve(data: bytes, curve: str) -> PublicKey:
    """Of an ECPrivateKey; the curve stands in it, or before it."""
    for part in der.children(data, der.read(data, 0))[2:]:
        inner = der.read(data, part.content)
        if part.tag == 0xA0:
            curve = weak_keys.curve_of(data, inner) or curve
        elif part.tag == 0xA1:
            return weak_keys.ec(curve, data[inner.content + 1 : inner.end])
    return weak_keys.ec(curve)


def _derived(data: bytes) -> PublicKey | None:
    """The public part of a key that does not carry it, where that is quickly calculated."""
    if len(data) > _SMALL:
        return None
    try:
        loaded = load_der_private_key(data, None)
    except MALFORMED:
        return None
    if isinstance(loaded, RSAPrivateKey | EllipticCurvePrivateKey):
        return None
    spki = loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return weak_keys.from_spki(spki)


def raw_keys(path: str, octets: bytes) -> list[Key]:
    """RSA keys whose numbers stand in a secrets file of old Libreswan (`: RSA { Modulus: 0x… }`)."""
    keys = []
    for match in _RAW.finditer(octets):
        place = Place(path, octets.count(b"\n", 0, match.start()) + 1)
        public = weak_keys.rsa(int(match[1], 16), int(match[2], 16))
        keys.append(Key(place, "ipsec.secrets", public=public))
    return keys
