"""When a slot is due, and when its policy lets a rotation begin. Pure; windows are on the clocks of their zone."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from fleet.rotation.values import Policy, Window

DAY = timedelta(days=1)
_DAY = 24 * 60
# A window of one day in the week may fall into the hour that a change of the clocks leaves out.
_AHEAD = 15


def next_due(policy: Policy, since: datetime, draw: float) -> datetime | None:
    """When a slot whose key is of `since` is due; None where that is only on demand.

    `draw` (0 to 1) is where in the jitter it falls. Always in a window.
    """
    if policy.interval_days == 0:
        return None
    interval = timedelta(days=policy.interval_days)
    return opening(policy, since + interval * (1 - policy.jitter * draw))


def opening(policy: Policy, now: datetime) -> datetime:
    """The first moment from now on that lies in a window: now where it does, or where there are no windows."""
    if not policy.windows:
        return now
    zone = ZoneInfo(policy.zone)
    starts = []
    for window in policy.windows:
        for start, end in _spans(window, zone, now):
            if start <= now < end:
                return now
            if start > now:
                starts.append(start)
    # None can only be where a window has no length in any week: then it must not hold up a rotation for ever.
    return min(starts, default=now)


def _spans(window: Window, zone: ZoneInfo, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    today = now.astimezone(zone).date()
    for ahead in range(-1, _AHEAD):
        day = today + timedelta(days=ahead)
        if day.weekday() in window.days:
            length = window.end if window.end > window.start else window.end + _DAY
            start, end = _instant(day, window.start, zone, 0), _instant(day, length, zone, 1)
            if start < end:
                yield start, end


def _instant(day: date, minutes: int, zone: ZoneInfo, fold: int) -> datetime:
    """What the clock on the wall shows as this minute of the day. Where it shows it twice `fold` 0 is the first time.

    Where it never shows it, `fold` 0 gives the moment after the clocks were changed and 1 the moment before, so that
    a window never reaches beyond what its owner wrote.
    """
    days, rest = divmod(minutes, _DAY)
    clock = time(rest // 60, rest % 60, fold=fold)
    wall = datetime.combine(day + timedelta(days=days), clock, tzinfo=zone)
    return wall.astimezone(UTC)
