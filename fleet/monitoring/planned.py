"""What we do ourselves at a gateway, so that the rules do not take it for trouble: rotations and reauthentications."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, or_, select

from fleet.rotation import binding
from fleet.rotation.values import Side
from fleet.state import REAUTHENTICATE
from ike.detection.bounds import Planned
from store.fleet_tables import gateway_commands, tunnels
from store.rotation_tables import rotations, secret_slots

# Events that come later than this are looked at without it.
_MEMORY: Final = timedelta(days=1)
# Clocks differ, and what was begun may show itself a little later.
_BEFORE: Final = timedelta(minutes=1)
_AFTER: Final = timedelta(minutes=10)
_MOST: Final = 1_000


def at_gateway(connection: Connection, gateway_id: int, now: datetime) -> tuple[Planned, ...]:
    """What we do there, and did of late."""
    return (
        *_rotations(connection, gateway_id, now),
        *_reauthentications(connection, gateway_id, now),
    )


def _span(begun: datetime, ended: datetime | None, now: datetime) -> tuple[float, float]:
    until = (now if ended is None else ended) + _AFTER
    return (begun - _BEFORE).timestamp(), until.timestamp()


@dataclass(frozen=True)
class Turning:
    """A rotation of a secret at a gateway, and what its connection is called there."""

    id: int
    connection: str
    slot: str
    begun: datetime
    ended: datetime | None


def rotations_at(connection: Connection, gateway_id: int, since: datetime) -> Iterator[Turning]:
    """Those under way, and those that ended later than `since`; the latest first."""
    query = (
        select(
            rotations.c.id,
            rotations.c.created_at,
            rotations.c.ended_at,
            secret_slots.c.binding,
            secret_slots.c.name.label("slot"),
            tunnels.c.name,
            tunnels.c.left_id,
        )
        .join_from(rotations, secret_slots, secret_slots.c.id == rotations.c.slot_id)
        .join(tunnels, tunnels.c.id == secret_slots.c.tunnel_id)
        .where(or_(tunnels.c.left_id == gateway_id, tunnels.c.right_id == gateway_id))
        .where(or_(rotations.c.ended_at.is_(None), rotations.c.ended_at > since))
        .order_by(rotations.c.id.desc())
        .limit(_MOST)
    )
    for row in connection.execute(query):
        side = Side.LEFT if row.left_id == gateway_id else Side.RIGHT
        name = binding.from_document(row.binding).connection(side) or row.name
        yield Turning(row.id, name, row.slot, row.created_at, row.ended_at)


def _rotations(connection: Connection, gateway_id: int, now: datetime) -> Iterator[Planned]:
    for each in rotations_at(connection, gateway_id, now - _MEMORY):
        yield Planned(*_span(each.begun, each.ended, now), each.connection)


def _reauthentications(connection: Connection, gateway_id: int, now: datetime) -> Iterator[Planned]:
    command = gateway_commands.c
    query = (
        select(command.created_at, command.done_at, command.connection)
        .where(command.gateway_id == gateway_id, command.kind == REAUTHENTICATE)
        .where(or_(command.done_at.is_(None), command.done_at > now - _MEMORY))
        .order_by(command.id.desc())
        .limit(_MOST)
    )
    for row in connection.execute(query):
        span = _span(row.created_at, row.done_at, now)
        yield Planned(*span, row.connection, purpose="renewal")
