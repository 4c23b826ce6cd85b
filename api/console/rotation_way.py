"""The way of a rotation: its states by tone and word, its steps, and where it stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from api.console.page import text
from api.console.tones import Tone, tone_of
from fleet.rotation.shown import RotationView
from fleet.rotation.values import ENDED, Method, State, Window

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
_SHORT: Final = (State.SCHEDULED, State.GENERATED, State.STORED, State.PROMOTED, State.PROVEN)
_WAYS: Final[Mapping[str, tuple[State, ...]]] = {
    Method.FIRST: _SHORT,
    Method.EMERGENCY: _SHORT,
    Method.MANUAL: (*_SHORT[:3], State.STAGED, *_SHORT[3:]),
}
_LONG: Final = (*_SHORT[:3], State.STAGED_FIRST, State.STAGED, *_SHORT[3:])


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
    return tone_of(STATES, rotation.state)


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
