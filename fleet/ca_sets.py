"""CA sets: which authorities a gateway must trust to talk to its peers. Kept on record, so that a new list wakes only
those whom it concerns.
"""

from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select

from pki import authorities
from pki.authorities import Authority
from pki.desk import Desk
from store.fleet_tables import gateway_authorities, gateway_commands, gateways, tunnels
from store.tables import authorities as authorities_table
from store.tables import crls


def lineage(desk: Desk, name: str) -> tuple[Authority, ...]:
    """An authority and all above it, the root last. Raises AuthorityNotFound."""
    found = [authorities.load(desk, name)]
    while (parent := found[-1].parent) is not None:
        found.append(authorities.load(desk, parent))
    return tuple(found)


def warm(desk: Desk) -> None:
    """Read all authorities once, so that nobody needs a second connection for them inside a transaction."""
    for name in authorities.all_names(desk):
        authorities.load(desk, name)


def settle(desk: Desk, connection: Connection, gateway_id: int) -> None:
    """Make the CA set on record what the gateway's authority and its tunnels ask for."""
    wanted = {
        authority.id for name in _names(connection, gateway_id) for authority in lineage(desk, name)
    }
    mine = gateway_authorities.c.gateway_id == gateway_id
    there = set(connection.scalars(select(gateway_authorities.c.authority_id).where(mine)))
    if gone := there - wanted:
        connection.execute(
            delete(gateway_authorities).where(mine, gateway_authorities.c.authority_id.in_(gone))
        )
    if new := wanted - there:
        known = select(crls.c.authority_id, crls.c.number).where(
            crls.c.kind == "full", crls.c.authority_id.in_(new)
        )
        numbers = {row.authority_id: row.number for row in connection.execute(known)}
        connection.execute(
            gateway_authorities.insert(),
            [
                {"gateway_id": gateway_id, "authority_id": each, "crl_number": numbers.get(each, 0)}
                for each in sorted(new)
            ],
        )


def _names(connection: Connection, gateway_id: int) -> set[str]:
    own = select(gateways.c.authority_id).where(gateways.c.id == gateway_id)
    left = select(gateways.c.authority_id).join_from(
        tunnels, gateways, tunnels.c.left_id == gateways.c.id
    )
    right = select(gateways.c.authority_id).join_from(
        tunnels, gateways, tunnels.c.right_id == gateways.c.id
    )
    outside = select(tunnels.c.peer_authority_id).where(
        tunnels.c.left_id == gateway_id, tunnels.c.peer_authority_id.is_not(None)
    )
    query = select(authorities_table.c.name).where(
        or_(
            authorities_table.c.id.in_(own),
            authorities_table.c.id.in_(left.where(tunnels.c.right_id == gateway_id)),
            authorities_table.c.id.in_(right.where(tunnels.c.left_id == gateway_id)),
            authorities_table.c.id.in_(outside),
        )
    )
    return set(connection.scalars(query))


def behind(authority_id: int, number: int) -> ColumnElement[bool]:
    """Gateways that trust the authority and were told of none of its lists from `number` on.

    Not those whose own certificate was just revoked: their turn comes last.
    """
    last = select(gateway_commands.c.gateway_id).where(
        gateway_commands.c.kind == "own", gateway_commands.c.state == "pending"
    )
    return and_(
        gateway_authorities.c.gateway_id.not_in(last),
        gateway_authorities.c.authority_id == authority_id,
        gateway_authorities.c.crl_number < number,
    )
