"""The clocks of the agent, given from outside: one for validity, one for waiting."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

_TRUSTED_SKEW: Final = 300.0


@dataclass(frozen=True)
class Clock:
    """`wall` may jump and decides only about validity; `monotonic` does not and decides about waiting."""

    wall: Callable[[], datetime]
    monotonic: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.SystemRandom().random


def served_time(now: datetime, skew: float | None) -> datetime:
    """The time by which certificates are judged: ours, or the service's where ours is far from it."""
    if skew is None or abs(skew) < _TRUSTED_SKEW:
        return now
    return now + timedelta(seconds=skew)


def instant(text: str | None) -> datetime | None:
    """A time that was kept as text; None where there is none, or nothing that can be understood."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None
