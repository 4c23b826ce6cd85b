"""Acceptances that have ended, and findings that were fixed long ago."""

from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import ColumnElement, select, update

from fleet.bumps import hold
from fleet.findings import changes, filing, records
from fleet.findings.changes import Change
from fleet.findings.values import State
from pki.actors import Action, Actor, require
from pki.desk import Desk
from store.engine import Unit
from store.finding_tables import findings

ENDED = "the acceptance has ended"
_BATCH = 200
_MOST = 100
# So long is told of what was fixed.
_MEMORY = timedelta(days=400)


def reopen_ended(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """Open every finding whose acceptance has ended; tell how many. Raises RoleMayNot."""
    require(actor, Action.JOB_RUN)
    ended = findings.c.accepted_until <= now
    opened = 0
    for _ in range(_MOST):
        query = (
            select(findings.c.id, findings.c.gateway_id)
            .where(ended)
            .order_by(findings.c.accepted_until, findings.c.id)
            .limit(_BATCH)
        )
        with desk.store.read() as connection:
            due = connection.execute(query).all()
        if not due:
            break
        ids, gateways = [row.id for row in due], sorted({row.gateway_id for row in due})
        opened += desk.store.together(
            partial(_open, actor=actor, ids=ids, gateways=gateways, now=now)
        )
    return opened


def _open(unit: Unit, actor: Actor, ids: list[int], gateways: list[int], now: datetime) -> int:
    connection = unit.connection
    # As reports and people lock: gateways first.
    hold(connection, gateways)
    query = records.shown().where(findings.c.id.in_(ids), findings.c.accepted_until <= now)
    found = [records.view(row) for row in connection.execute(query)]
    connection.execute(
        update(findings)
        .where(findings.c.id.in_([each.id for each in found]))
        .values(**records.OPEN_AGAIN, changed_at=now)
    )
    for gateway_id in gateways:
        mine = [Change(each, State.OPEN, ENDED) for each in found if each.gateway_id == gateway_id]
        if mine:
            name = mine[0].row.gateway
            changes.write(unit, actor, gateway_id, mine, now)
            changes.trail(unit, actor, "finding.acceptance_ended", name, now, findings=len(mine))
            changes.alert(unit, name, mine, now)
    return len(found)


def forget_fixed(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """Forget findings that were fixed long ago, with their history; tell how many. Raises RoleMayNot."""
    require(actor, Action.JOB_RUN)
    old = findings.c.fixed_at < now - _MEMORY
    query = select(findings.c.id, findings.c.gateway_id).where(old).limit(_BATCH)
    gone = 0
    for _ in range(_MOST):
        with desk.store.read() as connection:
            due = connection.execute(query.order_by(findings.c.fixed_at)).all()
        if not due:
            break
        gateways = sorted({row.gateway_id for row in due})
        gone += desk.store.together(
            partial(_forget, ids=[row.id for row in due], gateways=gateways, old=old)
        )
    return gone


def _forget(unit: Unit, ids: list[int], gateways: list[int], old: ColumnElement[bool]) -> int:
    hold(unit.connection, gateways)
    # One may have come back meanwhile.
    query = select(findings.c.id).where(findings.c.id.in_(ids), old)
    still = list(unit.connection.scalars(query))
    filing.forget(unit.connection, still)
    return len(still)
