"""Shared secrets whose time has come: a rotation is begun for each, once, whatever replicas do."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Select, and_, select, update

from fleet.rotation import records
from fleet.rotation.plan import method_of
from fleet.rotation.records import Slot
from fleet.rotation.values import ENDED, Reason, State
from pki.actors import Action, Actor, require
from pki.desk import Desk
from pki.trail import leave
from store.engine import Unit
from store.rotation_tables import rotations, secret_slots

_BATCH = 200
_MOST = 100
# A frozen one is looked at again then.
LATER = timedelta(hours=1)


def begin_due(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """Begin a rotation for every slot that is due and has none; tell how many. Raises RoleMayNot."""
    require(actor, Action.JOB_RUN)
    begun = 0
    for _ in range(_MOST):
        with desk.store.read() as connection:
            if connection.execute(_due(now).limit(1)).first() is None:
                return begun
        looked, made = desk.store.together(lambda unit: _begin(unit, actor, now))
        begun += made
        if looked < _BATCH:
            break
    return begun


def _due(now: datetime) -> Select[tuple[int]]:
    return (
        select(secret_slots.c.id)
        .where(and_(secret_slots.c.due_at <= now, secret_slots.c.rotation_id.is_(None)))
        .order_by(secret_slots.c.due_at, secret_slots.c.id)
    )


def _begin(unit: Unit, actor: Actor, now: datetime) -> tuple[int, int]:
    """Tells how many it looked at, and how many it began."""
    connection = unit.connection
    # Other replicas take others; references to a slot do not hinder.
    query = _due(now).limit(_BATCH).with_for_update(skip_locked=True, key_share=True)
    slots = list(records.slots(connection, list(connection.scalars(query))).values())
    frozen = [each.id for each in slots if each.policy.frozen]
    ready = [each for each in slots if not each.policy.frozen]
    connection.execute(
        update(secret_slots).where(secret_slots.c.id.in_(frozen)).values(due_at=now + LATER)
    )
    if ready:
        _put(unit, actor, ready, now)
    return len(slots), len(ready)


def _put(unit: Unit, actor: Actor, ready: Sequence[Slot], now: datetime) -> None:
    connection = unit.connection
    ends = records.ends_of_all(connection, ready)
    rows = [
        {
            "slot_id": each.id,
            "state": State.SCHEDULED,
            "back": 0,
            "method": method_of(each, ends[each.id]),
            "reason": Reason.SCHEDULED,
            "from_version": each.current,
            "created_at": now,
            "created_by": actor.name,
            "entered_at": now,
            "wake_at": now,
            "tries": 0,
        }
        for each in ready
    ]
    connection.execute(rotations.insert(), rows)
    mine = (
        select(rotations.c.id)
        .where(rotations.c.slot_id == secret_slots.c.id, rotations.c.state.not_in(ENDED))
        .scalar_subquery()
    )
    ids = [each.id for each in ready]
    connection.execute(
        update(secret_slots).where(secret_slots.c.id.in_(ids)).values(rotation_id=mine)
    )
    for each in ready:
        reason = str(Reason.SCHEDULED)
        leave(unit, actor, "rotation.begin", f"secret:{each.name}", now=now, reason=reason)
