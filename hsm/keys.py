"""Keys in memory: making them by algorithm name, and telling the name of one."""

from collections.abc import Callable, Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa

from hsm.errors import KeyAlgorithmUnknown
from hsm.ports import KEY_ALGORITHMS, KeyAlgorithm, PrivateKey


def _ec(curve: ec.EllipticCurve) -> Callable[[], PrivateKey]:
    return lambda: ec.generate_private_key(curve)


def _rsa(bits: int) -> Callable[[], PrivateKey]:
    # FIPS 186-5 §5.1 wants an odd exponent above 2^16; IKE daemons expect F4.
    return lambda: rsa.generate_private_key(65537, bits)


_MAKERS: Final[Mapping[KeyAlgorithm, Callable[[], PrivateKey]]] = {
    "ec-p256": _ec(ec.SECP256R1()),
    "ec-p384": _ec(ec.SECP384R1()),
    "ec-p521": _ec(ec.SECP521R1()),
    "rsa-2048": _rsa(2048),
    "rsa-3072": _rsa(3072),
    "rsa-4096": _rsa(4096),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ml-dsa-44": mldsa.MLDSA44PrivateKey.generate,
    "ml-dsa-65": mldsa.MLDSA65PrivateKey.generate,
    "ml-dsa-87": mldsa.MLDSA87PrivateKey.generate,
}


def new_key(algorithm: KeyAlgorithm) -> PrivateKey:
    """A fresh key from the system's generator. Raises `KeyAlgorithmUnknown`."""
    try:
        make = _MAKERS[algorithm]
    except KeyError:
        raise KeyAlgorithmUnknown(
            f"'{algorithm}' is not a key algorithm.",
            next_step=f"Use one of: {', '.join(KEY_ALGORITHMS)}.",
        ) from None
    return make()
