"""Events in the order of their time, once each.

Within a window the events of one gateway are sorted by time, so two sinks, threads of a daemon and short delays do not
matter. What comes later than that is taken as of now; what comes more than `clock.BACK` late is a repetition if its
line was passed already, else the clock went back.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from operator import attrgetter

from ike.detection import clock
from ike.detection.state import Gateway
from ike.events.event import SaEvent

#: Seconds that events are held.
WINDOW = 5.0
_BATCH = 512
_MOST_SEEN = 50_000
#: A silence after which nobody knows what happened: a gap in the log, or a clock that jumped.
GAP = 1.5 * 86_400.0
_BY_TIME = attrgetter("time")


def in_order(events: Iterable[SaEvent]) -> list[SaEvent]:
    """The events of a whole file, oldest first: turned around if it is newest-first, sorted if it is neither."""
    found = list(events)
    times = [each.time for each in found if each.time is not None]
    down = sum(1 for one, two in pairwise(times) if two < one)
    up = sum(1 for one, two in pairwise(times) if two > one)
    if down > up:
        found.reverse()
        down = up
    if down > 3 and down * 50 > len(times) and len(times) == len(found):
        found.sort(key=_BY_TIME)
    return found


def released(
    gateway: Gateway, limit: float | None
) -> Iterator[tuple[list[SaEvent], tuple[SaEvent, float, float] | None]]:
    """Held events up to `limit` (None: that are older than the window), sorted, in pieces.

    With a piece goes the event whose time went back after it, the time that was reached before, and its own.
    """
    begin = 0
    held, gateway.held = gateway.held, []
    newest = gateway.newest
    for index, event in enumerate(held):
        time = event.time
        if time is None:
            if newest is not None:
                held[index] = event._replace(time=newest)
        elif newest is None or time >= newest:
            newest = time
            gateway.newest_line = event.line
        elif time < newest - clock.BACK and event.line > gateway.newest_line:
            yield _sorted(held[begin:index]), (event, newest, time)
            begin, newest = index, time
            gateway.newest_line = event.line
    gateway.newest = newest
    held = held[begin:]
    if newest is None:
        gateway.patience = _BATCH
        yield held, None
        return
    limit = newest - WINDOW if limit is None else limit
    ready = held
    if newest > limit:
        ready = [each for each in held if each.time is None or each.time <= limit]
        gateway.held = [each for each in held if each.time is not None and each.time > limit]
    gateway.patience = len(gateway.held) + _BATCH
    yield _sorted(ready), None


def _sorted(events: list[SaEvent]) -> list[SaEvent]:
    untimed = [each for each in events if each.time is None]  # from before the first time
    if untimed:
        return untimed + sorted((each for each in events if each.time is not None), key=_BY_TIME)
    events.sort(key=_BY_TIME)
    return events


def age_seen(gateway: Gateway, at: float) -> None:
    """Forget what is too old to come again."""
    if gateway.seen_since is None:
        gateway.seen_since = at
    elif at - gateway.seen_since > clock.BACK + WINDOW or len(gateway.seen) > _MOST_SEEN:
        gateway.seen_before = gateway.seen
        gateway.seen = {}
        gateway.seen_since = at
