"""What the whole fleet's SAs did in an hour, summed up so that looking at it is cheap."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, func, select

from fleet.monitoring import counting
from fleet.monitoring.shown import REKEYS
from pki.actors import Action, Actor, require
from pki.desk import Desk
from store.many import insert_all
from store.monitoring_tables import sa_counts, sa_hours

#: So many hours are summed up, and shown.
SHOWN: Final = 24
_HOUR: Final = timedelta(hours=1)
# Most events come at once; of a gateway that could not be reached they come late.
_FRESH: Final = 3


def sum_up(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """Sum up the last hours, and one of those before, another one each minute; tell of how many lines they came to.

    Raises RoleMayNot.
    """
    require(actor, Action.JOB_RUN)
    latest = _begin(now)
    with desk.store.read() as connection:
        first = connection.scalar(select(sa_hours.c.hour).limit(1)) is None
    back = set(range(SHOWN)) if first else {*range(_FRESH), now.minute % SHOWN}
    hours = [latest - number * _HOUR for number in sorted(back)]
    total = func.sum(sa_counts.c.number)
    sums = (
        select(sa_counts.c.hour, sa_counts.c.kind, total.label("number"))
        .where(sa_counts.c.hour.in_(hours), sa_counts.c.kind != counting.COUNTED)
        .group_by(sa_counts.c.hour, sa_counts.c.kind)
    )
    with desk.store.read() as connection:
        rows = [
            {"hour": row.hour, "kind": row.kind, "number": int(row.number)}
            for row in connection.execute(sums)
        ]
    with desk.store.write() as connection:
        over = sa_hours.c.hour < latest - SHOWN * _HOUR
        connection.execute(delete(sa_hours).where(sa_hours.c.hour.in_(hours) | over))
        insert_all(connection, sa_hours, rows)
    return len(rows)


def _begin(now: datetime) -> datetime:
    return now.replace(minute=0, second=0, microsecond=0)


def rekeys(
    connection: Connection, now: datetime, of: ColumnElement[bool] | None = None
) -> Mapping[datetime, int]:
    """How often SAs were rekeyed or authenticated anew in each of the last hours, the earliest first; `of` is a
    condition of `sa_counts`, where it is not of the whole fleet.
    """
    latest = _begin(now)
    since = latest - (SHOWN - 1) * _HOUR
    if of is None:
        query = select(sa_hours.c.hour, func.sum(sa_hours.c.number)).where(
            sa_hours.c.kind.in_(REKEYS), sa_hours.c.hour >= since
        )
        query = query.group_by(sa_hours.c.hour)
    else:
        query = select(sa_counts.c.hour, func.sum(sa_counts.c.number)).where(
            of,
            sa_counts.c.hour >= since,
            sa_counts.c.kind.in_(REKEYS),
        )
        query = query.group_by(sa_counts.c.hour)
    found = {hour: int(number) for hour, number in connection.execute(query)}
    hours = [since + number * _HOUR for number in range(SHOWN)]
    return {hour: found.get(hour, 0) for hour in hours}
