"""Reports of the fleet: what its audits found, and which gateways are as their baseline wants them."""

from dataclasses import replace
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlencode

from pydantic import Field

from api import cursors, report_forms
from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1.certificates import Word
from api.v1.findings import FindingShown, finding_shown
from fleet.findings import shown, summary, told
from fleet.findings.records import FindingView
from fleet.findings.shown import FindingQuery
from fleet.findings.summary import (
    MOST_FINDINGS,
    MOST_GATEWAYS,
    AuditFigures,
    ComplianceFigures,
    ReportQuery,
)
from pki.actors import Action
from pki.certificates import MAX_PAGE

_TAG = "Findings"
_PATH = "/v1/reports"


class ReportSearch(Sent):
    """What of, and how it is written."""

    format: Literal["json", "csv", "html"] = "json"
    baseline: Word | None = Field(
        default=None, description="Only gateways that are audited by this baseline."
    )
    gateways: int | None = Field(
        default=None,
        ge=0,
        le=MOST_GATEWAYS,
        description="How many gateways are told of one by one, the worst first. Default: 100. Not in CSV.",
    )
    findings: int | None = Field(
        default=None,
        ge=0,
        le=MOST_FINDINGS,
        description="How many findings, exceptions and unread places are told of, the worst first. Default: 500. "
        "Not in CSV.",
    )
    cursor: str | None = Field(
        default=None,
        max_length=cursors.MAX_CURSOR,
        description="Of CSV: from the Link header of the part before.",
    )


class Counts(Shown):
    """Findings by severity."""

    critical: int
    high: int
    medium: int
    low: int
    info: int


class RuleShown(Shown):
    """A rule and how often it is broken; `severity` is the worst of these findings."""

    rule: str
    area: str
    severity: str
    title: str
    open: int
    accepted: int
    fixed: int
    gateways: int = Field(description="On how many gateways there are open or accepted ones.")


class GatewayShown(Shown):
    """A gateway and how many open findings it has."""

    gateway: str
    baseline: str | None
    verdict: str = Field(
        description="`compliant`; `excepted`: what there is was accepted; `failing`: something medium or worse is "
        "open; `unknown`: no report for over eight days, or one that could not see everything."
    )
    critical: int
    high: int
    medium: int
    low: int
    info: int
    accepted: int
    accepted_worst: str | None = Field(description="The worst severity that was accepted.")
    errors: int = Field(description="How many places the audit could not look at.")
    reported_at: datetime | None


class UnreadShown(Shown):
    """A place that the last audit of a gateway could not look at, and why."""

    gateway: str
    path: str
    line: int | None
    error: str


class MoreShown(Shown):
    """How many of each there are beside those that are told of."""

    findings: int
    exceptions: int
    unread: int


class DetailsShown(Shown):
    """What the counts stand for, the worst first."""

    findings: list[FindingShown] = Field(description="Those that are open.")
    exceptions: list[FindingShown] = Field(description="Those that somebody accepted.")
    unread: list[UnreadShown]
    more: MoreShown


class LastReportShown(Shown):
    """What the last audit of a gateway said of itself."""

    gateway: str
    baseline: str | None
    complete: bool = Field(description="False: something was left out for want of room.")
    started_at: datetime | None
    reported_at: datetime | None
    policy: dict[str, Any]
    figures: dict[str, Any]
    unread: list[UnreadShown] = Field(description="What it could not look at, and why.")


class AuditShown(Shown):
    """What the fleet's audits found."""

    made_at: datetime
    baseline: str | None
    gateways: int
    reported: int
    late: int = Field(description="How many of them did not report for over eight days.")
    open: Counts
    accepted: Counts
    rules: list[RuleShown]
    worst: list[GatewayShown]
    details: DetailsShown


class Verdicts(Shown):
    """Gateways by verdict."""

    compliant: int
    excepted: int
    failing: int
    unknown: int


class BaselineShown(Shown):
    """The gateways that are audited by a baseline; null: those that never reported."""

    baseline: str | None
    gateways: int
    verdicts: Verdicts
    areas: dict[str, int] = Field(description="In how many of them something of an area fails.")


class ComplianceShown(Shown):
    """Which gateways are as their baseline wants them."""

    made_at: datetime
    baselines: list[BaselineShown]
    gateways: list[GatewayShown]
    details: DetailsShown


def audit(call: Call[None, ReportSearch]) -> Reply:
    """Make the report of findings."""
    if call.query.format == "csv":
        return _findings(call)
    found = summary.audit(call.desk, call.actor, _query(call.query), now=call.now)
    return _reply(call.query, "audit", found, AuditShown)


def compliance(call: Call[None, ReportSearch]) -> Reply:
    """Make the report of verdicts."""
    if call.query.format == "csv":
        return _accounts(call)
    found = summary.compliance(call.desk, call.actor, _query(call.query), now=call.now)
    return _reply(call.query, "compliance", found, ComplianceShown)


def last(call: Call[None, Nothing]) -> Reply:
    """Look at what a gateway's last audit said of itself."""
    found = told.last_report(call.desk, call.actor, call.path["name"])
    return Reply(LastReportShown.model_validate(found))


def _query(sent: ReportSearch) -> ReportQuery:
    plain = ReportQuery(sent.baseline)
    return replace(
        plain,
        gateways=plain.gateways if sent.gateways is None else sent.gateways,
        findings=plain.findings if sent.findings is None else sent.findings,
    )


def _reply(
    sent: ReportSearch,
    kind: report_forms.Kind,
    found: AuditFigures | ComplianceFigures,
    model: type[AuditShown | ComplianceShown],
) -> Reply:
    if sent.format == "json":
        details = found.details
        told_of = {
            "findings": list(map(finding_shown, details.findings)),
            "exceptions": list(map(finding_shown, details.exceptions)),
            "unread": list(details.unread),
            "more": details.more,
        }
        members = {name: getattr(found, name) for name in model.model_fields}
        return Reply(model.model_validate({**members, "details": told_of}))
    content, policy = report_forms.page(kind, found)
    headers = (("Content-Security-Policy", policy),)
    return Reply(content, media_type="text/html; charset=utf-8", headers=headers)


def _findings(call: Call[None, ReportSearch]) -> Reply:
    """A part of the findings as CSV. The Link header leads to the next one."""
    query, path = call.query, f"{_PATH}/audit"
    position = cursors.decode_pair(path, query.cursor)
    wanted = FindingQuery(baseline=query.baseline, present=True, cursor=position, limit=MAX_PAGE)
    rows: list[FindingView] = []
    while True:
        found = shown.search(call.desk, call.actor, wanted)
        rows += found
        if len(found) < wanted.limit:
            after = None
            break
        after = (rows[-1].rank, rows[-1].id)
        if len(rows) >= MOST_FINDINGS:
            break
        wanted = replace(wanted, cursor=after)
    cursor = None if after is None else cursors.encode(path, f"{after[0]}:{after[1]}")
    return _csv(call, "audit", report_forms.findings_csv(rows), cursor)


def _accounts(call: Call[None, ReportSearch]) -> Reply:
    """A part of the gateways' accounts as CSV. The Link header leads to the next one."""
    query, path = call.query, f"{_PATH}/compliance"
    after = cursors.decode(path, query.cursor, int) or 0
    found = summary.accounts(call.desk, call.actor, query.baseline, after, now=call.now)
    full = len(found) == summary.ACCOUNTS
    cursor = cursors.encode(path, found[-1].number) if full else None
    return _csv(call, "compliance", report_forms.accounts_csv(found), cursor)


def _csv(
    call: Call[None, ReportSearch], kind: report_forms.Kind, content: bytes, cursor: str | None
) -> Reply:
    headers = [("Content-Disposition", f'attachment; filename="ikewarden-{kind}.csv"')]
    if cursor is not None:
        given = call.query.model_dump(mode="json", exclude_none=True, exclude_unset=True)
        target = f"{_PATH}/{kind}?{urlencode({**given, 'cursor': cursor})}"
        headers.append(("Link", f'<{target}>; rel="next"'))
    return Reply(content, media_type="text/csv; charset=utf-8", headers=tuple(headers))


ROUTES = (
    Route(
        method="GET",
        path=_PATH + "/audit",
        view=audit,
        summary="Tell of the findings of all gateways: by severity, rule and gateway, and one by one",
        description=(
            "With `format=csv` a line for each finding that is not fixed, in parts of 5000: a Link header leads to the "
            "next part. With `format=html` a page that needs nothing else."
        ),
        tag=_TAG,
        action=Action.FINDING_READ,
        query=ReportSearch,
        answer=AuditShown,
        refusals=(422,),
    ),
    Route(
        method="GET",
        path=_PATH + "/compliance",
        view=compliance,
        summary="Tell which gateways are as the baseline wants them that they are audited by",
        description=(
            "With `format=csv` a line for each gateway and for each of its findings, exceptions and unread places, in "
            "parts: a Link header leads to the next part. With `format=html` a page that needs nothing else."
        ),
        tag=_TAG,
        action=Action.FINDING_READ,
        query=ReportSearch,
        answer=ComplianceShown,
        refusals=(422,),
    ),
    Route(
        method="GET",
        path="/v1/gateways/{name}/audit",
        view=last,
        summary="Look at what a gateway's last audit said of itself: by what it judged, what it could not look at",
        tag=_TAG,
        action=Action.FINDING_READ,
        answer=LastReportShown,
        refusals=(404,),
    ),
)
