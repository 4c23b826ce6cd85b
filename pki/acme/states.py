"""The states of orders, authorizations and challenges (RFC 8555 §7.1.6): every step, in one place. Pure values.

An order's state follows from what it is made of: what is on record is only what nothing else tells.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final


class OrderState(StrEnum):
    """What is on record of an order. PROCESSING: its request is there; the certificate comes or has come."""

    OPEN = "open"
    PROCESSING = "processing"
    INVALID = "invalid"


class State(StrEnum):
    """What a client is shown."""

    PENDING = "pending"
    READY = "ready"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"
    DEACTIVATED = "deactivated"
    EXPIRED = "expired"


class Step(StrEnum):
    """What happens to a challenge."""

    ANSWER = "answer"
    PROVE = "prove"
    FAIL = "fail"


# Everything that can happen to a challenge; whatever is not here cannot.
_CHALLENGE: Final[Mapping[tuple[State, Step], State]] = {
    (State.PENDING, Step.ANSWER): State.PROCESSING,
    (State.PROCESSING, Step.PROVE): State.VALID,
    (State.PROCESSING, Step.FAIL): State.INVALID,
}
# A certificate that was signed, whatever became of it since.
_SIGNED: Final = frozenset({"valid", "held", "revoked"})
_DEAD: Final = frozenset({State.INVALID, State.DEACTIVATED, State.EXPIRED})


def after(state: State, step: Step) -> State | None:
    """The state of a challenge that follows; None where the step cannot be taken."""
    return _CHALLENGE.get((state, step))


def authorization(on_record: State, *, expired: bool) -> State:
    """The state of an authorization by the clock."""
    if not expired:
        return on_record
    # RFC 8555 §7.1.6: one that was valid expires; one that never was comes to nothing.
    return {State.VALID: State.EXPIRED, State.PENDING: State.INVALID}.get(on_record, on_record)


def order(
    on_record: OrderState,
    certificate: str | None,
    authorizations: Collection[State],
    *,
    expired: bool,
) -> State:
    """The state of an order. `certificate` is the status of that which is on record for it, if any."""
    if on_record is OrderState.INVALID:
        return State.INVALID
    if certificate in _SIGNED:
        return State.VALID
    # One whose certificate nobody asked for again ends as others do; one that is being signed has its time.
    if on_record is OrderState.PROCESSING and not (expired and may_go_on(on_record, certificate)):
        return State.PROCESSING
    if expired or _DEAD & set(authorizations):
        return State.INVALID
    return State.READY if set(authorizations) == {State.VALID} else State.PENDING


def may_go_on(on_record: OrderState, certificate: str | None) -> bool:
    """Whether an order still lacks a certificate that nobody is at: none was begun, or it was given up."""
    return on_record is OrderState.PROCESSING and certificate in {None, "abandoned"}
