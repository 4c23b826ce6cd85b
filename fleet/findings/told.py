"""What the counts of a report stand for: the findings, the exceptions, and the places that no audit could look at."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, select

from fleet.findings import records
from fleet.findings.records import FindingView
from fleet.findings.values import State
from fleet.gateways import registered
from pki.actors import Action, Actor, require, require_gateway
from pki.desk import Desk
from store.finding_tables import audit_reports, findings
from store.fleet_tables import gateways
from store.text import storable

# A report of a gateway tells up to a thousand places, in long words: few of them are held at a time.
_AT_ONCE: Final = 20


@dataclass(frozen=True)
class UnreadPlace:
    """A place that the last audit of a gateway could not look at, and why."""

    gateway: str
    path: str
    line: int | None
    error: str


@dataclass(frozen=True)
class More:
    """How many of each there are beside those that are told."""

    findings: int
    exceptions: int
    unread: int


@dataclass(frozen=True)
class Details:
    """Open findings, accepted ones, and what could not be looked at: the worst first, as many as were asked for."""

    findings: tuple[FindingView, ...]
    exceptions: tuple[FindingView, ...]
    unread: tuple[UnreadPlace, ...]
    more: More


@dataclass(frozen=True)
class LastReport:
    """What the last audit of a gateway said of itself; without a report the times and the baseline are None."""

    gateway: str
    baseline: str | None
    complete: bool
    started_at: datetime | None
    reported_at: datetime | None
    policy: Mapping[str, Any]
    figures: Mapping[str, Any]
    unread: tuple[UnreadPlace, ...]


def details(
    connection: Connection,
    baseline: str | None,
    most: int,
    there: tuple[int, int],
    *,
    worst: int | None = None,
) -> Details:
    """At most so many of each, of gateways that are audited by a baseline; `worst`: only of this rank or worse.

    `there`: how many there are that are open, and accepted.
    """
    narrowed: list[ColumnElement[bool]] = [] if worst is None else [findings.c.rank <= worst]
    reports = _of(baseline)
    number_unread = connection.execute(
        select(func.coalesce(func.sum(audit_reports.c.errors), 0)).where(*reports)
    ).scalar_one()

    def those(state: State) -> tuple[FindingView, ...]:
        statement = (
            records.shown()
            .where(findings.c.state == state, *narrowed, *reports)
            .order_by(findings.c.rank, findings.c.id)
            .limit(most)
        )
        return tuple(records.view(row) for row in connection.execute(statement))

    is_open, accepted = those(State.OPEN), those(State.ACCEPTED)
    unread = tuple(_first(unread_places(connection, reports), most))
    more = More(there[0] - len(is_open), there[1] - len(accepted), number_unread - len(unread))
    return Details(is_open, accepted, unread, more)


def _of(baseline: str | None) -> list[ColumnElement[bool]]:
    return [] if baseline is None else [audit_reports.c.baseline == storable(baseline)]


def _first(those: Iterable[UnreadPlace], most: int) -> Iterator[UnreadPlace]:
    for number, each in enumerate(those):
        if number >= most:
            return
        yield each


def unread_places(
    connection: Connection, conditions: Iterable[ColumnElement[bool]]
) -> Iterator[UnreadPlace]:
    """What no audit could look at, by gateway; `conditions` are of their reports."""
    statement = (
        select(gateways.c.name, audit_reports.c.document)
        .join_from(audit_reports, gateways, gateways.c.id == audit_reports.c.gateway_id)
        .where(audit_reports.c.errors > 0, *conditions)
        .order_by(gateways.c.name)
        .execution_options(yield_per=_AT_ONCE)
    )
    result = connection.execute(statement)
    try:
        for row in result:
            yield from _places(row.name, row.document)
    finally:
        result.close()


def _places(gateway: str, document: Mapping[str, Any]) -> Iterator[UnreadPlace]:
    for each in document.get("errors", ()):
        line = each.get("line")
        yield UnreadPlace(gateway, str(each["path"]), line, str(each["error"]))


def last_report(desk: Desk, actor: Actor, gateway: str) -> LastReport:
    """What a gateway's last audit said of itself. Raises RoleMayNot, OutsideScope, GatewayNotFound."""
    require(actor, Action.FINDING_READ)
    require_gateway(actor, gateway)
    with desk.store.read() as connection:
        number = registered(connection, gateway).id
        mine = select(audit_reports).where(audit_reports.c.gateway_id == number)
        row = connection.execute(mine).one_or_none()
    if row is None:
        return LastReport(gateway, None, True, None, None, {}, {}, ())
    document = row.document
    return LastReport(
        gateway=gateway,
        baseline=row.baseline,
        complete=bool(row.complete),
        started_at=row.started_at,
        reported_at=row.seen_at,
        policy=document["policy"],
        figures=document["figures"],
        unread=tuple(_places(gateway, document)),
    )
