"""What explains a short life of an SA, and how many: an event, or an act of ours.

A peer may change its address as often as it likes, a connection may be loaded again each minute, and a gateway may
renew its certificate as often as it likes. So whatever happens explains a few short lives, and an hour has no more than
so many, whatever happens.
"""

from typing import Final

from ike.detection.state import Gateway, Tunnel

HOUR: Final = 3600.0
#: Of an hour; and of an event, and of an act of ours.
MOST: Final = 20
_FORGIVEN, _PLANNED = 2, 4


def explained(gateway: Gateway, tunnel: Tunnel, at: float) -> bool:
    """Did something happen, or do we do something, that explains a short life at `at`?"""
    return at <= tunnel.excuse or (bool(gateway.planned) and bool(gateway.plans(at, tunnel.name)))


def excused(
    gateway: Gateway,
    tunnel: Tunnel,
    at: float,
    spared: tuple[float, ...],
    several: int = 1,
    planned: int = _PLANNED,
) -> tuple[float, ...] | None:
    """A short life is explained, and one of few: gives `spared`, which are those of the same SAs before, with it.

    None: it is not. Of such SAs there are `several`; an act of ours explains `planned`.
    """
    if not explained(gateway, tunnel, at):
        return None
    spared = tuple(each for each in spared if each > at - HOUR)
    reasons = [(tunnel.excused, _FORGIVEN)] if at <= tunnel.excuse else []
    if gateway.planned:
        begun = gateway.planned_since(at, tunnel.name)
        reasons += [] if begun is None else [(begun, planned)]
    if len(spared) >= MOST * several or not any(
        sum(each >= since for each in spared) < most * several for since, most in reasons
    ):
        return None
    return (*spared, at)
