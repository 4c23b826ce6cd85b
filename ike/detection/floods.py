"""`half_open_flood`: negotiations that are opened and never finished.

Condition: in two minutes at least ten requests were refused for too many half-open SAs, or cookies demanded, or
twenty half-open SAs timed out; and they are more than three for each peer that came up, by another identity or from
another address than those before it. Judged for the gateway and for each source, a minute later. Without times: twice
as many in all. Where half-open SAs are only counted (`half_open`), those that stand for 30 seconds are taken for timed
out, as the daemon will soon.
Not normal, because an honest peer finishes within a second. Looks alike and is let pass: many clients behind one NAT or
a whole fleet that comes back after a power cut (their SAs come up), a few peers whose answers get lost.
"""

from ike.detection.addresses import household
from ike.detection.conditions import Place
from ike.detection.crowds import Distinct, Flood
from ike.detection.state import Gateway
from ike.events.event import SaEvent

_MINUTE, _ECHO = 60.0, 0.005
_REFUSED, _TIMED_OUT, _UP = 0, 1, 2
_INDEX = {"half_open_limit": _REFUSED, "cookie": _REFUSED, "ike_timeout": _TIMED_OUT}
_LEAST_REFUSED, _LEAST_TIMED_OUT, _RATIO = 10, 20, 3
_MOST_SOURCES, _MOST_LINES = 1_024, 20
_MOST_STOOD = 1_000_000
_AGAIN = 10
_LIFE = 30.0  # seconds after which a daemon gives up a half-open SA


def opened(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    """`half_open_limit`, `cookie`, `ike_timeout`."""
    flood = gateway.flood
    _turn(gateway, at)
    index = _INDEX[event.kind]
    fact = (event.kind, event.source or event.peer, event.ike_id)
    if (
        fact == flood.last
        and at is not None
        and flood.last_at is not None
        and at - flood.last_at < _ECHO
    ):
        return  # through a second sink
    flood.last, flood.last_at = fact, at
    flood.now[index] += 1
    flood.total[index] += 1
    if flood.since is None:
        flood.since = at
    if len(flood.lines) < _MOST_LINES:
        flood.lines.append(event.line)
    source = event.source or event.peer
    if source is not None:
        flood.different.add(source)
        counts = flood.sources.get(source)
        if counts is None and len(flood.sources) < _MOST_SOURCES:
            counts = flood.sources[source] = [0, 0, 0]
        if counts is not None:
            counts[index] += 1


def stood(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    """`half_open`: so many, for so long; whoever they are of."""
    flood = gateway.flood
    _turn(gateway, at)
    weight = min(event.number or 0, _MOST_STOOD) * min(_MINUTE, max(0.0, event.seconds or 0.0))
    flood.stood_now += weight
    flood.stood += weight
    if event.number:
        if flood.since is None:
            flood.since = at
        if len(flood.lines) < _MOST_LINES:
            flood.lines.append(event.line)


def came_up(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    """`ike_established`: the honest ones."""
    flood = gateway.flood
    _turn(gateway, at)
    flood.total[_UP] += 1
    if not _is_another(flood, event):
        # Clients behind one address may share an identity. But whoever has one account may come up again and again.
        flood.again += 1
        if flood.again > _AGAIN:
            return
    flood.now[_UP] += 1
    if flood.sources:
        counts = flood.sources.get(event.source or event.peer or "")
        if counts is not None:
            counts[_UP] += 1


def _is_another(flood: Flood, event: SaEvent) -> bool:
    """Is it one who did not come up in this minute yet, as far as the log shows?"""
    source = event.source or event.peer
    names = [] if event.identity is None else [f"is {event.identity}"]
    if source is not None and source != event.identity:
        names.append(f"at {household(source)}")
    elif not names:
        return True
    return any([flood.arrived.add(name) for name in names])  # both are kept


def _turn(gateway: Gateway, at: float | None) -> None:
    if at is None:
        return
    flood = gateway.flood
    minute = int(at // _MINUTE)
    if flood.minute is None:
        flood.minute = minute
    elif minute > flood.minute:
        _judge(gateway, (flood.minute + 1) * _MINUTE, flood.before, flood.stood_before)
        flood.before, flood.now = flood.now, [0, 0, 0]
        flood.arrived, flood.again = Distinct(), 0
        flood.stood_before, flood.stood_now = flood.stood_now, 0.0
        following = minute == flood.minute + 1
        if not following:
            _judge(gateway, (flood.minute + 2) * _MINUTE, flood.before, flood.stood_before)
            flood.before, flood.stood_before = [0, 0, 0], 0.0
        hostile = flood.before[_REFUSED] or flood.before[_TIMED_OUT] or flood.stood_before
        if not following or not hostile:
            flood.sources.clear()
            flood.lines.clear()
            flood.since = None
            flood.total, flood.stood, flood.different = [0, 0, 0], 0.0, Distinct()
        flood.minute = minute


def judge(gateway: Gateway, now: float | None) -> None:
    """Is it a flood, as far as this minute shows? May be asked at any time."""
    # Those of this minute had no time to come up yet: they count by half.
    flood = gateway.flood
    _judge(
        gateway,
        now,
        [one + other // 2 for one, other in zip(flood.before, flood.now, strict=True)],
        flood.stood_before + flood.stood_now / 2,
    )


def _judge(gateway: Gateway, now: float | None, hostile: list[int], standing: float) -> None:
    # Honest ones had a minute to come up after they were refused: they count from both minutes.
    flood = gateway.flood
    timed_out = max(hostile[_TIMED_OUT], int(standing / _LIFE))  # two views of the same ones
    counts = [hostile[_REFUSED], timed_out, flood.now[_UP] + flood.before[_UP]]
    if counts[_REFUSED] == 0 and counts[_TIMED_OUT] == 0:
        return
    worst = max(flood.sources.items(), key=lambda item: sum(item[1][:2]), default=None)
    # Of one source, only those that came up after its first refusal are known: so twice as many must be refused.
    by_one = (
        worst is not None and sum(worst[1][:2]) >= 2 * _LEAST_REFUSED and _flooded(worst[1], now)
    )
    if not by_one and not _flooded(counts, now):
        return
    source = None
    if worst is not None and 5 * sum(worst[1][:2]) >= 4 * sum(counts[:2]):
        source = worst[0]
    _tell(gateway, flood, now, source)


def _flooded(counts: list[int], now: float | None) -> bool:
    times = 1 if now is not None else 2
    refused, timed_out, up = counts
    return (
        refused >= _LEAST_REFUSED * times or timed_out >= _LEAST_TIMED_OUT * times
    ) and refused + timed_out > _RATIO * up


def _tell(gateway: Gateway, flood: Flood, now: float | None, source: str | None) -> None:
    gateway.sign(
        "half_open_flood",
        Place(gateway.name),
        now,
        flood.lines,
        {
            "refused": flood.total[_REFUSED],
            "timed_out": max(flood.total[_TIMED_OUT], int(flood.stood / _LIFE)),
            "established": flood.total[_UP],
            "sources": len(flood.different),
            **({"source": source} if source is not None else {}),
        },
        since=flood.since,
    )
