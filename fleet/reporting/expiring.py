"""What ends in a period: certificates in force, and the authorities themselves."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, case, func, select

from fleet.reporting import successors
from fleet.reporting.listing import Part, check, require_all, soonest
from fleet.reporting.periods import Period
from pki.actors import Action, Actor
from pki.desk import Desk
from store.tables import authorities, certificates

USUAL: Final = "next-30d"
_READS: Final = (Action.CERTIFICATE_READ, Action.AUTHORITY_READ, Action.GATEWAY_READ)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Ending:
    """A certificate that ends. `days`: whole days that are left; `renewed`: another one was issued in its place."""

    serial: str
    names: str
    gateway: str | None
    profile: str
    authority: str
    status: str
    not_after: datetime
    days: int
    renewed: bool


@dataclass(frozen=True)
class EndingAuthority:
    """An authority whose certificate ends in this time."""

    name: str
    kind: str
    status: str
    not_after: datetime
    days: int


@dataclass(frozen=True)
class ExpiringFigures:
    """What ends in a period, the soonest first; `total` counts certificates that are valid or on hold."""

    made_at: datetime
    since: datetime
    until: datetime
    total: int
    renewed: int
    held: int
    authorities: tuple[EndingAuthority, ...]
    certificates: tuple[Ending, ...]
    more: int


def figures(
    desk: Desk, actor: Actor, period: Period, rows: int, *, now: datetime
) -> ExpiringFigures:
    """Tell what ends, and the first `rows` of it. Raises RoleMayNot, OutsideScope, BadQuery."""
    require_all(actor, *_READS)
    check(rows)
    own = authorities.c
    mine = (
        select(own.name, own.kind, own.status, own.not_after)
        .where(own.not_after >= period.since, own.not_after < period.until)
        .order_by(own.not_after, own.id)
        .limit(1000)
    )
    with desk.store.read() as connection:
        within = successors.stretch(connection, *_meant(period))
        counted = select(func.count()).select_from(certificates)
        counted = counted.where(*_meant(period), successors.renewed(within))
        renewed = connection.scalar(counted) or 0
        found = soonest(connection, _ending(period), rows)
        ended = connection.execute(mine).all()
    return ExpiringFigures(
        made_at=now,
        since=period.since,
        until=period.until,
        total=within.total,
        renewed=renewed,
        held=within.numbers.get("held", 0),
        authorities=tuple(EndingAuthority(*row, days=_days(row.not_after, now)) for row in ended),
        certificates=tuple(_row(row, now) for row in found),
        more=within.total - len(found),
    )


def page(
    desk: Desk,
    actor: Actor,
    period: Period,
    after: tuple[int, int] | None,
    limit: int,
    *,
    now: datetime,
) -> Part[Ending]:
    """The next `limit` certificates, in the order in which they were issued. Raises RoleMayNot, OutsideScope."""
    require_all(actor, *_READS)
    number = after[1] if after else 0
    query = _ending(period).where(certificates.c.id > number).limit(limit)
    with desk.store.read() as connection:
        found = connection.execute(query).all()
    last = (0, found[-1].id) if len(found) == limit else None
    return Part(tuple(_row(row, now) for row in found), last)


def _meant(period: Period) -> tuple[ColumnElement[bool], ...]:
    own = certificates.c
    ends = (own.not_after >= period.since, own.not_after < period.until)
    return own.status.in_(("valid", "held")), *ends


def _ending(period: Period) -> Select[Any]:
    own = certificates.c
    return (
        select(
            own.id,
            own.serial,
            case((own.names == "", own.subject), else_=own.names).label("names"),
            own.gateway,
            own.profile,
            authorities.c.name.label("authority"),
            own.status,
            own.not_after,
            successors.renewed().label("renewed"),
        )
        .join_from(certificates, authorities, authorities.c.id == own.authority_id)
        .where(*_meant(period))
        .order_by(own.id)
    )


def _row(row: Any, now: datetime) -> Ending:
    kept = Ending.__dataclass_fields__.keys() - {"days", "renewed"}
    told = {name: getattr(row, name) for name in kept}
    return Ending(**told, days=_days(row.not_after, now), renewed=bool(row.renewed))


def _days(at: datetime, now: datetime) -> int:
    return (at - now) // _DAY
