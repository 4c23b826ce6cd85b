"""Tunnels on record: between two gateways of ours, or one of ours and an outside peer."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    delete,
    func,
    or_,
    select,
    update,
)

from core.errors import Conflict, NotFound
from fleet import ca_sets, definitions, identities
from fleet.bumps import bump, hold, lock
from fleet.definitions import Definition, TunnelRefused
from fleet.gateways import GatewayNotFound
from fleet.leaves import latest_end
from fleet.matching import assign
from fleet.rotation import allotment, retire, summary
from fleet.rotation.summary import SecretSummary
from fleet.scopes import require_end
from pki import authorities
from pki.actors import Action, Actor, require, require_authority, require_gateway
from pki.certificates import MAX_PAGE, BadQuery
from pki.conditions import check_gateway
from pki.desk import Desk
from pki.trail import leave
from store.engine import Unit
from store.errors import Duplicate
from store.fleet_tables import gateway_sas, gateways, tunnel_identities, tunnels
from store.tables import authorities as authorities_table
from store.text import storable


class TunnelNotFound(NotFound):
    """No tunnel of this name."""

    code = "tunnel_not_found"
    next_step = "List the tunnels to see their names."


class TunnelExists(Conflict):
    """The name is taken."""

    code = "tunnel_exists"
    next_step = "Choose another name, or remove the tunnel that has it."


@dataclass(frozen=True)
class Peer:
    """An outside peer: no gateway of ours. `authority` certifies it, where it is one of ours that the gateway lacks."""

    name: str
    identities: tuple[str, ...]
    authority: str | None = None


@dataclass(frozen=True)
class TunnelRequest:
    """What a new tunnel shall be; `definition` exactly where it is managed."""

    name: str
    left: str
    right: str | Peer
    definition: Definition | None = None


@dataclass(frozen=True)
class TunnelView:
    """A tunnel as it may be shown. `sas`: how many IKE_SAs its gateways reported."""

    id: int
    name: str
    left: str
    right: str | None
    peer: Peer | None
    managed: bool
    definition: Definition | None
    created_at: datetime
    created_by: str
    left_ends_at: datetime | None
    right_ends_at: datetime | None
    sas: int
    secrets: tuple[SecretSummary, ...] = ()

    @property
    def ends_at(self) -> datetime | None:
        """When the first of its ends has no valid certificate left; None where a gateway has none already.

        Of an outside peer's certificates nothing is known.
        """
        ends = [self.left_ends_at] + ([self.right_ends_at] if self.right is not None else [])
        known = [each for each in ends if each is not None]
        return min(known) if len(known) == len(ends) else None


@dataclass(frozen=True)
class TunnelQuery:
    """A search. `q` is part of a name or of a peer's; `cursor` the last id of a page."""

    q: str | None = None
    gateway: str | None = None
    expires_before: datetime | None = None
    cursor: int | None = None
    limit: int = 100


def create(desk: Desk, actor: Actor, request: TunnelRequest, *, now: datetime) -> TunnelView:
    """Put a tunnel on record; its gateways learn of it at once.

    Where it needs shared secrets their first rotations begin. Raises RoleMayNot, OutsideScope, TunnelRefused,
    TunnelExists, GatewayNotFound, AuthorityNotFound, InvalidName, IdentitiesRefused, NoSecretStore.
    """
    require(actor, Action.TUNNEL_CREATE)
    # It changes what both daemons accept, so it takes someone who may change both.
    for end in (request.left, request.right):
        if isinstance(end, str):
            require_gateway(actor, end)
    definitions.check_name(request.name)
    peer = _checked_peer(desk, actor, request.right)
    ca_sets.warm(desk)

    def work(unit: Unit) -> None:
        connection = unit.connection
        ends = _ends(connection, request)
        lock(connection, [end.id for end in ends])
        row = _row(desk, request, ends, peer) | {"created_at": now, "created_by": actor.name}
        made = tunnels.insert().values(**row).returning(tunnels.c.id)
        number = int(connection.execute(made).scalar_one())
        if peer is not None:
            connection.execute(
                tunnel_identities.insert(),
                [{"identity": name, "tunnel_id": number} for name in peer.identities],
            )
        kinds = () if request.definition is None else request.definition.kinds
        allotment.allot_managed(unit, desk, (number, request.name), kinds, actor.name, now=now)
        _follow(desk, connection, [end.id for end in ends], now)
        leave(
            unit,
            actor,
            "tunnel.create",
            f"tunnel:{request.name}",
            now=now,
            left=request.left,
            right=request.right if peer is None else peer.name,
            managed=request.definition is not None,
        )

    try:
        desk.store.together(work)
    except Duplicate:
        raise TunnelExists(f"There is a tunnel {request.name!r} already.") from None
    with desk.store.read() as connection:
        return pick(connection, request.name)


def _checked_peer(desk: Desk, actor: Actor, right: str | Peer) -> Peer | None:
    if isinstance(right, str):
        return None
    check_gateway(right.name)
    if right.authority is not None:
        require_authority(actor, right.authority)  # the gateway will trust it
        authorities.load(desk, right.authority)
    return Peer(right.name, identities.checked(right.identities), right.authority)


def _ends(connection: Connection, request: TunnelRequest) -> list[Any]:
    wanted = [request.left, *([request.right] if isinstance(request.right, str) else [])]
    if len(set(wanted)) != len(wanted):
        raise TunnelRefused("A tunnel has two different ends.")
    rows = {
        row.name: row
        for row in connection.execute(
            select(gateways.c.id, gateways.c.name, gateways.c.identities).where(
                gateways.c.name.in_([storable(name) for name in wanted])
            )
        )
    }
    for name in wanted:
        if name not in rows:
            raise GatewayNotFound(f"There is no gateway {name[:100]!r}.")
    if isinstance(request.right, Peer):
        _check_outside(connection, request.right)
    return [rows[name] for name in wanted]


def _check_outside(connection: Connection, peer: Peer) -> None:
    query = select(gateways.c.id).where(gateways.c.name == storable(peer.name))
    if connection.execute(query).one_or_none() is not None:
        raise TunnelRefused(
            f"{peer.name[:100]!r} is a gateway of ours, and no outside peer.",
            next_step="Give it as a gateway (without --peer-identity), or name the peer otherwise.",
        )


def _row(desk: Desk, request: TunnelRequest, ends: list[Any], peer: Peer | None) -> dict[str, Any]:
    left = identities.split(ends[0].identities)
    right = identities.split(ends[1].identities) if peer is None else peer.identities
    kept = None
    if request.definition is not None:
        kept = definitions.document(definitions.checked(request.definition, left, right))
    named = peer.authority if peer is not None else None
    return {
        "name": request.name,
        "left_id": ends[0].id,
        "right_id": ends[1].id if peer is None else None,
        "peer_name": None if peer is None else peer.name,
        "peer_identities": None if peer is None else "\n".join(peer.identities),
        "peer_authority_id": None if named is None else authorities.load(desk, named).id,
        "managed": int(request.definition is not None),
        "definition": kept,
    }


def _follow(desk: Desk, connection: Connection, ends: list[int], now: datetime) -> None:
    """What a tunnel more or less means for its gateways."""
    known = ca_sets.kin_of(connection, now)
    for end in ends:
        ca_sets.settle(desk, connection, end, known)
        assign(connection, end)
    bump(connection, ends, now)


def get(desk: Desk, actor: Actor, name: str) -> TunnelView:
    """Look at one tunnel. Raises RoleMayNot, OutsideScope, TunnelNotFound."""
    require(actor, Action.TUNNEL_READ)
    with desk.store.read() as connection:
        found = pick(connection, name)
    require_end(actor, found.left, found.right)
    return found


def search(desk: Desk, actor: Actor, query: TunnelQuery) -> list[TunnelView]:
    """Search tunnels by their number, at most `limit` (1 to 500) of them after `cursor`.

    A credential of one gateway sees those that end there. Raises RoleMayNot, OutsideScope, BadQuery.
    """
    require(actor, Action.TUNNEL_READ)
    query = replace(query, gateway=query.gateway or actor.scope.gateway)
    require_gateway(actor, query.gateway)
    if not 1 <= query.limit <= MAX_PAGE:
        raise BadQuery(f"A page has between 1 and {MAX_PAGE} entries.")
    statement = _shown().order_by(tunnels.c.id).limit(query.limit)
    for condition in _conditions(query):
        statement = statement.where(condition)
    with desk.store.read() as connection:
        return _views(connection, statement)


def of_gateway(connection: Connection, gateway_id: int, limit: int = MAX_PAGE) -> list[TunnelView]:
    """The first tunnels of a gateway, by number."""
    statement = _shown().where(
        or_(tunnels.c.left_id == gateway_id, tunnels.c.right_id == gateway_id)
    )
    return _views(connection, statement.order_by(tunnels.c.id).limit(limit))


def _views(connection: Connection, statement: Select[Any]) -> list[TunnelView]:
    found = [view(row) for row in connection.execute(statement)]
    kept = summary.of_tunnels(connection, [each.id for each in found])
    return [replace(each, secrets=kept.get(each.id, ())) for each in found]


_LEFT = gateways.alias("left_end")
_RIGHT = gateways.alias("right_end")


def _conditions(query: TunnelQuery) -> Iterable[ColumnElement[bool]]:
    if query.cursor is not None:
        yield tunnels.c.id > query.cursor
    if query.q:
        text = storable(query.q)
        yield or_(
            tunnels.c.name.icontains(text, autoescape=True),
            tunnels.c.peer_name.icontains(text, autoescape=True),
            tunnels.c.peer_identities.icontains(text, autoescape=True),
        )
    if query.gateway is not None:
        name = storable(query.gateway)
        yield or_(_LEFT.c.name == name, _RIGHT.c.name == name)
    if query.expires_before is not None:
        yield or_(
            latest_end(_LEFT.c.name) < query.expires_before,
            latest_end(func.coalesce(_RIGHT.c.name, tunnels.c.peer_name)) < query.expires_before,
        )


def _shown() -> Select[Any]:
    count = select(func.count()).where(gateway_sas.c.tunnel_id == tunnels.c.id).scalar_subquery()
    other = func.coalesce(_RIGHT.c.name, tunnels.c.peer_name)
    return (
        select(
            tunnels,
            _LEFT.c.name.label("left"),
            _RIGHT.c.name.label("right"),
            authorities_table.c.name.label("peer_authority"),
            latest_end(_LEFT.c.name).label("left_ends_at"),
            latest_end(other).label("right_ends_at"),
            count.label("sas"),
        )
        .join_from(tunnels, _LEFT, _LEFT.c.id == tunnels.c.left_id)
        .outerjoin(_RIGHT, _RIGHT.c.id == tunnels.c.right_id)
        .outerjoin(authorities_table, authorities_table.c.id == tunnels.c.peer_authority_id)
    )


def pick(connection: Connection, name: str) -> TunnelView:
    """Find one tunnel inside a transaction. Raises TunnelNotFound."""
    found = _views(connection, _shown().where(tunnels.c.name == storable(name)))
    if not found:
        raise TunnelNotFound(f"There is no tunnel {name[:100]!r}.")
    return found[0]


def view(row: Any) -> TunnelView:
    """Turn a row into a view."""
    peer = None
    if row.peer_name is not None:
        peer = Peer(row.peer_name, identities.split(row.peer_identities), row.peer_authority)
    return TunnelView(
        id=row.id,
        name=row.name,
        left=row.left,
        right=row.right,
        peer=peer,
        managed=bool(row.managed),
        definition=definitions.from_document(row.definition) if row.definition else None,
        created_at=row.created_at,
        created_by=row.created_by,
        left_ends_at=row.left_ends_at,
        right_ends_at=row.right_ends_at,
        sas=row.sas,
    )


def remove(desk: Desk, actor: Actor, name: str, *, now: datetime) -> None:
    """Take a tunnel off the records; a managed one is unloaded by its gateways, and its shared secrets are destroyed.

    Who may act for either end may end it. Raises RoleMayNot, OutsideScope, TunnelNotFound.
    """
    require(actor, Action.TUNNEL_REMOVE)
    ca_sets.warm(desk)

    def work(unit: Unit) -> None:
        connection = unit.connection
        query = select(tunnels.c.id, tunnels.c.left_id, tunnels.c.right_id).where(
            tunnels.c.name == storable(name)
        )
        # Gateways before tunnels and their secrets: the order of those who report. What a tunnel ends at never changes.
        seen = connection.execute(query).one_or_none()
        ends = [] if seen is None else [end for end in seen[1:] if end is not None]
        hold(connection, ends)
        row = connection.execute(query.with_for_update()).one_or_none()
        if seen is None or row is None or row.id != seen.id:
            raise TunnelNotFound(f"There is no tunnel {name[:100]!r}.")
        found = pick(connection, name)
        require_end(actor, found.left, found.right)
        retire.forget_tunnel(unit, row.id, actor.name, now)
        connection.execute(
            update(gateway_sas).where(gateway_sas.c.tunnel_id == row.id).values(tunnel_id=None)
        )
        connection.execute(delete(tunnel_identities).where(tunnel_identities.c.tunnel_id == row.id))
        connection.execute(delete(tunnels).where(tunnels.c.id == row.id))
        _follow(desk, connection, ends, now)
        leave(unit, actor, "tunnel.remove", f"tunnel:{name}", now=now)

    desk.store.together(work)
