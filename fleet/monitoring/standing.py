"""How things stand, for a receiver that forgets what it is not told again and again."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, or_, select, tuple_

from fleet.bumps import chunks
from fleet.monitoring import records
from fleet.monitoring.records import AlertView
from fleet.monitoring.values import AlertState
from pki.actors import Action, Actor, require
from pki.desk import Desk
from store.monitoring_tables import sa_alerts

PAGE = 500
#: What ended is told so long: an older message that came late may have opened it again over there.
AFTERGLOW = timedelta(minutes=15)


def standing(desk: Desk, actor: Actor, after: int, *, now: datetime) -> list[AlertView]:
    """The next alerts that people were told of, at most `PAGE`, in the order of their numbers: those that are open and
    not silenced, and those that ended lately. Raises RoleMayNot.
    """
    require(actor, Action.JOB_RUN)
    column = sa_alerts.c
    lately = and_(column.state == AlertState.ENDED, column.ended_at > now - AFTERGLOW)
    query = (
        records.shown()
        .where(column.id > after, column.told == 1)
        .where(or_(and_(column.state == AlertState.OPEN, _audible(now)), lately))
        .order_by(column.id)
        .limit(PAGE)
    )
    with desk.store.read() as connection:
        return [records.view(row) for row in connection.execute(query)]


def latest(desk: Desk, actor: Actor, numbers: Sequence[int], *, now: datetime) -> list[AlertView]:
    """The last alert of the condition of each of these, in the order of their numbers, without those that are silenced
    while they last. Raises RoleMayNot.
    """
    require(actor, Action.JOB_RUN)
    same = (sa_alerts.c.gateway_id, sa_alerts.c.same)
    found: dict[int, AlertView] = {}
    with desk.store.read() as connection:
        for some in chunks(sorted(set(numbers))):
            conditions = select(*same).where(sa_alerts.c.id.in_(some))
            last = select(func.max(sa_alerts.c.id)).where(tuple_(*same).in_(conditions))
            query = records.shown().where(
                sa_alerts.c.id.in_(last.group_by(*same)),
                or_(sa_alerts.c.state == AlertState.ENDED, _audible(now)),
            )
            found |= {row.id: records.view(row) for row in connection.execute(query)}
    return [found[number] for number in sorted(found)]


def _audible(now: datetime) -> ColumnElement[bool]:
    until = sa_alerts.c.silenced_until
    return or_(until.is_(None), until <= now)
