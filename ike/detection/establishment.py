"""`sa_flapping` and `duplicate_sas`: SAs that do not stay, and SAs that stay too long.

**sa_flapping.** Condition: three IKE SAs of one tunnel deleted within 10 s of their establishment in 5 minutes, or
five within 60 s in 30 minutes; without times, six in a row within 100 lines each.
Not normal, because an IKE SA is made for hours. Looks alike and is let pass: restarts, our own rotations, an
operator's single command, reauthentication with a lifetime that short (the daemon schedules it), roaming clients (each
address is a tunnel of its own), a lost peer (that is `dpd_flapping`). What a peer, a restart or we do explains a few
(see `excuses`): it may be done again and again.

**duplicate_sas.** Condition: three SAs of one Child SA, or three IKE SAs of one identity, live side by side for 30 s;
two for 20 minutes (IKEv1 daemons do it for as long as their rekey margin), and two others again in the next two lives.
Looks alike and is let pass: make-before-break, the delayed deletion after a rekey, a collision's surplus SA, many
clients with identities of their own behind one NAT, a closing whose line was lost, and logs that never show one.
"""

from typing import Final

from ike.detection import excuses, rekeys
from ike.detection.lives import Chain
from ike.detection.state import Gateway, Tunnel
from ike.events.event import SaEvent

#: Seconds after which surplus SAs are looked at.
CROWDED: Final = 31.0
_PASSED: Final = (
    4  # who closes so many younger ones has closed the older one too, and its line was lost
)
_LINGER: Final = 1200.0
_QUICK, _QUICK_WITHIN, _QUICK_TIMES = 10.0, 300.0, 3
_SLOW, _SLOW_WITHIN, _SLOW_TIMES = 60.0, 1800.0, 5
_LIVES, _NEXT = 4, 2
_LIFE, _IKE_LIFE = 7200.0, 14_400.0  # of which nobody told how long it is
_LINES_APART, _UNTIMED_TIMES = 100, 6


def deleted(
    gateway: Gateway,
    tunnel: Tunnel,
    event: SaEvent,
    at: float | None,
    was: tuple[float | None, int, str | None],
) -> None:
    """An IKE SA was deleted that had been up since `was`."""
    since, line, _ = was
    if at is None or since is None:
        if at is None and event.line - line <= _LINES_APART:
            _count_untimed(gateway, tunnel, event)
        elif tunnel.trouble is not None:
            tunnel.trouble.flaps.clear()
        return
    age = at - since
    if age >= _SLOW or _explained(gateway, tunnel, at, age):
        return
    flaps = tunnel.troubled().flaps
    flaps.append((at, event.line, age))
    while flaps[0][0] is not None and flaps[0][0] < at - _SLOW_WITHIN:
        del flaps[0]
    del flaps[:-20]
    quick = [one for one in flaps if one[2] < _QUICK and (one[0] or 0.0) >= at - _QUICK_WITHIN]
    if len(quick) < _QUICK_TIMES and len(flaps) < _SLOW_TIMES:
        return
    shown = quick if len(quick) >= _QUICK_TIMES else flaps
    gateway.sign(
        "sa_flapping",
        gateway.place(tunnel),
        at,
        [one[1] for one in shown],
        {
            "deletions": len(shown),
            "longest_life_seconds": round(max(one[2] for one in shown), 1),
            "window_seconds": round(at - (shown[0][0] or at)),
        },
        since=shown[0][0],
    )


def _explained(gateway: Gateway, tunnel: Tunnel, at: float, age: float) -> bool:
    # Whom we cut off, or renew, may try for as long as we are at it.
    several = max(1, len(tunnel.up))
    spared = excuses.excused(gateway, tunnel, at, tunnel.ended, several, planned=excuses.MOST)
    if spared is not None:
        tunnel.ended = spared
        return True
    if age < _QUICK:
        return False
    reauth = gateway.bounds_of(tunnel).reauth_time or tunnel.scheduled
    if reauth is not None and age >= 0.5 * reauth:
        return True
    return tunnel.reauth_at is not None and at - tunnel.reauth_at < 30.0


def _count_untimed(gateway: Gateway, tunnel: Tunnel, event: SaEvent) -> None:
    flaps = tunnel.troubled().flaps
    if flaps and event.line - flaps[-1][1] > 2 * _LINES_APART:
        flaps.clear()
    flaps.append((None, event.line, 0.0))
    del flaps[:-20]
    if len(flaps) >= _UNTIMED_TIMES:
        gateway.sign(
            "sa_flapping",
            gateway.place(tunnel),
            None,
            [one[1] for one in flaps],
            {"deletions": len(flaps)},
        )


def _again(tunnel: Tunnel, surplus: float, life: float) -> bool:
    """Did another SA stay too long, just before this one? One alone may be a line that was lost, and so may another
    one hours later.
    """
    trouble = tunnel.troubled()
    before, trouble.lingered = trouble.lingered, surplus
    return before is not None and 0.0 < surplus - before < _NEXT * life


def taken(chain: Chain, mark: int | str | None) -> float | None:
    """Take out a Child SA that is closed; gives since when it was up."""
    oldest = next(iter(chain.living))
    chain.passed = 0 if mark == oldest else chain.passed + 1
    since = chain.living.pop(mark)
    chain.closed = mark
    if chain.passed >= _PASSED:
        del chain.living[oldest]
        chain.passed = 0
    return since


def crowded(gateway: Gateway, tunnel: Tunnel, chain: Chain, now: float) -> list[float]:
    """Do SAs of one Child SA live side by side for too long? Gives when to look again."""
    if not gateway.closes:
        return []
    upper = rekeys.upper(gateway, tunnel)
    life = _LIFE if upper is None else upper[0]
    # After so many lives nobody is still there: the line that closed it was lost.
    since = now - _LIVES * life
    living = sorted(each for each in chain.living.values() if each is not None and each > since)
    return _judged(gateway, tunnel, living, now, life, ("child", [chain.line]))


def crowded_ike(gateway: Gateway, tunnel: Tunnel, now: float) -> list[float]:
    """The same for IKE SAs of one identity; without identities nobody knows whether it is one host."""
    if len(tunnel.up) < 2:
        return []
    by_identity: dict[str, list[tuple[float, int]]] = {}
    upper = rekeys.ike_upper(gateway, tunnel)
    life = _IKE_LIFE if upper is None else upper / 2
    oldest = now - _LIVES * life  # as of Child SAs: the deletion of an older one was not logged
    for since, line, identity in tunnel.up.values():
        if identity is not None and since is not None and since > oldest:
            by_identity.setdefault(identity, []).append((since, line))
    due: list[float] = []
    for those in by_identity.values():
        living = sorted(since for since, _ in those)
        shown = ("ike", sorted(line for _, line in those))
        due += _judged(gateway, tunnel, living, now, life, shown)
    return due


def _judged(
    gateway: Gateway,
    tunnel: Tunnel,
    living: list[float],
    now: float,
    life: float,
    shown: tuple[str, list[int]],
) -> list[float]:
    if len(living) < 2:
        return []
    lingers = living[1] + _LINGER
    crowds = living[2] + CROWDED - 1.0 if len(living) > 2 else None
    if crowds is None or crowds > now:
        waits = [] if crowds is None else [crowds]
        if lingers > now:
            return [lingers, *waits]
        if not _again(tunnel, living[0], life):
            return waits
    layer, lines = shown
    gateway.sign(
        "duplicate_sas",
        gateway.place(tunnel),
        now,
        lines,
        {"sas": len(living), "layer": layer, "beside_each_other_seconds": round(now - living[1])},
        since=living[1],
    )
    return [now + 60.0]
