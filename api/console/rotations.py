"""Rotations: ordered after a look at what they will do, watched, confirmed, undone."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Literal

from pydantic import Field

from api import cursors, decoding
from api.console.errors import PageStale
from api.console.keys import key_end
from api.console.lists import ROWS, ListSearch, behind
from api.console.mending import MENDABLE, again
from api.console.page import Answer, Form, Page, Redirect, Screen, Visit, tell, text
from api.console.rotation_way import STATES, steps, tone
from api.console.sentences import translated
from api.registry import Nothing, Sent
from api.v1.certificates import When
from core.errors import IkewardenError
from fleet import tunnels
from fleet.rotation import orders, shown
from fleet.rotation.orders import Order
from fleet.rotation.shown import RotationQuery, RotationView
from fleet.rotation.values import ENDED, Kind, Method, State
from pki.actors import Action, require

_TUNNEL: Final = "/tunnels/{name}"
_LIST: Final = "/rotations"
_ONE: Final = "/rotations/{id}"
METHODS: Final[Mapping[str, str]] = {
    Method.OVERLAP: text("Both ends take both keys; nobody notices"),
    Method.COORDINATED: text("One end after the other: a daemon knows one key only"),
    Method.MANUAL: text("The outside peer gets the key by hand"),
    Method.EMERGENCY: text("Emergency: both ends at once, SAs are made anew"),
    Method.FIRST: text("The first key"),
}
REASONS: Final[Mapping[str, str]] = {
    "scheduled": text("It was due"),
    "demanded": text("Ordered"),
    "emergency": text("Emergency"),
    "first": text("First key"),
}
# From these on there may be something to undo; which ones may be the operation says.
_SETTLED: Final = ENDED | {State.PROVEN}


class RotationSearch(ListSearch):
    """Which rotations: one of the states, or those that run; of those that ended, the ones that did so since."""

    state: (
        Literal[
            "running",
            "scheduled",
            "generated",
            "stored",
            "staged_first",
            "staged",
            "promoted",
            "proven",
            "rolling_back",
            "stuck",
            "retired",
            "rolled_back",
            "cancelled",
        ]
        | None
    ) = None
    tunnel: str | None = Field(default=None, max_length=63)
    ended_after: When | None = None


class PlanQuery(Sent):
    """Which rotation."""

    kind: Literal["psk", "ppk"] | None = None
    emergency: Literal["1"] | None = None


class RotateForm(Form):
    """What to rotate, why, and what the page showed: for each secret its version and the rotation under way."""

    kind: Literal["psk", "ppk"] | None = None
    emergency: Literal["1"] | None = None
    why: str = Field(default="", max_length=1000)
    seen: str = Field(default="", max_length=1000)


class RotationForm(Form):
    """The state of the rotation that the page showed."""

    state: str = Field(default="", max_length=40)


def search(visit: Visit[None, RotationSearch]) -> Answer:
    """Rotations, the newest first."""
    query = visit.query
    wanted = RotationQuery(
        state=query.state,
        tunnel=query.tunnel,
        ended_after=query.ended_after,
        cursor=cursors.decode(_LIST, query.cursor, int),
        limit=ROWS,
    )
    found = shown.search(visit.desk, visit.actor, wanted)
    listed = {
        "rotations": [(each, tone(each)) for each in found],
        "states": STATES,
        "told": partial(translated, visit.language),
        "behind": behind(visit, _LIST, found, found[-1].id if found else None),
        "filtered": any((query.state, query.tunnel, query.ended_after, query.cursor)),
    }
    return Screen("tunnels/rotations.html", listed)


def plan(visit: Visit[None, PlanQuery]) -> Answer:
    """What a rotation would do at both ends, and the button that begins it."""
    query = visit.query
    return Screen("tunnels/rotate.html", _planned(visit, query.kind, query.emergency))


def _planned(visit: Visit[Any, Any], kind: str | None, emergency: str | None) -> dict[str, Any]:
    order = _order(visit, kind, emergency)
    found = orders.plan(visit.desk, visit.actor, order)
    return {
        "name": order.tunnel,
        "tunnel": tunnels.get(visit.desk, visit.actor, order.tunnel),
        "plans": found,
        "kind": kind,
        "emergency": emergency,
        "methods": METHODS,
        "told": partial(translated, visit.language),
        "why": "",
        "seen": " ".join(
            f"{each.slot.name}:{each.slot.current}:{each.slot.rotation_id}:{each.plan.method}"
            for each in found
        ),
    }


def _order(visit: Visit[Any, Any], kind: str | None, emergency: str | None, why: str = "") -> Order:
    which = None if kind is None else Kind(kind)
    return Order(visit.path["name"], which, emergency is not None, why)


def rotate(visit: Visit[RotateForm, Nothing]) -> Answer:
    """Begin it, if it is still what the page showed."""
    sent = visit.body
    shown_now = _planned(visit, sent.kind, sent.emergency)
    try:
        if sent.seen != shown_now["seen"]:
            raise PageStale("The plan is another one by now: look at it again. Nothing was begun.")
        order = _order(visit, sent.kind, sent.emergency, sent.why)
        begun = orders.rotate(visit.desk, visit.actor, order, now=visit.now)
    except MENDABLE as error:
        return again(visit, error, "tunnels/rotate.html", {**shown_now, "why": sent.why})
    if len(begun) == 1:
        return Redirect(f"/rotations/{begun[0].id}", "rotation-begun")
    return Redirect(f"/tunnels/{order.tunnel}", "rotations-begun")


def look(visit: Visit[None, Nothing]) -> Answer:
    """One rotation as it goes on: who has confirmed what, what it waits for and until when."""
    return _whole(visit, None)


def _whole(visit: Visit[Any, Any], error: IkewardenError | None) -> Screen:
    number = decoding.number(visit.path["id"])
    rotation = shown.rotation(visit.desk, visit.actor, number, now=visit.now)
    slots = shown.of_tunnel(visit.desk, visit.actor, rotation.tunnel)
    slot_ends = next((each.ends for each in slots if each.name == rotation.slot), ())
    going = rotation.state not in ENDED
    whole = {
        "rotation": rotation,
        "told": partial(translated, visit.language),
        "tone": tone(rotation),
        "steps": steps(rotation),
        "ends": [key_end(each) for each in slot_ends] if going else (),
        "going": going,
        "method": METHODS.get(rotation.method, rotation.method),
        "reason": REASONS.get(rotation.reason, rotation.reason),
        "confirmable": rotation.method == Method.MANUAL
        and rotation.state == State.STAGED
        and not rotation.back,
        "undoable": rotation.state not in _SETTLED and not rotation.back,
        "outside": any(not each.end.ours for each in slot_ends),
    }
    template = "tunnels/rotation.html"
    return (
        Screen(template, whole, part="live")
        if error is None
        else again(visit, error, template, whole)
    )


def ask_cancel(visit: Visit[None, Nothing]) -> Answer:
    """What rolling back does."""
    return Screen("tunnels/cancel.html", _to_cancel(visit))


def _to_cancel(visit: Visit[Any, Any]) -> dict[str, Any]:
    number = decoding.number(visit.path["id"])
    rotation = shown.rotation(visit.desk, visit.actor, number, now=visit.now)
    return {"rotation": rotation, "tone": tone(rotation)}


def cancel(visit: Visit[RotationForm, Nothing]) -> Answer:
    """Have it undone."""
    return _act(visit, Action.ROTATION_ORDER, orders.cancel, "rotation-cancelled")


def confirm(visit: Visit[RotationForm, Nothing]) -> Answer:
    """Note that the outside peer has the key."""
    return _act(visit, Action.ROTATION_CONFIRM, orders.confirm, "rotation-confirmed")


def _act(
    visit: Visit[RotationForm, Nothing],
    action: Action,
    act: Callable[..., RotationView],
    done: str,
) -> Answer:
    require(visit.actor, action)  # before anything is looked at
    number = decoding.number(visit.path["id"])
    try:
        now_is = shown.rotation(visit.desk, visit.actor, number, now=visit.now).state
        if visit.body.state != now_is:
            raise PageStale("The rotation has gone on meanwhile. Nothing was done.")
        act(visit.desk, visit.actor, number, now=visit.now)
    except MENDABLE as error:
        return _whole(visit, error)
    return Redirect(f"/rotations/{number}", done)


tell(
    rotation_begun="The rotation has begun; this page follows it.",
    rotations_begun="The rotations have begun; this page follows them.",
    rotation_confirmed="Noted: the outside peer has the key.",
    rotation_cancelled="The rotation is being undone; the old key stays in force.",
)

PAGES: tuple[Page, ...] = (
    Page("GET", _TUNNEL + "/rotate", plan, Action.ROTATION_ORDER, query=PlanQuery),
    Page("POST", _TUNNEL + "/rotate", rotate, Action.ROTATION_ORDER, form=RotateForm),
    Page("GET", _LIST, search, Action.SECRET_READ, query=RotationSearch),
    Page("GET", _ONE, look, Action.SECRET_READ, live=True),
    Page("GET", _ONE + "/cancel", ask_cancel, Action.SECRET_READ),
    Page("POST", _ONE + "/cancel", cancel, Action.ROTATION_ORDER, form=RotationForm),
    Page("POST", _ONE + "/confirm", confirm, Action.ROTATION_CONFIRM, form=RotationForm),
)
