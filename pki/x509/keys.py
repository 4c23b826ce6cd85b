"""What kind of key a public key is, and whether it is good enough to certify."""

import re
from collections.abc import Iterable
from functools import lru_cache
from math import gcd, isqrt, prod
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric import (
    dsa,
    ec,
    ed448,
    ed25519,
    mldsa,
    rsa,
    x448,
    x25519,
)
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.errors import InvalidInput

_CURVES: Final = {"secp256r1": "ec-p256", "secp384r1": "ec-p384", "secp521r1": "ec-p521"}

_ONE_SIZE: Final = (
    (ed25519.Ed25519PublicKey, "ed25519"),
    (ed448.Ed448PublicKey, "ed448"),
    (x25519.X25519PublicKey, "x25519"),
    (x448.X448PublicKey, "x448"),
    (mldsa.MLDSA44PublicKey, "ml-dsa-44"),
    (mldsa.MLDSA65PublicKey, "ml-dsa-65"),
    (mldsa.MLDSA87PublicKey, "ml-dsa-87"),
)

MIN_RSA_BITS: Final = 2048  # NIST SP 800-131A rev. 2: less is disallowed
MAX_RSA_BITS: Final = (
    8192  # every peer verifies with it; beyond this it is a way to keep gateways busy
)
_RSA = re.compile(r"rsa-([1-9][0-9]{3,4})\Z")
NAMED_ALGORITHMS: Final = frozenset(
    {*_CURVES.values(), "ed25519", "ed448", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87"}
)

_SIEVE_LIMIT = 752
_SMALL_PRIMES: Final = tuple(
    n for n in range(3, _SIEVE_LIMIT, 2) if all(n % d for d in range(3, isqrt(n) + 1, 2))
)
_PRIMORIAL: Final = prod(_SMALL_PRIMES)
# CVE-2017-15361 (Infineon TPMs and cards): p and q lie in the subgroup that 65537 generates modulo
# a primorial, so their product does too. Keys of 992 bits and more use at least the primes up to
# 353, shorter ones those up to 167.
_ROCA_SUBGROUPS: Final = tuple(
    (prime, frozenset(pow(65537, k, prime) for k in range(prime - 1)))
    for prime in _SMALL_PRIMES[:70]
)
_ROCA_LONG: Final = 992
_ROCA_FEW: Final = 38
_FERMAT_ROUNDS = 100
# y-coordinates of the eight points of small order on edwards25519 and their second encodings; a
# signature under such a key proves nothing (RFC 8032 §5.1; computed from the curve equation, see
# the test).
_P25519 = 2**255 - 19
_SMALL_ORDER_Y: Final = frozenset(
    {
        0,
        1,
        _P25519 - 1,
        _P25519,
        _P25519 + 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)


class WeakKey(InvalidInput):
    """A key that anybody could break, whatever the profile says."""

    code = "weak_key"
    next_step = "Make a new key and a new request from it; do not use this key anywhere."


class KeyNotAllowed(InvalidInput):
    """A sound key of a kind that the profile does not take."""

    code = "key_not_allowed"


def key_algorithm(public_key: CertificatePublicKeyTypes) -> str:
    """The name of the key's kind and its size: "ec-p256", "rsa-3072" (its own size), "ed25519" …"""
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        curve = public_key.curve.name
        return _CURVES.get(curve) or f"ec-{curve.lower()}"
    if isinstance(public_key, rsa.RSAPublicKey):
        return f"rsa-{public_key.key_size}"
    if isinstance(public_key, dsa.DSAPublicKey):
        return f"dsa-{public_key.key_size}"
    return next((name for kind, name in _ONE_SIZE if isinstance(public_key, kind)), "unknown")


def is_algorithm_name(name: str) -> bool:
    """Whether a profile may name this algorithm; `rsa-N` stands for RSA of N bits or more."""
    match = _RSA.match(name)
    if match:
        return MIN_RSA_BITS <= int(match[1]) <= MAX_RSA_BITS
    return name in NAMED_ALGORITHMS


def algorithm_in_words(name: str) -> str:
    """How a profile's algorithm is told to people: `rsa-3072 or longer`."""
    return f"{name} or longer" if _RSA.match(name) else name


def check_key(public_key: CertificatePublicKeyTypes, allowed: Iterable[str]) -> str:
    """The key's algorithm, after making sure that it is in `allowed` and not known to be weak.

    `allowed` holds algorithm names; `rsa-3072` lets RSA keys of 3072 bits and more pass. Raises
    KeyNotAllowed and WeakKey. The point of an EC key was already checked to lie on its curve when
    the key was loaded.
    """
    algorithm = key_algorithm(public_key)
    names = tuple(allowed)
    if not _is_allowed(public_key, algorithm, names):
        raise KeyNotAllowed(
            f"The profile does not allow {algorithm} keys.",
            next_step=f"Make a key of one of these kinds: {', '.join(map(algorithm_in_words, names))}.",
            details={"algorithm": algorithm, "allowed": list(names)},
        )
    if isinstance(public_key, rsa.RSAPublicKey):
        _check_rsa(public_key)
    elif isinstance(public_key, ed25519.Ed25519PublicKey):
        _check_ed25519(public_key)
    return algorithm


@lru_cache(maxsize=256)
def _rsa_floor(names: tuple[str, ...]) -> int | None:
    return min((int(m[1]) for m in map(_RSA.match, names) if m), default=None)


def _is_allowed(
    public_key: CertificatePublicKeyTypes, algorithm: str, names: tuple[str, ...]
) -> bool:
    if isinstance(public_key, rsa.RSAPublicKey):
        floor = _rsa_floor(names)
        return floor is not None and floor <= public_key.key_size <= MAX_RSA_BITS
    return algorithm in names


def _check_rsa(public_key: rsa.RSAPublicKey) -> None:
    numbers = public_key.public_numbers()
    n, e = numbers.n, numbers.e
    # FIPS 186-5 §A.1.1: odd, more than 2^16, less than 2^256.
    if e % 2 == 0 or not 65537 <= e < 2**256:
        raise WeakKey("The RSA public exponent is not an odd number between 65537 and 2^256.")
    flaw = modulus_flaw(n)
    if flaw is not None:
        raise WeakKey(_FLAWS[flaw])


Flaw = Literal["small factor", "roca", "close primes"]
_FLAWS: Final[dict[Flaw, str]] = {
    "small factor": "The RSA modulus has a small factor.",
    "roca": "The RSA key was made by the faulty Infineon library (ROCA, CVE-2017-15361).",
    "close primes": "The two primes of the RSA key are so close that it can be factored.",
}


def modulus_flaw(n: int) -> Flaw | None:
    """What makes an RSA modulus greater than 1 one that can be factored, as far as it alone tells. Takes some
    milliseconds for the usual sizes.
    """
    if n % 2 == 0 or gcd(n, _PRIMORIAL) != 1:
        return "small factor"
    groups = _ROCA_SUBGROUPS if n.bit_length() >= _ROCA_LONG else _ROCA_SUBGROUPS[:_ROCA_FEW]
    if all(n % prime in group for prime, group in groups):
        return "roca"
    return "close primes" if _factors_are_close(n) else None


def _factors_are_close(n: int) -> bool:
    # Fermat's method (CVE-2022-26320): n = a² - b² with a near √n.
    a = isqrt(n - 1) + 1
    remainder = a * a - n
    for _ in range(_FERMAT_ROUNDS):
        root = isqrt(remainder)
        if root * root == remainder:
            return True
        remainder += 2 * a + 1
        a += 1
    return False


def _check_ed25519(public_key: ed25519.Ed25519PublicKey) -> None:
    raw = public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y in _SMALL_ORDER_Y:
        raise WeakKey("The Ed25519 public key is a point of small order.")
