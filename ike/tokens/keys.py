"""Keys in a token as `cryptography` private keys, so that its builders sign with them."""

from collections.abc import Callable
from typing import Any, Never

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ike.tokens.errors import TokenKeyUnsupported
from pki.x509.signing import PrivateKey

ECDSA = "ecdsa"
RSA_WITH = {"sha256": "rsa-sha256", "sha384": "rsa-sha384", "sha512": "rsa-sha512"}

Sign = Callable[[str, bytes], bytes]
"""Has the token sign: the mechanism (ECDSA or one of RSA_WITH), what is signed; gives the token's raw signature."""


def private_key(public: bytes, sign: Sign) -> PrivateKey:
    """The key whose public half (SubjectPublicKeyInfo, DER) this is. Raises TokenKeyUnsupported."""
    known = load_der_public_key(public)
    if isinstance(known, ec.EllipticCurvePublicKey):
        return EcKeyInToken(known, sign)
    if isinstance(known, rsa.RSAPublicKey):
        return RsaKeyInToken(known, sign)
    raise TokenKeyUnsupported("The key in the token is neither RSA nor ECDSA.")


class _Kept:
    """What a key in a token never gives."""

    def private_numbers(self) -> Never:
        raise TypeError("the key does not leave the token")

    def private_bytes(self, *_: Any, **__: Any) -> Never:
        raise TypeError("the key does not leave the token")

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self


class EcKeyInToken(_Kept, ec.EllipticCurvePrivateKey):
    """ECDSA: the token signs a digest and gives r and s side by side."""

    def __init__(self, public: ec.EllipticCurvePublicKey, sign: Sign) -> None:
        self._public, self._sign = public, sign

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """See the base class: ECDSA-Sig-Value (RFC 3279 §2.2.3)."""
        algorithm = signature_algorithm.algorithm
        if isinstance(algorithm, utils.Prehashed):
            digest = bytes(data)
        else:
            hashing = hashes.Hash(algorithm)
            hashing.update(data)
            digest = hashing.finalize()
        # What is longer than the order of the group not every token cuts by itself (PKCS#11 v2.40, ECDSA).
        raw = self._sign(ECDSA, digest[: (self.key_size + 7) // 8])
        half = len(raw) // 2
        r, s = (int.from_bytes(each, "big") for each in (raw[:half], raw[half:]))
        return utils.encode_dss_signature(r, s)

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """See the base class."""
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        """See the base class."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """See the base class."""
        return self._public.key_size

    def exchange(self, algorithm: Any, peer_public_key: Any) -> Never:
        """Not what the key is for."""
        raise TypeError("the key in the token only signs")


class RsaKeyInToken(_Kept, rsa.RSAPrivateKey):
    """RSASSA-PKCS1-v1_5 (RFC 8017 §8.2); the token hashes."""

    def __init__(self, public: rsa.RSAPublicKey, sign: Sign) -> None:
        self._public, self._sign = public, sign

    def sign(self, data: Any, padding: Any, algorithm: Any) -> bytes:
        """See the base class."""
        if not isinstance(padding, PKCS1v15) or algorithm.name not in RSA_WITH:
            raise TypeError("the key in the token signs PKCS#1 v1.5 with SHA-2")
        return self._sign(RSA_WITH[algorithm.name], bytes(data))

    def public_key(self) -> rsa.RSAPublicKey:
        """See the base class."""
        return self._public

    @property
    def key_size(self) -> int:
        """See the base class."""
        return self._public.key_size

    def decrypt(self, ciphertext: Any, padding: Any) -> Never:
        """Not what the key is for."""
        raise TypeError("the key in the token only signs")
