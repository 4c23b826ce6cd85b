"""Rotations: ordered after a look at what they will do, watched, confirmed, undone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

from pydantic import Field

from api import decoding
from api.console.again import MENDABLE, again
from api.console.errors import PageStale
from api.console.keys import key_end
from api.console.page import Answer, Form, Page, Redirect, Screen, Visit, tell, text
from api.console.sentences import told
from api.console.tones import Tone, found_words
from api.registry import Nothing, Sent
from core.errors import IkewardenError
from fleet import tunnels
from fleet.rotation import orders, shown
from fleet.rotation.orders import Order
from fleet.rotation.shown import RotationView
from fleet.rotation.values import ENDED, Kind, Method, State, Window
from pki.actors import Action, require

_TUNNEL: Final = "/tunnels/{name}"
_ONE: Final = "/rotations/{id}"
_DAYS: Final = (
    text("Mon"),
    text("Tue"),
    text("Wed"),
    text("Thu"),
    text("Fri"),
    text("Sat"),
    text("Sun"),
)
STATES: Final[Mapping[str, Tone]] = {
    State.SCHEDULED: Tone("busy", text("Waits for its turn")),
    State.GENERATED: Tone("busy", text("Being made")),
    State.STORED: Tone("busy", text("Stored")),
    State.STAGED_FIRST: Tone("busy", text("Staged at one end")),
    State.STAGED: Tone("busy", text("Staged at both ends")),
    State.PROMOTED: Tone("busy", text("In use, to be proven")),
    State.PROVEN: Tone("busy", text("Proven")),
    State.ROLLING_BACK: Tone("warn", text("Being rolled back")),
    State.STUCK: Tone("bad", text("Stuck")),
    State.RETIRED: Tone("good", text("Done")),
    State.ROLLED_BACK: Tone("bad", text("Rolled back")),
    State.CANCELLED: Tone("off", text("Cancelled")),
}
#: The same as a step of the way, whether it is done, under way, or to come.
_STEPS: Final[Mapping[State, str]] = {
    State.SCHEDULED: text("Its turn"),
    State.GENERATED: text("Key made"),
    State.STORED: text("Key stored"),
    State.STAGED_FIRST: text("Staged at one end"),
    State.STAGED: text("Staged at both ends"),
    State.PROMOTED: text("In use"),
    State.PROVEN: text("Proven"),
    State.ROLLING_BACK: text("Going back"),
    State.STUCK: text("Stuck"),
    State.RETIRED: text("Old key destroyed"),
    State.ROLLED_BACK: text("Old key in force"),
    State.CANCELLED: text("Cancelled"),
}
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
_SHORT: Final = (State.SCHEDULED, State.GENERATED, State.STORED, State.PROMOTED, State.PROVEN)
_WAYS: Final[Mapping[str, tuple[State, ...]]] = {
    Method.FIRST: _SHORT,
    Method.EMERGENCY: _SHORT,
    Method.MANUAL: (*_SHORT[:3], State.STAGED, *_SHORT[3:]),
}
_LONG: Final = (*_SHORT[:3], State.STAGED_FIRST, State.STAGED, *_SHORT[3:])
# From these on there may be something to undo; which ones may be the operation says.
_SETTLED: Final = ENDED | {State.PROVEN}


@dataclass(frozen=True)
class Step:
    """A state on the way, and whether it is behind, there or to come."""

    tone: Tone
    place: str
    current: bool = False


def tone(rotation: RotationView) -> Tone:
    """How the state of a rotation is shown."""
    if rotation.back and rotation.state not in ENDED:
        return STATES[State.ROLLING_BACK]
    return found_words(STATES, rotation.state)


def steps(rotation: RotationView) -> tuple[Step, ...]:
    """The way of a rotation, and where it stands. Where it came from before it was undone nobody keeps."""
    if rotation.back or rotation.state in {State.ROLLED_BACK, State.CANCELLED}:
        way: tuple[State, ...] = (State.ROLLING_BACK, State.ROLLED_BACK)
        place = len(way) if rotation.state in ENDED else 0
        if rotation.state == State.CANCELLED:
            way = (State.CANCELLED,)
    else:
        way = (*_WAYS.get(rotation.method, _LONG), State.RETIRED)
        state = State(rotation.state)
        if state is State.STUCK:  # it was promoted, and goes on from there
            way = tuple(State.STUCK if each is State.PROMOTED else each for each in way)
        place = len(way) if state in ENDED else way.index(state) if state in way else 0
    return tuple(_step(each, number - place) for number, each in enumerate(way))


def _step(state: State, ahead: int) -> Step:
    word, shown = _STEPS[state], STATES[state].tone
    if ahead < 0:
        going_on = shown in {"busy", "good"}
        return Step(Tone("good" if going_on else shown, word), text("done"))
    if ahead > 0:
        return Step(Tone("off", word), text("to come"))
    return Step(Tone(shown, word), text("now"), current=True)


def window(one: Window) -> tuple[tuple[str, ...], str, str]:
    """Days, from and to, of a maintenance window."""
    return tuple(_DAYS[day] for day in one.days), _clock(one.start), _clock(one.end)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


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
        "told": partial(told, visit.language),
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
        "told": partial(told, visit.language),
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
    Page("GET", _ONE, look, Action.SECRET_READ, live=True),
    Page("GET", _ONE + "/cancel", ask_cancel, Action.SECRET_READ),
    Page("POST", _ONE + "/cancel", cancel, Action.ROTATION_ORDER, form=RotationForm),
    Page("POST", _ONE + "/confirm", confirm, Action.ROTATION_CONFIRM, form=RotationForm),
)
