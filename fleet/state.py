"""The desired state of a gateway: what its agent fetches, waits for and applies."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, or_, select, update

from fleet import ca_sets, definitions, identities
from fleet.bumps import chunks
from fleet.definitions import End
from fleet.gateways import GatewayNotFound
from fleet.leaves import newest
from fleet.rotation import desired
from fleet.rotation.desired import SlotState
from ike.daemons.port import fingerprint
from pki import authorities
from pki.actors import Action, Actor, OutsideScope, require
from pki.authorities import Authority
from pki.desk import Desk
from pki.identity import CHANNEL
from store.engine import Unit
from store.errors import Duplicate
from store.fleet_tables import (
    gateway_authorities,
    gateway_commands,
    gateway_reports,
    gateways,
    tunnels,
)
from store.tables import authorities as authorities_table
from store.tables import certificates, crls

PENDING = "pending"
CUT, REAUTHENTICATE, RENEW = "cut", "reauthenticate", "renew"
KINDS = (CUT, REAUTHENTICATE, RENEW)
# Often enough to tell who is away, seldom enough to cost nothing.
SEEN_EVERY = timedelta(seconds=30)


@dataclass(frozen=True)
class LeafState:
    """The newest valid certificate of the gateway, and its chain: issuer first, root last."""

    id: int
    serial: str
    authority: Authority
    fingerprint: str
    not_before: datetime
    not_after: datetime
    der: bytes


@dataclass(frozen=True)
class CrlState:
    """A list that the daemon should have. `size` in octets."""

    authority: str
    number: int
    sha256: str
    size: int


@dataclass(frozen=True)
class Command:
    """Something to do once. `detail` is what a `cut` says of the peer and of the list that names it."""

    id: int
    kind: str
    connection: str | None
    detail: Mapping[str, Any]
    good: tuple[str, ...]
    told: bool


@dataclass(frozen=True)
class Mark:
    """Which state it is: the version on record, and the certificate, which others put on record (0: none)."""

    gateway_id: int
    version: int
    leaf_id: int

    @property
    def etag(self) -> str:
        """The same as an entity tag (RFC 9110 §8.8.3)."""
        return f'"{self.version}-{self.leaf_id}"'


@dataclass(frozen=True)
class DesiredState:
    """Everything that the gateway should have."""

    mark: Mark
    gateway: str
    profile: str
    authorities: tuple[Authority, ...]
    leaf: LeafState | None
    crls: tuple[CrlState, ...]
    connections: tuple[Mapping[str, Any], ...]
    secrets: tuple[SlotState, ...]
    commands: tuple[Command, ...]

    @property
    def renew(self) -> bool:
        """Whether an operator wants a new certificate now."""
        return any(command.kind == RENEW for command in self.commands)


_HEAD = (
    select(
        gateways.c.id,
        gateways.c.name,
        gateways.c.profile,
        gateways.c.version,
        gateway_reports.c.seen_at,
        newest(gateways.c.name).label("leaf_id"),
    )
    .outerjoin(gateway_reports, gateway_reports.c.gateway_id == gateways.c.id)
    .where(gateways.c.name == bindparam("of"))
)


def current(
    desk: Desk, actor: Actor, known: frozenset[str], *, now: datetime
) -> DesiredState | Mark:
    """The state of the gateway that asks; only its mark where that is among the `known` entity tags.

    Raises RoleMayNot, OutsideScope (a credential of no gateway), GatewayNotFound (not registered).
    """
    require(actor, Action.GATEWAY_SELF)
    name = own_name(actor)
    if not desk.holdings.authorities:
        ca_sets.warm(desk)
    state: DesiredState | None = None
    with desk.store.read() as connection:
        head = connection.execute(_HEAD, {"of": name, "moment": now}).one_or_none()
        if head is None:
            raise GatewayNotFound(f"The gateway {name!r} is not registered.")
        mark = Mark(head.id, head.version, head.leaf_id or 0)
        if mark.etag not in known:
            state = _whole(desk, connection, head, mark, now)
    if head.seen_at is None or now - head.seen_at >= SEEN_EVERY:
        note_seen(desk, [head.id], now)
    if state is None:
        return mark
    _note_told(desk, state, now)
    return state


def own_name(actor: Actor) -> str:
    """The gateway that acts. Raises OutsideScope."""
    if actor.scope.gateway is None:
        raise OutsideScope("This credential belongs to no gateway.")
    return actor.scope.gateway


_TRUSTED = (
    select(
        authorities_table.c.name,
        crls.c.number,
        crls.c.sha256,
        func.length(crls.c.der).label("size"),
    )
    .select_from(
        gateway_authorities.join(authorities_table).outerjoin(
            crls,
            (crls.c.authority_id == gateway_authorities.c.authority_id) & (crls.c.kind == "full"),
        )
    )
    .where(gateway_authorities.c.gateway_id == bindparam("of"))
    .order_by(authorities_table.c.id)
)


def _whole(
    desk: Desk, connection: Connection, head: Any, mark: Mark, now: datetime
) -> DesiredState:
    rows = connection.execute(_TRUSTED, {"of": head.id}).all()
    return DesiredState(
        mark=mark,
        gateway=head.name,
        profile=head.profile,
        authorities=tuple(authorities.load(desk, row.name) for row in rows),
        leaf=_leaf(desk, connection, head.leaf_id),
        crls=tuple(
            CrlState(row.name, row.number, row.sha256, row.size)
            for row in rows
            if row.number is not None
        ),
        connections=managed(desk, connection, head.id),
        secrets=desired.slots_of(connection, head.id),
        commands=tuple(pending(connection, head.id, now)),
    )


_LEAF = (
    select(
        certificates.c.id,
        certificates.c.serial,
        certificates.c.fingerprint,
        certificates.c.not_before,
        certificates.c.not_after,
        certificates.c.der,
        authorities_table.c.name.label("authority"),
    )
    .join_from(certificates, authorities_table)
    .where(certificates.c.id == bindparam("of"))
)


def _leaf(desk: Desk, connection: Connection, number: int | None) -> LeafState | None:
    if number is None:
        return None
    row = connection.execute(_LEAF, {"of": number}).one()
    return LeafState(
        row.id,
        row.serial,
        authorities.load(desk, row.authority),
        row.fingerprint,
        row.not_before,
        row.not_after,
        row.der,
    )


_LEFT, _RIGHT = gateways.alias("left_end"), gateways.alias("right_end")
_MANAGED = (
    select(
        tunnels,
        _LEFT.c.identities.label("left_identities"),
        _LEFT.c.authority_id.label("left_authority"),
        _RIGHT.c.identities.label("right_identities"),
        _RIGHT.c.authority_id.label("right_authority"),
    )
    .join_from(tunnels, _LEFT, _LEFT.c.id == tunnels.c.left_id)
    .outerjoin(_RIGHT, _RIGHT.c.id == tunnels.c.right_id)
    .where(
        tunnels.c.managed == 1,
        or_(tunnels.c.left_id == bindparam("of"), tunnels.c.right_id == bindparam("of")),
    )
    .order_by(tunnels.c.id)
)


def managed(desk: Desk, connection: Connection, gateway_id: int) -> tuple[Mapping[str, Any], ...]:
    """The managed connections of a gateway, as `ike.daemons.port.Connection` has them."""
    rows = connection.execute(_MANAGED, {"of": gateway_id}).all()
    if not rows:
        return ()
    names = {
        row.id: row.name
        for row in connection.execute(select(authorities_table.c.id, authorities_table.c.name))
    }

    kin = ca_sets.kin(connection)
    mine = gateway_authorities.c.gateway_id == gateway_id
    held = set(connection.scalars(select(gateway_authorities.c.authority_id).where(mine)))

    def end(text: str, authority_id: int) -> End:
        issuers = [authorities.load(desk, name) for name in kin.of(names[authority_id])]
        # What the gateway is not to trust, or not yet, no connection of its may name.
        counting = [each for each in issuers if each.id in held]
        prints = tuple(fingerprint(each.certificate) for each in counting or issuers[:1])
        return End(identities.split(text), prints)

    found = []
    for row in rows:
        ends = (
            end(row.left_identities, row.left_authority),
            end(
                row.right_identities or row.peer_identities,
                row.right_authority or row.peer_authority_id or row.left_authority,
            ),
        )
        made = definitions.connection(
            row.name,
            definitions.from_document(row.definition),
            ends,
            left=row.left_id == gateway_id,
        )
        found.append(asdict(made))
    return tuple(found)


_PENDING = (
    select(gateway_commands, certificates.c.gateway)
    .outerjoin(certificates, certificates.c.id == gateway_commands.c.certificate_id)
    .where(
        gateway_commands.c.gateway_id == bindparam("of"),
        gateway_commands.c.state == PENDING,
        gateway_commands.c.kind.in_(KINDS),
    )
    .order_by(gateway_commands.c.id)
)


def pending(connection: Connection, gateway_id: int, now: datetime) -> Iterable[Command]:
    """What the gateway has been told to do and has not done, the oldest first."""
    rows = connection.execute(_PENDING, {"of": gateway_id}).all()
    good = _good(connection, {row.gateway for row in rows if row.gateway is not None}, now)
    for row in rows:
        yield Command(
            row.id,
            row.kind,
            row.connection,
            row.detail,
            good.get(row.gateway, ()),
            row.told_at is not None,
        )


def _good(connection: Connection, names: set[str], now: datetime) -> Mapping[str, tuple[str, ...]]:
    """The fingerprints of the valid certificates of these gateways, by gateway."""
    found: dict[str, tuple[str, ...]] = {}
    if names:
        query = select(certificates.c.gateway, certificates.c.fingerprint).where(
            certificates.c.gateway.in_(names),
            certificates.c.status == "valid",
            certificates.c.profile != CHANNEL,
            certificates.c.not_after > now,
        )
        for row in connection.execute(query.order_by(certificates.c.id)):
            found[row.gateway] = (*found.get(row.gateway, ()), row.fingerprint)
    return found


def _note_told(desk: Desk, state: DesiredState, now: datetime) -> None:
    told = [command.id for command in state.commands if not command.told]
    if not told:
        return

    def work(unit: Unit) -> None:
        unit.connection.execute(
            update(gateway_commands)
            .where(gateway_commands.c.id.in_(told), gateway_commands.c.told_at.is_(None))
            .values(told_at=now)
        )

    desk.store.together(work)


def note_seen(desk: Desk, ids: Iterable[int], now: datetime) -> None:
    """Put on record that these gateways were heard of. For operations that asked for permission."""
    for some in chunks(sorted(set(ids))):
        _note_seen(desk, some, now)


def _note_seen(desk: Desk, ids: Iterable[int], now: datetime) -> None:
    wanted = set(ids)
    there = gateway_reports.c.gateway_id.in_(wanted)

    def work(unit: Unit) -> None:
        changed = unit.connection.execute(update(gateway_reports).where(there).values(seen_at=now))
        if changed.rowcount < len(wanted):
            # Of those that are registered: one may have been removed meanwhile.
            known = set(unit.connection.scalars(select(gateway_reports.c.gateway_id).where(there)))
            registered = unit.connection.scalars(
                select(gateways.c.id).where(gateways.c.id.in_(wanted - known))
            )
            if rows := [{"gateway_id": each, "seen_at": now} for each in registered]:
                unit.connection.execute(insert(gateway_reports), rows)

    try:
        desk.store.together(work)
    except Duplicate:
        desk.store.together(work)  # the same gateway's first two requests came at once
