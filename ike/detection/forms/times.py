"""Moments and spans as they are shown."""

from datetime import UTC, datetime
from typing import Final

_LAST: Final = 253402300799.0  # the end of the year 9999: a log may say anything


def rfc3339(moment: float | None) -> str | None:
    """`2026-11-29T11:49:13.041Z`; None where the log shows no time, or none that there is."""
    if moment is None or not 0 <= moment <= _LAST:
        return None
    shown = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return shown.replace("+00:00", "Z")


def clock(moment: float | None) -> str:
    """`2026-11-29 11:49:13`; `?` where nothing is known."""
    if moment is None or not 0 <= moment <= _LAST:
        return "?"
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}"


def period(start: float | None, end: float | None) -> str:
    """`2026-11-29 11:49:13 to 11:50:02`, with the second date where it is another."""
    first, last = clock(start), clock(end)
    if last[:10] == first[:10]:
        last = last[11:]
    return first if start == end else f"{first} to {last}"


def span(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3.5 min`, `2 h`, `4 d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{_short(seconds / size)} {unit}"
    return f"{_short(seconds)} s"


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") if value < 100 else f"{value:.0f}"
