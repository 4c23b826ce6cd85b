"""Failures that are too seldom for a window of minutes, counted over a day.

A daemon that tries every five minutes, and somebody who guesses as patiently, never fail three times in ten minutes. In
a healthy fleet neither fails a dozen times in a day without one success; so here the count of a day stands beside that
of minutes. The rules of `failures`, `agreement` and `certificates` ask it where their own windows show nothing.

Condition: within a day, without a success between, an identity or a peer failed 12 times; a stranger was refused 24
times; a certificate was rejected 4 times; or from one source 20 identities failed that are not at home there (where
somebody came up: 40, and one more for each that came up there meanwhile), or one of which nothing is known failed 24
times with three identities. What falls into an act of ours (a rotation, a renewal, a cut, maintenance) is not counted,
and neither are requests for another group: a long-lived tunnel has one at each rekey. Without times nothing is slow.
Looks alike and is let pass: whoever mistypes now and then, as each success begins the count anew; users who give up for
the day; an office where many mistype and then come up; scans of the Internet, which come by a few times in a day.
"""

from typing import Final

from ike.detection.conditions import Condition, Place
from ike.detection.signs import Sign, note
from ike.detection.state import Gateway, Suspect

DAY: Final = 86_400.0
TIMES, TIMES_OF_STRANGER, TIMES_OF_CERTIFICATE = 12, 24, 4
IDENTITIES, IDENTITIES_OF_KNOWN, SEVERAL = 20, 40, 3
#: Of one source: attempts that are kept, and identities.
MOST: Final = 64
_MOST_EXPLAINED: Final = 24


def count(
    gateway: Gateway, record: Suspect, what: str, place: Place, at: float | None, line: int
) -> int:
    """One more attempt: how many there were within a day, up to `MOST`. 0 where it is not counted."""
    if at is None or (gateway.planned and gateway.plans(at, place.connection)):
        return 0
    return note(record.signs.setdefault(_key(what), []), at, line, DAY, MOST)


def told(what: str, *records: Suspect) -> None:
    """It was told by what happened in minutes: of that, a day says nothing more."""
    for record in records:
        record.signs.pop(_key(what), None)


def signs_of(record: Suspect, what: str) -> list[Sign]:
    """Those that are kept."""
    return record.signs.get(_key(what), [])


def numbers(signs: list[Sign], there: Condition | None = None) -> dict[str, object]:
    """What they show: how many, and how long it was from one to the next on average.

    `there` is a condition of many that lasts, of which it is counted on.
    """
    first, last = signs[0][0], signs[-1][0]
    attempts = None if there is None else there.evidence.get("attempts")
    told: dict[str, object] = {
        "attempts": max(len(signs), attempts + 1 if isinstance(attempts, int) else 0)
    }
    if first is not None and last is not None and len(signs) > 1:
        told["pause_seconds"] = round((last - first) / (len(signs) - 1))
    return told


def try_identity(suspect: Suspect, identity: str | None, at: float | None) -> None:
    """An identity that is not at home at a source failed there."""
    if identity is None or at is None:
        return
    tried = suspect.tried
    tried.pop(identity, None)
    tried[identity] = at  # by the time of their last failure
    while len(tried) > MOST or next(iter(tried.values())) < at - DAY:
        del tried[next(iter(tried))]


def guesses(
    gateway: Gateway, suspect: Suspect, place: Place, source: str | None, number: int
) -> bool:
    """Does one source try identity after identity, so seldom? It failed `number` times in a day."""
    tried = len(suspect.tried)
    if gateway.knows(source):
        return tried >= IDENTITIES_OF_KNOWN + _came_up(gateway, place, source)
    return tried >= IDENTITIES or (tried >= SEVERAL and number >= TIMES_OF_STRANGER)


def _came_up(gateway: Gateway, place: Place, source: str | None) -> int:
    """How many are up at a source? Each may have failed by another name of its own before."""
    tunnel = gateway.tunnels.get((place.connection, source))
    return 0 if tunnel is None else min(len(tunnel.up), _MOST_EXPLAINED)


def _key(what: str) -> str:
    return f"{what} of a day"
