"""What we do ourselves at a gateway, so that the rules do not take it for trouble.

Rotations, renewals of certificates at either end of its tunnels, and what was ordered: to authenticate afresh, to
renew, to cut the SAs of a revoked certificate.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, and_, case, func, null, or_, select, union_all

from fleet.rotation import binding
from fleet.rotation.values import Side
from fleet.state import CUT
from ike.detection.bounds import Planned
from pki.identity import CHANNEL
from store.fleet_tables import gateway_commands, gateways, tunnels
from store.rotation_tables import rotations, secret_slots
from store.tables import certificates

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
        *_commands(connection, gateway_id, now),
        *_renewals(connection, gateway_id, now),
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


def _commands(connection: Connection, gateway_id: int, now: datetime) -> Iterator[Planned]:
    command = gateway_commands.c
    query = (
        select(
            command.kind,
            command.created_at,
            command.done_at,
            command.connection,
            certificates.c.gateway.label("peer"),
        )
        .join_from(
            gateway_commands,
            certificates,
            certificates.c.id == command.certificate_id,
            isouter=True,
        )
        .where(command.gateway_id == gateway_id)
        # One that is never done explains nothing for ever.
        .where(func.coalesce(command.done_at, command.created_at) > now - _MEMORY)
        # The first that covers a moment counts: cuts before the rest.
        .order_by(case((command.kind == CUT, 0), else_=1), command.id.desc())
        .limit(_MOST)
    )
    found = list(connection.execute(query))
    ends = _ends(connection, gateway_id) if any(row.kind == CUT for row in found) else {}
    for row in found:
        span = _span(row.created_at, row.done_at, now)
        if row.kind != CUT:
            yield Planned(*span, row.connection, purpose="renewal")
            continue
        # Without a tunnel on record it may be any connection.
        for name in ends.get(row.peer) or (None,):
            yield Planned(*span, name, purpose="cut")


def _renewals(connection: Connection, gateway_id: int, now: datetime) -> Iterator[Planned]:
    """Certificates that were issued of late: the gateway's own is about all of its tunnels, a peer's about theirs."""
    mine, peer = gateways.alias("mine"), gateways.alias("peer")
    here = or_(
        and_(tunnels.c.left_id == gateway_id, tunnels.c.right_id == peer.c.id),
        and_(tunnels.c.right_id == gateway_id, tunnels.c.left_id == peer.c.id),
    )
    is_new = and_(certificates.c.created_at > now - _MEMORY, certificates.c.profile != CHANNEL)
    own = (
        select(null().label("name"), certificates.c.created_at)
        .join_from(mine, certificates, certificates.c.gateway == mine.c.name)
        .where(mine.c.id == gateway_id, is_new)
    )
    others = (
        select(tunnels.c.name, certificates.c.created_at)
        .join_from(tunnels, peer, here)
        .join(certificates, certificates.c.gateway == peer.c.name)
        .where(is_new)
    )
    for row in connection.execute(union_all(own, others).limit(_MOST)):
        yield Planned(*_span(row.created_at, row.created_at, now), row.name, purpose="renewal")


def _ends(connection: Connection, gateway_id: int) -> dict[str, list[str]]:
    """The tunnels of the gateway by the gateway at their other end."""
    peer = gateways.alias("peer")
    other = case((tunnels.c.left_id == gateway_id, tunnels.c.right_id), else_=tunnels.c.left_id)
    query = (
        select(peer.c.name.label("peer"), tunnels.c.name)
        .join_from(tunnels, peer, peer.c.id == other)
        .where(or_(tunnels.c.left_id == gateway_id, tunnels.c.right_id == gateway_id))
    )
    found: dict[str, list[str]] = {}
    for row in connection.execute(query):
        found.setdefault(row.peer, []).append(row.name)
    return found
