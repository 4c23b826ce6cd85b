"""What there is: authorities, gateways, tunnels, shared secrets, and certificates that are in force."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, Table, and_, case, func, literal, select
from sqlalchemy.orm import aliased

from fleet.reporting.listing import Part, check, require_all, soonest
from pki.actors import Action, Actor
from pki.desk import Desk
from store.fleet_tables import gateway_reports, gateways, tunnels
from store.rotation_tables import secret_slots, secrets
from store.tables import authorities, certificates

WHATS: Final = ("authority", "gateway", "tunnel", "secret", "certificate")
_READS: Final = (
    *(Action.AUTHORITY_READ, Action.GATEWAY_READ, Action.TUNNEL_READ),
    *(Action.SECRET_READ, Action.CERTIFICATE_READ),
)


@dataclass(frozen=True)
class Item:
    """One thing. `kind` is of an authority root or issuing, of a gateway its daemon, of a secret psk or ppk, of a
    certificate its profile. `since` and `until`: of certificates their validity; of a secret since when it is in use,
    and when it is to be replaced; of a gateway since when it is on record, and no end.
    """

    what: str
    name: str
    kind: str
    state: str
    gateway: str | None
    peer: str | None
    authority: str | None
    serial: str | None
    fingerprint: str | None
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True)
class Listed:
    """All of one kind: how many, the first of them, and how many `more` there are."""

    total: int
    items: tuple[Item, ...]
    more: int


@dataclass(frozen=True)
class InventoryFigures:
    """What there is. `certificates`: how many by status, as the list of certificates counts them; `profiles`: how many
    of those in force by profile.
    """

    made_at: datetime
    authorities: Listed
    gateways: Listed
    tunnels: Listed
    secrets: Listed
    in_force: Listed
    certificates: Mapping[str, int]
    profiles: Mapping[str, int]


def figures(desk: Desk, actor: Actor, rows: int, *, now: datetime) -> InventoryFigures:
    """Count what there is, and tell the first `rows` of each; of certificates those that end the soonest.

    Raises RoleMayNot, OutsideScope, BadQuery.
    """
    require_all(actor, *_READS)
    check(rows)
    with desk.store.read() as connection:
        first, second, third, fourth = (
            _listed(connection, table, statement(now), rows) for table, statement in _COUNTED
        )
        profiles = _profiles(connection, now)
        total = sum(profiles.values())
        items = tuple(map(_item, soonest(connection, _certificates(now), rows)))
        return InventoryFigures(
            made_at=now,
            authorities=first,
            gateways=second,
            tunnels=third,
            secrets=fourth,
            in_force=Listed(total, items, total - len(items)),
            certificates=_statuses(connection, total, now),
            profiles=profiles,
        )


def page(
    desk: Desk, actor: Actor, after: tuple[int, int] | None, limit: int, *, now: datetime
) -> Part[Item]:
    """The next `limit` items, kind after kind; `after` is the numbers of kind and item. Raises as `figures` does."""
    require_all(actor, *_READS)
    kind, number = after or (0, 0)
    with desk.store.read() as connection:
        while kind < len(_STATEMENTS):
            statement = _STATEMENTS[kind](now)
            column = statement.selected_columns["id"]
            found = connection.execute(statement.where(column > number).limit(limit)).all()
            if found:
                return Part(tuple(map(_item, found)), (kind, found[-1].id))
            kind, number = kind + 1, 0
    return Part((), None)


def _listed(connection: Connection, table: Table, statement: Select[Any], rows: int) -> Listed:
    total = connection.scalar(select(func.count()).select_from(table))
    found = connection.execute(statement.limit(rows)).all() if rows else []
    return Listed(total or 0, tuple(map(_item, found)), (total or 0) - len(found))


def _item(row: Any) -> Item:
    return Item(**{name: getattr(row, name) for name in Item.__dataclass_fields__})


def _columns(what: str, number: Any, **given: Any) -> list[Any]:
    """The columns of an item; null what is not given."""
    names = [name for name in Item.__dataclass_fields__ if name != "what"]
    values = [given[name] if name in given else literal(None) for name in names]
    told = [value.label(name) for name, value in zip(names, values, strict=True)]
    return [number.label("id"), literal(what).label("what"), *told]


def _authorities(_now: datetime) -> Select[Any]:
    above, own = aliased(authorities), authorities.c
    return (
        select(
            *_columns(
                "authority",
                own.id,
                name=own.name,
                kind=own.kind,
                state=own.status,
                authority=above.c.name,
                serial=own.serial,
                since=own.not_before,
                until=own.not_after,
            )
        )
        .select_from(authorities)
        .outerjoin(above, above.c.id == own.parent_id)
        .order_by(own.id)
    )


def _gateways(_now: datetime) -> Select[Any]:
    own, told = gateways.c, gateway_reports.c
    return (
        select(
            *_columns(
                "gateway",
                own.id,
                name=own.name,
                kind=func.coalesce(told.daemon_kind, own.daemon, ""),
                state=case((told.seen_at.is_(None), "never heard"), else_="heard"),
                gateway=own.name,
                authority=authorities.c.name,
                fingerprint=told.certificate,
                since=own.created_at,
            )
        )
        .select_from(gateways)
        .join(authorities, authorities.c.id == own.authority_id)
        .outerjoin(gateway_reports, told.gateway_id == own.id)
        .order_by(own.id)
    )


def _tunnels(_now: datetime) -> Select[Any]:
    own, left, right = tunnels.c, aliased(gateways), aliased(gateways)
    return (
        select(
            *_columns(
                "tunnel",
                own.id,
                name=own.name,
                kind=case((own.managed != 0, "managed"), else_="observed"),
                state=case((own.right_id.is_(None), "outside peer"), else_="inside"),
                gateway=left.c.name,
                peer=func.coalesce(right.c.name, own.peer_name),
                since=own.created_at,
            )
        )
        .select_from(tunnels)
        .join(left, left.c.id == own.left_id)
        .outerjoin(right, right.c.id == own.right_id)
        .order_by(own.id)
    )


def _secrets(_now: datetime) -> Select[Any]:
    own = secret_slots.c
    current = and_(secrets.c.slot_id == own.id, secrets.c.state == "current")
    return (
        select(
            *_columns(
                "secret",
                own.id,
                name=own.name,
                kind=own.kind,
                state=case((secrets.c.id.is_(None), "none yet"), else_="current"),
                gateway=gateways.c.name,
                fingerprint=secrets.c.fingerprint,
                since=secrets.c.current_at,
                until=own.due_at,
            )
        )
        .select_from(secret_slots)
        .join(tunnels, tunnels.c.id == own.tunnel_id)
        .join(gateways, gateways.c.id == tunnels.c.left_id)
        .outerjoin(secrets, current)
        .order_by(own.id)
    )


def _certificates(now: datetime) -> Select[Any]:
    own = certificates.c
    return (
        select(
            *_columns(
                "certificate",
                own.id,
                name=case((own.names == "", own.subject), else_=own.names),
                kind=own.profile,
                state=own.status,
                gateway=own.gateway,
                authority=authorities.c.name,
                serial=own.serial,
                fingerprint=own.fingerprint,
                since=own.not_before,
                until=own.not_after,
            )
        )
        .select_from(certificates)
        .join(authorities, authorities.c.id == own.authority_id)
        .where(own.status.in_(("valid", "held")), own.not_after > now)
        .order_by(own.id)
    )


_Statement = Callable[[datetime], Select[Any]]
# Each joins one row at most to each of its table, so it has as many.
_COUNTED: Final[Sequence[tuple[Table, _Statement]]] = (
    (authorities, _authorities),
    (gateways, _gateways),
    (tunnels, _tunnels),
    (secret_slots, _secrets),
)
_STATEMENTS: Final[Sequence[_Statement]] = (*(each for _, each in _COUNTED), _certificates)


def _statuses(connection: Connection, in_force: int, now: datetime) -> dict[str, int]:
    """As the list of certificates tells them: `expired` is whatever is over, and so counted beside what it was."""
    own = certificates.c
    over = own.not_after <= now
    counted = (
        select(own.status, func.count(), func.count(case((over, 1))))
        .where(own.status.in_(("pending", "held", "revoked")))
        .group_by(own.status)
    )
    rows = {status: (total, ended) for status, total, ended in connection.execute(counted)}
    found = {name: rows.get(name, (0, 0)) for name in ("pending", "held", "revoked")}
    # Nearly all: counted by an index, and no group made of them.
    ended = connection.scalar(select(func.count()).where(own.status == "valid", over)) or 0
    held, held_over = found["held"]
    return {
        "valid": in_force - (held - held_over),
        **{name: total for name, (total, _) in found.items()},
        "expired": ended + sum(past for _, past in found.values()),
    }


def _profiles(connection: Connection, now: datetime) -> dict[str, int]:
    """How many are in force, by profile."""
    own = certificates.c
    counted = (
        select(own.profile, func.count())
        .where(own.status.in_(("valid", "held")), own.not_after > now)
        .group_by(own.profile)
        .order_by(own.profile)
    )
    return {name: number for name, number in connection.execute(counted)}
