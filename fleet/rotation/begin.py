"""Rotations begun, cancelled and confirmed: rows alone, inside a caller's transaction. What follows is the runner's.

Callers have asked for permission and leave the audit row of their own act.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection

from core.errors import Conflict
from fleet.rotation.values import Method, Reason
from store.engine import Unit


class RotationUnderWay(Conflict):
    """The secret is being rotated already; an emergency hastens what is under way instead, while that is possible."""

    code = "rotation_under_way"
    next_step = "Wait for it to end, or cancel it."


class RotationTooLate(Conflict):
    """The rotation is over, or so far that there is no way back."""

    code = "rotation_too_late"
    next_step = "Look at the rotation; begin another one after it."


class NothingToConfirm(Conflict):
    """The rotation waits for nothing that a person could confirm now."""

    code = "nothing_to_confirm"
    next_step = "Look at the rotation to see what it waits for."


def begin(
    unit: Unit, slot_id: int, reason: Reason, method: Method | None, actor_name: str, now: datetime
) -> int:
    """Begin a rotation of a slot and give its number; it waits its turn, nothing is made yet.

    Without a `method` the safest that the ends can do: FIRST where there is no key, MANUAL with an outside peer,
    EMERGENCY for that reason, COORDINATED where an end takes one key only. An emergency turns one that is under way
    into one, and gives its number. Raises SlotNotFound, RotationUnderWay.
    """
    raise NotImplementedError


def cancel(unit: Unit, rotation_id: int, actor_name: str, now: datetime) -> None:
    """Have a rotation undone: at once where nothing was made, else by way of rolling back.

    Raises RotationNotFound, RotationTooLate.
    """
    raise NotImplementedError


def confirm(unit: Unit, rotation_id: int, actor_name: str, now: datetime) -> None:
    """Note that the outside peer has the new key (MANUAL, our end staged): it is promoted at our end.

    Raises RotationNotFound, NothingToConfirm.
    """
    raise NotImplementedError


def wake(connection: Connection, slot_ids: Collection[int], now: datetime) -> None:
    """Let the rotations of these slots be looked at now: an end has reported, or a policy has changed.

    Where it comes with a report the gateway's row is locked before (fleet.gateways.locked).
    """
    raise NotImplementedError
