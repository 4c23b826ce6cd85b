"""`rekey_collisions`: both ends rekey at once, again and again.

Condition: four of the last ten rekeys collided, or five of the last twenty; eighteen of them where bytes limit the SA.
Not normal, because with jitter a collision happens in about one of a thousand rekeys (2δ / rand_time), and in one of
fifty where the jitter is a few seconds: then four fall among twenty once in a month.
Looks alike and is let pass: a single TEMPORARY_FAILURE, several lines about one collision, SAs limited by bytes at both
ends (they reach the limit together, the more often the faster it goes).
"""

from ike.detection import rekeys
from ike.detection.signs import lines_of
from ike.detection.state import Gateway, Trouble, Tunnel
from ike.events.event import SaEvent

_SAME = 10.0  # seconds: what is about one collision, and its surplus SA
_LAST, _LATELY = (1 << 20) - 1, (1 << 10) - 1
_OF_LAST, _OF_LATELY, _OF_LIMITED = 5, 4, 18


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
    if count < _OF_LAST and (trouble.pattern & _LATELY).bit_count() < _OF_LATELY:
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
