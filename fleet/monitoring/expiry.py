"""What the clock does to monitoring: silences end, and what is old is forgotten."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, select, tuple_, update

from fleet.bumps import hold
from fleet.monitoring import counting, orders, records
from fleet.monitoring.values import AlertState
from pki.actors import Action, Actor, require
from pki.desk import Desk
from store.engine import Unit
from store.monitoring_tables import sa_alerts, sa_counts, sa_days, sa_events

_BATCH = 200
_PORTION = 5_000
_MOST = 100


def end_silences(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """Tell people of what is there and is not silenced any longer; tell how many silences ended. Raises RoleMayNot."""
    require(actor, Action.JOB_RUN)
    over = sa_alerts.c.silenced_until <= now
    query = select(sa_alerts.c.id, sa_alerts.c.gateway_id).where(over).limit(_BATCH)
    ended = 0
    for _ in range(_MOST):
        with desk.store.read() as connection:
            due = connection.execute(query.order_by(sa_alerts.c.silenced_until)).all()
        if not due:
            break
        ids, held = [row.id for row in due], sorted({row.gateway_id for row in due})
        ended += desk.store.together(partial(_end, ids=ids, held=held, now=now))
    return ended


def _end(unit: Unit, ids: Sequence[int], held: Sequence[int], now: datetime) -> int:
    # As batches and people lock: gateways first.
    hold(unit.connection, held)
    over = (sa_alerts.c.id.in_(ids), sa_alerts.c.silenced_until <= now)
    found = [records.view(row) for row in unit.connection.execute(records.shown().where(*over))]
    unit.connection.execute(update(sa_alerts).where(*over).values(**orders.AUDIBLE))
    for each in found:
        orders.tell_again(unit, each, now)
    return len(found)


def forget_old(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """Forget events, counts and ended alerts that are old; tell how many rows. What was counted for all time stays.

    Raises RoleMayNot.
    """
    require(actor, Action.JOB_RUN)
    kept = desk.rules.retention
    ended = (sa_alerts.c.state == AlertState.ENDED, sa_alerts.c.ended_at < now - kept.alerts)
    hours = (sa_counts.c.hour > counting.ALWAYS, sa_counts.c.hour < now - kept.counts)
    days = sa_days.c.day < counting.midnight(now - kept.counts)
    return (
        _forget(desk, sa_events, sa_events.c.at < now - kept.events)
        + _forget(desk, sa_alerts, *ended)
        + _forget(desk, sa_counts, *hours)
        + _forget(desk, sa_days, days)
    )


def _forget(desk: Desk, table: Table, *old: ColumnElement[bool]) -> int:
    """In portions, so that nobody waits long."""
    keys: Any = list(table.primary_key.columns)
    those = select(*keys).where(*old).limit(_PORTION)
    gone = 0
    for _ in range(_MOST):
        with desk.store.write() as connection:
            key = keys[0] if len(keys) == 1 else tuple_(*keys)
            count = connection.execute(delete(table).where(key.in_(those))).rowcount
        gone += count
        if count < _PORTION:
            break
    return gone
