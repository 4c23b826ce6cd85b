"""charon's counters beside a story: what the agent's looks at them tell; and what VICI tells where there is no log."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bench.detection.weather import DAY, Weather
from ike.daemons.strongswan.counters import Reading, Tally
from ike.events.event import SaEvent

#: Seconds between two looks, as agent.toml has it.
_EVERY: Final = 10.0
#: How long after a change a look can still tell something.
_AFTER: Final = 60.0
_HALF_OPEN: Final = 30.0  # seconds after which charon gives up what a peer has begun
_OWN: Final = 165.0  # and what it began itself
#: Of strangers, charon before 6.0.3 tells nothing over VICI.
_UNTOLD: Final = frozenset(
    {"ike_respond", "ike_timeout", "unknown_peer", "proposal_mismatch", "half_open_limit", "cookie"}
)
_IN, _OUT, _HALF = "ike-init-in-req", "ike-init-out-resp", "half-open"
#: Another charon begins to count; or an operator lets it begin anew.
_BEGIN, _RESET = "begin", "reset"
_ANSWERS: Final = frozenset({"ike_established", "ike_timeout", "auth_failed"})
_COUNTED: Final = frozenset({"ike_respond", "ike_initiate", "unknown_peer"})
_BURSTS: Final = 6  # of strays, in a day
_Change = tuple[float, str, int]


@dataclass(frozen=True)
class Counting:
    """`alone`: beside them there is only VICI, which tells nothing of strangers, and nothing later.

    `away`: (from, to) of when no agent looked or listened. `resets`: by an operator. `strays`: requests that no
    configuration fits, as every address in the Internet gets some.
    """

    alone: bool
    seed: int
    away: tuple[tuple[float, float], ...] = ()
    resets: tuple[float, ...] = ()
    strays: tuple[float, ...] = ()

    @classmethod
    def of(cls, seed: int, start: float, days: float) -> "Counting | None":
        """That of a story; None: its agent does not look."""
        draw = random.Random(seed + 5)
        if draw.random() < 0.5:
            return None
        alone = draw.random() < 0.5
        away, resets, strays = [], [], []
        for _ in range(round(days)):
            at = start + days * DAY * draw.random()
            if draw.random() < 0.1:
                away.append((at, at + draw.choice((60.0, 3600.0, 2 * DAY))))
            if draw.random() < 0.05:
                resets.append(start + days * DAY * draw.random())
        for _ in range(round(days * _BURSTS) if alone else 0):
            at = start + days * DAY * draw.random()
            strays += [at + 10 * draw.random() for _ in range(draw.choice((1, 1, 2, 4, 8)))]
        return cls(alone, seed, tuple(away), tuple(resets), tuple(strays))

    @property
    def lost(self) -> tuple[tuple[float, float], ...]:
        """(from, to) of what nobody will ever tell."""
        return self.away if self.alone else ()

    def heard(
        self, events: list[SaEvent], weather: Weather, heirs: Mapping[int, int]
    ) -> list[SaEvent]:
        """What is told of `events`, with what the looks tell. `heirs`: by which Child SA another one was replaced."""
        told = list(self._remarks(events, weather))
        events = [*(_over_vici(events, heirs) if self.alone else events), *told]
        if self.lost:
            events = [
                one
                for one in events
                if not any(begin <= (one.time or 0.0) < end for begin, end in self.lost)
            ]
        return events

    def _remarks(self, events: list[SaEvent], weather: Weather) -> Iterator[SaEvent]:
        host = events[0].host if events else None
        changes = [change for each in _changes(events) for change in each]
        changes += [(at, _OUT, 1) for at in self.strays]
        changes += [(at, _RESET, 0) for at in self.resets]
        changes += [(at, _BEGIN, 0) for at in weather.restarts]
        changes.sort()
        tally, away, place, run = Tally(None), False, 0, 0
        counters: Counter[str] = Counter()
        for at in self._looks(changes):
            while place < len(changes) and changes[place][0] <= at:
                run += _count(counters, changes[place])
                place += 1
            if weather.hides(at) or any(begin <= at < end for begin, end in self.away):
                away = True
                continue
            if away:
                tally, away = Tally(tally.position), False
            shown = {name: counters[name] for name in (_IN, _OUT)}
            for one in tally.take(Reading(str(run), shown, counters[_HALF]), weather.stamped(at)):
                yield one._replace(host=host, time=at)

    def _looks(self, changes: list[_Change]) -> list[float]:
        """The looks around changes, and after an absence; between them nothing is new."""
        phase = _EVERY * random.Random(self.seed + 6).random()
        slots: set[int] = set()
        for at in (*(at for at, _, _ in changes), *(end for _, end in self.away)):
            slot = int((at - phase) // _EVERY)
            slots.update(range(slot, slot + int(_AFTER // _EVERY)))
        return [phase + _EVERY * slot for slot in sorted(slots)]


def _over_vici(events: list[SaEvent], heirs: Mapping[int, int]) -> Iterator[SaEvent]:
    """A rekey is told in one event there, with what the replaced Child SA had carried, and of its end no more."""
    replaced = {new: old for old, new in heirs.items()}
    sizes = {one.child_id: one.size for one in events if one.kind == "child_closed"}
    for one in events:
        if one.kind == "collision" or (one.kind in _UNTOLD and one.name is None):
            continue
        if one.kind == "child_established" and one.child_id in replaced:
            old = replaced[one.child_id]
            yield one._replace(
                kind="child_rekeyed",
                child_id=old,
                new_child_id=one.child_id,
                size=sizes.get(old, 0),
            )
        elif one.kind != "child_closed" or one.child_id not in heirs:
            yield one


def _count(counters: Counter[str], change: _Change) -> int:
    """Take a change; 1 where another charon begins."""
    _, name, number = change
    if name not in (_BEGIN, _RESET):
        counters[name] = max(0, counters[name] + number)
        return 0
    standing = counters[_HALF]
    counters.clear()
    counters[_HALF] = standing if name == _RESET else 0
    return int(name == _BEGIN)


def _changes(events: list[SaEvent]) -> Iterator[list[_Change]]:
    """What each event adds to counters, and when; what a second sink says again adds nothing."""
    answers: dict[tuple[str | None, int | None], float] = {
        (one.source, one.ike_id): one.time or 0.0
        for one in reversed(events)
        if one.kind in _ANSWERS and one.ike_id is not None
    }
    seen: set[tuple[str, str | None, int]] = set()
    for one in events:
        if one.kind not in _COUNTED:
            continue
        if one.ike_id is not None:
            fact = (one.kind, one.source, one.ike_id)
            if fact in seen:
                continue
            seen.add(fact)
        at, until = one.time or 0.0, answers.get((one.source, one.ike_id), 0.0)
        if one.kind == "ike_respond":
            end = until if until >= at else at + _HALF_OPEN
            yield [(at, _IN, 1), (at + 0.05, _OUT, 1), (at, _HALF, 1), (end, _HALF, -1)]
        elif one.kind == "ike_initiate":
            yield [(at, _HALF, 1), (until if until >= at else at + _OWN, _HALF, -1)]
        else:
            yield [(at, _OUT, 1)]
