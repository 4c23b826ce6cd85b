"""How fast a gateway may report. Counted in its row, so that all replicas count together."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from fleet.monitoring.values import PER_MINUTE, EventsTooFast

_MINUTE = timedelta(minutes=1)


def counted(watch: Row[Any], number: int, now: datetime) -> dict[str, Any]:
    """The columns after so many events more. Raises EventsTooFast."""
    is_same = now - watch.minute < _MINUTE
    begun = watch.minute if is_same else now
    already = watch.in_minute if is_same else 0
    if already + number > PER_MINUTE:
        wait = (begun + _MINUTE - now).total_seconds()
        raise EventsTooFast(
            f"A gateway may report {PER_MINUTE} events in a minute.",
            details={"retry_after": max(1, min(60, round(wait + 0.49)))},
        )
    return {"minute": begun, "in_minute": already + number}
