"""What charon counts and tells by no event, as remarks. Pure.

`get-counters` gives numbers since charon began, or since somebody reset them; the agent never does. What is told is how
many more there are than the last time. Requests that charon answered and took no part in are refused ones: it counts
the answer, and the request only where a configuration fits it. Half-open negotiations are known by number alone, those
that charon itself began among them; peers began no more than they lately sent requests.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ike.events.event import MALFORMED, REFUSED, UNKNOWN_SPI, SaEvent

Document = dict[str, Any]

#: Fewer half-open negotiations are those of every day.
LEAST_HALF_OPEN: Final = 5
# charon gives up a half-open negotiation after 30 seconds; the rest is what a look may come late.
_LIFE: Final = 40.0
_LONGEST: Final = 60.0


@dataclass(frozen=True)
class Reading:
    """What one look showed: whose counters they are, the counters (None: charon has none), the half-open ones."""

    incarnation: str
    counters: Mapping[str, int] | None
    half_open: int


def reading_of(incarnation: str, counters: Any, statistics: Any) -> Reading:
    """From the answers to `get-counters` (None: refused) and `stats`. What is no number is 0."""
    found: dict[str, int] | None = None
    if isinstance(counters, Mapping):
        overall = _mapping(_mapping(counters.get("counters")).get(""))
        found = {name: _number(value) for name, value in overall.items()}
    half_open = _mapping(_mapping(statistics).get("ikesas")).get("half-open")
    return Reading(incarnation, found, _number(half_open))


class Tally:
    """Readings as remarks. `position` is what an earlier one left: what was counted while the agent was away is told
    by the first reading. Each remark says in how many seconds so many came: a week of stray requests is no scan.
    """

    def __init__(self, position: Document | None) -> None:
        self._whose = position.get("counters") if position else None
        told = position.get("told") if position else None
        self._told = {str(name): _whole(value) for name, value in _mapping(told).items()}
        self._last: Mapping[str, int] = {}
        self._requests: deque[tuple[float, int]] = deque()
        self._looked = _time(position.get("at")) if position else None
        self._standing = False

    @property
    def position(self) -> Document:
        """Up to where it was told, as JSON."""
        return {"counters": self._whose, "told": dict(self._told), "at": self._looked}

    def take(self, reading: Reading, at: float) -> list[SaEvent]:
        """What is new in a reading of `at`, POSIX seconds."""
        events: list[SaEvent] = []
        begun = self._whose is None
        seconds = None if self._looked is None else max(0.0, at - self._looked)
        self._note_beginning(reading)
        if reading.counters is not None:
            for reason, number in _reasons(reading.counters).items():
                more = number - self._told.get(reason, 0)
                if more > 0:
                    self._told[reason] = number
                    if not begun:
                        said = {"reason": reason, "number": more, "seconds": seconds}
                        events.append(_remark("counted", at, **said))
            self._last = reading.counters
        events += self._half_open(reading, at, seconds)
        self._looked = at
        return events

    def _note_beginning(self, reading: Reading) -> None:
        """Another charon counts from nothing, and so does one whose counters were reset."""
        counters = reading.counters or {}
        fallen = any(number < self._last.get(name, 0) for name, number in counters.items())
        if (
            counters and not self._last
        ):  # the agent was away; the third is a difference, and may be late
            now = _reasons(counters)
            fallen = any(now[each] < self._told.get(each, 0) for each in (MALFORMED, UNKNOWN_SPI))
        if reading.incarnation != self._whose or fallen:
            self._whose, self._told, self._last = reading.incarnation, {}, {}
            self._requests.clear()

    def _half_open(self, reading: Reading, at: float, seconds: float | None) -> list[SaEvent]:
        lately = 0
        if reading.counters is not None:
            requests = reading.counters.get("ike-init-in-req", 0)
            while self._requests and self._requests[0][0] < at - _LIFE:
                self._requests.popleft()
            lately = requests - self._requests[0][1] if self._requests else 0
            self._requests.append((at, requests))
        number = min(reading.half_open, lately)
        stood, self._standing = self._standing, number >= LEAST_HALF_OPEN
        if not self._standing and not stood:
            return []
        told = number if self._standing else 0
        return [_remark("half_open", at, number=told, seconds=min(_LONGEST, seconds or 0.0))]


def _reasons(counters: Mapping[str, int]) -> dict[str, int]:
    answered, taken = counters.get("ike-init-out-resp", 0), counters.get("ike-init-in-req", 0)
    return {
        MALFORMED: counters.get("invalid", 0),
        UNKNOWN_SPI: counters.get("invalid-spi", 0),
        REFUSED: max(0, answered - taken),
    }


def _remark(kind: str, at: float, **fields: Any) -> SaEvent:
    return SaEvent(kind, 0, at, daemon="charon", **fields)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(text: Any) -> int:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdecimal() else 0


def _time(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0
