"""CA sets: which authorities a gateway must trust to talk to its peers. Kept on record, so that a new list wakes only
those whom it concerns.

In a rollover the authority and its successor stand in for each other: gateways trust both from the moment it is
published until it is finished and the last certificate of the old one has ended.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select

from pki import authorities
from pki.authorities import Authority
from pki.desk import Desk
from pki.rollover import records
from pki.rollover.records import Rollover, State
from pki.rollover.usage import in_force
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


# From publishing on peers are told of a successor; not before, and not of one that was given up.
_TOLD: Final = frozenset({State.PUBLISHED, State.SWITCHED, State.FINISHED})


@dataclass(frozen=True)
class Kin:
    """Who stands for whom, by name; and who for nobody: those whose last certificate has ended after a rollover, and
    successors that peers are not told of (any more), in whose place the old one stands.
    """

    next_to: Mapping[str, frozenset[str]]
    over: frozenset[str]

    def of(self, name: str) -> tuple[str, ...]:
        """The authority, and those that count in its place, as long as they do."""
        found, fresh = {name}, {name}
        while fresh:
            fresh = {other for each in fresh for other in self.next_to.get(each, ())} - found
            found |= fresh
        in_order = [name, *sorted(found - {name})]
        return tuple(each for each in in_order if each not in self.over) or (name,)


def kin(connection: Connection) -> Kin:
    """The rollovers that peers are told of, whosever certificates have ended: quick, for each state that is fetched."""
    return _kin(records.all_(connection), frozenset())


def kin_of(connection: Connection, now: datetime) -> Kin:
    """The same; after a rollover, without those whose last certificate has ended by now."""
    found = records.all_(connection)
    over = {
        each.authority
        for each in found
        if each.state == State.FINISHED and not in_force(connection, each.authority_id, now).total
    }
    return _kin(found, frozenset(over))


def _kin(found: Iterable[Rollover], over: frozenset[str]) -> Kin:
    next_to: defaultdict[str, set[str]] = defaultdict(set)
    for each in found:
        if each.state in _TOLD:
            next_to[each.authority].add(each.successor)
        else:
            over |= {each.successor}
        next_to[each.successor].add(each.authority)
    return Kin({name: frozenset(some) for name, some in next_to.items()}, over)


def line_of(desk: Desk, name: str, *, now: datetime) -> tuple[Authority, ...]:
    """What a peer trusts that trusts this authority: it and all above it, the root last; then what stands in for one of
    them in a rollover. Public. Raises AuthorityNotFound.
    """
    warm(desk)
    own = lineage(desk, name)
    with desk.store.read() as connection:
        found = _trusted(desk, [name], kin_of(connection, now))
    others = found.keys() - {each.name for each in own}
    return (*own, *(authorities.load(desk, each) for each in sorted(others)))


def _trusted(desk: Desk, names: Iterable[str], known: Kin) -> dict[str, int]:
    """These authorities and all above them, with their kin: their numbers by name."""
    found: dict[str, int] = {}
    waiting = {other for name in names for other in known.of(name)}
    while waiting:
        authority = authorities.load(desk, waiting.pop())
        found[authority.name] = authority.id
        if authority.parent is not None:
            waiting |= {*known.of(authority.parent), authority.parent} - found.keys()
    return found


def settle(desk: Desk, connection: Connection, gateway_id: int, relations: Kin) -> bool:
    """Make the CA set on record what the gateway's authority and its tunnels ask for; says whether it was another."""
    wanted = {*_trusted(desk, _names(connection, gateway_id), relations).values()}
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
    return bool(gone or new)


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
