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
    └── SignerUnavailable    the signer does not answer; nothing was signed

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


class SignerUnavailable(KeyStoreError, Unavailable):
    """The signer does not answer; nothing was signed and the same call may work later."""

    code = "signer_unavailable"
    next_step = "Try again in a few seconds."
