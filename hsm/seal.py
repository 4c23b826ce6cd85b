"""The seal of a key store: one data key, wrapped under a key derived from the passphrase.

`seal.json` holds the derivation's parameters, the salt and the wrapped data key. Everything else
in the store is encrypted under the data key, so that a new passphrase means writing this one
small file again.
"""

import base64
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from core.secret import Secret
from hsm.errors import (
    KeyFileDamaged,
    KeyFormatUnknown,
    KeyStoreExists,
    KeyStoreMissing,
    KeyStoreUnavailable,
    WrongPassphrase,
)
from hsm.folder import PrivateFolder
from hsm.passphrase import require_strength

SEAL_NAME: Final = "seal.json"
SEAL_FORMAT: Final = 1
_LIMIT: Final = 4096
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = (
    12  # NIST SP 800-38D §8.2.2: random, for at most 2^32 files under one data key
)
_TAG_BYTES: Final = 16
_SEALED_V1: Final = b"\x01"


@dataclass(frozen=True)
class ScryptCost:
    """Parameters of scrypt (RFC 7914 §2). The default takes 128 MiB and some tenths of a second."""

    n: int = 2**17
    r: int = 8
    p: int = 1

    def is_sane(self) -> bool:
        """Neither so cheap that it protects nothing nor so dear that opening it is an attack on
        us.
        """
        power_of_two = self.n & (self.n - 1) == 0
        memory = 128 * self.n * self.r
        return power_of_two and 2**14 <= self.n and 1 <= self.p <= 16 and 2**24 <= memory <= 2**30


DEFAULT_COST: Final = ScryptCost()


class Seal:
    """The opened seal: encrypts and authenticates small pieces of data, each bound to its name."""

    def __init__(self, data_key: Secret) -> None:
        self._aead = AESGCM(data_key.reveal())
        self._data_key = data_key

    def __repr__(self) -> str:
        return "Seal(…)"

    def __reduce__(self) -> str:
        raise TypeError("a Seal is not pickled")

    @classmethod
    def create(
        cls, directory: Path, passphrase: Secret, *, cost: ScryptCost = DEFAULT_COST
    ) -> Self:
        """Make a key store in `directory` (made if absent) and open it.

        Raises `PassphraseUnusable`, `KeyStoreExists`, and what a directory that is not private
        raises.
        """
        require_strength(passphrase)
        folder = PrivateFolder(directory)
        folder.make()
        names = folder.names()
        orphans = [name for name in names if name.endswith((".key", ".blob"))]
        if orphans and SEAL_NAME not in names:
            # Under a new data key, restoring the lost seal would no longer bring them back.
            raise KeyStoreExists(
                f"{folder.path} has {orphans[0]} but no {SEAL_NAME}.",
                next_step=f"Restore {SEAL_NAME} from a backup, or choose an empty directory.",
            )
        data_key = Secret(os.urandom(_KEY_BYTES))
        try:
            folder.create(SEAL_NAME, _wrap(data_key, passphrase, cost))
        except FileExistsError:
            raise KeyStoreExists(f"There is a key store at {folder.path} already.") from None
        return cls(data_key)

    @classmethod
    def open(cls, directory: Path, passphrase: Secret) -> Self:
        """Open the seal of the key store in `directory`.

        Takes as long as its scrypt parameters say. Raises `WrongPassphrase`, `KeyStoreMissing`,
        `KeyFileDamaged`, `KeyFormatUnknown`, and what a directory that is not private raises.
        """
        folder = PrivateFolder(directory)
        try:
            content = folder.read(SEAL_NAME, limit=_LIMIT)
        except FileNotFoundError:
            content = None
        return cls(_data_key(folder, content, passphrase))

    def seal(self, name: str, content: bytes, associated: bytes = b"") -> bytes:
        """Encrypt `content`, bound to `name` and `associated` (which must be given again,
        unchanged).
        """
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._aead.encrypt(nonce, content, _bound(name, associated))
        return _SEALED_V1 + nonce + sealed

    def derive(self, purpose: str) -> Secret:
        """A key of 32 octets for one purpose (HKDF-SHA256, RFC 5869): the same wherever this key store is opened, and
        after its passphrase was changed; from one nobody finds another, nor the data key.
        """
        info = b"ikewarden derived v1\0" + purpose.encode()
        kdf = HKDF(algorithm=hashes.SHA256(), length=_KEY_BYTES, salt=None, info=info)
        return Secret(kdf.derive(self._data_key.reveal()))

    def unseal(self, name: str, sealed: bytes, associated: bytes = b"") -> bytes:
        """The content that `seal` was given. Raises `KeyFileDamaged` if anything about it
        changed.
        """
        version, nonce, rest = sealed[:1], sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if version != _SEALED_V1 or len(rest) < _TAG_BYTES:
            raise KeyFileDamaged(f"'{name}' is truncated or not of this key store.")
        try:
            return self._aead.decrypt(nonce, rest, _bound(name, associated))
        except InvalidTag:
            raise KeyFileDamaged(
                f"'{name}' was altered or renamed, or belongs to another key store."
            ) from None


def change_passphrase(
    directory: Path,
    old: Secret,
    new: Secret,
    *,
    cost: ScryptCost = DEFAULT_COST,
    first: Callable[[], None] = lambda: None,
) -> None:
    """Wrap the data key under a new passphrase; keys and opened seals stay as they are.

    Killed at any moment, the store opens with exactly one of the two; of two changes at once, one is made, and `old` is
    wrong for the other. `first` is called when `old` is known to be right, and before anything is changed. Raises as
    `Seal.open`, `PassphraseUnusable` for the new one, and what `first` raises.
    """
    require_strength(new)
    folder = PrivateFolder(directory)

    def change(content: bytes | None) -> bytes:
        data_key = _data_key(folder, content, old)
        first()
        return _wrap(data_key, new, cost)

    folder.update(SEAL_NAME, change, limit=_LIMIT)


def _bound(name: str, associated: bytes) -> bytes:
    # A name holds no NUL, so that no two pairs give the same bytes.
    return b"ikewarden sealed v1\0" + name.encode() + b"\0" + associated


def _derive(passphrase: Secret, salt: bytes, cost: ScryptCost) -> AESGCM:
    kdf = Scrypt(salt=salt, length=_KEY_BYTES, n=cost.n, r=cost.r, p=cost.p)
    try:
        return AESGCM(kdf.derive(passphrase.reveal()))
    except MemoryError:
        raise KeyStoreUnavailable(
            "There is not enough memory to derive the key from the passphrase.",
            next_step=f"Let this process have {128 * cost.n * cost.r // 2**20} MiB more.",
        ) from None


def _wrap(data_key: Secret, passphrase: Secret, cost: ScryptCost) -> bytes:
    salt, nonce = os.urandom(16), os.urandom(_NONCE_BYTES)
    head = {
        "format": SEAL_FORMAT,
        "kdf": {"name": "scrypt", "n": cost.n, "r": cost.r, "p": cost.p, "salt": _text(salt)},
        "nonce": _text(nonce),
    }
    wrapped = _derive(passphrase, salt, cost).encrypt(nonce, data_key.reveal(), _canonical(head))
    body = {**head, "wrapped_key": _text(wrapped)}
    document = {**body, "sha256": hashlib.sha256(_canonical(body)).hexdigest()}
    return json.dumps(document, indent=2).encode() + b"\n"


def _data_key(folder: PrivateFolder, content: bytes | None, passphrase: Secret) -> Secret:
    path = folder.path / SEAL_NAME
    if content is None:
        raise KeyStoreMissing(f"There is no key store at {folder.path}.")
    try:
        document = json.loads(content)
        if document["format"] != SEAL_FORMAT:
            raise KeyFormatUnknown(f"{path} has a format that this version does not know.")
        claimed = document.pop("sha256")
        # The sum tells a damaged file from a wrong passphrase; what protects the key is the tag
        # below.
        if hashlib.sha256(_canonical(document)).hexdigest() != claimed:
            _damaged(path)
        wrapped, nonce = _bytes(document.pop("wrapped_key")), _bytes(document["nonce"])
        kdf = document["kdf"]
        salt, cost = _bytes(kdf["salt"]), ScryptCost(kdf["n"], kdf["r"], kdf["p"])
        if kdf["name"] != "scrypt" or not cost.is_sane() or len(nonce) != _NONCE_BYTES:
            _damaged(path)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        _damaged(path)
    try:
        return Secret(_derive(passphrase, salt, cost).decrypt(nonce, wrapped, _canonical(document)))
    except InvalidTag:
        raise WrongPassphrase(
            f"The passphrase does not open the key store {folder.path}."
        ) from None


def _damaged(path: Path) -> NoReturn:
    raise KeyFileDamaged(f"{path} is truncated or was altered.") from None


def _canonical(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _bytes(value: str) -> bytes:
    return base64.b64decode(value, validate=True)
