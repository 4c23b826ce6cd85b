"""What people decide of alerts: silenced until a time, for a reason; told of again."""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select, update

from fleet.gateways import about, locked
from fleet.monitoring import alerts, records
from fleet.monitoring.records import AlertView
from fleet.monitoring.values import AlertNotSilenced, AlertState, SilenceRefused
from pki.actors import Action, Actor, require, require_gateway
from pki.desk import Desk
from pki.trail import leave
from store.engine import Unit
from store.monitoring_tables import sa_alerts
from store.text import storable

_LONGEST = timedelta(days=366)
# What makes a silenced alert one that people are told of.
AUDIBLE: Final = {"silenced_until": None, "silenced_by": None, "silenced_why": None}


def silence(
    desk: Desk, actor: Actor, number: int, until: datetime, why: str, *, now: datetime
) -> AlertView:
    """Tell nobody of this condition until a time; an earlier silence is replaced. It is watched all the same, and if
    it lasts until then, people are told. Raises RoleMayNot, OutsideScope, SilenceRefused, AlertNotFound.
    """
    require(actor, Action.ALERT_SILENCE)
    why = storable(why).strip()
    if not why:
        raise SilenceRefused("A silence has a reason.")
    if until <= now:
        raise SilenceRefused("This silence would be over already: its end is in the past.")
    if until > now + _LONGEST:
        raise SilenceRefused("A silence ends within a year.")

    def work(unit: Unit) -> None:
        found = _held(unit, actor, number)
        values = {"silenced_until": until, "silenced_by": actor.name, "silenced_why": why}
        _write(unit, found, values, now)
        _trail(unit, actor, found, now, why=why, until=until.isoformat())

    desk.store.together(work)
    return _shown(desk, number)


def unsilence(desk: Desk, actor: Actor, number: int, *, now: datetime) -> AlertView:
    """Take the silence of an alert back. Raises RoleMayNot, OutsideScope, AlertNotFound, AlertNotSilenced."""
    require(actor, Action.ALERT_SILENCE)

    def work(unit: Unit) -> None:
        found = _held(unit, actor, number)
        if found.silenced_until is None:
            raise AlertNotSilenced(f"The alert {number} is not silenced.")
        _write(unit, found, AUDIBLE, now)
        tell_again(unit, found, now)
        _trail(unit, actor, found, now)

    desk.store.together(work)
    return _shown(desk, number)


def tell_again(unit: Unit, found: AlertView, now: datetime) -> None:
    """Tell people of what was silenced and is there, if nobody has told them."""
    row = unit.connection.execute(select(sa_alerts).where(sa_alerts.c.id == found.id)).one()
    if row.state == AlertState.OPEN and not row.told:
        alerts.tell(unit, row, found.gateway, now)


def _held(unit: Unit, actor: Actor, number: int) -> AlertView:
    """The alert, whose gateway's events wait until the transaction ends."""
    gateway = records.pick(unit.connection, number).gateway
    require_gateway(actor, gateway)
    locked(unit.connection, gateway)
    return records.pick(unit.connection, number)


def _write(unit: Unit, found: AlertView, values: dict[str, Any], now: datetime) -> None:
    this = sa_alerts.c.id == found.id
    unit.connection.execute(update(sa_alerts).where(this).values(**values, changed_at=now))


def _trail(unit: Unit, actor: Actor, found: AlertView, now: datetime, **detail: str) -> None:
    leave(
        unit,
        actor,
        "alert.silence" if detail else "alert.unsilence",
        about(found.gateway),
        now=now,
        alert=found.id,
        kind=found.kind,
        connection=found.connection,
        why=detail.get("why"),
        until=detail.get("until"),
    )


def _shown(desk: Desk, number: int) -> AlertView:
    with desk.store.read() as connection:
        return records.pick(connection, number)
