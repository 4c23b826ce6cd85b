"""Who looks at which rotation: claimed by one worker at a time, and let in as the limits of all replicas allow."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    update,
)

from fleet.rotation import machine, records, turns
from fleet.rotation.records import Slot
from fleet.rotation.turns import Room
from fleet.rotation.values import End, Kind, Method, Reason, Rotation, Side, State
from pki.actors import Actor
from pki.desk import Desk, RotationRules
from pki.trail import leave
from store import leases
from store.engine import Unit
from store.fleet_tables import tunnels
from store.rotation_tables import rotations, secret_slots, secrets
from store.tables import leases as lease_rows

# Longer than a worker needs for its batch; whatever one that died held is looked at again after it.
LEASE: Final = timedelta(seconds=30)
# By so much the clocks of replicas may differ.
_SKEW: Final = 2 * LEASE
_GATE: Final = "rotations"
_SECOND: Final = timedelta(seconds=1)
# So much of what a second allows is begun at once.
_SHARE: Final = 0.25
_NO_TIME: Final = timedelta(0)


@dataclass(frozen=True)
class Worker:
    """Who claims: a process among replicas, and how much at a time."""

    desk: Desk
    actor: Actor
    name: str
    batch: int


def open_gate(worker: Worker, now: datetime) -> None:
    """See that the row is there by which one replica at a time lets rotations begin."""
    leases.take(worker.desk.store, _GATE, worker.name, _NO_TIME, now)


def put_right(worker: Worker, now: datetime) -> None:
    """Have what a clock wrote that was far ahead looked at now: its claims would last, and its times be yet to come."""
    ahead = now + _SKEW
    wrong = or_(rotations.c.claimed_until > ahead, rotations.c.entered_at > ahead)
    query = select(rotations).where(rotations.c.wake_at.is_not(None), wrong)
    with worker.desk.store.read() as connection:
        if connection.execute(query.limit(1)).first() is None:
            return
    with worker.desk.store.write() as connection:
        locked = query.order_by(rotations.c.id).with_for_update(skip_locked=True)
        for row in connection.execute(locked).all():
            shift = max(row.entered_at - now, _NO_TIME)
            deadline = None if row.deadline_at is None else row.deadline_at - shift
            connection.execute(
                update(rotations)
                .where(rotations.c.id == row.id)
                .values(
                    wake_at=now,
                    entered_at=row.entered_at - shift,
                    deadline_at=deadline,
                    claimed_by=None,
                    claimed_until=None,
                )
            )


def take(worker: Worker, now: datetime) -> list[int]:
    """Claim rotations under way that are to be looked at, the longest due first; nobody else gets them meanwhile."""
    free = and_(
        rotations.c.wake_at <= now,
        rotations.c.state != State.SCHEDULED,
        or_(rotations.c.claimed_until.is_(None), rotations.c.claimed_until <= now),
    )
    with worker.desk.store.read() as connection:
        if connection.execute(select(rotations.c.id).where(free).limit(1)).first() is None:
            return []  # the usual case, several times a second
    query = (
        select(rotations.c.id)
        .where(free)
        .order_by(rotations.c.wake_at, rotations.c.id)
        .limit(worker.batch)
        .with_for_update(skip_locked=True)
    )
    with worker.desk.store.write() as connection:
        ids = list(connection.scalars(query))
        if ids:
            connection.execute(
                update(rotations)
                .where(rotations.c.id.in_(ids))
                .values(claimed_by=worker.name, claimed_until=now + LEASE)
            )
    return ids


_WAITING = and_(
    rotations.c.state == State.SCHEDULED,
    rotations.c.wake_at <= bindparam("now", type_=rotations.c.wake_at.type),
)


def admit(worker: Worker, now: datetime) -> list[int]:
    """Let rotations begin as far as the limits allow, and claim them; each has a version on record from then on."""
    with worker.desk.store.read() as connection:
        waiting = select(rotations.c.id).where(_WAITING).limit(1)
        if connection.execute(waiting, {"now": now}).first() is None:
            return []

    def work(unit: Unit) -> list[int]:
        gate = select(lease_rows.c.name).where(lease_rows.c.name == _GATE)
        if unit.connection.execute(gate.with_for_update(skip_locked=True)).first() is None:
            return []  # another replica is at it
        return _let_in(unit, worker, now)

    return worker.desk.store.together(work)


def _let_in(unit: Unit, worker: Worker, now: datetime) -> list[int]:
    connection, rules = unit.connection, worker.desk.rules.rotation
    budget = min(_budget(connection, rules, now), worker.batch)
    if budget <= 0:
        return []
    free = rules.at_once - turns.under_way(connection, rules, now)
    query = _candidates(budget, free, rules.per_gateway)
    candidates = connection.execute(query, {"now": now, **turns.limits(rules, now)}).all()
    slots = records.slots(connection, [row.slot_id for row in candidates])
    ends = {end for of in slots.values() for end in of.gateway_ids}
    room = Room(budget, free, rules.per_gateway, turns.held(connection, ends, rules, now))
    chosen: list[tuple[Rotation, Slot]] = []
    for row in candidates:
        of, rotation = slots[row.slot_id], records.rotation_of(row)
        wait = _wait(rotation, of, rules, now)
        if wait is not None:
            put_off = update(rotations).where(rotations.c.id == row.id).values(wake_at=wait)
            connection.execute(put_off)
        elif room.take(of, urgent=rotation.reason is Reason.EMERGENCY):
            chosen.append((rotation, of))
    return _generate(unit, worker, chosen, now)


def _budget(connection: Connection, rules: RotationRules, now: datetime) -> int:
    """How many may begin now: so many as make `per_second` in any second, and not all of them at once."""
    most: int = max(1, ceil(rules.per_second))
    # A rate below one a second: one in a longer time.
    span = max(_SECOND, timedelta(seconds=1 / rules.per_second))
    # Every beginning puts a version on record.
    latest = select(secrets.c.created_at).order_by(secrets.c.id.desc()).limit(most).subquery()
    # Also what a replica wrote whose clock is ahead, but not by any time.
    lately = and_(latest.c.created_at > now - span, latest.c.created_at <= now + span)
    begun: int = connection.execute(select(func.count()).where(lately)).scalar_one()
    return min(most - begun, max(1, ceil(most * _SHARE)))


_ORDER: ColumnElement[int] = case(
    (rotations.c.reason == Reason.EMERGENCY, 0),
    (rotations.c.reason == Reason.SCHEDULED, 2),
    else_=1,
)


def _candidates(budget: int, at_once: int, per_gateway: int) -> Any:
    free: ColumnElement[bool] = rotations.c.reason == Reason.EMERGENCY
    if at_once > 0:
        # The gateways that have as many rotations as they may.
        full = turns.full(per_gateway)
        right = func.coalesce(tunnels.c.right_id, 0)
        free = or_(free, and_(tunnels.c.left_id.not_in(full), right.not_in(full)))
    return (
        select(rotations)
        .join(secret_slots, secret_slots.c.id == rotations.c.slot_id)
        .join(tunnels, tunnels.c.id == secret_slots.c.tunnel_id)
        .where(_WAITING, free)
        .order_by(_ORDER, rotations.c.wake_at, rotations.c.id)
        # Some of them end at the same gateway.
        .limit(budget * 4 + per_gateway)
        .with_for_update(skip_locked=True, of=rotations)
    )


def _wait(rotation: Rotation, of: Slot, rules: RotationRules, now: datetime) -> datetime | None:
    """Until when its policy makes it wait; None where it may begin."""
    ends = (
        End(Side.LEFT, True, of.left_keys),
        End(Side.RIGHT, of.right_id is not None, of.right_keys),
    )
    found = machine.step(rotation, ends, of.policy, rules, now)
    return found.wake_at if found.rotation.state is State.SCHEDULED else None


_ADMITTED = (
    update(rotations)
    .where(rotations.c.id == bindparam("of"))
    .values(
        state=State.GENERATED,
        **{
            name: bindparam(f"new_{name}")
            for name in (
                "method",
                "from_version",
                "to_version",
                "entered_at",
                "wake_at",
                "claimed_by",
                "claimed_until",
            )
        },
    )
)
_COUNTED = (
    update(secret_slots)
    .where(secret_slots.c.id == bindparam("of"))
    .values(last_version=bindparam("number"))
)


def _generate(
    unit: Unit, worker: Worker, chosen: Sequence[tuple[Rotation, Slot]], now: datetime
) -> list[int]:
    connection = unit.connection
    # Not waited for: whoever holds a slot may be waiting for its rotation.
    held = set(
        connection.scalars(
            select(secret_slots.c.id)
            .where(secret_slots.c.id.in_([of.id for _, of in chosen]))
            .with_for_update(skip_locked=True, key_share=True)
        )
    )
    fresh = records.slots(connection, held)
    pairs = [
        (replace(rotation, to_version=fresh[of.id].last_version + 1), fresh[of.id])
        for rotation, of in chosen
        if of.id in fresh
    ]
    if not pairs:
        return []
    connection.execute(_ADMITTED, [_admitted(worker, *pair, now) for pair in pairs])
    connection.execute(_COUNTED, [{"of": of.id, "number": each.to_version} for each, of in pairs])
    connection.execute(secrets.insert(), list(_versions(pairs, now)))
    for rotation, of in pairs:
        leave(
            unit,
            worker.actor,
            "rotation.generated",
            f"secret:{of.name}",
            now=now,
            rotation=rotation.id,
            version=rotation.to_version,
        )
    return [rotation.id for rotation, _ in pairs]


def _admitted(worker: Worker, rotation: Rotation, of: Slot, now: datetime) -> Mapping[str, Any]:
    return {
        "of": rotation.id,
        "new_method": Method.FIRST if of.current is None else rotation.method,
        "new_from_version": of.current,
        "new_to_version": rotation.to_version,
        "new_entered_at": now,
        "new_wake_at": now,
        "new_claimed_by": worker.name,
        "new_claimed_until": now + LEASE,
    }


def _versions(pairs: Iterable[tuple[Rotation, Slot]], now: datetime) -> Iterator[Mapping[str, Any]]:
    for rotation, of in pairs:
        named = f"{of.tunnel}-v{rotation.to_version}" if of.kind is Kind.PPK else None
        yield {
            "slot_id": of.id,
            "version": rotation.to_version,
            "state": "intended",
            "source": "generate",
            "ppk_id": named,
            "created_at": now,
        }


def rows(connection: Connection, ids: Sequence[int], *, lock: bool = False) -> list[Row[Any]]:
    """These rotations, by number."""
    query = select(rotations).where(rotations.c.id.in_(ids)).order_by(rotations.c.id)
    return list(connection.execute(query.with_for_update() if lock else query))
