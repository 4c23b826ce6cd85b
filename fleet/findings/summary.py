"""What the audits of the whole fleet came to, counted by the database: by rule, by gateway, by baseline."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Subquery,
    and_,
    case,
    func,
    or_,
    select,
)

from fleet.findings import records, told
from fleet.findings.records import FindingView
from fleet.findings.told import Details, UnreadPlace
from fleet.findings.values import State
from fleet.scopes import within
from ike.audit.values import Severity
from pki.actors import Action, Actor, require, require_gateway
from pki.certificates import BadQuery
from pki.desk import Desk
from store.finding_tables import audit_reports, findings
from store.fleet_tables import gateways
from store.text import storable

# Agents audit daily unless they are told otherwise; who was silent for over eight days is not known about.
LATE = timedelta(days=8)
MOST_GATEWAYS = 100_000
MOST_FINDINGS = 5_000
# Gateways that are accounted for at once, and how many unread places of each; the figures count all.
ACCOUNTS = 50
_UNREAD = 200
# What stands against a standard, and what is worse.
_FAILS = Severity.MEDIUM.rank


class Verdict(StrEnum):
    """What is to be said of a gateway."""

    COMPLIANT = "compliant"  # nothing medium or worse, as far as the whole audit saw
    EXCEPTED = "excepted"  # what there is was accepted by somebody
    FAILING = "failing"  # something medium or worse is open
    UNKNOWN = "unknown"  # no report, an old one, or one that could not see everything


@dataclass(frozen=True)
class ReportQuery:
    """`baseline`: only gateways that are audited by it. `gateways` and `findings`: how many of them are told of, the
    worst first.
    """

    baseline: str | None = None
    gateways: int = 100
    findings: int = 200


@dataclass(frozen=True)
class RuleFigures:
    """A rule, the worst severity that it was broken with, and how many findings there are; `gateways`: on how many
    there are open or accepted ones.
    """

    rule: str
    area: str
    severity: str
    title: str
    open: int
    accepted: int
    fixed: int
    gateways: int


@dataclass(frozen=True)
class GatewayFigures:
    """A gateway with its open findings by severity. `verdict`: `compliant`; `excepted`: what there is was accepted;
    `failing`: something medium or worse is open; `unknown`: no report for over eight days, or one that could not see
    everything. `accepted_worst`: how bad the worst is that somebody accepted; `errors`: how many places the audit could
    not look at; `reported_at`: when it last said what there is.
    """

    gateway: str
    baseline: str | None
    verdict: str
    critical: int
    high: int
    medium: int
    low: int
    info: int
    accepted: int
    accepted_worst: str | None
    errors: int
    reported_at: datetime | None


@dataclass(frozen=True)
class AuditFigures:
    """The fleet's findings. `open` and `accepted` by severity; `late`: gateways that sent none for over eight days."""

    made_at: datetime
    baseline: str | None
    gateways: int
    reported: int
    late: int
    open: Mapping[str, int]
    accepted: Mapping[str, int]
    rules: tuple[RuleFigures, ...]
    worst: tuple[GatewayFigures, ...]
    details: Details


@dataclass(frozen=True)
class BaselineFigures:
    """How many gateways that are audited by a baseline have which verdict; in how many of them an area fails.

    `baseline` is None for gateways that never reported.
    """

    baseline: str | None
    gateways: int
    verdicts: Mapping[str, int]
    areas: Mapping[str, int]


@dataclass(frozen=True)
class ComplianceFigures:
    """Verdicts by baseline and by gateway."""

    made_at: datetime
    baselines: tuple[BaselineFigures, ...]
    gateways: tuple[GatewayFigures, ...]
    details: Details


def audit(desk: Desk, actor: Actor, query: ReportQuery, *, now: datetime) -> AuditFigures:
    """Count the fleet's findings. Raises RoleMayNot, OutsideScope, BadQuery."""
    _require_all(actor)
    _check(query)
    with desk.store.read() as connection:
        total, reported, late = _coverage(connection, now, *_of_baseline(query))
        counts = _severities(connection, query.baseline)
        there = (sum(counts[State.OPEN].values()), sum(counts[State.ACCEPTED].values()))
        return AuditFigures(
            made_at=now,
            baseline=query.baseline,
            gateways=total,
            reported=reported,
            late=late,
            open=counts[State.OPEN],
            accepted=counts[State.ACCEPTED],
            rules=_rules(connection, query),
            worst=_gateways(connection, query, now),
            details=told.details(connection, query.baseline, query.findings, there),
        )


def compliance(desk: Desk, actor: Actor, query: ReportQuery, *, now: datetime) -> ComplianceFigures:
    """Judge every gateway by the baseline that it is audited by. Raises RoleMayNot, OutsideScope, BadQuery."""
    _require_all(actor)
    _check(query)
    with desk.store.read() as connection:
        baselines, there = _baselines(connection, query, now)
        return ComplianceFigures(
            made_at=now,
            baselines=baselines,
            gateways=_gateways(connection, query, now),
            details=told.details(connection, query.baseline, query.findings, there, worst=_FAILS),
        )


@dataclass(frozen=True)
class GatewayAccount:
    """A gateway with what its verdict comes from: what is open or accepted of what would fail, what was not seen."""

    number: int
    figures: GatewayFigures
    findings: tuple[FindingView, ...]
    unread: tuple[UnreadPlace, ...]


def accounts(
    desk: Desk, actor: Actor, baseline: str | None, after: int, *, now: datetime
) -> list[GatewayAccount]:
    """Account for the next gateways, at most `ACCOUNTS`, in the order in which they were added.

    Raises RoleMayNot, OutsideScope.
    """
    _require_all(actor)
    reports = _of_baseline(ReportQuery(baseline))
    page = (
        select(gateways.c.id, gateways.c.name)
        .outerjoin(audit_reports, audit_reports.c.gateway_id == gateways.c.id)
        .where(gateways.c.id > after, *reports)
        .order_by(gateways.c.id)
        .limit(ACCOUNTS)
    )
    with desk.store.read() as connection:
        names = {row.id: row.name for row in connection.execute(page)}
        counts = _counts(findings.c.gateway_id.in_(names))
        judged = _judged(counts, now).where(gateways.c.id.in_(names))
        rows = {row.gateway: _gateway(row) for row in connection.execute(judged)}
        counted = (
            records.shown()
            .where(findings.c.gateway_id.in_(names), findings.c.state != State.FIXED)
            .where(findings.c.rank <= _FAILS)
            .order_by(
                findings.c.gateway_id, findings.c.state.desc(), findings.c.rank, findings.c.id
            )
        )
        mine: dict[str, list[FindingView]] = {name: [] for name in names.values()}
        for row in connection.execute(counted):
            mine[row.gateway].append(records.view(row))
        unread: dict[str, list[UnreadPlace]] = {name: [] for name in names.values()}
        for each in told.unread_places(connection, [audit_reports.c.gateway_id.in_(names)]):
            if len(unread[each.gateway]) < _UNREAD:
                unread[each.gateway].append(each)
    return [
        GatewayAccount(number, rows[name], tuple(mine[name]), tuple(unread[name]))
        for number, name in names.items()
    ]


def _require_all(actor: Actor) -> None:
    """These tell of all gateways: nothing for a credential of one. Raises RoleMayNot, OutsideScope."""
    require(actor, Action.FINDING_READ)
    require_gateway(actor, None)


def _check(query: ReportQuery) -> None:
    if not 0 <= query.gateways <= MOST_GATEWAYS:
        raise BadQuery(f"A report tells of at most {MOST_GATEWAYS} gateways.")
    if not 0 <= query.findings <= MOST_FINDINGS:
        raise BadQuery(f"A report tells of at most {MOST_FINDINGS} findings.")


def _of_baseline(query: ReportQuery) -> list[ColumnElement[bool]]:
    return [] if query.baseline is None else [audit_reports.c.baseline == storable(query.baseline)]


def _coverage(
    connection: Connection, now: datetime, *of: ColumnElement[bool]
) -> tuple[int, int, int]:
    """All gateways, those that reported, those of them that did not for too long."""
    row = connection.execute(
        select(
            func.count(),
            func.count(audit_reports.c.gateway_id),
            func.count(case((audit_reports.c.seen_at < now - LATE, 1))),
        )
        .select_from(gateways)
        .outerjoin(audit_reports, audit_reports.c.gateway_id == gateways.c.id)
        .where(*of)
    ).one()
    return row[0], row[1], row[2]


def _severities(
    connection: Connection, baseline: str | None, *of: ColumnElement[bool]
) -> dict[State, dict[str, int]]:
    """How many findings by state and severity, zeroes too."""
    query = (
        select(findings.c.state, findings.c.rank, func.count().label("number"))
        .where(*of)
        .group_by(findings.c.state, findings.c.rank)
    )
    if baseline is not None:
        mine = audit_reports.c.gateway_id == findings.c.gateway_id
        query = query.join(audit_reports, mine).where(
            audit_reports.c.baseline == storable(baseline)
        )
    found = {(row.state, row.rank): row.number for row in connection.execute(query)}
    return {
        state: {str(each): found.get((state, each.rank), 0) for each in Severity} for state in State
    }


def _rules(connection: Connection, query: ReportQuery) -> tuple[RuleFigures, ...]:
    def number(state: State) -> ColumnElement[int]:
        return func.count(case((findings.c.state == state, 1))).label(str(state))

    present = findings.c.state != State.FIXED
    statement = (
        select(
            findings.c.rule,
            func.max(findings.c.area).label("area"),
            # A fixed one of another time says nothing of how bad it is now, unless there is no other.
            func.coalesce(
                func.min(case((present, findings.c.rank))), func.min(findings.c.rank)
            ).label("rank"),
            func.coalesce(
                func.max(case((present, findings.c.title))), func.max(findings.c.title)
            ).label("title"),
            *(number(state) for state in State),
            func.count(case((present, findings.c.gateway_id)).distinct()).label("gateways"),
        )
        .group_by(findings.c.rule)
        .limit(1000)
    )
    if query.baseline is not None:
        mine = audit_reports.c.gateway_id == findings.c.gateway_id
        statement = statement.join(audit_reports, mine).where(*_of_baseline(query))
    rows = connection.execute(statement).all()
    return tuple(
        RuleFigures(
            rule=row.rule,
            area=row.area,
            severity=str(list(Severity)[row.rank]),
            title=row.title,
            open=row.open,
            accepted=row.accepted,
            fixed=row.fixed,
            gateways=row.gateways,
        )
        for row in sorted(rows, key=lambda row: (row.open == 0, row.rank, -row.open, row.rule))
    )


def _counts(*of: ColumnElement[bool]) -> Subquery:
    """Open findings of each gateway by severity, and what was accepted of what would fail."""
    is_open = findings.c.state == State.OPEN
    return (
        select(
            findings.c.gateway_id,
            *(
                func.count(case((and_(is_open, findings.c.rank == each.rank), 1))).label(str(each))
                for each in Severity
            ),
            func.count(case((and_(is_open, findings.c.rank <= _FAILS), 1))).label("failing"),
            func.count(
                case((and_(findings.c.state == State.ACCEPTED, findings.c.rank <= _FAILS), 1))
            ).label("excepted"),
            func.count(case((findings.c.state == State.ACCEPTED, 1))).label("accepted"),
            func.min(case((findings.c.state == State.ACCEPTED, findings.c.rank))).label("lowest"),
        )
        .where(findings.c.state != State.FIXED, *of)
        .group_by(findings.c.gateway_id)
        .subquery()
    )


def _judged(counts: Subquery, now: datetime) -> Select[Any]:
    """Every gateway with its report and its counts, and the verdict."""
    report = audit_reports.c
    verdict = case(
        (or_(report.seen_at.is_(None), report.seen_at < now - LATE), str(Verdict.UNKNOWN)),
        (func.coalesce(counts.c.failing, 0) > 0, str(Verdict.FAILING)),
        (or_(report.complete == 0, report.errors > 0), str(Verdict.UNKNOWN)),
        (func.coalesce(counts.c.excepted, 0) > 0, str(Verdict.EXCEPTED)),
        else_=str(Verdict.COMPLIANT),
    )
    return (
        select(
            gateways.c.name.label("gateway"),
            report.baseline,
            report.seen_at.label("reported_at"),
            func.coalesce(report.errors, 0).label("errors"),
            *(
                func.coalesce(counts.c[name], 0).label(name)
                for name in (*map(str, Severity), "accepted", "failing", "excepted")
            ),
            counts.c.lowest,
            verdict.label("verdict"),
        )
        .select_from(gateways)
        .outerjoin(audit_reports, report.gateway_id == gateways.c.id)
        .outerjoin(counts, counts.c.gateway_id == gateways.c.id)
    )


def _gateways(
    connection: Connection, query: ReportQuery, now: datetime
) -> tuple[GatewayFigures, ...]:
    counts = _counts()
    worst = [func.coalesce(counts.c[str(each)], 0).desc() for each in Severity]
    statement = (
        _judged(counts, now)
        .where(*_of_baseline(query))
        .order_by(*worst, gateways.c.name)
        .limit(query.gateways)
    )
    return tuple(_gateway(row) for row in connection.execute(statement))


def _gateway(row: Row[Any]) -> GatewayFigures:
    kept = GatewayFigures.__dataclass_fields__.keys() - {"accepted_worst"}
    worst = None if row.lowest is None else str(list(Severity)[row.lowest])
    return GatewayFigures(**{name: getattr(row, name) for name in kept}, accepted_worst=worst)


def _baselines(
    connection: Connection, query: ReportQuery, now: datetime
) -> tuple[tuple[BaselineFigures, ...], tuple[int, int]]:
    """The baselines; and how many findings would fail, open ones and accepted ones."""
    judged = _judged(_counts(), now).where(*_of_baseline(query)).subquery()
    sums = (func.sum(judged.c[name]).label(name) for name in ("failing", "excepted"))
    grouped = select(
        judged.c.baseline, judged.c.verdict, func.count().label("number"), *sums
    ).group_by(judged.c.baseline, judged.c.verdict)
    verdicts: dict[str | None, dict[str, int]] = {}
    is_open, accepted = 0, 0
    for row in connection.execute(grouped):
        mine = verdicts.setdefault(row.baseline, {str(each): 0 for each in Verdict})
        mine[row.verdict] = row.number
        is_open, accepted = is_open + int(row.failing), accepted + int(row.excepted)
    areas: dict[str | None, dict[str, int]] = {}
    failing = (
        select(
            audit_reports.c.baseline,
            findings.c.area,
            func.count(findings.c.gateway_id.distinct()).label("number"),
        )
        .join_from(findings, audit_reports, audit_reports.c.gateway_id == findings.c.gateway_id)
        .where(findings.c.state == State.OPEN, findings.c.rank <= _FAILS, *_of_baseline(query))
        .group_by(audit_reports.c.baseline, findings.c.area)
        .order_by(findings.c.area)
        .limit(1000)
    )
    for row in connection.execute(failing):
        areas.setdefault(row.baseline, {})[row.area] = row.number
    told_of = sorted(verdicts.items(), key=lambda item: (item[0] is None, item[0] or ""))
    found = (
        BaselineFigures(name, sum(mine.values()), mine, areas.get(name, {}))
        for name, mine in told_of
    )
    return tuple(found), (is_open, accepted)


@dataclass(frozen=True)
class Figures:
    """Numbers for those who watch."""

    reported: int
    late: int
    missing: int
    open: Mapping[str, int]
    accepted: Mapping[str, int]


def figures(desk: Desk, actor: Actor, *, now: datetime) -> Figures:
    """Count findings and reports; for a credential of one gateway that gateway's. Raises RoleMayNot."""
    require(actor, Action.METRICS_READ)
    with desk.store.read() as connection:
        total, reported, late = _coverage(connection, now, within(actor, gateways.c.id))
        counts = _severities(connection, None, within(actor, findings.c.gateway_id))
    return Figures(
        reported - late, late, total - reported, counts[State.OPEN], counts[State.ACCEPTED]
    )
