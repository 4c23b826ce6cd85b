"""What the sequencer knows of leaves: which it has put in or proven itself, so that it looks at each of them once."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from store.audit_tree import RECENT, Leaf, Run

# Each is a condition of a query. A log that is written to by one server is one run; by many, some more a minute.
_MOST: Final = 64


@dataclass(frozen=True)
class _Kept:
    run: Run
    at: datetime


class Proven:
    """Leaves that are known to be those of their rows, as runs of such with successive ids and places.

    It forgets the runs that nothing was added to in the time that is looked back over (`store.audit_tree.RECENT`), and
    of very many the shortest. What it has forgotten is proven again.
    """

    def __init__(self) -> None:
        self._kept: list[_Kept] = []

    @property
    def runs(self) -> list[Run]:
        """The runs, the last one is that which was added to last."""
        return [each.run for each in self._kept]

    def add(self, leaves: Iterable[Leaf], now: datetime) -> None:
        """Know these leaves too."""
        for leaf in leaves:
            shift = leaf.event_id - leaf.position
            last = self._kept[-1].run if self._kept else None
            if last is not None and (last.last + 1, last.shift) == (leaf.event_id, shift):
                self._kept[-1] = _Kept(replace(last, last=leaf.event_id), now)
            else:
                self._kept.append(_Kept(Run(leaf.event_id, leaf.event_id, shift), now))
        self._kept = [each for each in self._kept if abs(now - each.at) <= 2 * RECENT]
        if len(self._kept) > _MOST:
            newest = reversed(self._kept)
            longest = sorted(newest, key=lambda each: each.run.first - each.run.last)[:_MOST]
            self._kept = [each for each in self._kept if each in longest]

    def forget(self) -> None:
        """Know nothing any more."""
        self._kept.clear()
