"""The events of a log with the oldest first, whichever way the log runs. Pure."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice, pairwise
from typing import Final

from ike.events.event import SaEvent

_FIRST: Final = 1_000  # events that show which way a log runs
_SHUFFLED: Final = 0.02  # of its steps go back: more than threads and several sinks make


def oldest_first(events: Iterable[SaEvent]) -> tuple[Iterator[SaEvent], bool]:
    """The events of one log: turned round where it has the newest first, sorted where it is in no order; and whether
    they were turned round.

    Only such a log is held as a whole. In any other, single steps back stay: they tell of a clock that was set.
    """
    source = iter(events)
    first = list(islice(source, _FIRST))
    back, on = _steps(first)
    everything = chain(first, source)
    turned = back > on
    if turned:
        everything = chain(reversed(list(everything)))
        back = on
    if back > max(3, _SHUFFLED * len(first)):
        return iter(_sorted(everything)), turned
    return everything, turned


def runs_back(events: Iterable[SaEvent]) -> bool:
    """Whether these events, in the order of their log, have the newest first."""
    back, on = _steps(events)
    return back > on


def _steps(events: Iterable[SaEvent]) -> tuple[int, int]:
    """How often the time goes back, and how often on."""
    times = [event.time for event in events if event.time is not None]
    back = sum(later < earlier for earlier, later in pairwise(times))
    return back, sum(later > earlier for earlier, later in pairwise(times))


def moment(event: SaEvent) -> float:
    """When it was, 0 where nobody knows: the key by which several logs are merged."""
    return event.time or 0.0


def _sorted(events: Iterable[SaEvent]) -> list[SaEvent]:
    """By time; one without stays behind the one before it."""
    at = 0.0
    keyed = []
    for event in events:
        at = at if event.time is None else event.time
        keyed.append((at, event))
    keyed.sort(key=lambda each: each[0])
    return [event for _, event in keyed]
