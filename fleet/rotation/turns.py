"""Who makes whom wait: how many rotations may be under way together, and at the gateways of one tunnel.

A rotation holds its gateways while it changes by which key they prove themselves, or is about to. One that only waits
before it has done so lets others go first, and takes its turn again before it does.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    func,
    not_,
    or_,
    select,
    union_all,
)

from fleet.bumps import chunks
from fleet.rotation.records import Slot
from fleet.rotation.values import ENDED, Method, State
from hsm.secretstore import BadSecretPath, SecretConflict, SecretNotFound, SecretPathUnusable
from pki.desk import RotationRules
from store.fleet_tables import tunnels
from store.rotation_tables import rotations, secret_slots

# A gateway that runs answers within seconds.
_PATIENCE: Final = timedelta(minutes=1)
_IDLE: Final = ENDED | {State.SCHEDULED, State.STUCK}
# What ails one secret's place in the store, while the others can be worked with.
_OF_ONE_PATH: Final = [
    each.code for each in (BadSecretPath, SecretConflict, SecretNotFound, SecretPathUnusable)
]


@dataclass
class Room:
    """What the limits leave."""

    budget: int
    at_once: int
    per_gateway: int
    counts: Counter[int]

    def take(self, of: Slot, *, urgent: bool) -> bool:
        """Let one in, if it fits. What is urgent need only keep the store of secrets from being overrun."""
        if self.budget <= 0:
            return False
        ends = of.gateway_ids
        if not urgent and (
            self.at_once <= 0 or any(self.counts[end] >= self.per_gateway for end in ends)
        ):
            return False
        self.budget -= 1
        self.at_once -= 1
        self.counts.update(ends)
        return True


def _before(name: str) -> ColumnElement[bool]:
    return rotations.c.entered_at <= bindparam(name, type_=rotations.c.entered_at.type)


# No gateway has anything to do with it any more, or yet: only the store of secrets fails it. Where that fails all who
# are about to begin, they wait with it.
_FAILED_BY_THE_STORE = and_(
    rotations.c.tries > 0,
    or_(
        rotations.c.state != State.GENERATED,
        rotations.c.back != 0,
        rotations.c.error_code.in_(_OF_ONE_PATH),
    ),
)
# Whoever waits for people, for a tunnel's own next authentication, or for an end that is away must not keep the
# others waiting with him.
_BUSY = and_(
    rotations.c.state.in_([each for each in State if each not in _IDLE]),
    or_(rotations.c.state != State.STAGED, rotations.c.method != Method.MANUAL),
    or_(rotations.c.state != State.PROMOTED, not_(_before("since"))),
    not_(_FAILED_BY_THE_STORE),
)
# An end does not answer, and what it proves itself by is the old key still, or again, or it never had one.
_WAITS_UNCHANGED = and_(
    _before("lately"),
    or_(
        rotations.c.state.in_([State.STAGED_FIRST, State.STAGED, State.ROLLING_BACK]),
        and_(rotations.c.state == State.PROMOTED, rotations.c.method == Method.FIRST),
    ),
)
_HOLDS = and_(_BUSY, not_(_WAITS_UNCHANGED))
_TURNS = and_(_HOLDS, rotations.c.state.in_([State.PROMOTED, State.PROVEN, State.ROLLING_BACK]))


def _ends(which: ColumnElement[bool], name: str) -> Any:
    """The gateways of rotations, each as often as there are rotations."""
    found = (
        select(tunnels.c.left_id, tunnels.c.right_id)
        .join_from(rotations, secret_slots, secret_slots.c.id == rotations.c.slot_id)
        .join(tunnels, tunnels.c.id == secret_slots.c.tunnel_id)
        .where(which)
        .cte(name)
    )
    return union_all(
        select(found.c.left_id.label("gateway_id")),
        select(found.c.right_id).where(found.c.right_id.is_not(None)),
    ).subquery()


_HELD_ENDS, _TURNING_ENDS = _ends(_HOLDS, "held"), _ends(_TURNS, "turning")
_UNDER_WAY = select(func.count()).where(_BUSY)


def _count_of(ends: Any) -> Any:
    gateway: Column[int] = ends.c.gateway_id
    many: Any = select(gateway, func.count().label("many")).group_by(gateway)
    return many.where(gateway.in_(bindparam("ends", expanding=True)))


_HELD_OF, _TURNING_OF = _count_of(_HELD_ENDS), _count_of(_TURNING_ENDS)


def limits(rules: RotationRules, now: datetime) -> Mapping[str, datetime]:
    """Since when a rotation is in its state that no longer holds up others: what `full` is to be executed with."""
    return {"since": now - rules.step - rules.proof, "lately": now - _PATIENCE}


def under_way(connection: Connection, rules: RotationRules, now: datetime) -> int:
    """How many rotations count for `at_once`."""
    found: int = connection.execute(_UNDER_WAY, limits(rules, now)).scalar_one()
    return found


def full(per_gateway: int) -> Select[Any]:
    """The gateways that are held by as many rotations as may."""
    gateway: Column[int] = _HELD_ENDS.c.gateway_id
    return select(gateway).group_by(gateway).having(func.count() >= per_gateway)


def held(
    connection: Connection, ends: Collection[int], rules: RotationRules, now: datetime
) -> Counter[int]:
    """By how many rotations each of these gateways is held."""
    return _count(connection, _HELD_OF, ends, limits(rules, now))


def turning(
    connection: Connection, ends: Collection[int], rules: RotationRules, now: datetime
) -> Counter[int]:
    """How many rotations change by which key each of these gateways proves itself."""
    return _count(connection, _TURNING_OF, ends, limits(rules, now))


def _count(
    connection: Connection, query: Any, ends: Collection[int], at: Mapping[str, datetime]
) -> Counter[int]:
    return Counter(
        {
            row.gateway_id: row.many
            for some in chunks(sorted(ends))
            for row in connection.execute(query, {**at, "ends": some})
        }
    )


def in_the_way(
    connection: Connection, of: Slot, state: State, rules: RotationRules, now: datetime
) -> list[Row[Any]]:
    """The rotations at a slot's gateways that one of its own in this state waits for, with the `slot` of each and the
    numbers of its gateways; the oldest first.
    """
    here = or_(tunnels.c.left_id.in_(of.gateway_ids), tunnels.c.right_id.in_(of.gateway_ids))
    query = (
        select(rotations, secret_slots.c.name.label("slot"), tunnels.c.left_id, tunnels.c.right_id)
        .join_from(rotations, secret_slots, secret_slots.c.id == rotations.c.slot_id)
        .join(tunnels, tunnels.c.id == secret_slots.c.tunnel_id)
        .where(_HOLDS if state is State.SCHEDULED else _TURNS, here, secret_slots.c.id != of.id)
        .order_by(rotations.c.id)
    )
    found = connection.execute(query, limits(rules, now)).all()
    return list(found) if len(found) >= rules.per_gateway else []
