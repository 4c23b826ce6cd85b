"""The report of how tunnels fared."""

from dataclasses import replace
from datetime import datetime
from typing import Literal

from pydantic import Field

from api import report_forms
from api.registry import Call, Reply, Route, Sent, Shown
from api.v1.certificates import When, Word
from fleet.monitoring import health
from fleet.monitoring.health import MOST, HealthFigures, HealthQuery
from pki.actors import Action

_PATH = "/v1/reports/sa-health"


class HealthSearch(Sent):
    """What of, and how it is written."""

    format: Literal["json", "csv", "html"] = "json"
    gateway: Word | None = None
    since: When | None = Field(
        default=None, description="Default: seven days before `until`. Whole hours count."
    )
    until: When | None = Field(
        default=None, description="Default: now. At most 31 days after `since`."
    )
    connections: int | None = Field(
        default=None,
        ge=0,
        le=MOST,
        description="How many connections are told of, the worst first. Default: 100, in CSV 10000.",
    )


class ConnectionHealth(Shown):
    """A connection of a gateway."""

    gateway: str
    connection: str = Field(description="Empty: what is of no connection that is known.")
    worst: str | None = Field(description="The severity of the worst open alert.")
    rekeys: int
    established: int = Field(description="IKE SAs.")
    children: int = Field(description="Child SAs.")
    failed: int
    failures: dict[str, int] = Field(description="By kind, or `kind/reason`.")
    open: dict[str, int] = Field(description="Alerts that are open, by kind.")
    past: dict[str, int] = Field(description="Alerts that ended in this time, by kind.")
    authenticated_at: datetime | None = Field(
        description="The beginning of the hour in which a peer last proved who it is; null: not since `heard_at`."
    )
    heard_at: datetime | None = Field(
        description="The beginning of the hour in which it was first heard of in 31 days; null: never."
    )
    idle_hours: int | None = Field(description="How long ago that is.")


class NothingShown(Shown):
    """Why a report is empty."""

    why: str
    next_step: str


class HealthShown(Shown):
    """How tunnels fared. Sums are of all connections, also of those that are not told of."""

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
    worst: list[ConnectionHealth]
    more: int = Field(description="How many connections are not told of.")
    nothing: NothingShown | None = Field(
        description="Where there is no connection at all: why, and what to do."
    )


def report(call: Call[None, HealthSearch]) -> Reply:
    """Make the report."""
    sent = call.query
    query = HealthQuery(sent.gateway, sent.since, sent.until)
    if sent.connections is not None or sent.format == "csv":
        query = replace(query, connections=MOST if sent.connections is None else sent.connections)
    found = health.report(call.desk, call.actor, query, now=call.now)
    if sent.format == "csv":
        headers = (("Content-Disposition", 'attachment; filename="ikewarden-sa-health.csv"'),)
        content = report_forms.health_csv(found.worst)
        return Reply(content, media_type="text/csv; charset=utf-8", headers=headers)
    if sent.format == "html":
        content, policy = report_forms.page("sa-health", found)
        headers = (("Content-Security-Policy", policy),)
        return Reply(content, media_type="text/html; charset=utf-8", headers=headers)
    return Reply(_shown(found))


def _shown(found: HealthFigures) -> HealthShown:
    rows = [
        ConnectionHealth(
            **{name: getattr(each, name) for name in _SAME}, idle_hours=each.idle_hours
        )
        for each in found.worst
    ]
    members = {name: getattr(found, name) for name in HealthShown.model_fields}
    empty = found.nothing
    nothing = None if empty is None else NothingShown(why=empty.why, next_step=empty.next_step)
    return HealthShown(**{**members, "worst": rows, "nothing": nothing})


_SAME = tuple(ConnectionHealth.model_fields.keys() - {"idle_hours"})

ROUTES = (
    Route(
        method="GET",
        path=_PATH,
        view=report,
        summary="Tell how the tunnels of all gateways fared over a time, the worst first",
        description=(
            "Rekeys, establishments, failures by reason, alerts, the last authentication, by gateway and connection. "
            "With `format=csv` a line for each connection. With `format=html` a page that needs nothing else."
        ),
        tag="Monitoring",
        action=Action.SA_READ,
        query=HealthSearch,
        answer=HealthShown,
        refusals=(404, 422),
    ),
)
