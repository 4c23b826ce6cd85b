"""`rekey_too_fast` and `rekey_missed`: SAs that are replaced before any timer says so, or not at all.

**rekey_too_fast.** Condition: four rekeys within four times the lower bound (those within a minute count as one, unless
they are four), of SAs younger than the bound (rekey_time - rand_time of the configuration, less 2 s; learned: three
quarters of the second least age of the last 16, but never below a fifth of what it was once). With nothing known: five
in a row within 10 s each (within two minutes, where a bound was known before), or eight of which the last five, about
5 minutes old at most, differ but for the shortest by more than a factor of 3.5, which one lifetime with jitter never
does; or for an hour none older than two minutes.
Not normal, because both ends draw their instant from one interval: nothing but an event replaces an SA before it.
Looks alike and is let pass: the second SA of a collision (younger than 3 s, alone), byte limits (the closed SA had
carried what the configuration allows, or the sizes are alike while the ages are not), an operator's command or two, and
a short lifetime that nobody told us: it is regular. MOBIKE, a restart, a changed configuration or a soft limit explains
two short lives of each Child SA, a rotation or renewal of ours four, and all of an hour 20 of each (see `excuses`).
A new shorter regular lifetime is taken over after six rekeys where the configuration is not known, if it is at least
two minutes and no less than what may be learned: a script is regular too. Whoever loads a connection may have changed
its lifetimes: they are learned anew, unless it is loaded more than six times a day.

**rekey_missed.** Condition: an SA is older than its life_time (learned, from seven regular rekeys on: half as old again
as any before) by one life,
was neither closed nor replaced, and its gateway still speaks; or it was closed when it was older than that by half a
life; or its rekey was refused three times. The second life is waited for because a line gets lost now and then: then
the rekey was not seen, and the next one is. Where the log was silent for long enough to hide two, three times as long
is waited for, and the silence: a log may be quiet at all times.
Looks alike and is let pass: SAs that were closed or lost with their peer, daemons that let idle SAs lapse, a single
TEMPORARY_FAILURE of a collision, reauthentication, a lost line, a hole in the log that hides two rekeys.
"""

from itertools import pairwise
from typing import Final

from ike.detection import excuses
from ike.detection.bounds import (
    ENOUGH,
    KEPT,
    SLACK,
    learned_least,
    learned_lower,
    learned_upper,
    steady,
)
from ike.detection.lives import Chain, Pace, Replaced
from ike.detection.signs import lines_of, note
from ike.detection.state import Gateway, Tunnel
from ike.events.echoes import Said
from ike.events.event import SaEvent

_TWIN = 3.0  # seconds: the second SA of a collision
_STREAK: Final = 4
_WITHIN_LIVES: Final = 4
_BOUT: Final = 60.0
_FLOOR: Final = 10.0
_UNTOLD, _UNTOLD_IRREGULAR, _ENDLESS = 5, 8, 30
_SHORT_LIFE: Final = 300.0
_IRREGULAR: Final = 3.5
_ADOPT: Final = 6
#: The least lifetime that the vendors' devices take: nobody changes to a shorter one.
_LEAST_ADOPTED: Final = 120.0
_REFUSALS: Final = 3
_REFUSED_WITHIN: Final = 1800.0
#: The learned lower bound is at least this share of the longest life where a timer ends it.
_TIMERLIKE: Final = 0.4
_SAME_AGE: Final = 1.0
_BIG: Final = 10_000  # bytes; below, an alike size says nothing
_ENOUGH_SIZES, _ALIKE = 3, 1.3
_TWICE: Final = 2.1  # two lives, and what a retried rekey takes


def judge(gateway: Gateway, tunnel: Tunnel, one: Replaced) -> None:
    """An SA was replaced."""
    pace = one.pace
    quick = one.age < _LEAST_ADOPTED or pace.fast is not None
    if quick and one.lifetime is None and _is_endless(gateway, tunnel, one):
        return
    lower = pace.lower if one.lifetime is None else one.lifetime.lower
    if lower is None:
        _judge_untold(gateway, tunnel, one)
        return
    if one.age >= lower - SLACK:
        pace.early = None
        if one.lifetime is None:
            _learn(pace, one.age)
        if pace.short:
            _calm(gateway, tunnel, pace, one.at, lower)
        return
    if _excused(gateway, tunnel, one):
        _spare(one)
        return
    _short(gateway, tunnel, one, lower)


def _excused(gateway: Gateway, tunnel: Tunnel, one: Replaced) -> bool:
    """Is a short life explained? Of each Child SA a few are, and of all of a tunnel so many in an hour: chains begin
    anew as often as a peer authenticates.
    """
    spared = tunnel.spared = [each for each in tunnel.spared if each > one.at - excuses.HOUR]
    if len(spared) >= excuses.MOST * max(1, len(tunnel.chains)):
        return False
    of_these = excuses.excused(gateway, tunnel, one.at, one.those.spared, one.several)
    if of_these is None:
        return False
    one.those.spared = of_these
    spared.append(one.at)
    return True


def _spare(one: Replaced) -> None:
    """A short life is let pass; but if it goes on, this is where it began."""
    there = one.pace.early
    if there is None or one.at - there[2] > _BOUT:
        there = (one.at, one.line, one.at, 0)
    one.pace.early = (there[0], there[1], one.at, there[3] + 1)


def _begun(pace: Pace, recent: list[tuple[float, int, float]]) -> tuple[float, list[int], int]:
    """Since when it goes on, the lines that show it, and how many there were."""
    begin, shown, early = recent[0][0], [one[1] for one in recent], pace.early
    if early is None or begin - early[2] > _BOUT:
        return begin, shown, len(recent)
    return early[0], [early[1], *shown], early[3] + len(recent)


def _learn(pace: Pace, age: float) -> None:
    if age < _TWIN:
        return
    ages = pace.ages
    ages.append(age)
    pace.longest = max(pace.longest, age)
    if len(ages) > KEPT:
        del ages[: KEPT // 4]
        _bound(pace)


def _bound(pace: Pace) -> None:
    """Take the bound from the ages: whoever shortens them little by little does not take it along without end."""
    lower = learned_lower(pace.ages)
    if lower is not None:
        pace.least = max(pace.least, learned_least(lower))
        lower = max(lower, pace.least)
    pace.lower = lower


def _calm(gateway: Gateway, tunnel: Tunnel, pace: Pace, at: float, lower: float) -> None:
    # One long life between short ones is no end while they are many; nothing short for four times the bound is.
    pace.short = [one for one in pace.short if one[0] > at - _WITHIN_LIVES * lower]
    if not pace.short:
        _ended(gateway, tunnel, pace, at)


def _ended(gateway: Gateway, tunnel: Tunnel, pace: Pace, at: float) -> None:
    pace.short.clear()
    if pace.alarmed:
        pace.alarmed = False
        gateway.conditions.clear("rekey_too_fast", gateway.place(tunnel), at)


def _short(gateway: Gateway, tunnel: Tunnel, one: Replaced, lower: float) -> None:
    pace, lifetime, age, at = one.pace, one.lifetime, one.age, one.at
    trouble = tunnel.trouble
    if age < _TWIN and trouble is not None and trouble.collisions:
        last = trouble.collisions[-1][0]
        if last is not None and at - last < _TWIN:
            return
    pace.short.append((at, one.line, age))
    if len(pace.short) > KEPT:
        del pace.short[0]
    # A streak is broken by a pause that a normal life fits into; collisions put one short life into each cycle.
    recent = _without_twins([each for each in pace.short if each[0] > at - _WITHIN_LIVES * lower])
    if not _many(recent):
        return
    if lifetime is None and limited(gateway, tunnel):
        return
    ages = [each[2] for each in recent]
    if lifetime is None and len(recent) < _ADOPT and _relearns(gateway, recent, lower):
        return
    if lifetime is None and _adopted(gateway, tunnel, pace, at):
        return
    pace.alarmed = True
    since, shown, count = _begun(pace, recent)
    gateway.sign(
        "rekey_too_fast",
        gateway.place(tunnel),
        at,
        shown,
        {
            "rekeys": count,
            "shortest_seconds": round(min(ages), 1),
            "longest_seconds": round(max(ages), 1),
            "lower_bound_seconds": round(lower, 1),
            "bound": "configured" if lifetime is not None else "learned",
        },
        since=since,
    )


def _many(recent: list[tuple[float, int, float]]) -> bool:
    # An operator who rekeys twice within a minute does one thing; four times are a storm.
    if len(recent) < _STREAK:
        return False
    bouts, inside, most = 1, 1, 1
    for one, later in pairwise(recent):
        near = later[0] - one[0] < _BOUT
        bouts, inside = (bouts, inside + 1) if near else (bouts + 1, 1)
        most = max(most, inside)
    return bouts >= _STREAK or most >= _STREAK


def _without_twins(recent: list[tuple[float, int, float]]) -> list[tuple[float, int, float]]:
    """Without the second SAs of collisions, of which not every daemon tells: each stands alone, as in a storm none."""
    tiny = [one[0] for one in recent if one[2] < _TWIN]
    return [
        one
        for one in recent
        if one[2] >= _TWIN or sum(abs(one[0] - other) <= 4 * _TWIN for other in tiny) > 1
    ]


def _adopted(gateway: Gateway, tunnel: Tunnel, pace: Pace, at: float) -> bool:
    ages = [one[2] for one in pace.short[-_ADOPT:]]
    if len(ages) < _ADOPT or min(ages) < _LEAST_ADOPTED or not steady(ages):
        return False
    if (learned_lower(ages) or 0.0) < pace.least:
        return False
    pace.ages = ages
    _bound(pace)
    _ended(gateway, tunnel, pace, at)
    return True


def _relearns(gateway: Gateway, recent: list[tuple[float, int, float]], lower: float) -> bool:
    """Did a hole in the log perhaps hide that another lifetime was configured? A few more rekeys will show it."""
    since = recent[0][0] - _WITHIN_LIVES * lower
    return steady([one[2] for one in recent]) and gateway.was_silent(2 * lower, since)


def _judge_untold(gateway: Gateway, tunnel: Tunnel, one: Replaced) -> None:
    """The first hour of a connection whose configuration is not known."""
    pace, age, at = one.pace, one.age, one.at
    if age >= _FLOOR:
        pace.early = None
    if _excused(gateway, tunnel, one):
        if age < _FLOOR:
            _spare(one)
        return
    pace.short.append((at, one.line, age))
    del pace.short[:-_UNTOLD_IRREGULAR]
    if len(pace.short) < _UNTOLD:
        return
    ages = [each[2] for each in pace.short[-_UNTOLD:]]
    least, most = min(ages), max(ages)
    # Once it is one, or was slower, it is none where they are so slow that somebody may have configured it.
    storm = most < (_LEAST_ADOPTED if pace.alarmed or pace.proven else _FLOOR)
    usual = sorted(ages)[1:]  # but for the shortest: a collision, or a rekey by hand
    if not storm and (steady(usual, _IRREGULAR) or usual[1] >= _SHORT_LIFE):
        pace.ages.extend(usual)
        pace.longest = max(pace.longest, most)
        _bound(pace)
        _ended(gateway, tunnel, pace, at)
        return
    if not storm and (len(pace.short) < _UNTOLD_IRREGULAR or most >= 2 * _SHORT_LIFE):
        return
    if limited(gateway, tunnel):
        return
    pace.alarmed = True
    since, shown, count = _begun(pace, pace.short)
    gateway.sign(
        "rekey_too_fast",
        gateway.place(tunnel),
        at,
        shown,
        {
            "rekeys": count,
            "shortest_seconds": round(least, 1),
            "longest_seconds": round(most, 1),
            "bound": "none known",
        },
        since=since,
        variant="storm",
    )


def _is_endless(gateway: Gateway, tunnel: Tunnel, one: Replaced) -> bool:
    """Were they faster than anybody configures for an hour? In a laboratory they are, for minutes."""
    pace, fast = one.pace, one.pace.fast
    if one.age >= _LEAST_ADOPTED:
        pace.fast = None
        if fast is not None and not pace.short:
            _ended(gateway, tunnel, pace, one.at)
        return False
    since, line, count = fast or (one.at - one.age, one.line, 0)
    pace.fast = (since, line, count + 1)
    if count < _ENDLESS or one.at - since < excuses.HOUR or limited(gateway, tunnel):
        return False
    pace.alarmed = True
    pace.ages.clear()  # what they taught so far
    pace.lower, pace.least, pace.longest = None, 0.0, 0.0
    gateway.sign(
        "rekey_too_fast",
        gateway.place(tunnel),
        one.at,
        [line, one.line],
        {
            "rekeys": count + 1,
            "shortest_seconds": round(one.age, 1),
            "longest_seconds": round(one.age, 1),
            "bound": "none known",
        },
        since=since,
        variant="storm",
    )
    return True


def anew(pace: Pace) -> Pace:
    """The connection was loaded, perhaps with other lifetimes: what was normal is not known any more; what goes on
    goes on.
    """
    known = pace.proven or (pace.lower or 0.0) >= _LEAST_ADOPTED
    fast = _LEAST_ADOPTED if known or pace.alarmed else _FLOOR
    short = [each for each in pace.short if each[2] < fast]  # the others were normal then
    new = Pace(short=short, alarmed=pace.alarmed, early=pace.early, proven=known)
    new.spared, new.fast = pace.spared, pace.fast
    return new


# --- byte limits


def limited(gateway: Gateway, tunnel: Tunnel) -> bool:
    """Does a limit of bytes govern this tunnel? Its rekeys are at no time, and collide without anything being wrong."""
    if gateway.bounds_of(tunnel).rekey_bytes is not None:
        return True
    pace = tunnel.child
    if pace.sized < _ENOUGH_SIZES or pace.smallest < _BIG or pace.largest > _ALIKE * pace.smallest:
        return False
    ages = _ages(pace)
    return bool(ages) and not steady(ages, _ALIKE)


def jitter(gateway: Gateway, tunnel: Tunnel) -> float | None:
    """Seconds from which an end draws its instant, by configuration or by how much ages differ; None: not known."""
    lifetime, ages = gateway.bounds_of(tunnel).child, _ages(tunnel.child)
    if lifetime is not None:
        return lifetime.rand_time
    return max(ages) - min(ages) if len(ages) >= ENOUGH else None


def _ages(pace: Pace) -> list[float]:
    return [each for each in (*pace.ages, *(one[2] for one in pace.short)) if each >= _TWIN]


def weigh(gateway: Gateway, tunnel: Tunnel, size: int, age: float) -> None:
    """A replaced SA was closed after `size` bytes: a limit explains its short life."""
    if age < _TWIN:
        return
    pace = tunnel.child
    pace.sized += 1
    pace.largest = max(size, pace.largest)
    if size < pace.smallest or pace.sized == 1:
        pace.smallest = size
    limit = gateway.bounds_of(tunnel).rekey_bytes
    if limit is not None and pace.short and size >= 0.8 * limit:
        pace.short = [one for one in pace.short if abs(one[2] - age) > _SAME_AGE]


# --- missed


def upper(gateway: Gateway, tunnel: Tunnel) -> tuple[float, float] | None:
    """The age that no Child SA of this tunnel reaches, and the longest that one is normally used; None: not known."""
    lifetime = gateway.bounds_of(tunnel).child
    if lifetime is not None:
        return lifetime.upper, lifetime.rekey_time
    pace = tunnel.child
    if not tunnel.timed:
        return None
    lower, longest = pace.lower, pace.longest
    if lower is None:  # and a few rekeys may show a lifetime already
        ages = [*pace.ages, *(one[2] for one in pace.short)]
        lower = learned_lower(ages)
        if lower is None or min(ages) < _LEAST_ADOPTED or not steady(ages):
            return None
        longest = max(ages)
    if lower < _TIMERLIKE * longest:
        return None  # limits of bytes come at any age
    return learned_upper(longest), longest


def overdue(gateway: Gateway, tunnel: Tunnel) -> float | None:
    """The age at which a Child SA was not rekeyed, even if the line of one rekey was lost; None: not known."""
    found = upper(gateway, tunnel)
    return None if found is None else sum(found)


def late(gateway: Gateway, tunnel: Tunnel, since: float, at: float) -> bool:
    """Is a Child SA that was up since then too old at `at`, by more than a clock is ever set?"""
    found = upper(gateway, tunnel)
    return (
        found is not None
        and at - since > found[0] + found[1] / 2
        and not excuses.explained(gateway, tunnel, at)
    )


def outlived(gateway: Gateway, tunnel: Tunnel, line: int, since: float, at: float) -> None:
    """A Child SA was closed, at last: it was up from `since` to `at`, and no line of it was lost."""
    place = gateway.place(tunnel)
    evidence = {"age_seconds": round(at - since), "sa": "child"}
    gateway.sign("rekey_missed", place, at, [line], evidence, since=since)
    gateway.conditions.clear("rekey_missed", place, at)


def ike_upper(gateway: Gateway, tunnel: Tunnel) -> float | None:
    """The age at which an IKE SA was missed, as `overdue`: by configuration, or by what the daemon said it would do."""
    bounds = gateway.bounds_of(tunnel)
    lifetimes = [each for each in (bounds.ike and bounds.ike.upper, bounds.reauth_time) if each]
    if lifetimes:
        return max(lifetimes) * _TWICE
    return None if tunnel.scheduled is None else tunnel.scheduled * _TWICE + 120.0


def missed(gateway: Gateway, tunnel: Tunnel, chain: Chain, since: float, now: float) -> None:
    """A Child SA is past its life."""
    chain.missed = chain.overdue = True
    gateway.sign(
        "rekey_missed",
        gateway.place(tunnel),
        now,
        [chain.line],
        {"age_seconds": round(now - since), "sa": "child"},
        since=since,
    )


def ike_missed(gateway: Gateway, tunnel: Tunnel, since: float, line: int, now: float) -> None:
    """An IKE SA is past its life."""
    gateway.sign(
        "rekey_missed",
        gateway.place(tunnel),
        now,
        [line],
        {"age_seconds": round(now - since), "sa": "ike"},
        since=since,
    )


def refused(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """`child_rekey_failed`: one is normal in a collision; three without success are not."""
    if event.phase is not None:
        return
    chain = next(
        (each for each in tunnel.chains.values() if event.child_id in each.living),
        next(iter(tunnel.chains.values()), None),
    )
    if chain is None:
        return
    if chain.refused is None:
        chain.refused, chain.refusals = [], 0
    said = Said(at, event.line, event.thread)
    if chain.refused and said.is_again(Said(*chain.refused[-1], chain.refused_by)):
        return  # the notice and the daemon's sentence
    chain.refused_by = event.thread
    chain.refusals += 1
    count = note(chain.refused, at, event.line, _REFUSED_WITHIN, 20)
    if count < _REFUSALS:
        return
    chain.missed = True
    gateway.sign(
        "rekey_missed",
        gateway.place(tunnel),
        at,
        lines_of(chain.refused),
        {"refusals": chain.refusals, "sa": "child"},
        since=chain.refused[0][0],
        variant="refused",
    )


def kept(gateway: Gateway, tunnel: Tunnel, chain: Chain, at: float | None) -> None:
    """A Child SA was replaced or closed after all: nothing is missed."""
    chain.refused = None
    if chain.missed:
        chain.missed = chain.overdue = False
        gateway.conditions.clear("rekey_missed", gateway.place(tunnel), at)
