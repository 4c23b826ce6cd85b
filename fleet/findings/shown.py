"""Findings looked at: searched, and one with its history."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, or_, select, tuple_

from fleet.findings import records
from fleet.findings.changes import MOST_EVENTS
from fleet.findings.records import FindingView
from fleet.findings.values import State
from fleet.gateways import registered
from ike.audit.values import Severity
from pki.actors import Action, Actor, require, require_gateway
from pki.certificates import MAX_PAGE, BadQuery
from pki.desk import Desk
from store.finding_tables import audit_reports, finding_events, findings
from store.text import storable


@dataclass(frozen=True)
class FindingQuery:
    """A search. `q` is part of a path, title, subject or evidence; `cursor` rank and id of the last one of a page;
    `baseline` that of the gateways; `present`: none that are fixed.
    """

    gateway: str | None = None
    severity: str | None = None
    state: str | None = None
    rule: str | None = None
    q: str | None = None
    cursor: tuple[int, int] | None = None
    limit: int = 100
    baseline: str | None = None
    present: bool = False


@dataclass(frozen=True)
class Event:
    """A change of a finding's state. `until`: of an acceptance."""

    at: datetime
    state: str
    actor: str
    why: str
    until: datetime | None


@dataclass(frozen=True)
class WholeFinding:
    """A finding and how it came to be what it is, the latest change first."""

    finding: FindingView
    history: tuple[Event, ...]


def search(desk: Desk, actor: Actor, query: FindingQuery) -> list[FindingView]:
    """Search findings, the worst first and the older ones before, at most `limit` (1 to 500) of them after `cursor`.

    A credential of one gateway sees that gateway's. Raises RoleMayNot, OutsideScope, BadQuery, GatewayNotFound.
    """
    require(actor, Action.FINDING_READ)
    gateway = query.gateway or actor.scope.gateway
    require_gateway(actor, gateway)
    if not 1 <= query.limit <= MAX_PAGE:
        raise BadQuery(f"A page has between 1 and {MAX_PAGE} entries.")
    statement = records.shown().order_by(findings.c.rank, findings.c.id).limit(query.limit)
    for condition in _conditions(query):
        statement = statement.where(condition)
    with desk.store.read() as connection:
        if gateway is not None:
            number = registered(connection, gateway).id
            statement = statement.where(findings.c.gateway_id == number)
        return [records.view(row) for row in connection.execute(statement)]


def _conditions(query: FindingQuery) -> Iterable[ColumnElement[bool]]:
    if query.cursor is not None:
        yield tuple_(findings.c.rank, findings.c.id) > tuple_(*query.cursor)
    if query.severity is not None:
        if query.severity not in {*Severity}:
            raise BadQuery(f"A severity is one of {', '.join(Severity)}.")
        yield findings.c.rank == Severity(query.severity).rank
    if query.state is not None:
        if query.state not in {*State}:
            raise BadQuery(f"A state is one of {', '.join(State)}.")
        yield findings.c.state == query.state
    if query.present:
        yield findings.c.state != State.FIXED
    if query.baseline is not None:
        yield audit_reports.c.baseline == storable(query.baseline)
    if query.rule is not None:
        yield findings.c.rule == storable(query.rule)
    if query.q:
        text = storable(query.q)
        yield or_(
            *(
                findings.c[name].icontains(text, autoescape=True)
                for name in ("path", "title", "subject", "evidence")
            )
        )


def finding(desk: Desk, actor: Actor, number: int) -> WholeFinding:
    """Look at one finding. Raises RoleMayNot, OutsideScope, FindingNotFound."""
    require(actor, Action.FINDING_READ)
    query = (
        select(*(finding_events.c[name] for name in Event.__dataclass_fields__))
        .where(finding_events.c.finding_id == number)
        .order_by(finding_events.c.id.desc())
        .limit(MOST_EVENTS)
    )
    with desk.store.read() as connection:
        found = records.pick(connection, number)
        require_gateway(actor, found.gateway)
        told = [Event(**row) for row in connection.execute(query).mappings()]
    return WholeFinding(found, tuple(told))
