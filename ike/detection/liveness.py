"""`dpd_flapping`, `peer_unreachable`, `retransmit_storm`: a peer lost and found, one that stays away, a lossy path.

**dpd_flapping.** Condition: an established IKE SA was lost to silence (`dpd_timeout`, `giving_up`) three times in an
hour; without times, five times.
Not normal, because each loss costs minutes of traffic. Looks alike and is let pass: a link that goes down once (tries
to set up anew are not losses of an established SA); where that lasts, it is `peer_unreachable`.

**peer_unreachable.** Condition: we gave up on a peer that we call ourselves (an SA that was up, or a try), gave up at
least one more try to reach it, and 15 minutes after the first time no SA is up; without times, six more tries.
Not normal, because who is called is expected to be there. Looks alike and is let pass: an outage of minutes, a client
that leaves without a word and that nobody calls, a hole in the log that may hide the return.

**retransmit_storm.** Condition: within 10 minutes, six exchanges of one established SA needed repeating and at least
two of them more than once, or twelve needed it; none of them was given up.
Looks alike and is let pass: a lone retransmission, DPDs that cross (the first repeat only), a peer that is gone (the
exchange is given up).
"""

from typing import Final

from ike.detection.conditions import Place
from ike.detection.signs import lines_of, note
from ike.detection.state import MOST_SUSPECTS, SLOT, Away, Gateway, Tunnel
from ike.events.event import SaEvent

_LOSSES, _LOSSES_UNTIMED, _LOSS_WITHIN = 3, 5, 3600.0
_REPEATS_WITHIN: Final = 600.0
_AWAY, _TRIES_UNTIMED, _HOLE = 900.0, 6, 1800.0
_MOST_LINES: Final = 20
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


def unanswered(
    gateway: Gateway,
    tunnel: Tunnel | None,
    event: SaEvent,
    at: float | None,
    lost: tuple[str | None] | None,
) -> None:
    """`giving_up` or `dpd_timeout`: of an SA that was up (`lost`: its identity), else it is a try."""
    name, source = event.name or event.connection, event.source or event.peer
    if tunnel is not None:
        name, source = tunnel.name, tunnel.source
    names = gateway.called.get(source) if source is not None else None
    called = names is not None and (not names or name is None or name in names)
    if lost is None and not called:
        return  # no try of ours
    key = (name, source)
    there = gateway.away.get(key)
    if there is None or _has_returned(gateway, key, there):
        gateway.away.pop(key, None)
        if len(gateway.away) >= MOST_SUSPECTS:
            del gateway.away[next(iter(gateway.away))]
        identity = lost[0] if lost is not None else gateway.served.get(key[0] or "") or None
        gateway.away[key] = Away(at, [event.line], identity, at)
        return
    if lost is not None or event.kind != "giving_up":
        return
    if at is not None and there.last is not None and at - there.last < _SAME:
        return  # one try, told twice
    there.tries += 1
    there.last = at
    if len(there.lines) < _MOST_LINES:
        there.lines.append(event.line)
    if at is None or there.since is None:
        long = there.tries >= _TRIES_UNTIMED
    else:
        long = at - there.since >= _AWAY
    if long:
        _tell(gateway, key, there, at)


def overdue(gateway: Gateway, now: float) -> None:
    """Who is away for long by `now`, although perhaps nobody tries any more? And who is back, by a line of its SAs?"""
    for key, there in list(gateway.away.items()):
        if _has_returned(gateway, key, there):
            del gateway.away[key]
            gateway.conditions.clear(
                "peer_unreachable", Place(gateway.name, *key, there.identity), now
            )
        elif not there.told and there.since is not None:
            due = (int((there.since + _AWAY) // SLOT) + 1) * SLOT
            if now >= due and not there.tries:
                del gateway.away[key]  # nobody calls it
            elif now >= due and not gateway.was_silent(_HOLE, there.since):
                _tell(gateway, key, there, due)


def _has_returned(gateway: Gateway, key: tuple[str | None, str | None], there: Away) -> bool:
    """Is there an SA that is younger? The line that told of the peer's return may be lost."""
    tunnel = gateway.tunnels.get(key)
    if tunnel is None or there.since is None:
        return False
    born = [chain.since for chain in tunnel.chains.values()]
    return any(since is not None and since > there.since for since in born)


def _tell(
    gateway: Gateway, key: tuple[str | None, str | None], there: Away, at: float | None
) -> None:
    there.told = True
    age = None if at is None or there.since is None else round(at - there.since)
    gateway.sign(
        "peer_unreachable",
        Place(gateway.name, *key, there.identity),
        at,
        there.lines,
        {"tries": there.tries, "age_seconds": age},
        since=there.since,
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
