"""The key store of an embedded instance: encrypted files in one private directory.

::

    DIR/seal.json     derivation parameters, salt, wrapped data key     (hsm/seal.py)
    DIR/<name>.key    one signing key: public half in clear, PKCS #8 sealed
    DIR/<name>.blob   one other secret, sealed, for instance the service's own TLS credential
    DIR/.lock         held by whoever changes something
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from core.secret import Secret
from hsm.errors import (
    BadKeyName,
    KeyExists,
    KeyFileDamaged,
    KeyFormatUnknown,
    KeyNotFound,
    SecretTooLarge,
)
from hsm.folder import Identity, PrivateFolder
from hsm.keys import new_key
from hsm.ports import KEY_NAME, KeyAlgorithm, PrivateKey, check_name
from hsm.seal import SEAL_NAME, Seal
from hsm.signonly import sign_only

FILE_FORMAT: Final = 1
_SCHEME: Final = "sealed:"
_KEY_SUFFIX: Final = ".key"
_BLOB_SUFFIX: Final = ".blob"
_KEY_LIMIT: Final = 64 * 1024
BLOB_LIMIT: Final = 1024 * 1024
_KINDS: Final = (
    ec.EllipticCurvePrivateKey,
    rsa.RSAPrivateKey,
    ed25519.Ed25519PrivateKey,
    mldsa.MLDSA44PrivateKey,
    mldsa.MLDSA65PrivateKey,
    mldsa.MLDSA87PrivateKey,
)


class SealedFileKeyStore:
    """A `KeyStore` in a directory. URIs are `sealed:NAME`.

    Opened keys are kept in memory as long as their file does not change. Making an instance looks
    at the mode, owner and links of every file of the store and refuses to start on a weak one
    (`WeakMode`, `WrongOwner`, `NotAPlainFile`, `KeyStoreMissing`).
    """

    def __init__(self, directory: Path, seal: Seal) -> None:
        self._folder = PrivateFolder(directory)
        self._seal = seal
        self._opened: dict[str, tuple[Identity, PrivateKey]] = {}
        self._folder.check(_is_ours)

    def __repr__(self) -> str:
        return f"SealedFileKeyStore({str(self._folder.path)!r})"

    @property
    def directory(self) -> Path:
        """Where it is."""
        return self._folder.path

    @property
    def seal(self) -> Seal:
        """The opened seal, for what else is kept under the same passphrase: opening it once more is slow by design."""
        return self._seal

    def generate(self, name: str, algorithm: KeyAlgorithm) -> str:
        """See `KeyStore.generate`."""
        file = check_name(name) + _KEY_SUFFIX
        if file in self._folder.names():
            raise KeyExists(f"A key named '{name}' exists.")
        key = new_key(algorithm)
        try:
            self._folder.create(file, self._encode_key(name, algorithm, key))
        except FileExistsError:
            raise KeyExists(f"A key named '{name}' exists.") from None
        return _SCHEME + name

    def open(self, uri: str) -> PrivateKey:
        """See `KeyStore.open`."""
        name = _name_of(uri)
        file = name + _KEY_SUFFIX
        try:
            identity = self._folder.identity(file)
            if (known := self._opened.get(name)) and known[0] == identity:
                return known[1]
            content = self._folder.read(file, limit=_KEY_LIMIT)
        except FileNotFoundError:
            raise KeyNotFound(f"There is no key '{uri}' in {self._folder.path}.") from None
        key = sign_only(self._decode_key(name, content))
        self._opened[name] = (identity, key)
        return key

    def uri_of(self, name: str) -> str:
        """See `KeyStore.uri_of`."""
        return _SCHEME + check_name(name)

    def names(self) -> list[str]:
        """See `KeyStore.names`."""
        files = (name for name in self._folder.names() if name.endswith(_KEY_SUFFIX))
        stems = (file.removesuffix(_KEY_SUFFIX) for file in files)
        return sorted(stem for stem in stems if KEY_NAME.fullmatch(stem))

    def destroy(self, uri: str) -> None:
        """See `KeyStore.destroy`."""
        name = _name_of(uri)
        try:
            self._folder.remove(name + _KEY_SUFFIX)
        except FileNotFoundError:
            raise KeyNotFound(f"There is no key '{uri}' in {self._folder.path}.") from None
        finally:
            self._opened.pop(name, None)

    def put_blob(self, name: str, content: bytes | Secret) -> None:
        """Keep a secret of up to 1 MiB under `name`, durably, in the place of an older one.

        Raises `BadKeyName`, `SecretTooLarge`, `KeyStoreUnavailable`.
        """
        plain = content.reveal() if isinstance(content, Secret) else content
        if len(plain) > BLOB_LIMIT:
            raise SecretTooLarge(
                f"'{name}' has {len(plain)} bytes.", next_step=f"Keep at most {BLOB_LIMIT} bytes."
            )
        sealed = self._seal.seal(check_name(name) + _BLOB_SUFFIX, plain)
        document = {"format": FILE_FORMAT, "name": name, "sealed": _text(sealed)}
        self._folder.replace(name + _BLOB_SUFFIX, _to_json(document))

    def get_blob(self, name: str) -> Secret:
        """The secret kept under `name`. Raises `BadKeyName`, `KeyNotFound`, `KeyFileDamaged`."""
        file = check_name(name) + _BLOB_SUFFIX
        try:
            content = self._folder.read(file, limit=2 * BLOB_LIMIT)
        except FileNotFoundError:
            raise KeyNotFound(f"There is no secret '{name}' in {self._folder.path}.") from None
        document = self._from_json(file, content, {"format", "name", "sealed"})
        return Secret(self._seal.unseal(file, self._bytes(file, document["sealed"])))

    def _encode_key(self, name: str, algorithm: KeyAlgorithm, key: PrivateKey) -> bytes:
        public = _public_der(key)
        private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        sealed = self._seal.seal(name + _KEY_SUFFIX, private, _associated(algorithm, public))
        return _to_json(
            {
                "format": FILE_FORMAT,
                "name": name,
                "algorithm": algorithm,
                "public_key": _text(public),
                "sealed": _text(sealed),
            }
        )

    def _decode_key(self, name: str, content: bytes) -> PrivateKey:
        file = name + _KEY_SUFFIX
        wanted = {"format", "name", "algorithm", "public_key", "sealed"}
        document = self._from_json(file, content, wanted)
        public = self._bytes(file, document["public_key"])
        associated = _associated(str(document["algorithm"]), public)
        sealed = self._bytes(file, document["sealed"])
        private = self._seal.unseal(file, sealed, associated)
        # The tag has just vouched for these bytes; testing RSA primes again would take 0.2 s for
        # 4096 bits.
        key = load_der_private_key(private, None, unsafe_skip_rsa_key_validation=True)
        if not isinstance(key, _KINDS) or _public_der(key) != public:
            raise KeyFileDamaged(f"{self._folder.path / file} holds two keys that are not a pair.")
        return key

    def _from_json(self, file: str, content: bytes, wanted: set[str]) -> Mapping[str, object]:
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise KeyFileDamaged(f"{self._folder.path / file} is truncated or was altered.")
        if document.get("format", FILE_FORMAT) != FILE_FORMAT:
            raise KeyFormatUnknown(
                f"{self._folder.path / file} has a format that this version does not know."
            )
        if set(document) != wanted or document["name"] != Path(file).stem:
            raise KeyFileDamaged(
                f"{self._folder.path / file} was renamed, or is not of a key store."
            )
        return cast("Mapping[str, object]", document)

    def _bytes(self, file: str, value: object) -> bytes:
        try:
            return base64.b64decode(value if isinstance(value, str) else "*", validate=True)
        except ValueError:
            raise KeyFileDamaged(f"{self._folder.path / file} was altered.") from None


def _name_of(uri: str) -> str:
    if not uri.startswith(_SCHEME):
        raise BadKeyName(
            "This key URI is not of the sealed-file key store.",
            next_step="It starts with 'sealed:'.",
        )
    return check_name(uri.removeprefix(_SCHEME))


def _is_ours(file: str) -> bool:
    return file == SEAL_NAME or file.endswith((_KEY_SUFFIX, _BLOB_SUFFIX))


def _public_der(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _associated(algorithm: str, public: bytes) -> bytes:
    return algorithm.encode() + b"\0" + public


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _to_json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, indent=2).encode() + b"\n"
