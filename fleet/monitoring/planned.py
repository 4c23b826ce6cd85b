"""What we do ourselves at a gateway, so that the rules do not take it for trouble.

Rotations, renewals of certificates at either end of its tunnels, and what was ordered: to authenticate afresh, to
renew, to cut the SAs of a revoked certificate.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, case, func, null, or_, select, union_all

from fleet.rotation import binding
from fleet.rotation.values import Kind, Side
from fleet.state import CUT
from ike.detection.bounds import Planned
from pki.identity import CHANNEL
from store.fleet_tables import gateway_commands, gateways, tunnels
from store.rotation_tables import rotations, secret_slots
from store.tables import certificates
from store.types import BigKey, UTCDateTime

# Events that come later than this are looked at without it.
_MEMORY: Final = timedelta(days=1)
# Clocks differ, and what was begun may show itself a little later.
_BEFORE: Final = timedelta(minutes=1)
_AFTER: Final = timedelta(minutes=10)
_MOST: Final = 1_000
_MOST_BY_SECRET: Final = 20_000

# Put together once: they are asked with every batch of events.
_GATEWAY: Final = bindparam("gateway", type_=BigKey)
_SINCE: Final = bindparam("since", type_=UTCDateTime)
_MINE: Final = or_(tunnels.c.left_id == _GATEWAY, tunnels.c.right_id == _GATEWAY)
_PEER: Final = gateways.alias("peer")
_OTHER_END: Final = _PEER.c.id == case(
    (tunnels.c.left_id == _GATEWAY, tunnels.c.right_id), else_=tunnels.c.left_id
)
_TURNING: Final = (
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
    .where(_MINE, or_(rotations.c.ended_at.is_(None), rotations.c.ended_at > _SINCE))
    .order_by(rotations.c.id.desc())
    .limit(_MOST)
)
_ORDERED: Final = (
    select(
        gateway_commands.c.kind,
        gateway_commands.c.created_at,
        gateway_commands.c.done_at,
        gateway_commands.c.connection,
        certificates.c.gateway.label("peer"),
    )
    .join_from(
        gateway_commands,
        certificates,
        certificates.c.id == gateway_commands.c.certificate_id,
        isouter=True,
    )
    .where(gateway_commands.c.gateway_id == _GATEWAY)
    # One that is never done explains nothing for ever.
    .where(func.coalesce(gateway_commands.c.done_at, gateway_commands.c.created_at) > _SINCE)
    # The first that covers a moment counts: cuts before the rest.
    .order_by(case((gateway_commands.c.kind == CUT, 0), else_=1), gateway_commands.c.id.desc())
    .limit(_MOST)
)
_IS_NEW: Final = (certificates.c.created_at > _SINCE, certificates.c.profile != CHANNEL)
_OWN: Final = (
    select(null().label("name"), certificates.c.created_at)
    .join_from(gateways, certificates, certificates.c.gateway == gateways.c.name)
    .where(gateways.c.id == _GATEWAY, *_IS_NEW)
)
_THEIRS: Final = (
    select(tunnels.c.name, certificates.c.created_at)
    .join_from(tunnels, _PEER, _OTHER_END)
    .join(certificates, certificates.c.gateway == _PEER.c.name)
    .where(_MINE, *_IS_NEW)
)
_RENEWED: Final = union_all(_OWN, _THEIRS).limit(_MOST)
_BY_SECRET: Final = (
    select(secret_slots.c.binding, tunnels.c.name, tunnels.c.left_id)
    .join_from(secret_slots, tunnels, tunnels.c.id == secret_slots.c.tunnel_id)
    .where(_MINE, secret_slots.c.kind == Kind.PSK)
    .limit(_MOST_BY_SECRET)
)
_ENDS: Final = (
    select(_PEER.c.name.label("peer"), tunnels.c.name)
    .join_from(tunnels, _PEER, _OTHER_END)
    .where(_MINE)
)
# On most days there is nothing, and one question tells so.
_THERE: Final = select(
    _TURNING.exists().label("rotations"),
    _ORDERED.exists().label("commands"),
    or_(_OWN.exists(), _THEIRS.exists()).label("renewals"),
)


def at_gateway(connection: Connection, gateway_id: int, now: datetime) -> tuple[Planned, ...]:
    """What we do there, and did of late."""
    there = connection.execute(_THERE, {"gateway": gateway_id, "since": now - _MEMORY}).one()
    return (
        *(_rotations(connection, gateway_id, now) if there.rotations else ()),
        *(_commands(connection, gateway_id, now) if there.commands else ()),
        *(_renewals(connection, gateway_id, now) if there.renewals else ()),
    )


def _span(begun: datetime, ended: datetime | None, now: datetime) -> tuple[float, float]:
    until = (now if ended is None else ended) + _AFTER
    return (begun - _BEFORE).timestamp(), until.timestamp()


@dataclass(frozen=True)
class Turning:
    """A rotation of a secret at a gateway, and what its connection is called there.

    What happens from `since` on is its doing: a minute before it was begun, as clocks differ, but for what the one
    before it explains.
    """

    id: int
    connection: str
    slot: str
    begun: datetime
    ended: datetime | None
    since: datetime


def rotations_at(connection: Connection, gateway_id: int, now: datetime) -> list[Turning]:
    """Those under way, and those that ended of late; the first begun first."""
    found: list[Turning] = []
    explained: dict[str, datetime] = {}  # until when, by connection
    rows = connection.execute(_TURNING, {"gateway": gateway_id, "since": now - _MEMORY}).all()
    for row in reversed(rows):
        name, begun = _called(row, gateway_id), row.created_at
        since = max(begun - _BEFORE, min(begun, explained.get(name, begun - _BEFORE)))
        found.append(Turning(row.id, name, row.slot, begun, row.ended_at, since))
        until = (now if row.ended_at is None else row.ended_at) + _AFTER
        explained[name] = max(until, explained.get(name, until))
    return found


def _called(row: Row[*tuple[Any, ...]], gateway_id: int) -> str:
    """What the gateway calls the connection of a slot."""
    side = Side.LEFT if row.left_id == gateway_id else Side.RIGHT
    return binding.from_document(row.binding).connection(side) or str(row.name)


def _rotations(connection: Connection, gateway_id: int, now: datetime) -> Iterator[Planned]:
    for each in rotations_at(connection, gateway_id, now):
        _, until = _span(each.begun, each.ended, now)
        yield Planned(each.since.timestamp(), until, each.connection)


def _commands(connection: Connection, gateway_id: int, now: datetime) -> Iterator[Planned]:
    found = connection.execute(_ORDERED, {"gateway": gateway_id, "since": now - _MEMORY}).all()
    ends: dict[str, list[str]] = {}
    if any(row.kind == CUT for row in found):
        for end in connection.execute(_ENDS, {"gateway": gateway_id}):
            ends.setdefault(end.peer, []).append(end.name)
    for row in found:
        span = _span(row.created_at, row.done_at, now)
        if row.kind != CUT:
            yield Planned(*span, row.connection, purpose="renewal")
            continue
        # Without a tunnel on record it may be any connection.
        for name in ends.get(row.peer) or (None,):
            yield Planned(*span, name, purpose="cut")


def _renewals(connection: Connection, gateway_id: int, now: datetime) -> Iterator[Planned]:
    """Certificates that were issued of late: the gateway's own is about all of its tunnels, a peer's about theirs; but
    about none that a pre-shared key is for.
    """
    found = connection.execute(_BY_SECRET, {"gateway": gateway_id})
    others = frozenset(_called(row, gateway_id) for row in found)
    for row in connection.execute(_RENEWED, {"gateway": gateway_id, "since": now - _MEMORY}):
        span = _span(row.created_at, row.created_at, now)
        yield Planned(*span, row.name, purpose="renewal", besides=others)
