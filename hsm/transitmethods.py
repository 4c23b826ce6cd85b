"""Kinds of signatures in the words of a Transit engine: hashes, paddings, salts."""

from collections.abc import Mapping
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import (
    MGF1,
    PSS,
    AsymmetricPadding,
    PKCS1v15,
)
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed
from cryptography.hazmat.primitives.hashes import Hash, HashAlgorithm
from cryptography.utils import Buffer

from hsm.errors import KeyMechanismMissing

RsaHash: TypeAlias = Prehashed | HashAlgorithm | NoDigestInfo

_HASHES: Final[Mapping[str, str]] = {
    "sha224": "sha2-224",
    "sha256": "sha2-256",
    "sha384": "sha2-384",
    "sha512": "sha2-512",
}


def ec_hash(algorithm: ec.EllipticCurveSignatureAlgorithm) -> Prehashed | HashAlgorithm:
    """The hash of an ECDSA signature. Raises `KeyMechanismMissing` for deterministic ones (RFC 6979)."""
    if isinstance(algorithm, ec.ECDSA) and algorithm.deterministic_signing:
        raise KeyMechanismMissing(
            "The server does not make deterministic signatures.",
            next_step="Leave the nonce to the server.",
        )
    return algorithm.algorithm


def digest_of(data: Buffer, algorithm: RsaHash) -> tuple[str, bytes]:
    """The hash in the engine's words, and the digest of `data`, which is one already where it is `Prehashed`.

    Raises `KeyMechanismMissing`, and `ValueError` for a digest of another length.
    """
    inner = _inner(algorithm)
    name = _HASHES.get(inner.name) if inner is not None else None
    if inner is None or name is None:
        shown = inner.name if inner is not None else "no hash"
        raise KeyMechanismMissing(
            f"The server signs nothing with {shown}.",
            next_step="Use SHA-224, SHA-256, SHA-384 or SHA-512.",
        )
    if isinstance(algorithm, Prehashed):
        if len(bytes(data)) != inner.digest_size:
            raise ValueError("The digest has another length than those of its hash.")
        return name, bytes(data)
    hashing = Hash(inner)
    hashing.update(data)
    return name, hashing.finalize()


def rsa_method(padding: AsymmetricPadding, algorithm: RsaHash) -> dict[str, str]:
    """The padding in the engine's words. Raises `KeyMechanismMissing`."""
    if isinstance(padding, PKCS1v15):
        return {"signature_algorithm": "pkcs1v15"}
    inner = _inner(algorithm)
    # The engine has one hash for the message and the mask, as RFC 4055 §3.1 recommends.
    if isinstance(padding, PSS) and inner is not None and padding.mgf == MGF1(inner):
        if (salt := _salt(padding)) is not None:
            return {"signature_algorithm": "pss", "salt_length": salt}
    raise KeyMechanismMissing(
        "The server does not sign with this padding.",
        next_step="Use PKCS #1 v1.5, or PSS with one hash and a salt as long as its digest.",
    )


def _salt(padding: PSS) -> str | None:
    length = padding._salt_length  # nothing public tells it
    if isinstance(length, int):
        return str(length)
    return {PSS.DIGEST_LENGTH: "hash", PSS.MAX_LENGTH: "auto"}.get(length)


def _inner(algorithm: RsaHash) -> HashAlgorithm | None:
    if isinstance(algorithm, Prehashed):
        return algorithm._algorithm  # nothing public tells it
    return algorithm if isinstance(algorithm, HashAlgorithm) else None
