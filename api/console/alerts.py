"""What the rules say is wrong with SAs: the evidence, the likely cause, the next step; silenced for a time."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, Literal

from pydantic import Field

from api import cursors, decoding
from api.console.lists import ROWS, ListSearch, behind
from api.console.mending import MENDABLE, again
from api.console.page import Answer, Form, Page, Redirect, Screen, Visit, tell, text
from api.console.tones import SEVERITIES, Tone, tone_of
from api.registry import Nothing
from core.errors import IkewardenError
from fleet.monitoring import orders, shown
from fleet.monitoring.records import AlertView
from fleet.monitoring.shown import AlertQuery
from fleet.monitoring.values import AlertState
from ike.detection.alert import KINDS
from ike.detection.explanation import explanation
from pki.actors import Action

_PATH: Final = "/alerts"
_ONE: Final = "/alerts/{id}"
_SILENCES: Final = {
    "1": text("1 hour"),
    "8": text("8 hours"),
    "24": text("1 day"),
    "168": text("1 week"),
    "720": text("30 days"),
}
_STATES: Final[Mapping[str, Tone]] = {
    AlertState.OPEN: Tone("bad", text("Open")),
    AlertState.ENDED: Tone("good", text("Over")),
}


class AlertSearch(ListSearch):
    """Which alerts; the open ones where nothing is said."""

    state: Literal["open", "ended", "all"] = "open"
    severity: Literal["critical", "high", "medium", "low", "info"] | None = None
    silenced: Literal["true", "false"] | None = None
    kind: str | None = Field(default=None, max_length=60)
    gateway: str | None = Field(default=None, max_length=253)


class SilenceForm(Form):
    """For how many hours, and why."""

    hours: Literal["1", "8", "24", "168", "720"] = "24"
    why: str = Field(default="", max_length=1000)


def search(visit: Visit[None, AlertSearch]) -> Answer:
    """The alerts, the worst first."""
    query = visit.query
    wanted = AlertQuery(
        state=None if query.state == "all" else query.state,
        kind=query.kind,
        severity=query.severity,
        gateway=query.gateway,
        silenced=None if query.silenced is None else query.silenced == "true",
        cursor=cursors.decode_pair(_PATH, query.cursor),
        limit=ROWS,
    )
    found = shown.alerts(visit.desk, visit.actor, wanted)
    last = f"{found[-1].rank}:{found[-1].id}" if found else None
    listed = {
        "alerts": [
            (each, tone_of(SEVERITIES, each.severity), tone_of(_STATES, each.state))
            for each in found
        ],
        "severities": SEVERITIES,
        "kinds": sorted(KINDS),
        "behind": behind(visit, _PATH, found, last),
    }
    return Screen("alerts/list.html", listed, part="live")


def open_alerts(visit: Visit[Any, Any], wanted: AlertQuery) -> list[tuple[AlertView, Tone]]:
    """Alerts with their tones, for the page of what they are about; none for who may not read them."""
    if not visit.may(Action.ALERT_READ):
        return []
    found = shown.alerts(visit.desk, visit.actor, wanted)
    return [(each, tone_of(SEVERITIES, each.severity)) for each in found]


def look(visit: Visit[None, Nothing]) -> Answer:
    """One alert, with the events that show it."""
    return _whole(visit)


def _whole(
    visit: Visit[Any, Any], error: IkewardenError | None = None, typed: SilenceForm | None = None
) -> Screen:
    number = decoding.number(visit.path["id"])
    found = shown.alert(visit.desk, visit.actor, number)
    alert = found.alert
    silenced = alert.silenced_until is not None and alert.silenced_until > visit.now
    whole = {
        "alert": alert,
        "severity": tone_of(SEVERITIES, alert.severity),
        "state_of": Tone("off", text("Silenced"))
        if silenced and alert.state == AlertState.OPEN
        else tone_of(_STATES, alert.state),
        "silenced": silenced,
        "events": found.events,
        "explained": explanation(alert.kind) is not None,
        "silences": _SILENCES,
        "hours": "24" if typed is None else typed.hours,
        "why": "" if typed is None else typed.why,
    }
    if error is not None:
        return again(visit, error, "alerts/one.html", whole)
    return Screen("alerts/one.html", whole, part="live")


def silence(visit: Visit[SilenceForm, Nothing]) -> Answer:
    """Tell nobody of it until a time."""
    sent, number = visit.body, decoding.number(visit.path["id"])
    until = visit.now + timedelta(hours=int(sent.hours))
    try:
        orders.silence(visit.desk, visit.actor, number, until, sent.why, now=visit.now)
    except MENDABLE as error:
        return _whole(visit, error, sent)
    return Redirect(f"/alerts/{number}", "alert-silenced")


def unsilence(visit: Visit[Form, Nothing]) -> Answer:
    """Take the silence back."""
    number = decoding.number(visit.path["id"])
    try:
        orders.unsilence(visit.desk, visit.actor, number, now=visit.now)
    except MENDABLE as error:
        return _whole(visit, error)
    return Redirect(f"/alerts/{number}", "alert-unsilenced")


tell(
    alert_silenced="Nobody is told of it until then; it is watched all the same.",
    alert_unsilenced="The silence was taken back.",
)

PAGES: tuple[Page, ...] = (
    Page("GET", _PATH, search, Action.ALERT_READ, query=AlertSearch, live=True, menu="Alerts"),
    Page("GET", _ONE, look, Action.ALERT_READ, live=True),
    Page("POST", _ONE + "/silence", silence, Action.ALERT_SILENCE, form=SilenceForm),
    Page("POST", _ONE + "/unsilence", unsilence, Action.ALERT_SILENCE, form=Form),
)
