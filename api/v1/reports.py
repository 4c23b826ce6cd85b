"""Reports of the fleet: what its audits found, and which gateways are as their baseline wants them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api import report_forms
from api.registry import Call, Reply, Route, Sent, Shown
from api.v1.certificates import Word
from fleet.findings import summary
from fleet.findings.summary import MOST_GATEWAYS, ReportQuery
from pki.actors import Action

_TAG = "Findings"
_FEW = 100


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
        description="How many gateways are told of one by one, the worst first. Default: 100, all in CSV.",
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
        "open; `unknown`: no report for over a week, or one that could not see everything."
    )
    critical: int
    high: int
    medium: int
    low: int
    info: int
    accepted: int
    errors: int = Field(description="How many places the audit could not look at.")
    reported_at: datetime | None


class AuditShown(Shown):
    """What the fleet's audits found."""

    made_at: datetime
    baseline: str | None
    gateways: int
    reported: int
    late: int = Field(description="How many of them did not report for over a week.")
    open: Counts
    accepted: Counts
    rules: list[RuleShown]
    worst: list[GatewayShown]


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


def audit(call: Call[None, ReportSearch]) -> Reply:
    """Make the report of findings."""
    found = summary.audit(call.desk, call.actor, _query(call.query), now=call.now)
    return _reply(call.query, "audit", found, AuditShown.model_validate)


def compliance(call: Call[None, ReportSearch]) -> Reply:
    """Make the report of verdicts."""
    found = summary.compliance(call.desk, call.actor, _query(call.query), now=call.now)
    return _reply(call.query, "compliance", found, ComplianceShown.model_validate)


def _query(sent: ReportSearch) -> ReportQuery:
    everything = MOST_GATEWAYS if sent.format == "csv" else _FEW
    return ReportQuery(sent.baseline, everything if sent.gateways is None else sent.gateways)


def _reply(
    sent: ReportSearch, kind: report_forms.Kind, found: Any, model: Callable[..., Shown]
) -> Reply:
    if sent.format == "json":
        return Reply(model(found))
    if sent.format == "csv":
        headers = (("Content-Disposition", f'attachment; filename="ikewarden-{kind}.csv"'),)
        content = report_forms.csv_of(kind, found)
        return Reply(content, media_type="text/csv; charset=utf-8", headers=headers)
    content, policy = report_forms.page(kind, found)
    headers = (("Content-Security-Policy", policy),)
    return Reply(content, media_type="text/html; charset=utf-8", headers=headers)


ROUTES = (
    Route(
        method="GET",
        path="/v1/reports/audit",
        view=audit,
        summary="Count the findings of all gateways: by severity, by rule, by gateway",
        description="With `format=csv` a line for each rule; with `format=html` a page that needs nothing else.",
        tag=_TAG,
        action=Action.FINDING_READ,
        query=ReportSearch,
        answer=AuditShown,
        refusals=(422,),
    ),
    Route(
        method="GET",
        path="/v1/reports/compliance",
        view=compliance,
        summary="Tell which gateways are as the baseline wants them that they are audited by",
        description="With `format=csv` a line for each gateway; with `format=html` a page that needs nothing else.",
        tag=_TAG,
        action=Action.FINDING_READ,
        query=ReportSearch,
        answer=ComplianceShown,
        refusals=(422,),
    ),
)
