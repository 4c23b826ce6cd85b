"""`rekey_collisions`: both ends rekey at once, again and again.

Condition: four of the last twenty rekeys collided; ten of the last twenty where bytes limit the SA.
Not normal, because with jitter a collision happens in about one of a thousand rekeys (2δ / rand_time).
Looks alike and is let pass: a single TEMPORARY_FAILURE, several lines about one collision, SAs limited by bytes at both
ends (they reach the limit together).
"""

from ike.detection import rekeys
from ike.detection.state import Gateway, Trouble, Tunnel, lines_of
from ike.events.event import SaEvent

_SAME = 10.0  # seconds: what is about one collision, and its surplus SA
_LAST = (1 << 20) - 1


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
    limited = rekeys.limited(gateway, tunnel)
    if count < 10 and (limited or count < 4):
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
