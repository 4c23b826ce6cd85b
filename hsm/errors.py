"""What can go wrong with keys and the places they are kept.

::

    KeyStoreError
    ├── WrongPassphrase      the passphrase does not open this key store
    ├── PassphraseUnusable   no passphrase, or one that must not be used
    ├── BadKeyName           not a key name, or not a URI of this key store
    ├── KeyAlgorithmUnknown  no key of that kind is made here
    ├── SecretTooLarge       a secret over the size that a key store keeps
    ├── ExportRefused        somebody asked a signing key for its private half
    ├── KeyExists            the name is taken
    ├── KeyStoreExists       there is a key store here already
    ├── KeyNotFound          no key under that URI
    ├── KeyStoreMissing      no key store here
    ├── KeyFileDamaged       truncated, altered, swapped, or from another key store
    ├── KeyFormatUnknown     written by a newer ikewarden
    ├── WeakMode             others may read or change it
    ├── WrongOwner           it belongs to somebody else
    ├── NotAPlainFile        a symbolic link, a second hard link, a pipe, …
    ├── KeyStoreUnavailable  the disk refuses: full, read-only, gone
    ├── KeyStoreOff          the settings do not have the key store of this URI
    ├── KeyAmbiguous         two keys fit one URI
    ├── KeyKindUnusable      a key that cannot sign for us: another kind, or not allowed to
    ├── KeyMechanismMissing  the device does not make such keys, or not such signatures
    ├── KeyStoreFull         no room for another key
    ├── PinUnusable          no PIN, or one that must not be used
    ├── PinRefused           the token does not take the PIN; it is not tried again
    │   └── PinLocked        the token is locked, or would be with one more wrong PIN; it was not tried
    ├── ModuleUnusable       no PKCS#11 module there
    └── SignerUnavailable    the signer does not answer; no signature was given out
        └── HsmAbsent        the token is in no slot

No user of the service names a key: URIs come from our own records. So a key that is missing or
damaged is our fault and not the caller's, and those classes are `Unavailable` (503), never
`NotFound` (404).
"""

from pathlib import Path

from core.errors import Conflict, IkewardenError, InvalidInput, NotPermitted, TooLarge, Unavailable


class KeyStoreError(IkewardenError):
    """Base of everything that key custody raises."""

    code = "key_store_error"


class WrongPassphrase(KeyStoreError, InvalidInput):
    """The passphrase does not open this key store."""

    code = "wrong_passphrase"
    next_step = "Give the passphrase that was set when the key store was made or last changed."


class PassphraseUnusable(KeyStoreError, InvalidInput):
    """There is no passphrase where one was expected, or it is empty, too short or too long."""

    code = "passphrase_unusable"


class BadKeyName(KeyStoreError, InvalidInput):
    """The name or URI can never name a key of this store."""

    code = "bad_key_name"
    next_step = (
        "Use 1 to 63 characters: lower-case letters, digits, dot, underscore, hyphen; "
        "the first is a letter or digit."
    )


class KeyAlgorithmUnknown(KeyStoreError, InvalidInput):
    """No key store of this kind makes keys of this algorithm."""

    code = "key_algorithm_unknown"


class SecretTooLarge(KeyStoreError, TooLarge):
    """A secret is larger than a key store keeps."""

    code = "secret_too_large"


class ExportRefused(KeyStoreError, NotPermitted):
    """A signing key was asked for something other than a signature or its public key."""

    code = "key_export_refused"
    next_step = "Sign with the key where it is; it is not given out."


class KeyExists(KeyStoreError, Conflict):
    """A key of this name exists; nothing was changed."""

    code = "key_exists"
    next_step = "Choose another name, or use the key that is there."


class KeyStoreExists(KeyStoreError, Conflict):
    """A key store exists at this place; nothing was changed."""

    code = "key_store_exists"
    next_step = "Open the key store that is there, or choose an empty directory."


class KeyNotFound(KeyStoreError, Unavailable):
    """No key under this URI."""

    code = "key_not_found"
    next_step = (
        "Restore the key from a backup, or point the authority at the key store that has it."
    )


class KeyStoreMissing(KeyStoreError, Unavailable):
    """No key store at this place."""

    code = "key_store_missing"
    next_step = "Run `ikewarden init`, or set [keys] directory to where the key store is."


class KeyFileDamaged(KeyStoreError, Unavailable):
    """A file of the key store is truncated, altered, renamed, or from another key store."""

    code = "key_file_damaged"
    next_step = "Restore this file from a backup of the same key store."


class KeyFormatUnknown(KeyStoreError, Unavailable):
    """A file of the key store was written in a format that this version does not know."""

    code = "key_format_unknown"
    next_step = "Upgrade ikewarden to the version that wrote the file."


class WeakMode(KeyStoreError, Unavailable):
    """Group or others have rights on a file or directory that only its owner may have."""

    code = "weak_mode"
    next_step = "Take the rights of group and others away: chmod go= PATH."

    def __init__(self, path: Path, mode: int, *, wanted: int) -> None:
        """`mode` and `wanted` are permission bits, for instance 0o644 and 0o600."""
        super().__init__(
            f"{path} has mode {mode:04o}: group or others have rights on it.",
            next_step=f"Run: chmod {wanted:04o} '{path}'",
            details={"path": str(path), "mode": f"{mode:04o}", "wanted": f"{wanted:04o}"},
        )


class WrongOwner(KeyStoreError, Unavailable):
    """A file or directory belongs to a user other than the one this process runs as."""

    code = "wrong_owner"
    next_step = (
        "Run ikewarden as the owner, or give the file to the user that it runs as: chown USER PATH."
    )

    def __init__(self, path: Path, owner: int, *, wanted: int) -> None:
        """`owner` and `wanted` are numeric user ids."""
        super().__init__(
            f"{path} belongs to user id {owner}, and this process runs as user id {wanted}.",
            next_step=f"Run ikewarden as the owner, or: chown {wanted} '{path}'",
            details={"path": str(path), "owner": owner, "wanted": wanted},
        )


class NotAPlainFile(KeyStoreError, Unavailable):
    """A link or a special file stands where a plain file or directory of our own must be."""

    code = "not_a_plain_file"
    next_step = "Find out who put it there; then put the file itself in its place."


class KeyStoreUnavailable(KeyStoreError, Unavailable):
    """The operating system refused to read or write the key store; nothing was changed."""

    code = "key_store_unavailable"
    next_step = "Look at free space, mount options and permissions of the key directory."


class KeyStoreOff(KeyStoreError, Unavailable):
    """The key is in a key store that the settings do not have."""

    code = "key_store_off"
    next_step = "Put the settings of that key store back: [keys.pkcs11], [keys.transit]."


class KeyAmbiguous(KeyStoreError, Unavailable):
    """More than one key in the token fits the URI; none of them was used."""

    code = "key_ambiguous"
    next_step = (
        "Destroy or rename the one that is too much (`pkcs11-tool --module PATH -O -l` lists them)."
    )


class KeyKindUnusable(KeyStoreError, Unavailable):
    """The key under this URI cannot sign for us: of another kind, without a public half, or not allowed to sign."""

    code = "key_kind_unusable"
    next_step = "Use an RSA, P-256, P-384, P-521 or Ed25519 key with CKA_SIGN and its public half beside it."


class KeyMechanismMissing(KeyStoreError, InvalidInput):
    """The device does not make keys of this kind, or not this kind of signature."""

    code = "key_mechanism_missing"
    next_step = "Choose a kind of key that `ikewarden hsm check` lists."


class KeyStoreFull(KeyStoreError, Unavailable):
    """The device has no room for another key; nothing was changed."""

    code = "key_store_full"
    next_step = "Destroy in it what is not needed any more, or make its partition larger."


class PinUnusable(KeyStoreError, InvalidInput):
    """There is no PIN where one was expected, or it is empty, too long, or no text."""

    code = "pin_unusable"


class PinRefused(KeyStoreError, Unavailable):
    """The token does not take the PIN. It was tried once and is not tried again by itself, so that the token is not
    locked.
    """

    code = "pin_refused"
    next_step = (
        "Correct the PIN where it is kept; a changed one is tried once. If this is the token's PIN by now, run "
        "`ikewarden hsm check --retry-pin`."
    )


class PinLocked(PinRefused):
    """The token is locked, or would be with one more wrong PIN; the PIN was not tried."""

    code = "pin_locked"
    next_step = "Log in to it once with the right PIN by another tool, or have its security officer unlock it."


class ModuleUnusable(KeyStoreError, Unavailable):
    """There is no PKCS#11 module at that path, or no library to speak to it."""

    code = "pkcs11_module_unusable"
    next_step = "Look at [keys.pkcs11] module: the path of a shared library for this machine."


class SignerUnavailable(KeyStoreError, Unavailable):
    """The signer does not answer; no signature was given out and the same call may work later."""

    code = "signer_unavailable"
    next_step = "Try again in a few seconds."


class HsmAbsent(SignerUnavailable):
    """The token of the settings is in no slot of the module."""

    code = "hsm_absent"
    next_step = "Connect it; the service finds it again by itself. `ikewarden hsm check` tells what is there."
