"""Periods of reports, in UTC: `2026-Q3`, `2026-10`, `2026-W40`, `2026-10-05`, `last-30d`, `next-30d`, `FROM..TO`."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from pki.certificates import BadQuery

FORMS: Final = "2026, 2026-Q3, 2026-10, 2026-W40, 2026-10-05, last-30d, next-30d or FROM..TO"
_NAMED: Final = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?:Q(?P<quarter>[1-4])|W(?P<week>[0-9]{2})|"
    r"(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2}))?))?"
)
_ROLLING: Final = re.compile(r"(last|next)-([1-9][0-9]{0,3})d")
_FIRST, _LAST = 1990, 2999
_MIDNIGHT: Final = {"hour": 0, "minute": 0, "second": 0, "microsecond": 0}


class BadPeriod(BadQuery):
    """A period that is none."""

    code = "report_period_invalid"
    next_step = (
        f"Write {FORMS}; FROM and TO are dates or times with their zone, and TO is not part of it."
    )


@dataclass(frozen=True)
class Period:
    """From `since` up to, and without, `until`. `name` is how it was asked for."""

    name: str
    since: datetime
    until: datetime

    def moment(self, now: datetime) -> datetime:
        """As of when a report of it is made: its end, or now where it is not over."""
        return min(self.until, now)


def parse(text: str, now: datetime) -> Period:
    """Read a period. `last-30d` ends now, `next-30d` begins now. Raises BadPeriod."""
    try:
        since, until = _bounds(text, now)
    except (ValueError, OverflowError):
        raise BadPeriod(f"{text[:60]!r} is no period.") from None
    # Times are reckoned from: there must be some room before and behind.
    if since.year < _FIRST or until.year > _LAST:
        raise BadPeriod(f"The period {text[:60]!r} is not of our time.")
    if since >= until:
        raise BadPeriod(f"The period {text[:60]!r} ends before it begins.")
    return Period(text, since, until)


def latest(every: str, now: datetime) -> Period:
    """The latest day, week (Monday to Sunday) or month that is over; `every` is daily, weekly or monthly."""
    today = now.astimezone(UTC).replace(**_MIDNIGHT)  # type: ignore[arg-type]
    if every == "daily":
        begin = today - timedelta(days=1)
        return Period(f"{begin:%Y-%m-%d}", begin, today)
    if every == "weekly":
        end = today - timedelta(days=today.weekday())
        begin = end - timedelta(days=7)
        year, week, _ = begin.isocalendar()
        return Period(f"{year}-W{week:02}", begin, end)
    end = today.replace(day=1)
    begin = (end - timedelta(days=1)).replace(day=1)
    return Period(f"{begin:%Y-%m}", begin, end)


def check_moment(at: datetime) -> datetime:
    """A time as of which a report may be made. Raises BadPeriod."""
    if not _FIRST <= at.year <= _LAST:
        raise BadPeriod("A report is as of a time between 1990 and 2999.")
    return at


def _bounds(text: str, now: datetime) -> tuple[datetime, datetime]:
    rolling = _ROLLING.fullmatch(text)
    if rolling:
        span = timedelta(days=int(rolling[2]))
        return (now - span, now) if rolling[1] == "last" else (now, now + span)
    first, dots, last = text.partition("..")
    if dots:
        return _time(first), _time(last)
    named = _NAMED.fullmatch(text)
    if named is None:
        raise ValueError
    return _named({name: int(value) for name, value in named.groupdict().items() if value})


def _named(part: dict[str, int]) -> tuple[datetime, datetime]:
    year = part["year"]
    if "week" in part:
        begin = _midnight(date.fromisocalendar(year, part["week"], 1))
        return begin, begin + timedelta(days=7)
    if "day" in part:
        begin = _midnight(date(year, part["month"], part["day"]))
        return begin, begin + timedelta(days=1)
    if "quarter" in part:
        month, months = part["quarter"] * 3 - 2, 3
    else:
        month, months = (part["month"], 1) if "month" in part else (1, 12)
    after = month - 1 + months
    return (
        _midnight(date(year, month, 1)),
        _midnight(date(year + after // 12, after % 12 + 1, 1)),
    )


def _time(text: str) -> datetime:
    if len(text) <= len("2026-10-05"):
        return _midnight(date.fromisoformat(text))
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError
    return found.astimezone(UTC)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
