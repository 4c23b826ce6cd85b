"""What every store of shared secrets must do: keep versions of a value under a path, and destroy them for good.

The semantics are those of Vault's and OpenBao's KV version 2. `tests/hsm/secretcontract.py` says the same as
executable checks, which run on the encrypted files and on a real OpenBao.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from core.errors import Conflict, InvalidInput, Unavailable
from core.secret import Secret
from hsm.errors import KeyStoreError

# Segments of a path: no `..`, no empty one, nothing that a URL would have to escape.
PATH: Final = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,127}){0,7}"
)
# Octets of a value, beside which its tags are kept.
VALUE_LIMIT: Final = 4096


class SecretStoreUnavailable(KeyStoreError, Unavailable):
    """The store of shared secrets does not answer, or cannot serve now: sealed, down, too slow, over its quota."""

    code = "secret_store_unavailable"
    next_step = "Look at the store; rotations go on by themselves when it answers again."


class SecretPathUnusable(SecretStoreUnavailable):
    """What is kept under one path cannot be read or written; others can."""

    code = "secret_path_unusable"
    next_step = "Restore the secret's file from a backup."


class SecretStoreRefused(KeyStoreError, Unavailable):
    """The store answers and does not let us: a policy, a namespace, a login that failed."""

    code = "secret_store_refused"
    next_step = "Compare the service's policy in the store with `ikewarden vault policy`."


class CredentialUnusable(SecretStoreRefused):
    """What this service should log in with is missing or unreadable here."""

    code = "secret_store_credential"
    next_step = "Put it where [secrets] says, readable by this service alone."


class SecretConflict(KeyStoreError, Conflict):
    """Somebody wrote another version first; nothing was written."""

    code = "secret_conflict"
    next_step = (
        "Look who else writes to this path; the service begins again after the newest version."
    )


class SecretNotFound(KeyStoreError, Unavailable):
    """There is no such version, or it was deleted or destroyed. Our records say that it is there."""

    code = "secret_lost"
    next_step = "Undelete the version in the store, or rotate the secret."


class BadSecretPath(KeyStoreError, InvalidInput):
    """A path or value that can never be kept."""

    code = "bad_secret_path"
    next_step = "Correct the path template in [secrets]."


class VersionState(StrEnum):
    """What is left of a version."""

    LIVE = "live"
    DELETED = "deleted"  # can be undeleted
    DESTROYED = "destroyed"


@dataclass(frozen=True)
class VersionInfo:
    """One version of a path; numbers begin with 1 and rise by 1."""

    number: int
    state: VersionState
    created_at: datetime


@dataclass(frozen=True)
class Stored:
    """A value with what was kept beside it. `tags` are short texts; they name the rotation and our own version."""

    number: int
    value: Secret
    tags: Mapping[str, str]


class SecretStore(Protocol):
    """Keeps versions of secrets. Safe to use from many threads, and after a fork.

    Every method raises SecretStoreUnavailable, SecretStoreRefused and BadSecretPath; none puts a value into an error, a
    log line or a URL.
    """

    def put(self, path: str, value: Secret, *, after: int, tags: Mapping[str, str]) -> int:
        """Keep a new version, durably, and give its number. `after` is the newest number that the path has (0: none),
        whatever became of it: check-and-set. Raises SecretConflict, with nothing written.
        """
        ...

    def get(self, path: str, number: int | None = None) -> Stored:
        """One version, by default the newest number. Raises SecretNotFound."""
        ...

    def versions(self, path: str) -> tuple[VersionInfo, ...]:
        """All versions, oldest first; none for a path that was never written."""
        ...

    def delete(self, path: str, number: int) -> None:
        """Hide a version so that it can still be brought back; nothing where it is gone already."""
        ...

    def undelete(self, path: str, number: int) -> None:
        """Bring a deleted version back. Raises SecretNotFound for a destroyed one."""
        ...

    def destroy(self, path: str, number: int) -> None:
        """Remove a version's value for good; nothing where it is gone already."""
        ...

    def forget(self, path: str) -> None:
        """Remove the path with all its versions and metadata, for a tunnel that is no more."""
        ...

    def check(self) -> None:
        """Raise what keeps the store from serving now."""
        ...


def check_path(path: str) -> str:
    """The path itself. Raises BadSecretPath for one that no store keeps anything under."""
    if not PATH.fullmatch(path):
        raise BadSecretPath(
            "This is no path of a secret: segments of letters, digits, `.`, `_`, `-`, up to eight."
        )
    return path


def check_value(value: Secret) -> bytes:
    """The octets of a value. Raises BadSecretPath for one that is empty or too long."""
    octets = value.reveal()
    if not 0 < len(octets) <= VALUE_LIMIT:
        raise BadSecretPath(
            f"A shared secret has 1 to {VALUE_LIMIT} octets, and this one {len(octets)}.",
            next_step="Use a shorter secret.",
        )
    return octets
