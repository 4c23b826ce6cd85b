"""Keys, certificates and secrets for the hosts of the corpus: all are made when a host is built."""

import atexit
import base64
import datetime as dt
import random
import secrets
import shutil
import tempfile
from functools import cache
from math import gcd, isqrt, prod
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from ike.audit.published import PublishedKeys, listed
from pki.x509 import der
from tests.ike.audit.windows import machine
from tests.x509 import workshop

NOW = machine.NOW
OWN, ISSUER, ROOT = 0, 1, 2  # numbers of the workshop's keys
PEER = 3
_SMALL = prod(n for n in range(2, 752) if all(n % d for d in range(2, isqrt(n) + 1)))


def secret() -> str:
    """A pre-shared key or password as it ought to be, another one each time."""
    return base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")


def octets() -> bytes:
    """The 32 octets of a PPK."""
    return secrets.token_bytes(32)


def key_pem(number: int = OWN, *, passphrase: str = "", curve: str = "secp256r1") -> bytes:
    """A private key in PKCS#8."""
    return pkcs8(_key(number, curve), passphrase)


def _key(number: int, curve: str = "secp256r1") -> ec.EllipticCurvePrivateKey:
    if curve == "secp256r1":  # as the workshop's certificates name them
        return workshop.ec_key(number=number) if number else workshop.ec_key()
    return workshop.ec_key(curve, number)


@cache
def published(*numbers: int) -> tuple[PublishedKeys, ...]:
    """A list of published keys that has these of the workshop's."""
    points = [_key(each).public_key().public_numbers().x for each in numbers]
    hashes = sorted(listed(x.to_bytes((x.bit_length() + 7) // 8, "big")) for x in points)
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "blocklist.dat"
    path.write_bytes(b"".join(each + b"\7" for each in hashes))
    return (PublishedKeys(path),)


def pkcs8(key: PrivateKeyTypes, passphrase: str = "") -> bytes:
    """A private key in PKCS#8."""
    how: KeySerializationEncryption = NoEncryption()
    if passphrase:
        how = BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


def gateway(now: dt.datetime, name: str = "gw1.example.com", **order: Any) -> bytes:
    """The certificate of a gateway. `order` is what the workshop changes."""
    return certificate(now, name, **order).public_bytes(Encoding.PEM)


def certificate(now: dt.datetime, name: str = "gw1.example.com", **order: Any) -> x509.Certificate:
    """As `gateway`, before it is written."""
    given: dict[str, Any] = {
        "not_before": now - dt.timedelta(days=1),
        "not_after": now + dt.timedelta(days=200),
        "subject": workshop.name(o="Example", cn=name),
        "plus": [(workshop.dns(name), False)],
        "serial": secrets.randbits(120) | 1 << 120,
        **order,
    }
    return workshop.end_entity(**given)


def with_sha1(now: dt.datetime) -> bytes:
    """The certificate of the gateway, signed as the library signs no more."""
    ecdsa = bytes.fromhex("300a06082a8648ce3d040302"), bytes.fromhex("300906072a8648ce3d0401")
    altered = workshop.altered(certificate(now), *ecdsa)
    signature = workshop.ec_key(number=ISSUER).sign(
        altered.tbs_certificate_bytes,
        ec.ECDSA(hashes.SHA1()),  # noqa: S303 - that is the fault
    )
    bits = der.tlv(der.BIT_STRING, b"\0" + signature)
    whole = der.tlv(der.SEQUENCE, altered.tbs_certificate_bytes + ecdsa[1] + bits)
    return workshop.load(whole).public_bytes(Encoding.PEM)


def peer(now: dt.datetime, **order: Any) -> bytes:
    """The certificate of the peer."""
    key = workshop.ec_key(number=PEER).public_key()
    return gateway(now, "gw2.example.com", **{"public_key": key, **order})


def issuer(now: dt.datetime, **order: Any) -> bytes:
    """The certificate of the authority that issues."""
    return workshop.authority(**_years(now), **order).public_bytes(Encoding.PEM)


def root(now: dt.datetime) -> bytes:
    """The certificate of the root."""
    key = workshop.ec_key(number=ROOT)
    name = workshop.name(o="Example", cn="Root CA")
    given = {"subject": name, "public_key": key.public_key(), "signer": key, **_years(now)}
    path = (x509.BasicConstraints(ca=True, path_length=1), True)
    return workshop.authority(root=True, plus=[path], **given).public_bytes(Encoding.PEM)


def _years(now: dt.datetime) -> dict[str, Any]:
    return {
        "not_before": now - dt.timedelta(days=300),
        "not_after": now + dt.timedelta(days=1500),
        "serial": secrets.randbits(120) | 1 << 120,
    }


def p12(now: dt.datetime, passphrase: str) -> bytes:
    """The gateway's key with its certificate, and that of who issued it."""
    chain = [x509.load_pem_x509_certificate(issuer(now))]
    how: KeySerializationEncryption = NoEncryption()
    if passphrase:
        how = BestAvailableEncryption(passphrase.encode())
    own = certificate(now)
    return pkcs12.serialize_key_and_certificates(b"gw1", workshop.ec_key(), own, chain, how)


# ---------------------------------------------------------------- keys that nobody may have


def made_up(modulus: int, exponent: int = 65537) -> bytes:
    """An RSA key of these numbers; the private ones are nothing."""
    return _sequence(0, modulus, exponent, 1, 1, 1, 1, 1, 1)


def dsa() -> bytes:
    """A DSA key whose numbers are nothing but long."""
    return _sequence(0, prime(2048, 1), prime(256, 2), 2, prime(2047, 3), 5)


def _sequence(*numbers: int) -> bytes:
    return der.tlv(der.SEQUENCE, b"".join(map(der.integer, numbers)))


@cache
def prime(bits: int, seed: int) -> int:
    """What nobody can tell from a prime who does not test for one: it has no small factor."""
    chance = random.Random(seed)
    while True:
        value = chance.getrandbits(bits) | 3 << (bits - 2) | 1
        if gcd(value, _SMALL) == 1:
            return value


def rsa(bits: int, seed: int = 10, exponent: int = 65537) -> bytes:
    """An RSA key of that size."""
    return made_up(prime(bits // 2, seed) * prime(bits - bits // 2, seed + 1), exponent)


def close_primes() -> bytes:
    """An RSA key whose primes are next to each other."""
    first = prime(1024, 5)
    second = first + 2
    while gcd(second, _SMALL) != 1:
        second += 2
    return made_up(first * second)


def faulty_library() -> bytes:
    """An RSA key of 512 bits as the faulty library of Infineon makes them."""
    primorial = prod(n for n in range(2, 168) if all(n % d for d in range(2, isqrt(n) + 1)))

    def one(seed: int) -> int:
        chance = random.Random(seed)
        rest = 256 - primorial.bit_length()
        while True:
            value = (chance.getrandbits(rest) | 1 << (rest - 1)) * primorial
            value += pow(65537, chance.getrandbits(64), primorial)
            if pow(2, value - 1, value) == 1:
                return value

    return made_up(one(1) * one(2))
