"""What the clock does to monitoring: silences end, alerts of devices that say nothing end, what is old is forgotten."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Table, delete, select, tuple_, update

from fleet.bumps import hold
from fleet.monitoring import alerts, counting, orders, records
from fleet.monitoring.records import AlertView
from fleet.monitoring.values import AlertState
from ike.detection.conditions import QUIET, SLOW_QUIET
from pki.actors import Action, Actor, require
from pki.desk import Desk
from store.engine import Unit
from store.fleet_tables import gateway_reports
from store.monitoring_tables import sa_alerts, sa_counts, sa_days, sa_events, sa_watches

_BATCH = 200
_PORTION = 5_000
_MOST = 100
# After the last word of a device an alert ends that the rules end by a clear sign alone: the longest of their pauses.
_UNCLEAR: Final = 86_400.0
_SHORTEST: Final = timedelta(seconds=min(QUIET.values()))


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


def end_unheard(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """End the alerts of devices without an agent that fell silent, when the rules would end them had the device said
    that nothing happens; tell how many. Raises RoleMayNot.

    An agent vouches for each minute: where one is silent, it is the gateway that is not watched, and its alerts stay.
    """
    require(actor, Action.JOB_RUN)
    ended = after = 0
    for _ in range(_MOST):
        query = _unheard(now).where(sa_alerts.c.id > after).order_by(sa_alerts.c.id).limit(_BATCH)
        with desk.store.read() as connection:
            found = [records.view(row) for row in connection.execute(query)]
        if not found:
            break
        after = found[-1].id
        due = [each for each in found if _is_over(each, now)]
        if due:
            ids, held = [each.id for each in due], sorted({each.gateway_id for each in due})
            ended += desk.store.together(partial(_end_unheard, ids=ids, held=held, now=now))
    return ended


def _end_unheard(unit: Unit, ids: Sequence[int], held: Sequence[int], now: datetime) -> int:
    # As batches lock; it may have been heard of meanwhile.
    hold(unit.connection, held)
    rows = unit.connection.execute(_unheard(now).where(sa_alerts.c.id.in_(ids))).all()
    due = [found for found in map(records.view, rows) if _is_over(found, now)]
    for found in due:
        alerts.end_unheard(unit, found, now)
    return len(due)


def _unheard(now: datetime) -> Select[Any]:
    """Open alerts of devices without an agent, that perhaps are over."""
    report = gateway_reports.c
    return (
        records.shown()
        .outerjoin(gateway_reports, report.gateway_id == sa_alerts.c.gateway_id)
        .where(sa_alerts.c.state == AlertState.OPEN, sa_watches.c.seen_at <= now - _SHORTEST)
        .where(report.seen_at.is_(None))
    )


def _is_over(found: AlertView, now: datetime) -> bool:
    # `pause_seconds`: its signs are hours apart.
    quiet = SLOW_QUIET if "pause_seconds" in found.evidence else QUIET.get(found.kind, _UNCLEAR)
    return found.heard_at is not None and now - found.heard_at > timedelta(seconds=quiet)


def forget_old(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """Forget events, counts and ended alerts that are old; tell how many rows. What was counted for all time stays.

    Raises RoleMayNot.
    """
    require(actor, Action.JOB_RUN)
    kept = desk.rules.retention
    # A silence is for the condition, and there is no other record of it.
    audible = sa_alerts.c.silenced_until.is_(None)
    ended = (sa_alerts.c.state == AlertState.ENDED, sa_alerts.c.ended_at < now - kept.alerts)
    hours = (sa_counts.c.hour > counting.ALWAYS, sa_counts.c.hour < now - kept.counts)
    days = sa_days.c.day < counting.midnight(now - kept.counts)
    return (
        _forget(desk, sa_events, sa_events.c.at < now - kept.events)
        + _forget(desk, sa_alerts, *ended, audible)
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
