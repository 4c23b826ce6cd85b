"""What every key store must do, whatever holds the keys."""

import re
from typing import Final, Literal, Protocol, TypeAlias, get_args

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa

from core.secret import Secret
from hsm.errors import BadKeyName

KeyAlgorithm = Literal[
    "ec-p256",
    "ec-p384",
    "ec-p521",
    "rsa-2048",
    "rsa-3072",
    "rsa-4096",
    "ed25519",
    "ml-dsa-44",
    "ml-dsa-65",
    "ml-dsa-87",
]

KEY_ALGORITHMS: Final[tuple[KeyAlgorithm, ...]] = get_args(KeyAlgorithm)

# The builders of `cryptography` ask for these classes, so every signer is a subclass of one of
# them.
MlDsaKey: TypeAlias = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
PrivateKey: TypeAlias = (
    ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | MlDsaKey
)

KEY_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def check_name(name: str) -> str:
    """The name itself, if a key may have it. Raises `BadKeyName`."""
    if not KEY_NAME.fullmatch(name):
        raise BadKeyName("This is not a name that a key can have.")
    return name


class KeyStore(Protocol):
    """A place that makes keys, keeps them and signs with them.

    Safe to use from many threads and, after a fork, from many processes at once.
    `tests/hsm/contract.py` says the same as executable checks.
    """

    def generate(self, name: str, algorithm: KeyAlgorithm) -> str:
        """Make a key, keep it durably, and return its URI.

        `name` is `[a-z0-9][a-z0-9._-]{0,62}`. When it returns, the key survives a crash; when it
        raises or is killed, there is either the whole key or none. Raises `BadKeyName`,
        `KeyAlgorithmUnknown`, `KeyExists`, `KeyStoreUnavailable`; of a device or a server also
        `KeyMechanismMissing`, `KeyStoreFull`, `SignerUnavailable`, `PinRefused`, `SignerRefused`.
        """
        ...

    def open(self, uri: str) -> PrivateKey:
        """The key as a signer: it signs and gives its public key, nothing else.

        Cheap enough to call for each signature, and called so: a signer that is known to be away
        is told here, before anything is put on record for it. `sign` raises `SignerUnavailable`
        too. Raises `BadKeyName` for a URI of another kind, `KeyStoreOff` for one of a store that is
        not set up, `KeyNotFound`, `KeyFileDamaged`, `KeyAmbiguous`, `KeyKindUnusable`,
        `SignerUnavailable`, `PinRefused`, `SignerRefused`.
        """
        ...

    def uri_of(self, name: str) -> str:
        """The URI that opens the key of this name, if there is one: nobody looks. Raises `BadKeyName`."""
        ...

    def names(self) -> list[str]:
        """Names of all keys, sorted."""
        ...

    def destroy(self, uri: str) -> None:
        """Remove the key for good. Raises `BadKeyName`, `KeyNotFound`, `SignerUnavailable`."""
        ...


class BlobStore(Protocol):
    """Where a small secret is kept sealed: `hsm.sealedfiles.SealedFileKeyStore` is one."""

    def put_blob(self, name: str, content: bytes | Secret) -> None:
        """Keep a secret durably."""
        ...

    def get_blob(self, name: str) -> Secret:
        """Give it back. Raises KeyNotFound."""
        ...
