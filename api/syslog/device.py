"""One device that sends: its lines read into events, with times that hold, and thinned where strangers cause too many.
Pure.
"""

from collections.abc import Iterable
from typing import Final

from ike.agent.watching.crush import Crush
from ike.events.event import LEFT_OUT, SaEvent
from ike.events.limits import limited
from ike.events.reader import Reader
from ike.events.stamps import Stamps

_READER_SECONDS: Final = 3600.0
# What a line still owes is settled after so long without another.
_SETTLED: Final = 1.0
_QUARTER: Final = 900.0
_LIVE: Final = 90.0  # a line that is on its way for no longer, by a clock that is no more wrong
_FARTHEST: Final = 14 * 3600.0  # a zone's time from UTC
_PATIENCE: Final = 300.0
_BEHIND: Final = 2.0
_RATE: Final = 2_000.0  # lines a second
_BURST: Final = 20_000.0


class Device:
    """The lines of one source, in the order in which they come. Times in POSIX seconds."""

    def __init__(self, now: float) -> None:
        self._begin(now)
        self._zone = _Zone()
        self._crush = Crush()
        self._left_out: SaEvent | None = None
        self._last = b""
        self._owes = False
        self.heard = now
        self._allowance, self._counted_at = _BURST, now

    def allow(self, now: float) -> bool:
        """Whether another line may come at once: where nothing slows a sender down, this does."""
        passed = max(0.0, now - self._counted_at)
        self._allowance = min(_BURST, self._allowance + passed * _RATE)
        self._counted_at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    def hear(self, line: bytes, now: float) -> list[SaEvent]:
        """The events that this line tells or ends, but for those that are only counted. `line` holds no line feed."""
        self.heard, self._last, self._owes = now, line, True
        return self._told(self._reader.feed(line + b"\n"), now)

    def left_out(self) -> list[SaEvent]:
        """One that says how many events were only counted since this was asked last; nothing where none was."""
        found, self._left_out = self._left_out, None
        return [] if found is None else [found]

    def settle(self, now: float) -> list[SaEvent] | None:
        """What is owed, where nothing came for a while; None while it is too early."""
        if not self._owes:
            return []
        if abs(now - self.heard) < _SETTLED:
            return None
        self._owes = False
        events = self._told(self._reader.settle(), now) + self.left_out()
        if now - self._since > _READER_SECONDS:
            # It knows the year of its beginning.
            self._begin(now)
        return events

    def vouched(self) -> float:
        """All that happened before was told, as far as anybody knows: it is not later than the last line says."""
        stamp, is_zoned = self._stamp(self._last)
        if stamp is None:
            return self.heard - _BEHIND
        told = stamp if is_zoned else self._zone.moment(stamp, self.heard)
        return min(self.heard, self.heard if told is None else told) - _BEHIND

    def _begin(self, now: float) -> None:
        self._since = now
        self._reader = Reader(now)
        # A stamp with a zone is the same to both.
        self._stamps, self._others = Stamps(now), Stamps(now, _QUARTER)

    def _stamp(self, line: bytes) -> tuple[float | None, bool]:
        stamp = self._stamps.read(line)[0]
        return stamp, stamp == self._others.read(line)[0]

    def _told(self, events: Iterable[SaEvent], now: float) -> list[SaEvent]:
        told = []
        for each in (self._timed(one, now) for one in events):
            # Where its clock tells nothing, ours tells how many there are in a while.
            timed = each._replace(time=now) if each.time is None else each
            for said in self._crush.thinned([timed]):
                if said.kind == "counted" and said.reason == LEFT_OUT:
                    before = self._left_out.number if self._left_out else 0
                    number = (before or 0) + (said.number or 0)
                    self._left_out = said._replace(number=number)
                else:
                    told.append(each)
        return told

    def _timed(self, event: SaEvent, now: float) -> SaEvent:
        event = limited(event)
        if event.time is None:
            return event._replace(time=now)
        stamp, is_zoned = self._stamp(self._last)
        if is_zoned or stamp != event.time:
            return event
        return event._replace(time=self._zone.moment(event.time, now))


class _Zone:
    """The zone of a clock that does not name it, seen from lines that come as they are written.

    A line that waited on its way looks like one of a zone farther west. So west is only believed where nothing else
    came for a while.
    """

    def __init__(self) -> None:
        self._east: float | None = None
        self._west: tuple[float, float] | None = None  # the zone that it may be, since when

    def moment(self, stamp: float, now: float) -> float | None:
        """When it was, given the stamp as if of UTC; None for a clock that was never set."""
        ahead = stamp - now
        quarters = round(ahead / _QUARTER) * _QUARTER
        if abs(ahead - quarters) <= _LIVE and abs(quarters) <= _FARTHEST:
            self._learn(quarters, now)
        told = stamp - (self._east or 0.0)
        return None if told < now - _FARTHEST else told

    def _learn(self, east: float, now: float) -> None:
        if self._east is None or east >= self._east:
            self._east, self._west = east, None
        elif self._west is None or self._west[0] != east:
            self._west = east, now
        elif now - self._west[1] > _PATIENCE:
            self._east, self._west = east, None
