"""What a rotation waits for, in words, so that nobody has to guess who is silent. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fleet.rotation.machine import agrees
from fleet.rotation.values import ENDED, End, Method, Policy, Reason, Rotation, State

_NAMED = 3


@dataclass(frozen=True)
class Before:
    """Another rotation at a gateway, which has to end or to get out of the way first. `slot` None: of a tunnel that is
    not to be told of. `until`: when its present state ends at the latest, where that is known.
    """

    id: int
    slot: str | None
    state: str
    until: datetime | None

    def __str__(self) -> str:
        """It in words."""
        if self.slot is None:
            return "a rotation of another tunnel"
        until = _until(self.until)
        return f"rotation {self.id} ({self.slot}, {self.state}{until and f'{until} at the latest'})"


def waits_for(
    rotation: Rotation,
    ends: Sequence[End],
    policy: Policy,
    tunnel: str,
    before: Sequence[Before] = (),
) -> str:
    """A sentence for people; empty where it has ended or waits for nobody. `before`: who is let in before it."""
    if rotation.state is State.SCHEDULED:
        return _turn(rotation, policy, before)
    if rotation.state is State.GENERATED:
        return "Waits for the store of secrets."
    if rotation.state in ENDED:
        return ""
    silent = [each.name or str(each.side) for each in ends if not agrees(each)]
    if silent:
        return f"Waits for {' and '.join(silent)} to take its keys{_until(rotation.deadline_at)}."
    if before and rotation.state is State.STAGED and rotation.method is not Method.MANUAL:
        return f"Waits for its turn to be promoted: for {_named(before)} at its gateways."
    return "" if rotation.back else _proof(rotation, ends, tunnel)


def _proof(rotation: Rotation, ends: Sequence[End], tunnel: str) -> str:
    """The same where all ends have their keys."""
    hand_over = f"`ikewarden tunnel handover {tunnel}`"
    until = _until(rotation.deadline_at)
    if rotation.confirmed_at is None:
        by_hand = rotation.method is Method.MANUAL and rotation.state is State.STAGED
        confirm = f"`ikewarden rotation confirm {rotation.id}`"
        return (
            f"Waits for you: hand the key over with {hand_over}, then say {confirm}."
            if by_hand
            else ""
        )
    if rotation.state not in {State.PROMOTED, State.STUCK}:
        return ""
    at_once = rotation.method in {Method.FIRST, Method.EMERGENCY}
    if at_once and not all(each.ours for each in ends):
        return f"Waits for the outside peer to authenticate by the key{until}: hand it over with {hand_over}."
    return (
        f"Waits for a fresh authentication under the new key, seen by every gateway of ours{until}."
    )


def _turn(rotation: Rotation, policy: Policy, before: Sequence[Before]) -> str:
    if rotation.reason is Reason.SCHEDULED and policy.frozen:
        return "Waits until it is unfrozen."
    if before and rotation.reason is not Reason.EMERGENCY:
        window = "a maintenance window, or for " if _in_windows(rotation, policy) else ""
        return f"Waits for {window}{_named(before)} at its gateways."
    if _in_windows(rotation, policy):
        return "Waits for a maintenance window, or for its turn."
    return (
        "Waits for its turn: for another rotation at one of its gateways, or for the limits in "
        "[rotation]."
    )


def _named(before: Sequence[Before]) -> str:
    more = f" and {len(before) - _NAMED} more" if len(before) > _NAMED else ""
    return ", ".join(map(str, before[:_NAMED])) + more


def _in_windows(rotation: Rotation, policy: Policy) -> bool:
    return rotation.reason is Reason.SCHEDULED and bool(policy.windows)


def _until(deadline: datetime | None) -> str:
    return "" if deadline is None else f" until {deadline:%Y-%m-%d %H:%M:%S} UTC"
