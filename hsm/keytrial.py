"""A key store tried out, kind by kind: a key is made, signs in every way, and is destroyed."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from hsm.errors import KeyStoreError
from hsm.ports import KeyAlgorithm, KeyStore, PrivateKey

_MESSAGE = b"ikewarden: a key store is tried out"


@dataclass(frozen=True)
class Trial:
    """What came of one kind of key: the ways it signs, and the first thing that did not work (its code)."""

    algorithm: KeyAlgorithm
    signs: tuple[str, ...] = ()
    code: str = ""
    message: str = ""


def try_out(store: KeyStore, algorithms: Iterable[KeyAlgorithm]) -> Iterator[Trial]:
    """One trial after the other. What a trial made is gone after it; a name is `check-` and random.

    Raises nothing that a single kind of key is refused with.
    """
    for algorithm in algorithms:
        yield _try(store, algorithm)


def _try(store: KeyStore, algorithm: KeyAlgorithm) -> Trial:
    signs: list[str] = []
    uri = None
    try:
        uri = store.generate(f"check-{token_hex(6)}", algorithm)
        key = store.open(uri)
        for name, arguments in _ways(key):
            signature = key.sign(_MESSAGE, *arguments)
            _verify(key, signature, arguments)
            signs.append(name)
    except KeyStoreError as error:
        return Trial(algorithm, tuple(signs), error.code, error.message)
    except InvalidSignature:
        return Trial(algorithm, tuple(signs), "signature_invalid", "The signature does not verify.")
    finally:
        if uri is not None:
            with suppress(KeyStoreError):
                store.destroy(uri)
    return Trial(algorithm, tuple(signs))


def _ways(key: PrivateKey) -> list[tuple[str, tuple[Any, ...]]]:
    """Names of the ways to sign with it, and the arguments after the message."""
    if isinstance(key, rsa.RSAPrivateKey):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        return [
            ("PKCS#1 v1.5", (padding.PKCS1v15(), hashes.SHA256())),
            ("PSS", (pss, hashes.SHA256())),
        ]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        digests = {256: hashes.SHA256(), 384: hashes.SHA384()}
        return [("ECDSA", (ec.ECDSA(digests.get(key.key_size, hashes.SHA512())),))]
    return [("Ed25519" if isinstance(key, ed25519.Ed25519PrivateKey) else "ML-DSA", ())]


def _verify(key: PrivateKey, signature: bytes, arguments: tuple[Any, ...]) -> None:
    public: Any = key.public_key()
    public.verify(signature, _MESSAGE, *arguments)
