"""What befalls a log and its gateway whatever the tunnels do: restarts, lines that are lost, clocks that are set."""

import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ike.events.event import SaEvent

DAY = 86_400.0
_HOUR = 3600.0
#: Fridays before the Sundays on which clocks in Europe change, the hour of the change, and by how much.
CHANGES = (
    (datetime(2025, 10, 24, 12, tzinfo=UTC), datetime(2025, 10, 26, 3, tzinfo=UTC), -_HOUR),
    (datetime(2026, 3, 27, 12, tzinfo=UTC), datetime(2026, 3, 29, 2, tzinfo=UTC), _HOUR),
)
#: Chances of a day.
_RESTART, _HOLE, _STEP = 0.15, 0.15, 0.15


@dataclass
class Weather:
    """`holes`: (from, to) of what was not logged. `steps`: (when, by how much) the clock is set. `loss`: of a line.

    A log that is `live` comes in batches, and its reader knows when nothing happened.
    """

    restarts: list[float] = field(default_factory=list)
    planned_restarts: set[float] = field(default_factory=set)
    holes: list[tuple[float, float]] = field(default_factory=list)
    steps: list[tuple[float, float]] = field(default_factory=list)
    loss: float = 0.0
    live: bool = False

    @classmethod
    def of(cls, seed: int, start: float, days: float) -> "Weather":
        """That of a story."""
        draw, found = random.Random(seed + 2), cls()
        found.live = draw.random() < 0.5
        found.loss = draw.choice((0.0, 0.0, 0.0, 0.0005))
        lengths = (5.0, 20.0, 90.0) if found.live else (20.0, 90.0, 900.0, 3 * _HOUR)
        for _ in range(round(days)):
            at = start + days * DAY * draw.random()
            if draw.random() < _RESTART:
                found.restarts.append(at)
                if draw.random() < 0.7:
                    found.planned_restarts.add(at)
            at = start + days * DAY * draw.random()
            if draw.random() < _HOLE:
                found.holes.append((at, at + draw.choice(lengths)))
            at = start + days * DAY * draw.random()
            if draw.random() < _STEP:
                found.steps.append((at, draw.choice((-90.0, -20.0, -1.0, 1.0, 60.0, 300.0))))
        found.restarts.sort()
        return found

    @classmethod
    def changing(cls, seed: int, days: float) -> tuple[float, float, float]:
        """(start of a story, when its local time changes, by how much)."""
        friday, sunday, by = CHANGES[seed % len(CHANGES)]
        assert friday + timedelta(days=days) > sunday
        return friday.timestamp(), sunday.timestamp(), by

    def clear(self, begin: float, end: float) -> None:
        """Nothing of it between these times: what happens there is told."""
        self.restarts = [at for at in self.restarts if not begin <= at <= end]
        self.steps = [one for one in self.steps if not begin <= one[0] <= end]
        self.holes = [one for one in self.holes if one[1] < begin or one[0] > end]

    def next_restart(self, at: float) -> float:
        """The first later than `at`."""
        place = bisect_right(self.restarts, at)
        return self.restarts[place] if place < len(self.restarts) else float("inf")

    def hides(self, at: float) -> bool:
        """Is it in a hole?"""
        return any(begin <= at < end for begin, end in self.holes)

    def stamped(self, at: float) -> float:
        """What the clock showed at `at`."""
        return at + sum(by for when, by in self.steps if when <= at)


class Numbers:
    """A daemon counts its IKE SAs and its Child SAs from 1, anew after each of its `restarts`."""

    def __init__(self, restarts: Sequence[float]) -> None:
        self._restarts = restarts
        self._runs = 0
        self._ike: dict[int, int] = {}
        self._child: dict[int, int] = {}

    def given(self, event: SaEvent) -> SaEvent:
        """The event with the daemon's own numbers; in the order of time."""
        runs = bisect_right(self._restarts, event.time or 0.0)
        if runs > self._runs:
            self._runs, self._ike, self._child = runs, {}, {}
        return event._replace(
            ike_id=_counted(self._ike, event.ike_id),
            old_ike_id=_counted(self._ike, event.old_ike_id),
            child_id=_counted(self._child, event.child_id),
            new_child_id=_counted(self._child, event.new_child_id),
        )


def _counted(numbers: dict[int, int], number: int | None) -> int | None:
    return None if number is None else numbers.setdefault(number, len(numbers) + 1)
