"""Tunnels and their keys: which there are, what is in force at both ends, what was done. Never a value."""

from functools import partial
from typing import Any

from pydantic import Field

from api import cursors
from api.console import rotation_way
from api.console.alerts import open_alerts
from api.console.errors import PageStale
from api.console.keys import key_end
from api.console.lists import ROWS, ListSearch, behind
from api.console.mending import MENDABLE, again
from api.console.page import Answer, Form, Page, Redirect, Screen, Visit, tell
from api.console.sas import sa_row
from api.console.sentences import translated
from api.console.tones import KEYS, Tone, ends, tone_of
from api.registry import Nothing
from fleet import sas, tunnels
from fleet.monitoring.shown import AlertQuery
from fleet.rotation import shown
from fleet.rotation.shown import RotationQuery, SlotView
from fleet.tunnels import TunnelQuery, TunnelView
from pki.actors import Action, require

_PATH = "/tunnels"
_HISTORY = 10
_SHOWN_SAS = 100
_SHOWN_ALERTS = 20


class TunnelSearch(ListSearch):
    """Which tunnels."""

    q: str | None = Field(default=None, max_length=200)
    gateway: str | None = Field(default=None, max_length=253)


def search(visit: Visit[None, TunnelSearch]) -> Answer:
    """The tunnels, in the order in which they were made."""
    query = visit.query
    wanted = TunnelQuery(
        q=query.q,
        gateway=query.gateway,
        cursor=cursors.decode(_PATH, query.cursor, int),
        limit=ROWS,
    )
    found = tunnels.search(visit.desk, visit.actor, wanted)
    running = []
    if visit.may(Action.SECRET_READ):
        under_way = RotationQuery(state=shown.RUNNING, limit=10)
        running = shown.search(visit.desk, visit.actor, under_way)
    listed = {
        "tunnels": [(each, ends(each.ends_at, visit.now), _keys(each)) for each in found],
        "running": [(each, rotation_way.tone(each)) for each in running],
        "behind": behind(visit, _PATH, found, found[-1].id if found else None),
    }
    return Screen("tunnels/list.html", listed)


def _keys(tunnel: TunnelView) -> list[tuple[Any, Tone]]:
    return [(each, tone_of(rotation_way.STATES, each.state or "")) for each in tunnel.secrets]


def look(visit: Visit[None, Nothing]) -> Answer:
    """A tunnel: both ends, its keys and their rotation as it goes on, its SAs."""
    name = visit.path["name"]
    tunnel, live = sas.of_tunnel(visit.desk, visit.actor, name)
    slots: list[SlotView] = []
    history: list[Any] = []
    if visit.may(Action.SECRET_READ):
        slots = shown.of_tunnel(visit.desk, visit.actor, name)
        past = RotationQuery(tunnel=name, limit=_HISTORY)
        history = shown.search(visit.desk, visit.actor, past)
    alerts = open_alerts(visit, AlertQuery("open", connection=name, limit=_SHOWN_ALERTS))
    whole = {
        "tunnel": tunnel,
        "alerts": [each for each in alerts if each[0].gateway in (tunnel.left, tunnel.right)],
        "told": partial(translated, visit.language),
        "left_end": ends(tunnel.left_ends_at, visit.now),
        "right_end": ends(tunnel.right_ends_at, visit.now),
        "keys": [_slot(each) for each in slots],
        "history": [(each, rotation_way.tone(each)) for each in history],
        "live": [sa_row(each) for each in live[:_SHOWN_SAS]] if visit.may(Action.SA_READ) else None,
        "more": max(0, len(live) - _SHOWN_SAS),
    }
    return Screen("tunnels/one.html", whole, part="live")


def _slot(slot: SlotView) -> dict[str, Any]:
    going = slot.rotation
    return {
        "slot": slot,
        "ends": [key_end(each) for each in slot.ends],
        "versions": [(each, tone_of(KEYS, each.state)) for each in slot.versions],
        "rotation": going,
        "steps": () if going is None else rotation_way.steps(going),
        "tone": None if going is None else rotation_way.tone(going),
        "windows": [rotation_way.window(each) for each in slot.policy.windows],
    }


class RemoveForm(Form):
    """The number of the tunnel that the page showed: another one may have its name by now."""

    number: str = Field(default="", max_length=20)


def ask_removal(visit: Visit[None, Nothing]) -> Answer:
    """What removing a tunnel does."""
    return Screen("tunnels/remove.html", _to_remove(visit))


def _to_remove(visit: Visit[Any, Any]) -> dict[str, Any]:
    tunnel, live = sas.of_tunnel(visit.desk, visit.actor, visit.path["name"])
    return {"tunnel": tunnel, "live": len(live)}


def remove(visit: Visit[RemoveForm, Nothing]) -> Answer:
    """Take a tunnel off the records."""
    require(visit.actor, Action.TUNNEL_REMOVE)  # before anything is looked at
    name = visit.path["name"]
    try:
        if visit.body.number != str(tunnels.get(visit.desk, visit.actor, name).id):
            raise PageStale("This is another tunnel of the same name. Nothing was removed.")
        tunnels.remove(visit.desk, visit.actor, name, now=visit.now)
    except MENDABLE as error:
        return again(visit, error, "tunnels/remove.html", _to_remove(visit))
    return Redirect(_PATH, "tunnel-removed")


tell(tunnel_removed="The tunnel was removed.")

PAGES: tuple[Page, ...] = (
    Page("GET", _PATH, search, Action.TUNNEL_READ, query=TunnelSearch, menu="Tunnels"),
    Page("GET", _PATH + "/{name}", look, Action.TUNNEL_READ, live=True),
    Page("GET", _PATH + "/{name}/remove", ask_removal, Action.TUNNEL_READ),
    Page("POST", _PATH + "/{name}/remove", remove, Action.TUNNEL_REMOVE, form=RemoveForm),
)
