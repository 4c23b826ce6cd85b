"""Events in the order of time, whatever the order of the lines: oldest first, newest first, or nearly sorted. Pure."""

import heapq
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from typing import Final

from ike.events.event import SaEvent

#: Events that are held back for one that is older.
WINDOW: Final = 2_000
_FIRST: Final = 200  # events that show which way the log runs


def ordered(events: Iterable[SaEvent]) -> Iterator[SaEvent]:
    """The events of one log, sorted as far as a window of them reaches; one without a time stays behind the one before.

    A log that runs backwards is held as a whole; any other is not.
    """
    source = iter(events)
    first = list(islice(source, _FIRST))
    if _runs_backwards(first):
        yield from _sorted(reversed([*first, *source]))
    else:
        yield from _sorted(_chained(first, source))


def moment(event: SaEvent) -> float:
    """When it was, 0 where nobody knows: the key by which several logs are merged."""
    return event.time or 0.0


def _sorted(events: Iterable[SaEvent]) -> Iterator[SaEvent]:
    held: list[tuple[float, int, SaEvent]] = []
    at = 0.0
    for number, event in enumerate(events):
        at = at if event.time is None else event.time
        entry = (at, number, event)
        if len(held) < WINDOW:
            heapq.heappush(held, entry)
        else:
            yield heapq.heappushpop(held, entry)[2]
    while held:
        yield heapq.heappop(held)[2]


def _chained(first: list[SaEvent], rest: Iterator[SaEvent]) -> Iterator[SaEvent]:
    yield from first
    yield from rest


def _runs_backwards(events: list[SaEvent]) -> bool:
    times = [event.time for event in events if event.time is not None]
    steps = [later - earlier for earlier, later in pairwise(times)]
    return sum(step < 0 for step in steps) > sum(step > 0 for step in steps)
