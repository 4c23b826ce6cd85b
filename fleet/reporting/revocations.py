"""What was revoked or put on hold in a period, and how soon the gateways had confirmed it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Select, case, func, select

from fleet.bumps import chunks
from fleet.reporting.listing import Part, check, require_all
from fleet.reporting.periods import Period
from fleet.state import CUT
from pki.actors import Action, Actor
from pki.desk import Desk
from pki.x509.crl import Reason
from store.fleet_tables import gateway_commands
from store.tables import authorities, certificates, revocations

USUAL: Final = "last-30d"
_READS: Final = (Action.CERTIFICATE_READ, Action.GATEWAY_READ)
_ENDED: Final = ("revoked", "held")
# So many latencies are looked at; more are counted, and their middle is that of the latest.
_MOST_LATENCIES: Final = 200_000


@dataclass(frozen=True)
class RevokedCertificate:
    """A certificate that was revoked, or is on hold. `gateways`: how many were told to end what it had authenticated;
    `confirmed`: how many of them have; `seconds`: how long the last of these took.
    """

    serial: str
    names: str
    gateway: str | None
    profile: str
    authority: str
    state: str
    reason: str
    revoked_at: datetime
    gateways: int
    confirmed: int
    seconds: int | None


@dataclass(frozen=True)
class Latency:
    """How long gateways took to confirm, over all cuts of a period, in seconds, where any was confirmed."""

    cuts: int
    confirmed: int
    median: int | None
    slowest: int | None


@dataclass(frozen=True)
class RevocationFigures:
    """What was revoked in a period, the latest first."""

    made_at: datetime
    since: datetime
    until: datetime
    revoked: int
    held: int
    reasons: Mapping[str, int]
    latency: Latency
    certificates: tuple[RevokedCertificate, ...]
    more: int


def figures(
    desk: Desk, actor: Actor, period: Period, rows: int, *, now: datetime
) -> RevocationFigures:
    """Tell what was revoked, the latest `rows` one by one. Raises RoleMayNot, OutsideScope, BadQuery."""
    require_all(actor, *_READS)
    check(rows)
    own = revocations.c
    counted = (
        select(own.state, own.reason, func.count())
        .where(own.state.in_(_ENDED), *_within(period))
        .group_by(own.state, own.reason)
    )
    with desk.store.read() as connection:
        states: dict[str, int] = {}
        reasons: dict[str, int] = {}
        for state, reason, number in connection.execute(counted):
            states[state] = states.get(state, 0) + number
            name = Reason(reason).name
            reasons[name] = reasons.get(name, 0) + number
        latest = _revoked(period).order_by(own.revoked_at.desc(), certificates.c.id.desc())
        found = connection.execute(latest.limit(rows)).all() if rows else []
        told = _told(connection, found)
        latency = latencies(connection, period)
    return RevocationFigures(
        made_at=now,
        since=period.since,
        until=period.until,
        revoked=states.get("revoked", 0),
        held=states.get("held", 0),
        reasons=dict(sorted(reasons.items())),
        latency=latency,
        certificates=told,
        more=sum(states.values()) - len(told),
    )


def page(
    desk: Desk, actor: Actor, period: Period, after: tuple[int, int] | None, limit: int
) -> Part[RevokedCertificate]:
    """The next `limit`, in the order in which they were issued. Raises RoleMayNot, OutsideScope."""
    require_all(actor, *_READS)
    number = after[1] if after else 0
    query = _revoked(period).where(certificates.c.id > number).order_by(certificates.c.id)
    with desk.store.read() as connection:
        found = connection.execute(query.limit(limit)).all()
        rows = _told(connection, found)
    return Part(rows, (0, found[-1].id) if len(found) == limit else None)


def latencies(connection: Connection, period: Period) -> Latency:
    """How soon gateways confirmed the cuts that were ordered in a period."""
    own = gateway_commands.c
    within = (own.kind == CUT, own.created_at >= period.since, own.created_at < period.until)
    total = connection.scalar(select(func.count()).where(*within)) or 0
    closed = (
        select(own.created_at, own.done_at)
        .where(*within, own.done_at.is_not(None))
        .order_by(own.id.desc())
        .limit(_MOST_LATENCIES)
    )
    took = sorted(_seconds(begun, done) for begun, done in connection.execute(closed))
    confirmed = connection.scalar(select(func.count()).where(*within, own.done_at.is_not(None)))
    return Latency(
        cuts=total,
        confirmed=confirmed or 0,
        median=took[len(took) // 2] if took else None,
        slowest=took[-1] if took else None,
    )


def _within(period: Period) -> tuple[Any, Any]:
    own = revocations.c
    return own.revoked_at >= period.since, own.revoked_at < period.until


def _revoked(period: Period) -> Select[Any]:
    own = certificates.c
    return (
        select(
            own.id,
            own.serial,
            case((own.names == "", own.subject), else_=own.names).label("names"),
            own.gateway,
            own.profile,
            authorities.c.name.label("authority"),
            revocations.c.state,
            revocations.c.reason,
            revocations.c.revoked_at,
        )
        .select_from(revocations)
        .join(certificates, own.id == revocations.c.certificate_id)
        .join(authorities, authorities.c.id == own.authority_id)
        .where(revocations.c.state.in_(_ENDED), *_within(period))
    )


def _told(connection: Connection, rows: Sequence[Any]) -> tuple[RevokedCertificate, ...]:
    """With what gateways have said of each."""
    cuts: dict[int, list[tuple[datetime, datetime | None]]] = {}
    own = gateway_commands.c
    for some in chunks([row.id for row in rows]):
        query = select(own.certificate_id, own.created_at, own.done_at).where(
            own.certificate_id.in_(some), own.kind == CUT
        )
        for number, begun, done in connection.execute(query):
            cuts.setdefault(number, []).append((begun, done))
    return tuple(_row(row, cuts.get(row.id, [])) for row in rows)


def _row(row: Any, cuts: Sequence[tuple[datetime, datetime | None]]) -> RevokedCertificate:
    took = [_seconds(begun, done) for begun, done in cuts if done is not None]
    return RevokedCertificate(
        serial=row.serial,
        names=row.names,
        gateway=row.gateway,
        profile=row.profile,
        authority=row.authority,
        state=row.state,
        reason=Reason(row.reason).name,
        revoked_at=row.revoked_at,
        gateways=len(cuts),
        confirmed=len(took),
        seconds=max(took, default=None),
    )


def _seconds(begun: datetime, done: datetime) -> int:
    return max(0, (done - begun) // timedelta(seconds=1))
