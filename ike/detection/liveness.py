"""`dpd_flapping` and `retransmit_storm`: a peer that is lost and found, and a path that loses packets.

**dpd_flapping.** Condition: an established IKE SA was lost to silence (`dpd_timeout`, `giving_up`) three times in an
hour; without times, five times.
Not normal, because each loss costs minutes of traffic. Looks alike and is let pass: a link that goes down once, however
long: tries to set up anew are not losses of an established SA.

**retransmit_storm.** Condition: within 10 minutes, six exchanges of one established SA needed repeating and at least
two of them more than once, or twelve needed it; none of them was given up.
Looks alike and is let pass: a lone retransmission, DPDs that cross (the first repeat only), a peer that is gone (the
exchange is given up).
"""

from typing import Final

from ike.detection.state import Gateway, Tunnel, lines_of, note
from ike.events.event import SaEvent

_LOSSES, _LOSSES_UNTIMED, _LOSS_WITHIN = 3, 5, 3600.0
_REPEATS_WITHIN: Final = 600.0
_FEW, _MANY = 6, 12
_SAME = 1.0


def died(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """An established IKE SA was lost."""
    trouble = tunnel.troubled()
    trouble.repeats.clear()
    count = note(trouble.deaths, at, event.line, _LOSS_WITHIN, 20)
    if count >= (_LOSSES_UNTIMED if at is None else _LOSSES):
        gateway.sign(
            "dpd_flapping",
            gateway.place(tunnel),
            at,
            lines_of(trouble.deaths),
            {"losses": count, "window_seconds": _LOSS_WITHIN if at is not None else None},
            since=trouble.deaths[0][0],
        )


def repeated(gateway: Gateway, tunnel: Tunnel, event: SaEvent, at: float | None) -> None:
    """`retransmit` on an SA that is up. `repeats`: (when, line, the highest repeat, how many lines) per exchange."""
    if at is None or not tunnel.up or (event.ike_id is not None and event.ike_id not in tunnel.up):
        return
    repeats = tunnel.troubled().repeats
    seq = event.seq
    last = repeats[-1] if repeats else None
    if last is not None and last[0] is not None and at - last[0] < _SAME and seq in (None, last[2]):
        return
    if last is not None and seq is not None and seq > 1 and seq > last[2]:
        repeats[-1] = (at, last[1], seq, last[3] + 1)
    else:
        repeats.append((at, event.line, 1 if seq is None else seq, 1))
    while repeats[0][0] is not None and repeats[0][0] < at - _REPEATS_WITHIN:
        del repeats[0]
    del repeats[:-20]
    hard = sum(1 for one in repeats if one[2] > 1)
    if len(repeats) < _FEW or (hard < 2 and len(repeats) < _MANY):
        return
    gateway.sign(
        "retransmit_storm",
        gateway.place(tunnel),
        at,
        [one[1] for one in repeats],
        {
            "exchanges": len(repeats),
            "repeated_more_than_once": hard,
            "window_seconds": _REPEATS_WITHIN,
        },
        since=repeats[0][0],
    )
