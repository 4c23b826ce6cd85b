"""Which SA belongs to which tunnel: by the connection's name, else by the peer's identity."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, bindparam, or_, select, update

from fleet import identities
from store.fleet_tables import gateway_sas, gateways, tunnels


@dataclass(frozen=True)
class FarEnd:
    """The other end of one of a gateway's tunnels: its name (a gateway's or a peer's) and identities."""

    tunnel_id: int
    tunnel: str
    name: str
    identities: frozenset[str]


def far_ends(connection: Connection, gateway_id: int) -> list[FarEnd]:
    """The other ends of all tunnels of a gateway."""
    other = and_(
        gateways.c.id.in_([tunnels.c.left_id, tunnels.c.right_id]), gateways.c.id != gateway_id
    )
    query = (
        select(
            tunnels.c.id,
            tunnels.c.name,
            tunnels.c.peer_name,
            tunnels.c.peer_identities,
            gateways.c.name.label("gateway"),
            gateways.c.identities,
        )
        .select_from(tunnels.outerjoin(gateways, other))
        .where(or_(tunnels.c.left_id == gateway_id, tunnels.c.right_id == gateway_id))
        .order_by(tunnels.c.id)
    )
    return [
        FarEnd(
            row.id,
            row.name,
            row.gateway or row.peer_name,
            frozenset(identities.split(row.identities or row.peer_identities)),
        )
        for row in connection.execute(query)
    ]


def tunnel_of(ends: Iterable[FarEnd], connection: str, remote: str | None) -> FarEnd | None:
    """The tunnel an SA belongs to; where several fit by identity, the one whose connection has its name."""
    fitting = [end for end in ends if remote is not None and remote in end.identities]
    for end in (*fitting, *ends):
        if end.tunnel == connection:
            return end
    return fitting[0] if fitting else None


def assign(connection: Connection, gateway_id: int) -> None:
    """Say anew of each reported SA of a gateway which tunnel it belongs to."""
    ends = far_ends(connection, gateway_id)
    query = select(
        gateway_sas.c.id,
        gateway_sas.c.connection,
        gateway_sas.c.remote_name,
        gateway_sas.c.tunnel_id,
    ).where(gateway_sas.c.gateway_id == gateway_id)
    changed: list[Mapping[str, Any]] = []
    for row in connection.execute(query):
        found = tunnel_of(ends, row.connection, row.remote_name)
        tunnel_id = None if found is None else found.tunnel_id
        if tunnel_id != row.tunnel_id:
            changed.append({"of": row.id, "tunnel": tunnel_id})
    if changed:
        connection.execute(_ASSIGN, changed)


_ASSIGN = (
    update(gateway_sas)
    .where(gateway_sas.c.id == bindparam("of"))
    .values(tunnel_id=bindparam("tunnel"))
)
