"""What a gateway should have of shared secrets: the lists of versions at its end, and which proofs are wanted of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, or_, select

from fleet import definitions, identities
from fleet.bumps import chunks
from fleet.rotation import binding, machine, records
from fleet.rotation.machine import Order
from fleet.rotation.values import Side
from store.fleet_tables import gateways, tunnels
from store.rotation_tables import secret_slots, secrets


@dataclass(frozen=True)
class KeyState:
    """A version that a gateway should have. `id` is what its value is fetched by."""

    id: int
    version: int
    fingerprint: str | None
    ppk_id: str | None


@dataclass(frozen=True)
class SlotState:
    """A slot as one end should have it: the first key proves, all are accepted. Identities as in
    `ike.daemons.port.Connection`.
    """

    name: str
    kind: str
    tunnel: str
    connection: str
    local_id: str
    remote_id: str
    ike_version: int
    keys: tuple[KeyState, ...]
    prove: Order | None


_LEFT, _RIGHT = gateways.alias("left_end"), gateways.alias("right_end")
# Whoever has no tunnel pays one look into two indexes: ten thousand gateways come this way.
_DESIRED = (
    select(
        secret_slots.c.id.label("slot_id"),
        secret_slots.c.name,
        secret_slots.c.kind,
        secret_slots.c.left_keys,
        secret_slots.c.right_keys,
        secret_slots.c.binding,
        secret_slots.c.rotation_id,
        tunnels.c.name.label("tunnel"),
        tunnels.c.left_id,
        tunnels.c.definition,
        tunnels.c.peer_identities,
        _LEFT.c.identities.label("left_identities"),
        _RIGHT.c.identities.label("right_identities"),
        secrets.c.id,
        secrets.c.version,
        secrets.c.fingerprint,
        secrets.c.ppk_id,
    )
    .join_from(tunnels, secret_slots, secret_slots.c.tunnel_id == tunnels.c.id)
    .join(_LEFT, _LEFT.c.id == tunnels.c.left_id)
    .outerjoin(_RIGHT, _RIGHT.c.id == tunnels.c.right_id)
    .outerjoin(
        secrets, and_(secrets.c.slot_id == secret_slots.c.id, secrets.c.destroyed_at.is_(None))
    )
    .where(or_(tunnels.c.left_id == bindparam("of"), tunnels.c.right_id == bindparam("of")))
    .order_by(secret_slots.c.id, secrets.c.version)
)


def slots_of(connection: Connection, gateway_id: int) -> tuple[SlotState, ...]:
    """The slots of a gateway. Part of an operation that asked for permission."""
    rows: dict[int, list[Any]] = {}
    for row in connection.execute(_DESIRED, {"of": gateway_id}):
        rows.setdefault(row.slot_id, []).append(row)
    if not rows:
        return ()
    proofs = _proofs(connection, [each[0] for each in rows.values() if each[0].rotation_id])
    return tuple(_slot(each, gateway_id, proofs.get(number, {})) for number, each in rows.items())


def _proofs(connection: Connection, rows: list[Any]) -> dict[int, Mapping[Side, Order]]:
    found: dict[int, Mapping[Side, Order]] = {}
    slots = records.slots(connection, [row.slot_id for row in rows])
    ends = records.ends_of_all(connection, list(slots.values()))
    for number, slot in slots.items():
        if slot.rotation_id is not None:
            rotation = records.rotation(connection, slot.rotation_id)
            found[number] = machine.orders(rotation, ends[number], slot.policy)
    return found


def _slot(rows: list[Any], gateway_id: int, proofs: Mapping[Side, Order]) -> SlotState:
    row = rows[0]
    here, there = (Side.LEFT, Side.RIGHT) if row.left_id == gateway_id else (Side.RIGHT, Side.LEFT)
    bound = binding.from_document(row.binding)
    definition = definitions.from_document(row.definition) if row.definition else None
    known = {
        Side.LEFT: identities.split(row.left_identities),
        Side.RIGHT: identities.split(row.right_identities or row.peer_identities),
    }
    said = {side: bound.identity(side) for side in Side}
    if definition is not None:
        said = {Side.LEFT: definition.left_identity, Side.RIGHT: definition.right_identity}
    by_version = {each.version: each for each in rows if each.id is not None}
    keys = row.left_keys if here is Side.LEFT else row.right_keys
    return SlotState(
        name=row.name,
        kind=row.kind,
        tunnel=row.tunnel,
        connection=bound.connection(here) or row.tunnel,
        local_id=said[here] or known[here][0],
        remote_id=said[there] or known[there][0],
        ike_version=bound.ike_version if definition is None else definition.ike_version,
        keys=tuple(
            KeyState(each.id, each.version, each.fingerprint, each.ppk_id)
            for version in keys
            if (each := by_version.get(version)) is not None
        ),
        prove=proofs.get(here),
    )


def reused(connection: Connection, slots: Sequence[SlotState]) -> frozenset[str]:
    """Those of the slots that have a value in their list which another slot has too."""
    marks = {key.fingerprint: each.name for each in slots for key in each.keys if key.fingerprint}
    found: set[str] = set()
    for some in chunks(sorted(marks)):
        query = (
            select(secrets.c.fingerprint)
            .where(secrets.c.fingerprint.in_(some), secrets.c.destroyed_at.is_(None))
            .group_by(secrets.c.fingerprint)
            .having(func.count(secrets.c.slot_id.distinct()) > 1)
        )
        found |= set(connection.scalars(query))
    return frozenset(
        each.name for each in slots if any(key.fingerprint in found for key in each.keys)
    )
