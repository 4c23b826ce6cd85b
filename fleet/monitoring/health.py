"""How the tunnels fared over a time, counted by the database: by gateway and connection, the worst first."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    Subquery,
    case,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)

from fleet.bumps import chunks
from fleet.gateways import registered
from fleet.monitoring import counting
from fleet.monitoring.shown import REKEYS
from fleet.monitoring.values import FAILURES, SEVERITIES, AlertState
from pki.actors import Action, Actor, require, require_gateway
from pki.certificates import BadQuery
from pki.desk import Desk
from store.fleet_tables import gateways
from store.monitoring_tables import sa_alerts, sa_counts, sa_days

USUAL: Final = timedelta(days=7)
# A quarter and some days.
LONGEST: Final = timedelta(days=100)
# How far back the last authentication is looked for.
_HEARD: Final = timedelta(days=31)
MOST: Final = 10_000
_PROOFS: Final = ("ike_established", "ike_reauth")
# Stands for no severity: behind all.
_NONE: Final = len(SEVERITIES)
_PORTION: Final = 200


@dataclass(frozen=True)
class HealthQuery:
    """Of which gateway, or of all; over which time (whole hours count; by default the last seven days); how many
    connections are told of one by one.
    """

    gateway: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    connections: int = 100


@dataclass(frozen=True)
class Health:
    """A connection of a gateway; "" stands for what is of no connection. `failures` by kind, or `kind/reason`; alerts
    by kind. `worst` is the severity of the worst alert that is open. `authenticated_at` is the beginning of the hour in
    which a peer last proved who it is, None where that was not since `heard_at`, the beginning of the hour in which it
    was first heard of in 31 days; `idle` is how long ago that is.
    """

    gateway: str
    connection: str
    worst: str | None
    rekeys: int
    established: int
    children: int
    failed: int
    failures: Mapping[str, int]
    open: Mapping[str, int]
    past: Mapping[str, int]
    authenticated_at: datetime | None
    heard_at: datetime | None
    idle: timedelta | None

    @property
    def idle_hours(self) -> int | None:
        """The same in whole hours."""
        return None if self.idle is None else int(self.idle / timedelta(hours=1))


@dataclass(frozen=True)
class Nothing:
    """Why a report is empty, and what to do; in `backticks` what is typed."""

    why: str
    next_step: str


@dataclass(frozen=True)
class HealthFigures:
    """Connections, the worst first, and how many there are beside those. Sums are of all.

    `nothing` says why there is no connection at all.
    """

    made_at: datetime
    since: datetime
    until: datetime
    gateway: str | None
    connections: int
    rekeys: int
    established: int
    failed: int
    open: int
    past: int
    worst: tuple[Health, ...]
    more: int
    nothing: Nothing | None = None


def report(desk: Desk, actor: Actor, query: HealthQuery, *, now: datetime) -> HealthFigures:
    """Tell how tunnels fared; a credential of one gateway is told of that gateway's.

    Raises RoleMayNot, OutsideScope, BadQuery, GatewayNotFound.
    """
    require(actor, Action.SA_READ)
    require(actor, Action.ALERT_READ)
    query = replace(query, gateway=query.gateway or actor.scope.gateway)
    require_gateway(actor, query.gateway)
    if not 0 <= query.connections <= MOST:
        raise BadQuery(f"A report tells of at most {MOST} connections.")
    until = query.until or now
    since = query.since or until - USUAL
    if since >= until:
        raise BadQuery(
            "The time of a report begins before it ends; where no end is given, that is now."
        )
    if until - since > LONGEST:
        raise BadQuery(f"A report is of a time of at most {LONGEST.days} days.")
    with desk.store.read() as connection:
        number = None if query.gateway is None else registered(connection, query.gateway).id
        return _Making(connection, number, since, until).make(query, now)


@dataclass(frozen=True)
class _Making:
    connection: Connection
    gateway: int | None
    since: datetime
    until: datetime

    def make(self, query: HealthQuery, now: datetime) -> HealthFigures:
        every = self._every(now)
        # With each line the sums of all: the counts are many, and are gone through once.
        sums = [func.sum(every.c[name]).over().label(f"all_{name}") for name in _SUMS]
        worst = select(
            every, gateways.c.name.label("gateway"), func.count().over().label("total"), *sums
        ).join(gateways, gateways.c.id == every.c.gateway_id)
        order = (every.c.rank, every.c.open.desc(), every.c.failed.desc(), every.c.past.desc())
        worst = worst.order_by(*order, gateways.c.name, every.c.connection)
        found = self.connection.execute(worst.limit(max(1, query.connections))).all()
        rows = found[: query.connections]
        told = self._details(rows, now)
        counted = {
            name: int(getattr(found[0], f"all_{name}")) if found else 0
            for name in _SUMS
            if name != "children"
        }
        total = found[0].total if found else 0
        return HealthFigures(
            made_at=now,
            since=self.since,
            until=self.until,
            gateway=query.gateway,
            connections=total,
            worst=tuple(told),
            more=total - len(rows),
            nothing=None if total else self._nothing(query.gateway),
            **counted,
        )

    def _nothing(self, name: str | None) -> Nothing:
        """Why is it empty?"""
        those = gateways.c.name.is_not(None) if name is None else gateways.c.name == name
        if self.connection.scalar(select(gateways.c.id).where(those).limit(1)) is None:
            return Nothing(
                "No gateway is registered, so nobody can tell of SAs.",
                "Register one with `ikewarden gateway add NAME`, and enroll the agent there.",
            )
        mine = self._mine(sa_counts.c.gateway_id)
        last = self.connection.scalar(
            select(func.max(sa_counts.c.hour)).where(sa_counts.c.kind != counting.COUNTED, *mine)
        )
        who = "The gateways" if name is None else name
        if last is None:
            return Nothing(
                f"{who} never told of an SA: no event was taken yet, which says nothing of how the tunnels are.",
                "See on the gateway what its agent watches with `ikewarden agent status`, and name a log in the "
                "section [watch] of its agent.toml. A device without an agent: have it send syslog, and name it in "
                "[syslog] of the settings.",
            )
        return Nothing(
            f"{who} told of no SA in this time; the latest of what was told is of {last:%Y-%m-%d %H}:00Z.",
            "Give another time with `--since` and `--until`; if it should have gone on, see on the gateway with "
            "`ikewarden agent status` why it does not; of a device without an agent, `ikewarden gateway show NAME` "
            "tells when it was heard last.",
        )

    def _every(self, now: datetime) -> Subquery:
        """All connections that something was counted of, or that have alerts."""
        parts = union_all(*self._counts(now), self._alerts()).subquery()
        key = (parts.c.gateway_id, parts.c.connection)
        return (
            select(
                *key,
                *(func.sum(parts.c[name]).label(name) for name in _SUMS),
                func.min(parts.c.rank).label("rank"),
            )
            .group_by(*key)
            .subquery()
        )

    def _counts(self, now: datetime) -> Iterable[Select[Any]]:
        """Whole days from the counts of days, the rest by hours: there are many more of those."""
        first = _hour(self.since)
        dawn = counting.midnight(first)
        dawn += timedelta(days=int(dawn < first))
        # Of a day that is not over nothing is counted behind now.
        dusk = self.until if self.until >= now else counting.midnight(self.until)
        if dawn >= dusk:
            yield self._counted(sa_counts.c.hour, first, self.until)
            return
        yield self._counted(sa_days.c.day, dawn, dusk)
        for begin, end in ((first, dawn), (dusk, self.until)):
            if begin < end:
                yield self._counted(sa_counts.c.hour, begin, end)

    def _counted(self, time: Column[datetime], begin: datetime, end: datetime) -> Select[Any]:
        counts = time.table.c

        def number(name: str, kinds: Sequence[str]) -> ColumnElement[int]:
            return func.sum(case((counts.kind.in_(kinds), counts.number), else_=0)).label(name)

        return (
            select(
                counts.gateway_id,
                counts.connection,
                *(number(name, kinds) for name, kinds in zip(_SUMS, _KINDS, strict=False)),
                *(literal(0).label(name) for name in _SUMS[4:]),
                literal(_NONE).label("rank"),
            )
            .where(time >= begin, time < end, *self._mine(counts.gateway_id))
            .where(counts.kind != counting.COUNTED)
            .group_by(counts.gateway_id, counts.connection)
        )

    def _alerts(self) -> Select[Any]:
        is_open = sa_alerts.c.state == AlertState.OPEN
        return (
            select(
                sa_alerts.c.gateway_id,
                _CONNECTION.label("connection"),
                *(literal(0).label(name) for name in _SUMS[:4]),
                func.count(case((is_open, 1))).label("open"),
                func.count(case((~is_open, 1))).label("past"),
                func.min(case((is_open, sa_alerts.c.rank), else_=_NONE)).label("rank"),
            )
            .where(*self._lasting(), *self._mine(sa_alerts.c.gateway_id))
            .group_by(sa_alerts.c.gateway_id, _CONNECTION)
        )

    def _mine(self, column: ColumnElement[int]) -> list[ColumnElement[bool]]:
        return [] if self.gateway is None else [column == self.gateway]

    def _hours(self, since: datetime) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        return sa_counts.c.hour >= _hour(since), sa_counts.c.hour < self.until

    def _lasting(self) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        """Alerts that were there at some time of it."""
        lasts = or_(sa_alerts.c.state == AlertState.OPEN, sa_alerts.c.ended_at >= self.since)
        return lasts, sa_alerts.c.opened_at <= self.until

    def _details(self, rows: Sequence[Row[Any]], now: datetime) -> Iterable[Health]:
        for some in chunks(rows, _PORTION):
            those = [(row.gateway_id, row.connection) for row in some]
            failures = self._failures(those)
            alerts = self._kinds(those)
            proofs = self._proofs(those)
            for row in some:
                key = (row.gateway_id, row.connection)
                proof, heard = proofs.get(key, (None, None))
                yield Health(
                    gateway=row.gateway,
                    connection=row.connection,
                    worst=None if row.rank == _NONE else SEVERITIES[row.rank],
                    rekeys=int(row.rekeys),
                    established=int(row.established),
                    children=int(row.children),
                    failed=int(row.failed),
                    failures=failures.get(key, {}),
                    open=alerts.get((*key, True), {}),
                    past=alerts.get((*key, False), {}),
                    authenticated_at=proof,
                    heard_at=heard,
                    idle=None if proof is None else max(now - proof, timedelta(0)),
                )

    def _failures(self, those: list[tuple[int, str]]) -> dict[tuple[int, str], dict[str, int]]:
        column = sa_counts.c
        key = (column.gateway_id, column.connection)
        parts = (*key, column.kind, column.reason)
        number = func.sum(column.number).label("number")
        query = (
            select(*parts, number)
            .where(column.gateway_id.in_({number for number, _ in those}))
            .where(tuple_(*key).in_(those), column.kind.in_(FAILURES), *self._hours(self.since))
            .group_by(*parts)
            .order_by(number.desc(), column.kind, column.reason)
        )
        found: dict[tuple[int, str], dict[str, int]] = {}
        for row in self.connection.execute(query):
            name = f"{row.kind}/{row.reason}" if row.reason else row.kind
            found.setdefault((row.gateway_id, row.connection), {})[name] = int(row.number)
        return found

    def _kinds(self, those: list[tuple[int, str]]) -> dict[tuple[int, str, bool], dict[str, int]]:
        column = sa_alerts.c
        key = (column.gateway_id, _CONNECTION)
        parts = (*key, column.kind, column.state)
        query = (
            select(*parts, func.count().label("number"))
            .where(column.gateway_id.in_({number for number, _ in those}))
            .where(tuple_(*key).in_(those), *self._lasting())
            .group_by(*parts)
            .order_by(column.kind)
        )
        found: dict[tuple[int, str, bool], dict[str, int]] = {}
        for number, name, kind, state, count in self.connection.execute(query):
            found.setdefault((number, name, state == AlertState.OPEN), {})[kind] = count
        return found

    def _proofs(
        self, those: list[tuple[int, str]]
    ) -> dict[tuple[int, str], tuple[datetime | None, datetime]]:
        """The hours in which they were proven last, and heard of first."""
        hour, kind = sa_counts.c.hour, sa_counts.c.kind
        key = (sa_counts.c.gateway_id, sa_counts.c.connection)
        query = (
            select(*key, func.max(case((kind.in_(_PROOFS), hour))), func.min(hour))
            .where(sa_counts.c.gateway_id.in_({number for number, _ in those}))
            .where(tuple_(*key).in_(those), kind != counting.COUNTED)
            .where(*self._hours(self.until - _HEARD))
            .group_by(*key)
        )
        found = self.connection.execute(query)
        return {(number, name): (proof, heard) for number, name, proof, heard in found}


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


_CONNECTION: Final = func.coalesce(sa_alerts.c.connection, "")
_SUMS: Final = ("rekeys", "established", "children", "failed", "open", "past")
_KINDS: Final = (REKEYS, ("ike_established",), ("child_established",), FAILURES)
