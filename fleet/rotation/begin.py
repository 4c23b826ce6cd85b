"""Rotations begun, cancelled and confirmed: rows alone, inside a caller's transaction. What follows is the runner's.

Callers have asked for permission and leave the audit row of their own act.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, case, literal, select, update

from core.errors import Conflict, InvalidInput
from fleet.bumps import chunks, hold
from fleet.rotation import calendar, records
from fleet.rotation.machine import agrees
from fleet.rotation.plan import method_of
from fleet.rotation.records import RotationNotFound, Slot, SlotNotFound
from fleet.rotation.values import ENDED, Method, Reason, Rotation, State
from store.engine import Unit
from store.rotation_tables import rotations, secret_slots

CANCELLED = "rotation_cancelled"


class RotationUnderWay(Conflict):
    """The secret is being rotated already; an emergency hastens what is under way instead, while that is possible."""

    code = "rotation_under_way"
    next_step = "Wait for it to end, or cancel it."


class ImportUnderWay(Conflict):
    """The secret is being imported. An import that was cut off is taken back within five minutes, with its value."""

    code = "import_under_way"
    next_step = "Look again in five minutes, or take it off at once with `tunnel secret-remove`."


class RotationTooLate(Conflict):
    """The rotation is over, or so far that there is no way back."""

    code = "rotation_too_late"
    next_step = "Look at the rotation; begin another one after it."


class NothingToConfirm(Conflict):
    """The rotation waits for nothing that a person could confirm now."""

    code = "nothing_to_confirm"
    next_step = "Look at the rotation to see what it waits for."


class MethodRefused(InvalidInput):
    """A method that these ends or this reason cannot have."""

    code = "rotation_method_refused"
    next_step = "Leave the method out: the safest that the ends can do is taken."


def begin(
    unit: Unit, slot_id: int, reason: Reason, method: Method | None, actor_name: str, now: datetime
) -> int:
    """Begin a rotation of a slot and give its number; it waits its turn, nothing is made yet.

    Without a `method` the safest that the ends can do: FIRST where there is no key, MANUAL with an outside peer,
    EMERGENCY for that reason, COORDINATED where an end takes one key only. An emergency turns one that is under way
    into one, also one that is stuck while it is being undone, and gives its number; none that is proven.

    Raises SlotNotFound, RotationUnderWay, ImportUnderWay, MethodRefused.
    """
    connection = unit.connection
    of = locked_slot(connection, slot_id)
    under_way = None if of.rotation_id is None else _locked(connection, of.rotation_id)
    check_can_begin(connection, of, emergency=reason is Reason.EMERGENCY)
    if under_way is not None:
        return _hasten(connection, under_way, now)
    found = method_of(of, records.ends(connection, of), emergency=reason is Reason.EMERGENCY)
    if method not in {None, found} and {method, found} != {Method.OVERLAP, Method.COORDINATED}:
        raise MethodRefused(f"{of.name} is rotated by the method {found}, not {method}.")
    return put(connection, of, reason, method or found, actor_name, now)


def put(
    connection: Connection, of: Slot, reason: Reason, method: Method, actor_name: str, now: datetime
) -> int:
    """Put a rotation on record for a slot that is locked and has none."""
    row = {
        "slot_id": of.id,
        "state": State.SCHEDULED,
        "back": 0,
        "method": method,
        "reason": reason,
        "from_version": of.current,
        "created_at": now,
        "created_by": actor_name,
        "entered_at": now,
        "wake_at": now,
        "tries": 0,
    }
    made = rotations.insert().values(**row).returning(rotations.c.id)
    number = int(connection.execute(made).scalar_one())
    connection.execute(
        update(secret_slots).where(secret_slots.c.id == of.id).values(rotation_id=number)
    )
    return number


def _under_way(connection: Connection, name: str, number: int) -> RotationUnderWay:
    state = records.rotation(connection, number).state
    return RotationUnderWay(
        f"{name} is being rotated already: rotation {number}, {state}.",
        next_step=f"Wait for it to end (`rotation show {number} --wait`), or cancel it (`rotation cancel {number}`).",
    )


def _too_late(row: Row[Any]) -> RotationTooLate:
    if row.method == Method.EMERGENCY and row.state not in ENDED:
        return RotationTooLate(
            f"Rotation {row.id} is an emergency: the old key is known to others, and there is no way back to it.",
            next_step="Look at the rotation to see what it waits for; it goes on by itself.",
        )
    return RotationTooLate(f"There is no way back in the state {row.state}.")


_CAN_BE_HASTENED = frozenset(
    {
        State.SCHEDULED,
        State.GENERATED,
        State.STORED,
        State.STAGED_FIRST,
        State.STAGED,
        State.PROMOTED,
    }
)


def check_can_begin(connection: Connection, of: Slot, *, emergency: bool) -> None:
    """Make sure that a rotation can begin, or an emergency take over the one under way.

    Raises RotationUnderWay, ImportUnderWay.
    """
    check_not_on_its_way(connection, of)
    if of.rotation_id is None:
        return
    if not emergency:
        raise _under_way(connection, of.name, of.rotation_id)
    row = records.rotation(connection, of.rotation_id)
    if row.back and not _turns(row):
        first = row.method == Method.FIRST
        when = "has ended" if first else "has ended or is stuck"
        raise RotationUnderWay(
            f"The rotation of {of.name} is being undone.",
            next_step=f"Wait until it {when}; then order the emergency again.",
        )
    if row.method != Method.EMERGENCY and (row.state == State.PROVEN or _is_stuck_proven(of, row)):
        raise RotationUnderWay(
            f"The new key of {of.name} is proven, and the old one is being withdrawn.",
            next_step=(
                "Wait until it has ended, then order the emergency again. If an end stays away for good, remove the "
                "tunnel and make it anew."
            ),
        )


def _turns(row: Row[Any] | Rotation) -> bool:
    """Whether a rotation that is being undone can be turned again.

    Only there is the new value sure to be left: before it is destroyed the rotation is put where it cannot get stuck.
    """
    return bool(row.back) and row.state == State.STUCK and row.method != Method.FIRST


def _hasten(connection: Connection, row: Row[Any], now: datetime) -> int:
    change: dict[str, Any] = {"wake_at": now, "reason": Reason.EMERGENCY}
    by_hand = row.state == State.STUCK and row.method == Method.MANUAL
    if _turns(row):
        forward = {"back": 0, "error_code": None, "error": None, "next_step": None}
        change |= {
            "method": Method.EMERGENCY,
            "state": State.PROMOTED,
            "entered_at": now,
            "confirmed_at": None,
        } | forward
    elif row.method != Method.FIRST and (row.state in _CAN_BE_HASTENED or by_hand):
        change["method"] = Method.EMERGENCY
        if by_hand:
            change |= {"state": State.PROMOTED, "entered_at": now, "confirmed_at": None}
    _change(connection, row.id, change)
    return int(row.id)


def cancel(unit: Unit, rotation_id: int, actor_name: str, now: datetime) -> None:
    """Have a rotation undone: at once where nothing was made, else by way of rolling back. May be done again.

    Raises RotationNotFound, RotationTooLate.
    """
    connection = unit.connection
    of, row = _locked_both(connection, rotation_id)
    if row.back:
        return
    told = {
        "back": 1,
        "error_code": CANCELLED,
        "error": f"Cancelled by {actor_name}.",
        "next_step": "",
        "wake_at": now,
    }
    if row.state == State.SCHEDULED:
        ended = {"state": State.CANCELLED, "entered_at": now, "ended_at": now, "wake_at": None}
        _change(connection, row.id, told | ended)
        due = {"rotation_id": None, "due_at": due_after(of, records.rotation_of(row), now)}
        connection.execute(update(secret_slots).where(secret_slots.c.id == of.id).values(**due))
        return
    if not _can_go_back(of, row):
        raise _too_late(row)
    if row.state == State.STUCK:
        told |= {"state": State.PROMOTED, "confirmed_at": None}
    _change(connection, row.id, told)


def _can_go_back(of: Slot, row: Row[Any]) -> bool:
    if row.state in {*ENDED, State.PROVEN}:
        return False
    if row.method == Method.EMERGENCY:
        return row.state in {State.GENERATED, State.STORED}
    if row.state == State.STUCK:
        return row.method in {Method.FIRST, Method.MANUAL} and not _is_withdrawn(of, row)
    return True


def _is_stuck_proven(of: Slot, row: Row[Any] | Rotation) -> bool:
    return row.state == State.STUCK and not row.back and _is_withdrawn(of, row)


def _is_withdrawn(of: Slot, row: Row[Any] | Rotation) -> bool:
    """Whether a rotation that is stuck was proven: the old key is in no list, though there was one."""
    return row.method != Method.FIRST and of.left_keys == (row.to_version,)


def due_after(of: Slot, ended: Rotation, now: datetime) -> datetime | None:
    """When a slot is due after a rotation that has just ended.

    One that was due and failed, or was cancelled, is tried again after a day; one that was asked for changes nothing
    then.
    """
    # Even over a sequence of numbers (Knuth's multiplicative hash), so that what was rotated together drifts apart.
    draw = (ended.id * 2654435761 % 2**32) / 2**32
    undone = ended.state is not State.RETIRED and of.current is not None
    if undone and of.policy.interval_days:
        if ended.reason is not Reason.SCHEDULED:
            return of.due_at
        return calendar.opening(of.policy, now + calendar.DAY)
    return calendar.next_due(of.policy, now, draw)


def confirm(unit: Unit, rotation_id: int, now: datetime) -> None:
    """Note that the outside peer has the new key (MANUAL, our end staged): it is promoted at our end.

    May be done again. Raises RotationNotFound, NothingToConfirm.
    """
    connection = unit.connection
    of, row = _locked_both(connection, rotation_id)
    waits = row.method == Method.MANUAL and row.state == State.STAGED and not row.back
    if not waits or not all(agrees(each) for each in records.ends(connection, of)):
        raise NothingToConfirm(f"Rotation {rotation_id} waits for nobody's word.")
    _change(connection, row.id, {"confirmed_at": now, "wake_at": now})


def wake(connection: Connection, slot_ids: Collection[int], now: datetime) -> None:
    """Let the rotations of these slots be looked at now: an end has reported, or a policy has changed.

    Where it comes with a report the gateway's row is locked before (fleet.gateways.locked).
    """
    for some in chunks(sorted(set(slot_ids))):
        waiting = (
            select(rotations.c.id)
            .where(rotations.c.slot_id.in_(some), rotations.c.wake_at > rotations.c.entered_at)
            # In one order, so that the reports of two ends with several secrets never wait for each other.
            .order_by(rotations.c.id)
            .with_for_update()
        )
        ids = list(connection.scalars(waiting))
        if ids:
            # By the clock of whoever entered it there: that of this process may be ahead of the runner's.
            entered = rotations.c.entered_at
            # Unless that was a clock ahead of its time, which was put right since.
            at = case((entered > now, literal(now, entered.type)), else_=entered)
            connection.execute(update(rotations).where(rotations.c.id.in_(ids)).values(wake_at=at))


def check_not_on_its_way(connection: Connection, of: Slot) -> None:
    """Raise ImportUnderWay where its first value is on its way into the store."""
    if of.current is None and records.is_being_imported(connection, of.id):
        raise ImportUnderWay(f"{of.name} is being imported.")


def locked_slot(connection: Connection, slot_id: int) -> Slot:
    """The slot, locked after its gateways, as all do that lock both. Raises SlotNotFound."""
    hold(connection, records.slot(connection, slot_id).gateway_ids)
    query = select(secret_slots.c.id).where(secret_slots.c.id == slot_id).with_for_update()
    if connection.execute(query).one_or_none() is None:
        raise SlotNotFound(f"There is no shared secret {slot_id}.")
    return records.slot(connection, slot_id)


def _locked(connection: Connection, rotation_id: int) -> Row[Any]:
    query = select(rotations).where(rotations.c.id == rotation_id).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        raise RotationNotFound(f"There is no rotation {rotation_id}.")
    return row


def _locked_both(connection: Connection, rotation_id: int) -> tuple[Slot, Row[Any]]:
    """The slot and its rotation, locked in this order after the gateways, which everybody keeps."""
    return locked_slot(connection, records.rotation(connection, rotation_id).slot_id), _locked(
        connection, rotation_id
    )


def _change(connection: Connection, rotation_id: int, values: Mapping[str, Any]) -> None:
    connection.execute(update(rotations).where(rotations.c.id == rotation_id).values(**values))
