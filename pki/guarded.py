"""What may need a second person: the names of such acts, what binds an approval to one, and the states of an approval.

Pure values. That the rule is obeyed is the work of `pki.approvals`.
"""

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final


class Guarded(StrEnum):
    """Acts that settings can put under the two-person rule ([approvals] required)."""

    AUTHORITY_CREATE = "authority.create"
    AUTHORITY_RETIRE = "authority.retire"
    AUTHORITY_ISSUE = "authority.issue"
    AUTHORITY_REVOKE = "authority.revoke"
    MASS_REVOKE = "mass.revoke"
    BACKUP_EXPORT = "backup.export"
    BACKUP_RESTORE = "backup.restore"
    ROLE_CHANGE = "role.change"
    CERTIFICATE_ENROLL = "certificate.enroll"


class State(StrEnum):
    """Where an approval stands."""

    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"
    USED = "used"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class Step(StrEnum):
    """What is done to an approval."""

    APPROVE = "approve"
    REFUSE = "refuse"
    WITHDRAW = "withdraw"
    EXPIRE = "expire"
    USE = "use"


# Everything that can happen; whatever is not here cannot. Who approved may think better of it until it is used.
_STEPS: Final[Mapping[tuple[State, Step], State]] = {
    (State.PENDING, Step.APPROVE): State.APPROVED,
    (State.PENDING, Step.REFUSE): State.REFUSED,
    (State.PENDING, Step.WITHDRAW): State.WITHDRAWN,
    (State.PENDING, Step.EXPIRE): State.EXPIRED,
    (State.APPROVED, Step.USE): State.USED,
    (State.APPROVED, Step.REFUSE): State.REFUSED,
    (State.APPROVED, Step.WITHDRAW): State.WITHDRAWN,
    (State.APPROVED, Step.EXPIRE): State.EXPIRED,
}
OPEN: Final = frozenset(state for state, _ in _STEPS)


def after(state: State, step: Step) -> State | None:
    """The state that follows; None where the step cannot be taken."""
    return _STEPS.get((state, step))


def state_at(state: State, expires_at: datetime, now: datetime) -> State:
    """The state by the clock: what is open and past its end is expired, whether or not a job wrote that down yet."""
    return State.EXPIRED if state in OPEN and expires_at <= now else state


@dataclass(frozen=True)
class Act:
    """What somebody is about to do.

    `names` are what it falls under; the first of them that settings name counts, and one approval is enough.
    `parameters` are all that decides what comes of it, defaults too, and never a secret: an approval is for exactly
    these, and whoever approves sees them. Settings are no part of them: who can change those can switch the rule off.
    `always`: it needs an approval whatever [approvals] says.
    """

    names: tuple[Guarded, ...]
    parameters: Mapping[str, object]
    makes_approver: bool = False
    always: bool = False


def person(name: str) -> str:
    """Who is meant by the name of a token: two that differ in case, width or blanks only are one person's."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def plain(value: object) -> object:
    """A value as JSON has it, in the one way that it can be written. Raises TypeError for what has no such way."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str | timedelta):
        return str(value)  # one text for each duration: Python keeps them normal
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        # Every field, also those that do not exist yet.
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return shown(value)
    raise TypeError(f"no canonical form for a {type(value).__name__}")


def shown(parameters: Mapping[str, object]) -> dict[str, object]:
    """Parameters as they are kept and shown."""
    return {str(name): plain(each) for name, each in parameters.items()}


def digest(name: Guarded, parameters: Mapping[str, object]) -> str:
    """SHA-256 (hex) over the canonical form of an act. Of what `shown` gave it is the same."""
    form = {"version": 1, "act": str(name), "parameters": shown(parameters)}
    # ASCII, sorted, without blanks: one text for one value.
    text = json.dumps(form, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def differences(asked: Mapping[str, object], approved: Mapping[str, object]) -> dict[str, object]:
    """Which parameters differ: their names, with both values."""
    names = sorted({*asked, *approved})
    return {
        name: {"asked": asked.get(name), "approved": approved.get(name)}
        for name in names
        if asked.get(name) != approved.get(name) or (name in asked) != (name in approved)
    }
