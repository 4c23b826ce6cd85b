"""`rekey_collisions`: both ends rekey at once, again and again.

Condition: four of the last ten rekeys collided, or five of the last twenty; five and seven where the jitter is 8 to 30
seconds; eighteen of twenty where bytes limit the SA.
Not normal, because with jitter a collision happens in about one of a thousand rekeys (2δ / rand_time), and in one of
thirty where the jitter is so small: five of twenty then are chance once in a month. With less jitter it is no chance
that they collide: then the jitter is what is wrong.
Looks alike and is let pass: a single TEMPORARY_FAILURE, several lines about one collision, SAs limited by bytes at both
ends (they reach the limit together, the more often the faster it goes).
"""

from ike.detection import rekeys
from ike.detection.signs import lines_of
from ike.detection.state import Gateway, Trouble, Tunnel
from ike.events.event import SaEvent

_SAME = 10.0  # seconds: what is about one collision, and its surplus SA
_LAST, _LATELY = (1 << 20) - 1, (1 << 10) - 1
#: How many of them are no chance; and where the jitter, in seconds, is between these.
_OF_LAST, _OF_LATELY, _OF_LIMITED = 5, 4, 18
_SMALL, _OF_LAST_SMALL, _OF_LATELY_SMALL = (8.0, 30.0), 7, 5


def rekeyed(trouble: Trouble, age: float) -> None:
    """One more rekey; the surplus SA of a collision is none."""
    if age >= _SAME:
        trouble.pattern = (trouble.pattern << 1) & _LAST


def collided(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """`collision`: the rekey that goes on, or was just done, met the peer's."""
    trouble = tunnel.troubled()
    signs = trouble.collisions
    if signs and at is not None and signs[-1][0] is not None and at - signs[-1][0] < _SAME:
        return
    if at is None and trouble.pattern & 1:
        return  # the same collision, for all that an untimed log tells
    signs.append((at, event.line))
    del signs[:-20]
    trouble.pattern |= 1
    count = trouble.pattern.bit_count()
    lately = (trouble.pattern & _LATELY).bit_count()
    if count < _OF_LAST and lately < _OF_LATELY:
        return
    if count < _OF_LAST_SMALL and lately < _OF_LATELY_SMALL and _is_small(gateway, tunnel):
        return
    if count < _OF_LIMITED and rekeys.limited(gateway, tunnel):
        return
    shown = signs[-count:]
    gateway.sign(
        "rekey_collisions",
        gateway.place(tunnel),
        at,
        lines_of(shown),
        {"collisions": count, "of_the_last_rekeys": max(trouble.pattern.bit_length(), count)},
        since=shown[0][0],
    )


def _is_small(gateway: Gateway, tunnel: Tunnel) -> bool:
    least, most = _SMALL
    jitter = rekeys.jitter(gateway, tunnel)
    return jitter is not None and least <= jitter < most
