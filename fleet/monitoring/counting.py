"""Events counted by connection, kind, reason and hour, and by day, in the transaction that stores them: each once.
What a daemon counted itself is added to it as its own kind.
"""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, Connection, func, select

from fleet.bumps import chunks
from store.many import count_up
from store.monitoring_tables import sa_counts, sa_days

# Stands for all time.
ALWAYS: Final = datetime(1970, 1, 1, tzinfo=UTC)
# A gateway gets so many lines of its own; the rest of what it reports is counted together. Names come from a log.
MOST: Final = 20_000
OTHERS: Final = "(others)"
#: The kind of what is no event.
COUNTED: Final = "counted"
#: A gateway may say that it counted any number; so many of it are believed at a time.
MOST_AT_ONCE: Final = 1 << 32
_WORD = re.compile(r"[a-z0-9_-]{1,40}")
_KEYS: Final = (sa_counts.c.connection, sa_counts.c.kind, sa_counts.c.reason)
Line = tuple[str, str, str]


class Told(NamedTuple):
    """What was told once, or `number` times."""

    at: datetime
    connection: str | None
    kind: str
    reason: str | None
    number: int = 1


def count(
    connection: Connection,
    gateway_id: int,
    lines: int,
    events: Iterable[Told],
) -> int:
    """Add events of a gateway that had so many lines; tell how many it has now."""
    hours: Counter[tuple[datetime, Line]] = Counter()
    for at, name, kind, reason, times in events:
        word = reason if reason is not None and _WORD.fullmatch(reason) else ""
        hour = at.replace(minute=0, second=0, microsecond=0)
        hours[hour, (name or "", kind, word)] += min(times, MOST_AT_ONCE)
    if not hours:
        return lines
    given = {line for _, line in hours}
    new = given - _known(connection, gateway_id, sorted({name for name, _, _ in given}))
    crowded = lines + len(new) > MOST
    totals: Counter[tuple[datetime, Line]] = Counter()
    days: Counter[tuple[datetime, Line]] = Counter()
    for (hour, line), number in hours.items():
        told = (OTHERS, line[1], "") if crowded and line in new else line
        totals[hour, told] += number
        totals[ALWAYS, told] += number
        days[midnight(hour), told] += number
    _add(connection, gateway_id, sa_counts.c.hour, totals)
    _add(connection, gateway_id, sa_days.c.day, days)
    if not crowded:
        return lines + len(new)
    mine = (sa_counts.c.gateway_id == gateway_id, sa_counts.c.hour == ALWAYS)
    return connection.execute(select(func.count()).where(*mine)).scalar_one()


def _known(connection: Connection, gateway_id: int, names: list[str]) -> set[Line]:
    """All lines of these connections."""
    mine = select(*_KEYS).where(sa_counts.c.gateway_id == gateway_id, sa_counts.c.hour == ALWAYS)
    return {
        (row.connection, row.kind, row.reason)
        for some in chunks(names)
        for row in connection.execute(mine.where(sa_counts.c.connection.in_(some)))
    }


def midnight(at: datetime) -> datetime:
    """When the day of a time began, in UTC."""
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _add(
    connection: Connection,
    gateway_id: int,
    column: Column[datetime],
    totals: Counter[tuple[datetime, Line]],
) -> None:
    rows: list[dict[str, Any]] = [
        {
            "gateway_id": gateway_id,
            column.name: begin,
            "connection": name,
            "kind": kind,
            "reason": reason,
            "number": number,
        }
        for (begin, (name, kind, reason)), number in sorted(totals.items())
    ]
    count_up(connection, column.table, rows, "number")
