"""Reports of the fleet: a route for each kind, in every form."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode

from pydantic import Field

from api import cursors
from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.reporting import files, shown
from api.reporting.kinds import path
from api.reporting.tables import MEDIA_TYPE
from api.reporting.values import Asked, Format, Language
from api.v1.certificates import When, Word
from fleet.findings import told
from fleet.findings.summary import MOST_FINDINGS, MOST_GATEWAYS
from fleet.findings.told import UnreadPlace
from fleet.monitoring.health import MOST as MOST_CONNECTIONS
from fleet.reporting.listing import MOST as MOST_ROWS
from fleet.reporting.periods import FORMS
from pki.actors import Action

_TAG = "Reports"


class ReportSearch(Sent):
    """How a report is written, and as of when."""

    format: Format = "json"
    lang: Language = Field(default="en", description="The language of HTML and PDF.")
    at: When | None = Field(
        default=None,
        description="As of which moment it tells. Default: the end of the period, or now where that is not over. With "
        "it, or with a period that is over, the same records make the same bytes.",
    )
    signed: bool = Field(
        default=False,
        description="Signed by the service. A PDF carries the signature (PAdES); anything else comes as a ZIP archive "
        "with the report and its detached signature (CMS, .p7s).",
    )
    cursor: str | None = Field(
        default=None,
        max_length=cursors.MAX_CURSOR,
        description="Of CSV: from the Link header of the part before.",
    )


def _rows(default: int = 200) -> Any:
    return Field(
        default=None,
        ge=0,
        le=MOST_ROWS,
        description=f"How many of each are told of one by one. Default: {default}. Not in CSV, which has all.",
    )


def _period(default: str) -> Any:
    return Field(
        default=None, max_length=80, description=f"One of {FORMS}, in UTC. Default: {default}."
    )


class ListSearch(ReportSearch):
    """What is told of a list."""

    rows: int | None = _rows()


class ExpiringSearch(ListSearch):
    """What ends when."""

    period: str | None = _period("next-30d")


class RevocationsSearch(ListSearch):
    """What was revoked when."""

    period: str | None = _period("last-30d")


class AuditSearch(ReportSearch):
    """Of which gateways."""

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
        description="How many findings, exceptions and unread places are told of, the worst first. Default: 200. "
        "Not in CSV.",
    )


class ComplianceSearch(AuditSearch):
    """Of which gateways, and evidence of which period."""

    period: str | None = _period("last-90d")


class HealthSearch(ReportSearch):
    """Of which gateway, and of which time."""

    gateway: Word | None = None
    period: str | None = _period("none: `since` and `until` count")
    since: When | None = Field(
        default=None, description="Default: seven days before `until`. Whole hours count."
    )
    until: When | None = Field(
        default=None, description="Default: now. At most 100 days after `since`."
    )
    connections: int | None = Field(
        default=None,
        ge=0,
        le=MOST_CONNECTIONS,
        description="How many connections are told of, the worst first. Default: 100, in CSV 10000.",
    )


class LastReportShown(Shown):
    """What the last audit of a gateway said of itself."""

    gateway: str
    baseline: str | None
    complete: bool = Field(description="False: something was left out for want of room.")
    started_at: datetime | None
    reported_at: datetime | None
    policy: dict[str, Any]
    figures: dict[str, Any]
    unread: list[UnreadPlace] = Field(description="What it could not look at, and why.")


def report(kind: str, call: Call[None, ReportSearch]) -> Reply:
    """Make a report of a kind."""
    sent = call.query
    given = sent.model_dump(exclude_unset=True, exclude={"lang", "cursor"})
    asked = Asked(kind, language=sent.lang, **given)
    if asked.format == "csv" and not asked.signed:
        return _table(call, asked)
    found = files.made(call.desk, call.actor, asked, now=call.now)
    headers = (
        *found.headers,
        *_attached(found.filename, is_shown=not asked.signed and asked.format in _SHOWN),
    )
    return Reply(found.content, media_type=found.media_type, headers=headers)


# What a browser shows in its window.
_SHOWN = ("json", "html")


def _attached(name: str, *, is_shown: bool) -> tuple[tuple[str, str], ...]:
    return () if is_shown else (("Content-Disposition", f'attachment; filename="{name}"'),)


def _table(call: Call[None, ReportSearch], asked: Asked) -> Reply:
    """A part of the table. The Link header leads to the next one."""
    sent = call.query
    found = files.part(call.desk, call.actor, asked, sent.cursor, now=call.now)
    making = files.begin(call.desk, call.actor, asked, now=call.now)
    headers = [*_attached(files.filename(making), is_shown=False)]
    if found.cursor is not None:
        given = sent.model_dump(mode="json", exclude_none=True, exclude_unset=True)
        # The parts belong together: all are as of one moment.
        told = {**given, "at": making.at.isoformat(), "cursor": found.cursor}
        headers.append(("Link", f'<{path(asked.kind)}?{urlencode(told)}>; rel="next"'))
    return Reply(found.content, media_type=MEDIA_TYPE, headers=tuple(headers))


def last(call: Call[None, Nothing]) -> Reply:
    """Look at what a gateway's last audit said of itself."""
    found = told.last_report(call.desk, call.actor, call.path["name"])
    return Reply(LastReportShown.model_validate(found))


_FORMS = (
    "With `format=csv` a line for each {}, in parts: a Link header leads to the next one. With `format=html` a page "
    "that needs nothing else, with `format=pdf` the same on A4."
)


def _route(
    kind: str,
    summary: str,
    lines: str,
    action: Action,
    query: type[ReportSearch],
    answer: type[Shown],
) -> Route:
    view: Callable[[Call[Any, Any]], Reply] = partial(report, kind)
    return Route(
        method="GET",
        path=path(kind),
        view=view,
        summary=summary,
        description=_FORMS.format(lines),
        tag=_TAG,
        action=action,
        query=query,
        answer=answer,
        forms=("text/csv", "text/html", "application/pdf", "application/zip"),
        refusals=(404, 413, 422, 503),
    )


ROUTES = (
    _route(
        "inventory",
        "Tell what there is: authorities, gateways, tunnels, shared secrets, certificates in force",
        "thing",
        Action.GATEWAY_READ,
        ListSearch,
        shown.InventoryShown,
    ),
    _route(
        "expiring",
        "Tell which certificates and authorities end in a period, the soonest first",
        "certificate",
        Action.GATEWAY_READ,
        ExpiringSearch,
        shown.ExpiringShown,
    ),
    _route(
        "revocations",
        "Tell what was revoked in a period, and how soon gateways confirmed it",
        "certificate",
        Action.GATEWAY_READ,
        RevocationsSearch,
        shown.RevocationsShown,
    ),
    _route(
        "psk-age",
        "Tell how old shared secrets are, the oldest first; never a value",
        "secret",
        Action.SECRET_READ,
        ListSearch,
        shown.PskAgeShown,
    ),
    _route(
        "sa-health",
        "Tell how the tunnels of all gateways fared over a time, the worst first",
        "connection",
        Action.SA_READ,
        HealthSearch,
        shown.HealthShown,
    ),
    _route(
        "audit",
        "Tell of the findings of all gateways: by severity, rule and gateway, and one by one",
        "finding that is not fixed",
        Action.FINDING_READ,
        AuditSearch,
        shown.AuditShown,
    ),
    _route(
        "compliance",
        "Tell which gateways are as their baseline wants them, and for which controls there is evidence",
        "gateway, finding, exception, unread place and control",
        Action.FINDING_READ,
        ComplianceSearch,
        shown.ComplianceShown,
    ),
    Route(
        method="GET",
        path="/v1/gateways/{name}/audit",
        view=last,
        summary="Look at what a gateway's last audit said of itself: by what it judged, what it could not look at",
        tag="Findings",
        action=Action.FINDING_READ,
        answer=LastReportShown,
        refusals=(404,),
    ),
)
