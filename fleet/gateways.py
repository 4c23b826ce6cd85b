"""Gateways on record: registered, looked at, removed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, or_, select

from core.errors import Conflict, InvalidInput, NotFound
from fleet import ca_sets, identities
from fleet.leaves import latest_end, newest
from fleet.scopes import within
from pki import authorities, profiles, tokens
from pki.actors import (
    Action,
    Actor,
    require,
    require_gateway,
    require_names,
    require_profile,
)
from pki.certificates import MAX_PAGE, BadQuery
from pki.conditions import RootIssuesAuthorities, check_gateway, check_in_force, check_profile
from pki.desk import Desk
from pki.identity import CHANNEL
from pki.trail import leave
from pki.x509.names import GeneralName
from store.engine import Unit
from store.errors import Duplicate
from store.finding_tables import audit_reports, finding_events, findings
from store.fleet_tables import (
    gateway_authorities,
    gateway_commands,
    gateway_identities,
    gateway_reports,
    gateway_sas,
    gateways,
    tunnels,
)
from store.monitoring_tables import sa_alerts, sa_counts, sa_days, sa_watches
from store.tables import authorities as authorities_table
from store.tables import certificates
from store.text import storable

STATUSES = ("new", "no_certificate", "ok", "behind", "unreachable")
DAEMONS = ("strongswan", "libreswan", "windows", "files")
_SELF = "self"


class GatewayNotFound(NotFound):
    """No gateway of this name is registered."""

    code = "gateway_not_found"
    next_step = "List the gateways to see their names; `gateway add` registers one."


class GatewayExists(Conflict):
    """The name, or one of the identities, belongs to a gateway already."""

    code = "gateway_exists"
    next_step = "Look at the gateway that has it; remove that one first if it is gone."


class GatewayRefused(InvalidInput):
    """A gateway that cannot be as asked."""

    code = "gateway_refused"
    next_step = "Correct what the message names."


class GatewayInUse(Conflict):
    """Tunnels still end at this gateway."""

    code = "gateway_in_use"
    next_step = "Remove its tunnels first; `gateway show` lists them."


@dataclass(frozen=True)
class GatewayRequest:
    """What a new gateway shall be; `identities` as GeneralName writes them."""

    name: str
    identities: tuple[str, ...]
    profile: str = "gateway"
    authority: str | None = None
    daemon: str | None = None


@dataclass(frozen=True)
class Leaf:
    """The certificate that a gateway should be using."""

    serial: str
    fingerprint: str
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True)
class Applied:
    """What a gateway reported last of what it has applied."""

    version: int
    at: datetime
    agent_version: str
    daemon_kind: str
    daemon_version: str
    incarnation: str
    certificate: str | None
    proof: str | None
    errors: tuple[dict[str, str], ...]
    drifting: int


@dataclass(frozen=True)
class GatewayView:
    """A gateway as it may be shown. `ends_at`: when the last of its valid certificates ends. `seen_at` is of its agent,
    `heard_at` of its events, whoever sent them.
    """

    id: int
    name: str
    identities: tuple[str, ...]
    profile: str
    authority: str
    daemon: str | None
    status: str
    version: int
    created_at: datetime
    created_by: str
    seen_at: datetime | None
    heard_at: datetime | None
    applied: Applied | None
    certificate: Leaf | None
    ends_at: datetime | None


@dataclass(frozen=True)
class GatewayQuery:
    """A search. `q` is part of a name or identity; `cursor` the last id of a page."""

    q: str | None = None
    status: str | None = None
    drift: bool | None = None
    expires_before: datetime | None = None
    cursor: int | None = None
    limit: int = 100


def create(desk: Desk, actor: Actor, request: GatewayRequest, *, now: datetime) -> GatewayView:
    """Register a gateway. Raises RoleMayNot, OutsideScope, BadGateway, GatewayRefused, GatewayExists, InvalidName,
    IdentitiesRefused, ProfileNotFound, ProfileIsInternal; of the authority AuthorityNotFound, NoDefaultAuthority,
    RootIssuesAuthorities, AuthorityRetired, AuthorityExpired.
    """
    require(actor, Action.GATEWAY_CREATE)
    _check(desk, actor, request)
    names = identities.checked(request.identities)
    require_names(actor, map(GeneralName.parse, names))
    authority = authorities.choose(desk, actor, request.authority, now=now)
    check_in_force(authority, now)
    if authority.kind == "root":
        raise RootIssuesAuthorities(f"{authority.name!r} is a root: it certifies authorities only.")
    ca_sets.warm(desk)
    row = {
        "name": request.name,
        "profile": request.profile,
        "authority_id": authority.id,
        "identities": "\n".join(names),
        "daemon": request.daemon,
        "version": 1,
        "commanded": 0,
        "changed_at": now,
        "created_at": now,
        "created_by": actor.name,
    }

    def work(unit: Unit) -> None:
        made = gateways.insert().values(**row).returning(gateways.c.id)
        number = int(unit.connection.execute(made).scalar_one())
        unit.connection.execute(
            gateway_identities.insert(),
            [{"identity": name, "gateway_id": number} for name in names],
        )
        ca_sets.settle(desk, unit.connection, number, ca_sets.kin_of(unit.connection, now))
        leave(
            unit,
            actor,
            "gateway.create",
            about(request.name),
            now=now,
            identities=list(names),
            profile=request.profile,
            authority=authority.name,
        )

    try:
        desk.store.together(work)
    except Duplicate as error:
        what = "one of the identities" if "identit" in error.constraint else "the name"
        raise GatewayExists(f"Another gateway has {what} already.") from None
    with desk.store.read() as connection:
        return pick(connection, desk, request.name, now)


def _check(desk: Desk, actor: Actor, request: GatewayRequest) -> None:
    check_gateway(request.name)
    if request.name == _SELF or "/" in request.name:
        raise GatewayRefused("A gateway's name stands in URLs: not `self`, and without slashes.")
    require_gateway(actor, request.name)
    require_profile(actor, request.profile)
    if request.daemon is not None and request.daemon not in DAEMONS:
        raise GatewayRefused(f"A daemon is one of {', '.join(DAEMONS)}.")
    profile = profiles.load(desk, request.profile)
    check_profile(actor, profile)
    if profile.authenticates_as != "gateway" or profile.name == CHANNEL:
        raise GatewayRefused(
            f"Certificates of the profile {profile.name!r} do not prove a gateway to service and peers.",
            next_step="Choose a profile whose `authenticates_as` is gateway, and not that of channels.",
        )


def about(name: str) -> str:
    """A gateway as the audit log names it."""
    return f"gateway:{name}"


def get(desk: Desk, actor: Actor, name: str, *, now: datetime) -> GatewayView:
    """Look at one gateway. Raises RoleMayNot, OutsideScope, GatewayNotFound."""
    require(actor, Action.GATEWAY_READ)
    require_gateway(actor, name)
    with desk.store.read() as connection:
        return pick(connection, desk, name, now)


def search(desk: Desk, actor: Actor, query: GatewayQuery, *, now: datetime) -> list[GatewayView]:
    """Search gateways by their number, at most `limit` (1 to 500) of them after `cursor`.

    A credential of one gateway sees that one. Raises RoleMayNot, BadQuery.
    """
    require(actor, Action.GATEWAY_READ)
    if not 1 <= query.limit <= MAX_PAGE:
        raise BadQuery(f"A page has between 1 and {MAX_PAGE} entries.")
    horizon = now - desk.rules.unreachable_after
    statement = _shown(now).order_by(gateways.c.id).limit(query.limit)
    statement = statement.where(within(actor, gateways.c.id))
    for condition in _conditions(query, horizon):
        statement = statement.where(condition)
    with desk.store.read() as connection:
        return [view(row, horizon) for row in connection.execute(statement)]


def _conditions(query: GatewayQuery, horizon: datetime) -> Iterable[ColumnElement[bool]]:
    if query.cursor is not None:
        yield gateways.c.id > query.cursor
    if query.q:
        text = storable(query.q)
        yield or_(
            gateways.c.name.icontains(text, autoescape=True),
            gateways.c.identities.icontains(text, autoescape=True),
        )
    if query.status is not None:
        yield has_status(query.status, horizon)
    if query.drift is not None:
        drifting = func.coalesce(gateway_reports.c.drifting, 0)
        yield drifting > 0 if query.drift else drifting == 0
    if query.expires_before is not None:
        yield latest_end(gateways.c.name) < query.expires_before


def has_status(status: str, horizon: datetime) -> ColumnElement[bool]:
    """That a gateway has a status, in SQL; of `counted`. Raises BadQuery."""
    if status not in STATUSES:
        raise BadQuery(f"A status is one of {', '.join(STATUSES)}.")
    seen = gateway_reports.c.seen_at
    current = func.coalesce(gateway_reports.c.applied_version, 0) >= gateways.c.version
    certified = certificates.c.id.is_not(None)
    return {
        "new": seen.is_(None),
        "no_certificate": and_(seen.is_not(None), ~certified),
        "unreachable": and_(seen <= horizon, certified),
        "ok": and_(seen > horizon, certified, current),
        "behind": and_(seen > horizon, certified, ~current),
    }[status]


def _shown(now: datetime) -> Select[Any]:
    return (
        select(
            gateways,
            authorities_table.c.name.label("authority"),
            latest_end(gateways.c.name).label("ends_at"),
            gateway_reports,
            sa_watches.c.seen_at.label("heard_at"),
            certificates.c.serial,
            certificates.c.fingerprint,
            certificates.c.not_before,
            certificates.c.not_after,
        )
        .join_from(gateways, authorities_table, authorities_table.c.id == gateways.c.authority_id)
        .outerjoin(gateway_reports, gateway_reports.c.gateway_id == gateways.c.id)
        .outerjoin(sa_watches, sa_watches.c.gateway_id == gateways.c.id)
        .outerjoin(certificates, certificates.c.id == newest(gateways.c.name, now))
    )


def counted(now: datetime) -> Select[Any]:
    """Gateways, one number each, with what their status comes from."""
    return (
        select(gateways.c.id)
        .outerjoin(gateway_reports, gateway_reports.c.gateway_id == gateways.c.id)
        .outerjoin(certificates, certificates.c.id == newest(gateways.c.name, now))
    )


def pick(connection: Connection, desk: Desk, name: str, now: datetime) -> GatewayView:
    """Find one gateway inside a transaction. Raises GatewayNotFound."""
    row = connection.execute(_shown(now).where(gateways.c.name == storable(name))).one_or_none()
    if row is None:
        raise GatewayNotFound(f"There is no gateway {name[:100]!r}.")
    return view(row, now - desk.rules.unreachable_after)


def view(row: Any, horizon: datetime) -> GatewayView:
    """Turn a row into a view; whoever was not seen since `horizon` is unreachable."""
    applied = None
    if row.applied_version is not None:
        applied = Applied(
            version=row.applied_version,
            at=row.applied_at,
            agent_version=row.agent_version,
            daemon_kind=row.daemon_kind,
            daemon_version=row.daemon_version,
            incarnation=row.incarnation,
            certificate=row.certificate,
            proof=row.proof,
            errors=tuple(row.errors or ()),
            drifting=row.drifting or 0,
        )
    leaf = None
    if row.serial is not None:
        leaf = Leaf(row.serial, row.fingerprint, row.not_before, row.not_after)
    return GatewayView(
        id=row.id,
        name=row.name,
        identities=identities.split(row.identities),
        profile=row.profile,
        authority=row.authority,
        daemon=row.daemon,
        status=_status(row, horizon),
        version=row.version,
        created_at=row.created_at,
        created_by=row.created_by,
        seen_at=row.seen_at,
        heard_at=row.heard_at,
        applied=applied,
        certificate=leaf,
        ends_at=row.ends_at,
    )


def _status(row: Any, horizon: datetime) -> str:
    if row.seen_at is None:
        return "new"
    if row.serial is None:
        return "no_certificate"  # it is let in no more, and needs a new enrollment
    if row.seen_at <= horizon:
        return "unreachable"
    return "ok" if (row.applied_version or 0) >= row.version else "behind"


def remove(desk: Desk, actor: Actor, name: str, *, now: datetime) -> None:
    """Take a gateway off the records, with what it reported, and end its enrollment token; its certificates stay as
    they are. Raises RoleMayNot, OutsideScope, GatewayNotFound, GatewayInUse.
    """
    require(actor, Action.GATEWAY_REMOVE)
    require_gateway(actor, name)

    def work(unit: Unit) -> str | None:
        connection = unit.connection
        row = locked(connection, name)
        ends = or_(tunnels.c.left_id == row.id, tunnels.c.right_id == row.id)
        held = connection.execute(select(tunnels.c.name).where(ends).limit(1)).scalar_one_or_none()
        if held is not None:
            raise GatewayInUse(f"The tunnel {held!r} ends at this gateway.")
        for table in (
            sa_alerts,
            sa_counts,
            sa_days,
            sa_watches,
            finding_events,
            findings,
            audit_reports,
            gateway_sas,
            gateway_commands,
            gateway_reports,
            gateway_authorities,
            gateway_identities,
        ):
            connection.execute(delete(table).where(table.c.gateway_id == row.id))
        connection.execute(delete(gateways).where(gateways.c.id == row.id))
        leave(unit, actor, "gateway.remove", about(name), now=now)
        token: str | None = row.token_id
        return token

    end_token(desk, actor, desk.store.together(work), now)


def end_token(desk: Desk, actor: Actor, token_id: str | None, now: datetime) -> None:
    """End a gateway's enrollment token, if it has one that is not gone."""
    if token_id is not None:
        try:
            tokens.revoke(desk, actor, token_id, now=now)
        except tokens.TokenNotFound:
            return


def locked(connection: Connection, name: str) -> Any:
    """The gateway's row, which nobody else changes until the transaction ends. Raises GatewayNotFound."""
    return registered(connection, name, lock=True)


def registered(connection: Connection, name: str, *, lock: bool = False) -> Any:
    """The gateway's row. Raises GatewayNotFound."""
    query = select(gateways).where(gateways.c.name == storable(name))
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise GatewayNotFound(f"There is no gateway {name[:100]!r}.")
    return row
