"""Private keys that sign and tell their public key, and refuse everything else.

Each class is a subclass of the abstract key class of `cryptography`, so its builders
(certificate, request, CRL, OCSP) sign with it as with any other key. What signs is a callable:
the bound `sign` of a key in memory, or a function that asks a device. This keeps a key from being
exported by mistake; it is no wall against code that runs in the same process.
"""

from collections.abc import Callable
from typing import Any, Final, NoReturn, Self, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    PrivateFormat,
)
from cryptography.utils import Buffer

from core.crew import beside
from hsm.errors import ExportRefused, KeyAlgorithmUnknown
from hsm.ports import PrivateKey

T = TypeVar("T")

EcSign = Callable[[Buffer, ec.EllipticCurveSignatureAlgorithm], bytes]
RsaSign = Callable[
    [bytes, AsymmetricPadding, Prehashed | HashAlgorithm | NoDigestInfo],
    bytes,
]
Ed25519Sign = Callable[[Buffer], bytes]
MlDsaSign = Callable[[Buffer], bytes]


class _Refusals:
    """What no signing key does. Copies are the key itself: there is nothing in it that changes.

    `elsewhere`: a device or a server signs, for which whoever signs waits (see `with_key`).
    """

    elsewhere: bool = False

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

    def __init__(
        self, public_key: ec.EllipticCurvePublicKey, sign: EcSign, *, elsewhere: bool = False
    ) -> None:
        self._public_key = public_key
        self._sign = sign
        self.elsewhere = elsewhere

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

    def __init__(
        self, public_key: rsa.RSAPublicKey, sign: RsaSign, *, elsewhere: bool = False
    ) -> None:
        self._public_key = public_key
        self._sign = sign
        self.elsewhere = elsewhere

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

    def __init__(
        self, public_key: ed25519.Ed25519PublicKey, sign: Ed25519Sign, *, elsewhere: bool = False
    ) -> None:
        self._public_key = public_key
        self._sign = sign
        self.elsewhere = elsewhere

    def sign(self, data: Buffer) -> bytes:
        return self._sign(data)

    def public_key(self) -> ed25519.Ed25519PublicKey:
        return self._public_key

    def private_bytes_raw(self) -> bytes:
        _refuse("exported")


class _MlDsa(_Refusals):
    """What the three parameter sets have in common: pure ML-DSA with an empty context, as RFC 9881 §3 has it."""

    def __init__(self, public_key: Any, sign: MlDsaSign) -> None:
        self._public_key = public_key
        self._sign = sign

    def sign(self, data: Buffer, context: Buffer | None = None) -> bytes:
        if context:
            _refuse("used with a context")
        return self._sign(data)

    def sign_mu(self, mu: Buffer) -> bytes:
        _refuse("used on a representative of a message")  # it does not show what is signed

    def public_key(self) -> Any:
        return self._public_key

    def private_bytes_raw(self) -> bytes:
        _refuse("exported")


class SignOnlyMlDsa44Key(_MlDsa, mldsa.MLDSA44PrivateKey):
    """An ML-DSA-44 signer (FIPS 204): signatures of 2420 bytes."""


class SignOnlyMlDsa65Key(_MlDsa, mldsa.MLDSA65PrivateKey):
    """An ML-DSA-65 signer (FIPS 204): signatures of 3309 bytes."""


class SignOnlyMlDsa87Key(_MlDsa, mldsa.MLDSA87PrivateKey):
    """An ML-DSA-87 signer (FIPS 204): signatures of 4627 bytes."""


# The callable's type goes with the key's: see the classes.
_SIGNERS: Final[tuple[tuple[type, Callable[[Any, Any], PrivateKey]], ...]] = (
    (ec.EllipticCurvePublicKey, SignOnlyEcKey),
    (rsa.RSAPublicKey, SignOnlyRsaKey),
    (ed25519.Ed25519PublicKey, SignOnlyEd25519Key),
    (mldsa.MLDSA44PublicKey, SignOnlyMlDsa44Key),
    (mldsa.MLDSA65PublicKey, SignOnlyMlDsa65Key),
    (mldsa.MLDSA87PublicKey, SignOnlyMlDsa87Key),
)


def signing_by(public_key: Any, sign: Callable[..., bytes]) -> PrivateKey:
    """The signer for a public key whose signatures `sign` makes: it takes what `sign` of that kind of key takes.

    Raises KeyAlgorithmUnknown for a kind that does not sign here.
    """
    for kind, signer in _SIGNERS:
        if isinstance(public_key, kind):
            return signer(public_key, sign)
    raise KeyAlgorithmUnknown("Keys of this kind do not sign here.")


def sign_only(key: PrivateKey) -> PrivateKey:
    """The same key, signing only."""
    return signing_by(key.public_key(), key.sign)


def with_key(key: PrivateKey, work: Callable[[], T]) -> T:
    """Carry out `work`, which signs with the key: beside the works of a crew, where a device or a server signs.

    Raises what `work` raises.
    """
    return beside(work) if is_elsewhere(key) else work()


def is_elsewhere(key: object) -> bool:
    """Whether a device or a server signs, and not this process."""
    return bool(getattr(key, "elsewhere", False))


def _refuse(what: str) -> NoReturn:
    raise ExportRefused(f"A signing key cannot be {what}.")
