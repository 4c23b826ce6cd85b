"""What the rules say is wrong with SAs: searched, silenced, told of again."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from api import cursors, decoding
from api.cursors import PageQuery
from api.decoding import PLAIN
from api.errors import RouteNotFound
from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1.certificates import When, Word
from api.v1.findings import SeverityName
from api.v1.sa_events import EventShown, event_shown
from fleet.monitoring import orders, shown
from fleet.monitoring.records import AlertView
from fleet.monitoring.shown import AlertQuery
from fleet.monitoring.values import page_url
from ike.detection.explanation import explanation
from pki.actors import Action

_PATH = "/v1/alerts"
_TAG = "Monitoring"


class AlertSearch(PageQuery):
    """Which alerts."""

    state: Literal["open", "ended"] | None = None
    kind: Word | None = None
    severity: SeverityName | None = None
    gateway: Word | None = None
    silenced: bool | None = None


class Silence(Sent):
    """Until when nobody is told of it, and why."""

    until: When = Field(description="At most a year from now.")
    why: Annotated[str, Field(min_length=1, max_length=1000, pattern=PLAIN)]


class SilenceShown(Shown):
    """Who silenced it, until when, and why."""

    until: datetime
    by: str
    why: str


class AlertShown(Shown):
    """One condition, from its first sign to its end."""

    id: int
    gateway: str
    kind: str
    severity: str
    state: str
    connection: str | None
    peer: str | None
    identity: str | None = Field(description="As the peer chose it: escape it where it is shown.")
    start: datetime | None = Field(description="By the gateway's clock.")
    end: datetime | None = Field(description="By the gateway's clock; null while it lasts.")
    opened_at: datetime
    changed_at: datetime
    ended_at: datetime | None
    last_heard_at: datetime | None = Field(
        description="When events of its gateway last came, or word that there are none."
    )
    updates: int = Field(description="How many signs of it there were.")
    cause: str
    next_step: str
    page: str = Field(description="The URL of what it means and what to do; open to everybody.")
    evidence: dict[str, Any]
    lines: list[int] = Field(description="Numbers of the gateway's events.")
    silenced: SilenceShown | None


class WholeAlertShown(AlertShown):
    """An alert with the events that show it."""

    events: list[EventShown] = Field(
        description="As far as they are kept, and for those who may read events."
    )


class AlertPage(Shown):
    """Some alerts, the worst first, and of those the latest."""

    items: list[AlertShown]
    next_cursor: str | None


def search(call: Call[None, AlertSearch]) -> Reply:
    """Search alerts."""
    query = call.query
    wanted = AlertQuery(
        state=query.state,
        kind=query.kind,
        severity=query.severity,
        gateway=query.gateway,
        silenced=query.silenced,
        cursor=cursors.decode_pair(_PATH, query.cursor),
        limit=query.limit,
    )
    found = shown.alerts(call.desk, call.actor, wanted)
    last = f"{found[-1].rank}:{found[-1].id}" if found else None
    cursor, headers = cursors.next_page(_PATH, query, found, last)
    items = [AlertShown(**_fields(call, each)) for each in found]
    return Reply(AlertPage(items=items, next_cursor=cursor), headers=headers)


def show(call: Call[None, Nothing]) -> Reply:
    """Look at one alert."""
    found = shown.alert(call.desk, call.actor, decoding.number(call.path["id"]))
    events = [event_shown(each) for each in found.events]
    return Reply(WholeAlertShown(**_fields(call, found.alert), events=events))


def silence(call: Call[Silence, Nothing]) -> Reply:
    """Silence an alert."""
    number, body = decoding.number(call.path["id"]), call.body
    found = orders.silence(call.desk, call.actor, number, body.until, body.why, now=call.now)
    return Reply(AlertShown(**_fields(call, found)))


def unsilence(call: Call[Nothing, Nothing]) -> Reply:
    """Take a silence back."""
    found = orders.unsilence(call.desk, call.actor, decoding.number(call.path["id"]), now=call.now)
    return Reply(AlertShown(**_fields(call, found)))


_SAME = (
    *("id", "gateway", "kind", "severity", "state", "connection", "peer", "identity"),
    *("opened_at", "changed_at", "ended_at", "updates", "cause", "next_step"),
)


def _fields(call: Call[Any, Any], view: AlertView) -> dict[str, Any]:
    silenced = None
    if view.silenced_until is not None:
        silenced = SilenceShown(
            until=view.silenced_until, by=view.silenced_by or "", why=view.silenced_why or ""
        )
    return {
        **{name: getattr(view, name) for name in _SAME},
        "last_heard_at": view.heard_at,
        "start": view.began,
        "end": view.ended,
        "page": page_url(call.desk.rules.service_url, view.kind),
        "evidence": dict(view.evidence),
        "lines": list(view.lines),
        "silenced": silenced,
    }


def explain(call: Call[None, Nothing]) -> Reply:
    """Give the page of a kind of alert."""
    page = explanation(call.path["kind"])
    if page is None:
        raise RouteNotFound("There is no such kind of alert.")
    headers = (("Cache-Control", "public, max-age=300"),)
    return Reply(page.encode(), media_type="text/plain; charset=utf-8", headers=headers)


ROUTES = (
    Route(
        method="GET",
        path=_PATH,
        view=search,
        summary="Search alerts of all gateways, the worst first",
        tag=_TAG,
        action=Action.ALERT_READ,
        query=AlertSearch,
        answer=AlertPage,
        refusals=(404, 422),
    ),
    Route(
        method="GET",
        path=_PATH + "/{id}",
        view=show,
        summary="Look at an alert: the numbers, the likely cause, the next step, the events that show it",
        tag=_TAG,
        action=Action.ALERT_READ,
        answer=WholeAlertShown,
        refusals=(404,),
    ),
    Route(
        method="GET",
        path="/docs/alerts/{kind}",
        view=explain,
        summary="What alerts of a kind mean, what is normal, what to do: Markdown as plain text",
        tag=_TAG,
        action=None,
        public=True,
        answer="text/plain",
        refusals=(404,),
    ),
    Route(
        method="POST",
        path=_PATH + "/{id}/silence",
        view=silence,
        summary="Tell nobody of a condition until a time, for a reason; if it is there then, people are told",
        tag=_TAG,
        action=Action.ALERT_SILENCE,
        body=Silence,
        answer=AlertShown,
        example={"until": "2027-06-30T00:00:00Z", "why": "the line is being replaced"},
        refusals=(404, 422),
    ),
    Route(
        method="POST",
        path=_PATH + "/{id}/unsilence",
        view=unsilence,
        summary="Take the silence of an alert back",
        tag=_TAG,
        action=Action.ALERT_SILENCE,
        body=Nothing,
        answer=AlertShown,
        refusals=(404, 409, 422),
    ),
)
