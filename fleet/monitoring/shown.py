"""Events and alerts looked at."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, func, or_, select

from fleet.gateways import registered
from fleet.monitoring import counting, records
from fleet.monitoring.records import AlertView
from fleet.monitoring.values import FAILURES, LIMITED, SEVERITIES, AlertState
from fleet.scopes import within
from ike.detection.alert import KINDS
from ike.events.event import COUNTS, EVENTS, REASONS, REMARKS
from pki.actors import GRANTS, Action, Actor, require, require_gateway
from pki.certificates import MAX_PAGE, BadQuery
from pki.desk import Desk
from store.fleet_tables import gateways
from store.monitoring_tables import sa_alerts, sa_counts, sa_events
from store.text import storable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
REKEYS = ("ike_rekeyed", "ike_reauth", "child_rekeyed")
# More series than these are more than a scraper should be sent: then gateways are told, not their connections; and
# where these are as many, the fleet as one.
MOST_SERIES = 20_000


@dataclass(frozen=True)
class EventView:
    """An event. `number` counts the events of its gateway; `clock` tells that `at` is not what the gateway said."""

    id: int
    gateway: str
    number: int
    at: datetime
    received_at: datetime
    clock: str | None
    kind: str
    peer: str | None
    connection: str | None
    identity: str | None
    reason: str | None
    document: Mapping[str, Any]

    @property
    def position(self) -> str:
        """Its place in the list."""
        return f"{(self.at - _EPOCH) // _MICROSECOND}:{self.id}"


@dataclass(frozen=True)
class EventQuery:
    """A search. `since` and `until` are of the events' time; `cursor` is microseconds and id of the last of a page."""

    gateway: str | None = None
    connection: str | None = None
    peer: str | None = None
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    cursor: tuple[int, int] | None = None
    limit: int = 100


@dataclass(frozen=True)
class AlertQuery:
    """A search. `silenced`: only those that somebody silenced, or only others; `cursor` is rank and id of the last one
    of a page.
    """

    state: str | None = None
    kind: str | None = None
    severity: str | None = None
    gateway: str | None = None
    cursor: tuple[int, int] | None = None
    limit: int = 100
    silenced: bool | None = None
    connection: str | None = None


@dataclass(frozen=True)
class WholeAlert:
    """An alert with the events that it refers to, as far as they are kept."""

    alert: AlertView
    events: tuple[EventView, ...]


def events(desk: Desk, actor: Actor, query: EventQuery) -> list[EventView]:
    """Search events, the latest first, at most `limit` (1 to 500) of them after `cursor`.

    A credential of one gateway sees that gateway's. Raises RoleMayNot, OutsideScope, BadQuery, GatewayNotFound.
    """
    require(actor, Action.SA_READ)
    gateway = query.gateway or actor.scope.gateway
    require_gateway(actor, gateway)
    _check_limit(query.limit)
    statement = (
        _EVENTS.where(*_event_conditions(query))
        .order_by(sa_events.c.at.desc(), sa_events.c.id.desc())
        .limit(query.limit)
    )
    with desk.store.read() as connection:
        if gateway is not None:
            number = registered(connection, gateway).id
            statement = statement.where(sa_events.c.gateway_id == number)
        return [_event(row) for row in connection.execute(statement)]


_EVENTS = select(sa_events, gateways.c.name.label("gateway")).join_from(
    sa_events, gateways, gateways.c.id == sa_events.c.gateway_id
)


def _event(row: Row[Any]) -> EventView:
    return EventView(**{name: getattr(row, name) for name in EventView.__dataclass_fields__})


def _event_conditions(query: EventQuery) -> Iterable[ColumnElement[bool]]:
    column = sa_events.c
    if query.cursor is not None:
        try:
            at = _EPOCH + query.cursor[0] * _MICROSECOND
        except OverflowError:
            raise BadQuery("This place is in no list.") from None
        yield and_(column.at <= at, or_(column.at < at, column.id < query.cursor[1]))
    if query.kind is not None:
        if query.kind not in EVENTS and query.kind not in REMARKS:
            raise BadQuery("There is no such kind of event.")
        yield column.kind == query.kind
    if query.connection is not None:
        yield column.connection == storable(query.connection)
    if query.peer is not None:
        yield column.peer == storable(query.peer)
    if query.since is not None:
        yield column.at >= query.since
    if query.until is not None:
        yield column.at < query.until


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE:
        raise BadQuery(f"A page has between 1 and {MAX_PAGE} entries.")


def alerts(desk: Desk, actor: Actor, query: AlertQuery) -> list[AlertView]:
    """Search alerts, the worst first and of those the latest, at most `limit` (1 to 500) of them after `cursor`.

    A credential of one gateway sees that gateway's. Raises RoleMayNot, OutsideScope, BadQuery, GatewayNotFound.
    """
    require(actor, Action.ALERT_READ)
    gateway = query.gateway or actor.scope.gateway
    require_gateway(actor, gateway)
    _check_limit(query.limit)
    statement = (
        records.shown()
        .where(*_alert_conditions(query))
        .order_by(sa_alerts.c.rank, sa_alerts.c.id.desc())
        .limit(query.limit)
    )
    with desk.store.read() as connection:
        if gateway is not None:
            number = registered(connection, gateway).id
            statement = statement.where(sa_alerts.c.gateway_id == number)
        return [records.view(row) for row in connection.execute(statement)]


def _alert_conditions(query: AlertQuery) -> Iterable[ColumnElement[bool]]:
    column = sa_alerts.c
    if query.cursor is not None:
        rank, number = query.cursor
        yield or_(column.rank > rank, and_(column.rank == rank, column.id < number))
    if query.state is not None:
        if query.state not in {*AlertState}:
            raise BadQuery(f"A state is one of {', '.join(AlertState)}.")
        yield column.state == query.state
    if query.silenced is not None:
        audible = column.silenced_until.is_(None)
        yield ~audible if query.silenced else audible
    if query.severity is not None:
        if query.severity not in SEVERITIES:
            raise BadQuery(f"A severity is one of {', '.join(SEVERITIES)}.")
        yield column.rank == SEVERITIES.index(query.severity)
    if query.connection is not None:
        yield column.connection == storable(query.connection)
    if query.kind is not None:
        if query.kind not in KINDS and query.kind != LIMITED:
            raise BadQuery("There is no such kind of alert.")
        yield column.kind == query.kind


def alert(desk: Desk, actor: Actor, number: int) -> WholeAlert:
    """Look at one alert, without its events for those who may not read events.

    Raises RoleMayNot, OutsideScope, AlertNotFound.
    """
    require(actor, Action.ALERT_READ)
    with desk.store.read() as connection:
        found = records.pick(connection, number)
        require_gateway(actor, found.gateway)
        if Action.SA_READ not in GRANTS[actor.role]:
            return WholeAlert(found, ())
        those = _EVENTS.where(
            sa_events.c.gateway_id == found.gateway_id, sa_events.c.number.in_(found.lines)
        ).order_by(sa_events.c.number)
        return WholeAlert(found, tuple(_event(row) for row in connection.execute(those)))


@dataclass(frozen=True)
class Figures:
    """Numbers for those who watch. `rekeys` by gateway, connection and kind; connection is empty where there are too
    many of them, and the gateway too where there are too many of these. `failures` by kind and reason, one of
    `REASONS`, "other" or, where none was told, "". `open` are alerts by kind and severity, `left_out` those that there
    is no room for, by gateway. `counters`: what daemons counted, by gateway (empty where there are too many) and what
    it is, one of `COUNTS` or "other".
    """

    events: Mapping[str, int]
    failures: Mapping[tuple[str, str], int]
    rekeys: Mapping[tuple[str, str, str], int]
    open: Mapping[tuple[str, str], int]
    left_out: Mapping[str, int]
    counters: Mapping[tuple[str, str], int]


def figures(desk: Desk, actor: Actor) -> Figures:
    """Count events and alerts; for a credential of one gateway that gateway's. Raises RoleMayNot."""
    require(actor, Action.METRICS_READ)
    always = and_(sa_counts.c.hour == counting.ALWAYS, within(actor, sa_counts.c.gateway_id))
    total = func.sum(sa_counts.c.number)
    is_event = sa_counts.c.kind != counting.COUNTED
    parts = (sa_counts.c.kind, sa_counts.c.reason)
    reasons = select(*parts, total).where(always, is_event).group_by(*parts)
    alike = (sa_alerts.c.kind, sa_alerts.c.severity)
    lasting = select(*alike, func.count()).where(
        sa_alerts.c.state == AlertState.OPEN, within(actor, sa_alerts.c.gateway_id)
    )
    with desk.store.read() as connection:
        left_out = _left_out(connection, actor)
        counted, failures = _counted(connection.execute(reasons).all())
        is_open = {
            (kind, severity): number
            for kind, severity, number in connection.execute(lasting.group_by(*alike))
        }
        return Figures(
            counted,
            failures,
            _rekeys(connection, always),
            is_open,
            left_out,
            _counters(connection, and_(always, ~is_event)),
        )


def _rekeys(connection: Connection, of: ColumnElement[bool]) -> dict[tuple[str, str, str], int]:
    kind = sa_counts.c.kind
    those = and_(of, kind.in_(REKEYS))
    parts = [gateways.c.name, sa_counts.c.connection, kind]
    found = _summed(connection, those, parts)
    if found is None and (found := _summed(connection, those, [parts[0], kind])) is not None:
        found = [(gateway, "", what, number) for gateway, what, number in found]
    if found is None:
        total = select(kind, func.sum(sa_counts.c.number)).where(those).group_by(kind)
        found = [("", "", what, number) for what, number in connection.execute(total)]
    return {(gateway, name, what): int(number) for gateway, name, what, number in found}


def _counters(connection: Connection, of: ColumnElement[bool]) -> dict[tuple[str, str], int]:
    # Gateways send the words: a label has no others than these.
    what = case((sa_counts.c.reason.in_(COUNTS), sa_counts.c.reason), else_="other").label("what")
    found = _summed(connection, of, [gateways.c.name, what])
    if found is None:
        total = select(what, func.sum(sa_counts.c.number)).where(of).group_by(what)
        found = [("", word, number) for word, number in connection.execute(total)]
    return {(gateway, word): int(number) for gateway, word, number in found}


def _summed(
    connection: Connection, of: ColumnElement[bool], parts: Sequence[ColumnElement[str]]
) -> list[Any] | None:
    """What was counted, by gateway and the other parts; None where that would be too many series."""
    rows = connection.execute(
        select(*parts, func.sum(sa_counts.c.number))
        .join_from(sa_counts, gateways, gateways.c.id == sa_counts.c.gateway_id)
        .where(of)
        .group_by(*parts)
        .limit(MOST_SERIES + 1)
    ).all()
    return None if len(rows) > MOST_SERIES else list(rows)


def _left_out(connection: Connection, actor: Actor) -> dict[str, int]:
    limited = (
        select(gateways.c.name, sa_alerts.c.evidence)
        .join_from(sa_alerts, gateways, gateways.c.id == sa_alerts.c.gateway_id)
        .where(sa_alerts.c.state == AlertState.OPEN, sa_alerts.c.kind == LIMITED)
        .where(within(actor, sa_alerts.c.gateway_id))
    )
    return {row.name: row.evidence["left_out"] for row in connection.execute(limited)}


def _counted(rows: Iterable[Row[str, str, int]]) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    kinds: Counter[str] = Counter()
    failures: Counter[tuple[str, str]] = Counter()
    for kind, reason, number in rows:
        kinds[kind] += int(number)
        if kind in FAILURES:
            # Gateways send the words: what is none of ours makes no series of its own.
            failures[kind, reason if reason in REASONS or not reason else "other"] += int(number)
    return kinds, failures
