"""Which events of a stream came already, whatever the order and however often. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# So many islands of events that came before others are kept; beyond, what lies before the first is given up.
_MOST_AHEAD = 32


@dataclass(frozen=True)
class Stream:
    """A stream as far as it came: all before `next`, and what lies `ahead` of it as pairs of first and behind the last.

    `lost` of them never came, and are not waited for any more.
    """

    next: int = 0
    ahead: tuple[tuple[int, int], ...] = ()
    lost: int = 0

    @property
    def missing(self) -> tuple[tuple[int, int], ...]:
        """What is waited for, as pairs of first and behind the last."""
        ends = (self.next, *(end for _, end in self.ahead))
        return tuple((end, first) for end, (first, _) in zip(ends, self.ahead, strict=False))

    def without(self, oldest: int) -> "Stream":
        """The same, if what is before `oldest` can never come."""
        if oldest <= self.next:
            return self
        came = sum(min(end, oldest) - first for first, end in self.ahead if first < oldest)
        lost = self.lost + oldest - self.next - came
        ahead = tuple((max(first, oldest), end) for first, end in self.ahead if end > oldest)
        return _joined(oldest, ahead, lost)

    def fresh(self, first: int, count: int) -> list[int]:
        """Which of `count` events from `first` on did not come yet, as places in the batch."""
        known = ((0, self.next), *self.ahead)
        return [
            place
            for place in range(count)
            if not any(start <= first + place < end for start, end in known)
        ]

    def taken(self, first: int, count: int) -> "Stream":
        """The same, after these came."""
        if not count:
            return self
        ahead: list[tuple[int, int]] = []
        for start, end in sorted([*self.ahead, (first, first + count)]):
            if ahead and start <= ahead[-1][1]:
                ahead[-1] = (ahead[-1][0], max(ahead[-1][1], end))
            else:
                ahead.append((start, end))
        made = _joined(self.next, tuple(ahead), self.lost)
        while len(made.ahead) > _MOST_AHEAD:
            made = made.without(made.ahead[0][0])
        return made

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"next": self.next, "ahead": [list(each) for each in self.ahead], "lost": self.lost}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Stream":
        """From `document`."""
        ahead: Sequence[Sequence[int]] = document["ahead"]
        return cls(document["next"], tuple((a, b) for a, b in ahead), document["lost"])


def _joined(next_: int, ahead: tuple[tuple[int, int], ...], lost: int) -> Stream:
    """What touches the beginning belongs to it."""
    while ahead and ahead[0][0] <= next_:
        next_, ahead = max(next_, ahead[0][1]), ahead[1:]
    return Stream(next_, ahead, lost)
