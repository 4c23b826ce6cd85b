"""Private keys that sign and tell their public key, and refuse everything else.

Each class is a subclass of the abstract key class of `cryptography`, so its builders
(certificate, request, CRL, OCSP) sign with it as with any other key. What signs is a callable:
the bound `sign` of a key in memory, or a function that asks a device. This keeps a key from being
exported by mistake; it is no wall against code that runs in the same process.
"""

from collections.abc import Callable
from typing import Any, NoReturn, Self

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    PrivateFormat,
)
from cryptography.utils import Buffer

from hsm.errors import ExportRefused
from hsm.ports import PrivateKey

EcSign = Callable[[Buffer, ec.EllipticCurveSignatureAlgorithm], bytes]
RsaSign = Callable[
    [bytes, AsymmetricPadding, Prehashed | HashAlgorithm | NoDigestInfo],
    bytes,
]
Ed25519Sign = Callable[[Buffer], bytes]


class _Refusals:
    """What no signing key does. Copies are the key itself: there is nothing in it that changes."""

    def private_bytes(
        self,
        encoding: Encoding,
        format: PrivateFormat,
        encryption_algorithm: KeySerializationEncryption,
    ) -> bytes:
        _refuse("exported")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> str:
        raise TypeError("a signing key is not pickled")


class SignOnlyEcKey(_Refusals, ec.EllipticCurvePrivateKey):
    """An ECDSA signer; signatures are DER ECDSA-Sig-Values (RFC 3279 §2.2.3)."""

    def __init__(self, public_key: ec.EllipticCurvePublicKey, sign: EcSign) -> None:
        self._public_key = public_key
        self._sign = sign

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        return self._sign(data, signature_algorithm)

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public_key

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public_key.curve

    @property
    def key_size(self) -> int:
        return self._public_key.key_size

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        _refuse("used for key agreement")

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        _refuse("exported")


class SignOnlyRsaKey(_Refusals, rsa.RSAPrivateKey):
    """An RSA signer for PKCS #1 v1.5 and PSS (RFC 8017 §8)."""

    def __init__(self, public_key: rsa.RSAPublicKey, sign: RsaSign) -> None:
        self._public_key = public_key
        self._sign = sign

    def sign(
        self,
        data: bytes,
        padding: AsymmetricPadding,
        algorithm: Prehashed | HashAlgorithm | NoDigestInfo,
    ) -> bytes:
        return self._sign(data, padding, algorithm)

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public_key

    @property
    def key_size(self) -> int:
        return self._public_key.key_size

    def decrypt(self, ciphertext: bytes, padding: AsymmetricPadding) -> bytes:
        _refuse("used for decryption")

    def private_numbers(self) -> rsa.RSAPrivateNumbers:
        _refuse("exported")


class SignOnlyEd25519Key(_Refusals, ed25519.Ed25519PrivateKey):
    """An Ed25519 signer (RFC 8032 §5.1): `sign(data)` returns 64 bytes."""

    def __init__(self, public_key: ed25519.Ed25519PublicKey, sign: Ed25519Sign) -> None:
        self._public_key = public_key
        self._sign = sign

    def sign(self, data: Buffer) -> bytes:
        return self._sign(data)

    def public_key(self) -> ed25519.Ed25519PublicKey:
        return self._public_key

    def private_bytes_raw(self) -> bytes:
        _refuse("exported")


def sign_only(key: PrivateKey) -> PrivateKey:
    """The same key, signing only."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return SignOnlyEcKey(key.public_key(), key.sign)
    if isinstance(key, rsa.RSAPrivateKey):
        return SignOnlyRsaKey(key.public_key(), key.sign)
    return SignOnlyEd25519Key(key.public_key(), key.sign)


def _refuse(what: str) -> NoReturn:
    raise ExportRefused(f"A signing key cannot be {what}.")
