"""Strangers: what anybody can send is told as one condition of a gateway or connection, however many senders it names.

The sender of a first packet can be forged, and senders are cheap. So a condition by strangers has no sender of its own:
it counts attempts, says how many senders and identities there were, and names a few.
"""

from bisect import bisect_left
from collections.abc import Set
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

#: Different names that are counted exactly.
EXACT: Final = 1_024
_SPACE: Final = 1 << 64
#: Senders that are named.
EXAMPLES: Final = 16
#: The last attempts that are looked at together.
_RECENT: Final = 256
_ECHOES: Final = 16
#: Who tries: of whom nothing is known; an identity that was up, but elsewhere; and one that was up there.
STRANGE: Final = "strange"
ASTRAY: Final = "astray"
HOME: Final = "home"


@dataclass(slots=True)
class Distinct:
    """How many different names there were: exactly below `EXACT`, about, in two digits, above.

    The least hashes are kept: where they end tells how dense all of them lie.
    """

    least: list[int] = field(default_factory=list)

    def add(self, name: str) -> bool:
        """One more name, or one that was there. True if it may be new; where they are too many, any may be."""
        hashed = blake2b(name.encode("utf-8", "replace"), digest_size=8).digest()
        value = int.from_bytes(hashed)
        if len(self.least) >= EXACT and value >= self.least[-1]:
            return True
        place = bisect_left(self.least, value)
        if self.least[place : place + 1] == [value]:
            return False
        self.least.insert(place, value)
        del self.least[EXACT:]
        return True

    def __len__(self) -> int:
        if len(self.least) < EXACT:
            return len(self.least)
        about = (EXACT - 1) * _SPACE // self.least[-1]
        return max(EXACT, round(about, 2 - len(str(about))))


@dataclass(slots=True)
class Attempt:
    """One of the last attempts; `source` and `identity` as far as they were seen."""

    at: float | None
    line: int
    source: str | None = None
    identity: str | None = None
    ike_id: int | None = None
    whose: str = STRANGE  # "": of somebody who was proven meanwhile


@dataclass(slots=True)
class Group:
    """How often each sender and each identity tried, of one sort of those who try."""

    sources: dict[str, int] = field(default_factory=dict)
    identities: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many they are, by the view that shows more."""
        return max(len(self.sources), len(self.identities))


@dataclass(slots=True)
class Tallies:
    """The last attempts by sender and identity, kept up with each attempt that comes or goes."""

    groups: dict[str, Group] = field(default_factory=dict)  # by whose they are
    tried: dict[str, dict[str, int]] = field(default_factory=dict)  # identity by sender, of all

    def add(self, attempt: Attempt, by: int = 1) -> None:
        """One more, or with -1 one less."""
        who = attempt.identity
        if who is not None:
            senders = self.tried.setdefault(who, {})
            _shift(senders, attempt.source or "", by)
            if not senders:
                del self.tried[who]
        self.count(attempt, by)

    def count(self, attempt: Attempt, by: int) -> None:
        """In its group, one more or with -1 one less."""
        if not attempt.whose:
            return
        group = self.groups.setdefault(attempt.whose, Group())
        _shift(group.identities, attempt.identity, by)
        _shift(group.sources, attempt.source, by)

    def number(self, whose: str) -> int:
        """How many of that sort there are."""
        return len(self.groups.get(whose, ()))

    def names(self, whose: str) -> Set[str]:
        """The identities of that sort."""
        group = self.groups.get(whose)
        return frozenset() if group is None else group.identities.keys()

    def of(self, identity: str | None) -> tuple[int, int]:
        """How often an identity was tried, and from how many addresses."""
        senders = self.tried.get(identity or "", {})
        return sum(senders.values()), len(senders) - ("" in senders)

    def by(self, identity: str | None, source: str | None) -> int:
        """How often an identity was tried from one address."""
        return self.tried.get(identity or "", {}).get(source or "", 0)


@dataclass(slots=True)
class Crowd:
    """Who does one thing at one place: how often, how many they are, and what came last, and when."""

    since: float | None = None
    last: float | None = None
    attempts: int = 0
    sources: Distinct = field(default_factory=Distinct)
    identities: Distinct = field(default_factory=Distinct)
    examples: list[str] = field(default_factory=list)
    recent: list[Attempt] = field(default_factory=list)
    tallies: Tallies | None = None  # of `recent`, where the rule needs them
    proven: float | None = None  # when somebody succeeded last, where the rule needs it

    def is_known(self, attempt: Attempt) -> bool:
        """Is it one of the last ones, of which another line speaks? The one about it may lack the sender."""
        return attempt.ike_id is not None and any(
            each.ike_id == attempt.ike_id for each in self.recent[-_ECHOES:]
        )

    def join(self, attempt: Attempt) -> None:
        """One more attempt."""
        self.attempts += 1
        if attempt.at is not None:
            self.since = attempt.at if self.since is None else self.since
            self.last = max(attempt.at, self.last or attempt.at)
        self.recent.append(attempt)
        if self.tallies is not None:
            self.tallies.add(attempt)
        if len(self.recent) > _RECENT:
            self._drop()
        if attempt.identity is not None:
            self.identities.add(attempt.identity)
        if attempt.source is None:
            return
        self.sources.add(attempt.source)
        if len(self.examples) < EXAMPLES and attempt.source not in self.examples:
            self.examples.append(attempt.source)

    def expire(self, since: float) -> None:
        """Of the last attempts, let go those before `since`."""
        while self.recent and self.recent[0].at is not None and self.recent[0].at < since:
            self._drop()

    def unanswered(self) -> list[Attempt]:
        """The last attempts since somebody succeeded."""
        since = self.proven
        if since is None or (self.recent and (self.recent[0].at or 0.0) > since):
            return self.recent
        return [each for each in self.recent if (each.at or 0.0) > since]

    def absolve(self, identity: str) -> None:
        """It is proven: its last attempts were its own."""
        if self.tallies is None or identity not in self.tallies.tried:
            return
        for each in self.recent:
            if each.identity == identity and each.whose:
                self.tallies.count(each, -1)
                each.whose = ""

    def _drop(self) -> None:
        oldest = self.recent.pop(0)
        if self.tallies is not None:
            self.tallies.add(oldest, -1)

    def shown(self) -> dict[str, object]:
        """The numbers, as evidence."""
        told: dict[str, object] = {"attempts": self.attempts}
        if self.sources.least:
            told["sources"] = len(self.sources)
        if self.identities.least:
            told["identities"] = len(self.identities)
        return told

    def restrict(self, at: float | None, span: float) -> None:
        """Begin anew with what is not older than `span` seconds: what was before has nothing to do with it."""
        if at is None or self.since is None or self.since >= at - span:
            return
        those = [each for each in self.recent if each.at is None or each.at >= at - span]
        self.attempts, self.since = 0, None
        self.tallies = None if self.tallies is None else Tallies()
        self.sources, self.identities = Distinct(), Distinct()
        self.examples, self.recent = [], []
        for each in those:
            self.join(each)


@dataclass(slots=True)
class Flood:
    """Half-open negotiations of a minute and the one before: (refused, timed out, established), all and by source.
    `total`, `different` and `stood` are of all since the first one; `arrived` are the names of those that came up.
    """

    minute: int | None = None
    now: list[int] = field(default_factory=lambda: [0, 0, 0])
    before: list[int] = field(default_factory=lambda: [0, 0, 0])
    total: list[int] = field(default_factory=lambda: [0, 0, 0])
    different: Distinct = field(default_factory=Distinct)
    arrived: Distinct = field(default_factory=Distinct)
    again: int = 0  # that came up more than once in this minute
    sources: dict[str, list[int]] = field(default_factory=dict)
    lines: list[int] = field(default_factory=list)
    since: float | None = None
    last: tuple[str, str | None, int | None] | None = None
    last_at: float | None = None
    # Half-open negotiations that were counted, times the seconds they stood: of this minute and the one before.
    stood_now: float = 0.0
    stood_before: float = 0.0
    stood: float = 0.0


def _shift(counts: dict[str, int], name: str | None, by: int) -> None:
    if name is None:
        return
    left = counts.get(name, 0) + by
    if left > 0:
        counts[name] = left
    else:
        counts.pop(name, None)
