"""What can go wrong with keys in a Transit engine.

::

    SignerUnavailable        no answer: away, out of service, over its quota
    ├── SignerSealed         the server is sealed
    ├── SignerSlow           no answer in time; a signature may have been made that nobody has
    ├── SignerElsewhere      a standby that sends us elsewhere
    ├── SignerFailing        an error of its own (5xx)
    └── SignatureWrong       what it gave is no signature of the key
    SignerRefused            it answers and does not let us
    ├── SignerMountMissing   no Transit engine at that mount
    └── SignerCredential     nothing to log in with
    KeyNotFound
    ├── KeyVersionGone       the key is there, and not the version that is pinned
    └── KeyDeleted           the key is marked as deleted, and can be brought back
"""

from typing import Final

from core.errors import Unavailable
from hsm.errors import KeyNotFound, KeyStoreError, SignerUnavailable
from hsm.vaultuse import Trouble, Use


class SignerSealed(SignerUnavailable):
    """The server that signs is sealed."""

    code = "signer_sealed"
    next_step = "Unseal it; signing goes on by itself."


class SignerSlow(SignerUnavailable):
    """The server that signs does not answer in time. If it signed, nobody has the signature."""

    code = "signer_slow"
    next_step = "Look at its load and at the way to it; then try again."


class SignerElsewhere(SignerUnavailable):
    """The server is a standby that sends us elsewhere, where we do not follow."""

    code = "signer_elsewhere"
    next_step = "Name the active node in the settings, or what finds it."


class SignerFailing(SignerUnavailable):
    """The server that signs answers with an error of its own."""

    code = "signer_failing"
    next_step = "Look at the server's log; then try again."


class SignatureWrong(SignerUnavailable):
    """What came back is no signature of the key that was named; it was thrown away."""

    code = "signature_wrong"
    next_step = (
        "Find out whether the key was deleted and made anew, and what stands before the server."
    )


class SignerRefused(KeyStoreError, Unavailable):
    """The server that signs answers and does not let us: a policy, a namespace, a login that failed."""

    code = "signer_refused"
    next_step = "Compare the service's policy in the server with `ikewarden vault policy`."


class SignerMountMissing(SignerRefused):
    """There is no Transit engine at the mount."""

    code = "signer_mount_missing"
    next_step = "Enable it (`bao secrets enable transit`), or correct the mount."


class SignerCredential(SignerRefused):
    """What this service should log in with is missing or unreadable here."""

    code = "signer_credential"
    next_step = "Put it where the settings say, readable by this service alone."


class KeyVersionGone(KeyNotFound):
    """The key is there, and not the version that our records name, or it may not sign any more."""

    code = "key_version_gone"
    next_step = (
        "Lower the key's min_encryption_version and min_decryption_version in the server; a version that was trimmed "
        "comes back only from a backup."
    )


class KeyDeleted(KeyNotFound):
    """The key is marked as deleted in the server (OpenBao's soft-delete), which refuses to use it."""

    code = "key_deleted"
    next_step = "Bring it back: `bao write -f MOUNT/keys/NAME/soft-delete-restore`."


def signing(server: str) -> Use:
    """Signing, on the server that a section of the settings names (`[secrets]`, `[keys.transit]`)."""
    return Use(
        server=server,
        mount="[keys.transit] mount",
        goes_on="signing goes on by itself",
        relief="Raise the quota in the server",
        away=SignerUnavailable,
        refused=SignerRefused,
        kinds=_KINDS,
    )


_KINDS: Final[dict[Trouble, type[KeyStoreError]]] = {
    Trouble.SEALED: SignerSealed,
    Trouble.SLOW: SignerSlow,
    Trouble.ELSEWHERE: SignerElsewhere,
    Trouble.FAILING: SignerFailing,
    Trouble.NO_MOUNT: SignerMountMissing,
    Trouble.CREDENTIAL: SignerCredential,
}
