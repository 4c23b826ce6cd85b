"""Which keys are certified."""

from collections.abc import Iterator

import pytest
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

from pki.x509.keys import KeyNotAllowed, WeakKey, check_key, is_algorithm_name, key_algorithm
from tests.x509 import workshop

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_ORDER = 2**252 + 27742317777372353535851937790883648493


def test_every_kind_of_key_has_a_name() -> None:
    keys = {
        "ec-p256": workshop.ec_key("secp256r1"),
        "ec-p384": workshop.ec_key("secp384r1"),
        "ec-p521": workshop.ec_key("secp521r1"),
        "ec-secp256k1": workshop.ec_key("secp256k1"),
        "rsa-2048": workshop.rsa_key(),
        "ed25519": workshop.ed25519_key(),
        "ed448": ed448.Ed448PrivateKey.generate(),
        "x25519": x25519.X25519PrivateKey.generate(),
        "x448": x448.X448PrivateKey.generate(),
        "ml-dsa-44": mldsa.MLDSA44PrivateKey.generate(),
        "ml-dsa-65": mldsa.MLDSA65PrivateKey.generate(),
        "ml-dsa-87": mldsa.MLDSA87PrivateKey.generate(),
        "dsa-1024": dsa.generate_private_key(1024),  # noqa: S505  only its name matters
    }
    assert {name: key_algorithm(key.public_key()) for name, key in keys.items()} == {
        name: name for name in keys
    }


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("ec-p256", True),
        ("ed448", True),
        ("rsa-2048", True),
        ("rsa-3000", True),
        ("rsa-8192", True),
        ("rsa-2047", False),
        ("rsa-8193", False),
        ("rsa-", False),
        ("rsa-04096", False),
        ("rsa", False),
        ("ec-secp256k1", False),
        ("x25519", False),
        ("", False),
    ],
)
def test_names_a_profile_may_use(name: str, known: bool) -> None:
    assert is_algorithm_name(name) is known


def test_an_rsa_size_is_a_floor() -> None:
    key = workshop.rsa_key().public_key()
    assert check_key(key, ("rsa-2048",)) == "rsa-2048"
    assert check_key(key, ("rsa-4096", "ec-p256", "rsa-2048")) == "rsa-2048"
    with pytest.raises(KeyNotAllowed) as refused:
        check_key(key, ("rsa-3072", "ec-p256"))
    assert refused.value.details == {"algorithm": "rsa-2048", "allowed": ["rsa-3072", "ec-p256"]}
    assert "rsa-3072 or longer, ec-p256" in refused.value.next_step


def test_an_rsa_key_that_every_peer_would_sweat_over_is_refused() -> None:
    with pytest.raises(KeyNotAllowed):
        check_key(workshop.rsa_public(8200), ("rsa-2048",))


@pytest.mark.parametrize("allowed", [(), ("ec-p384",), ("rsa-2048",)])
def test_other_kinds_match_by_name(allowed: tuple[str, ...]) -> None:
    key = workshop.ec_key().public_key()
    assert check_key(key, ("ec-p256",)) == "ec-p256"
    with pytest.raises(KeyNotAllowed):
        check_key(key, allowed)


def _rsa(n: int, e: int = 65537) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(e, n).public_key()


def _without_small_factors(start: int) -> int:
    candidate = start | 1
    while any(candidate % divisor == 0 for divisor in range(3, 1000, 2)):
        candidate += 2
    return candidate


def _two_primes() -> tuple[int, int]:
    numbers = workshop.rsa_key().private_numbers()
    return numbers.p, numbers.q


def test_a_small_exponent_is_weak() -> None:
    with pytest.raises(WeakKey, match="exponent"):
        check_key(_rsa(workshop.rsa_key().public_key().public_numbers().n, 3), ("rsa-2048",))


def test_a_huge_exponent_is_weak() -> None:
    n = workshop.rsa_key().public_key().public_numbers().n
    with pytest.raises(WeakKey, match="exponent"):
        check_key(_rsa(n, 2**256 + 1), ("rsa-2048",))


def test_a_small_factor_is_found() -> None:
    with pytest.raises(WeakKey, match="small factor"):
        check_key(_rsa(_without_small_factors(2**2040) * 751), ("rsa-2048",))


def test_close_primes_are_found() -> None:
    p = _without_small_factors(3 << 1022)
    with pytest.raises(WeakKey, match="close"):
        check_key(_rsa(p * _without_small_factors(p + 2)), ("rsa-2048",))
    with pytest.raises(WeakKey, match="close"):
        check_key(_rsa(p * p), ("rsa-2048",))


def test_the_infineon_keys_are_found() -> None:
    # ROCA primes have the form k * M + (65537^a mod M), M being a product of the first primes.
    primorial = 1
    for n in range(2, 700):
        if all(n % d for d in range(2, n)):
            primorial *= n

    def prime(seed: int) -> int:
        exponent = seed
        while True:
            candidate = (seed << 60) * primorial + pow(65537, exponent, primorial)
            if candidate.bit_length() >= 1020 and pow(2, candidate - 1, candidate) == 1:
                return candidate
            exponent += 1

    with pytest.raises(WeakKey, match="ROCA"):
        check_key(_rsa(prime(0xC0FFEE) * prime(0xFACADE)), ("rsa-2048",))


def test_honest_rsa_keys_pass() -> None:
    p, q = _two_primes()
    assert check_key(_rsa(p * q), ("rsa-2048",)) == "rsa-2048"


def _add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    (x1, y1), (x2, y2) = a, b
    k = _D * x1 * x2 * y1 * y2
    return (
        (x1 * y2 + x2 * y1) * pow(1 + k, -1, _P) % _P,
        (y1 * y2 + x1 * x2) * pow(1 - k, -1, _P) % _P,
    )


def _points() -> Iterator[tuple[int, int]]:
    """Points of edwards25519, in order of y (RFC 8032 §5.1.3)."""
    for y in range(2, 100):
        square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
        x = pow(square, (_P + 3) // 8, _P)
        if (x * x - square) % _P:
            x = x * pow(2, (_P - 1) // 4, _P) % _P
        if (x * x - square) % _P == 0:
            yield x, y


def _small_order_keys() -> set[bytes]:
    """Every encoding, canonical or not, of a point whose order divides 8."""
    found: set[tuple[int, int]] = set()
    for point in _points():
        torsion, power = (0, 1), point
        for bit in bin(_ORDER)[:1:-1]:
            if bit == "1":
                torsion = _add(torsion, power)
            power = _add(power, power)
        multiple = (0, 1)
        for _ in range(8):
            found.add(multiple)
            multiple = _add(multiple, torsion)
        if len(found) == 8:
            break
    ys = {y for _, y in found} | {y + _P for _, y in found if y + _P < 2**255}
    return {(y | sign << 255).to_bytes(32, "little") for y in ys for sign in (0, 1)}


def test_every_ed25519_key_of_small_order_is_refused() -> None:
    keys = _small_order_keys()
    assert len(keys) == 14
    for raw in keys:
        with pytest.raises(WeakKey, match="small order"):
            check_key(ed25519.Ed25519PublicKey.from_public_bytes(raw), ("ed25519",))


def test_an_honest_ed25519_key_passes() -> None:
    assert check_key(workshop.ed25519_key().public_key(), ("ed25519",)) == "ed25519"


def test_weak_keys_say_what_to_do() -> None:
    assert WeakKey("x").code == "weak_key"
    assert "new key" in WeakKey("x").next_step
    assert isinstance(workshop.ec_key().public_key(), ec.EllipticCurvePublicKey)
