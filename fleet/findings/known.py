"""One known thing that many gateways have, accepted at once: by its rule and its path."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, func, select, update

from fleet.bumps import hold
from fleet.findings import changes, orders, records
from fleet.findings.changes import Change
from fleet.findings.values import PathIsPattern, State
from fleet.gateways import registered
from pki.actors import Action, Actor, require, require_gateway
from pki.desk import Desk
from store.engine import Unit
from store.finding_tables import findings
from store.text import storable

# Findings of one transaction, and of one call, so that neither reports nor the caller wait for long.
_BATCH: Final = 200
MOST: Final = 2000
_WILD: Final = frozenset("*?[")


@dataclass(frozen=True)
class Known:
    """Open findings of a rule at a path: of one gateway, or with None of all."""

    rule: str
    path: str
    gateway: str | None


@dataclass(frozen=True)
class Accepted:
    """How many findings of how many gateways were accepted, or would be, and how many are left to another call."""

    findings: int
    gateways: int
    left: int = 0


@dataclass
class _Done:
    """What one call has accepted, batch by batch."""

    last: int = 0
    findings: int = 0
    gateways: set[int] = field(default_factory=set)


def count(desk: Desk, actor: Actor, known: Known) -> Accepted:
    """Tell what `accept` would do. Raises RoleMayNot, OutsideScope, GatewayNotFound, PathIsPattern."""
    require(actor, Action.FINDING_ACCEPT)
    require_gateway(actor, known.gateway)
    conditions = _conditions(desk, known)
    columns = (func.count(), func.count(findings.c.gateway_id.distinct()))
    with desk.store.read() as connection:
        row = connection.execute(select(*columns).where(*conditions)).one()
    return Accepted(row[0], row[1])


def accept(
    desk: Desk, actor: Actor, known: Known, until: datetime, why: str, *, now: datetime
) -> Accepted:
    """Accept those that are open now until a time, at most `MOST`; `left` tells of more: call it again.

    What is accepted already keeps its end and its reason; what is found later is open. Each is on record as if it were
    accepted alone. A call that breaks off has accepted some of them, and may be done again. Raises RoleMayNot,
    OutsideScope, AcceptanceRefused, GatewayNotFound, PathIsPattern.
    """
    require(actor, Action.FINDING_ACCEPT)
    require_gateway(actor, known.gateway)
    values = orders.acceptance(actor, until, why, now)
    conditions, done = _conditions(desk, known), _Done()
    while done.findings < MOST:
        query = (
            select(findings.c.id, findings.c.gateway_id)
            .where(*conditions, findings.c.id > done.last)
            .order_by(findings.c.id)
            .limit(min(_BATCH, MOST - done.findings))
        )
        with desk.store.read() as connection:
            due = connection.execute(query).all()
        if not due:
            return Accepted(done.findings, len(done.gateways))
        work = partial(_accept, actor=actor, due=due, values=values, now=now)
        accepted = desk.store.together(work)
        done.last = due[-1].id
        done.findings += len(accepted)
        done.gateways.update(accepted)
    return Accepted(done.findings, len(done.gateways), count(desk, actor, known).findings)


def _conditions(desk: Desk, known: Known) -> list[ColumnElement[bool]]:
    at = [findings.c.rule == storable(known.rule), findings.c.path == storable(known.path)]
    if not _WILD.isdisjoint(known.path):
        # A name may hold such a sign; where no finding has it, it was meant for others.
        with desk.store.read() as connection:
            if connection.execute(select(findings.c.id).where(*at).limit(1)).first() is None:
                raise PathIsPattern(
                    "A path with *, ? or [ in it is no pattern here, and no finding has it."
                )
    found = [*at, findings.c.state == State.OPEN]
    if known.gateway is not None:
        with desk.store.read() as connection:
            found.append(findings.c.gateway_id == registered(connection, known.gateway).id)
    return found


def _accept(unit: Unit, actor: Actor, due: Any, values: dict[str, Any], now: datetime) -> list[int]:
    """Accept those that are open still; gives the gateway of each."""
    connection = unit.connection
    gateways = sorted({row.gateway_id for row in due})
    # As reports and people lock: gateways first.
    hold(connection, gateways)
    query = records.shown().where(
        findings.c.id.in_([row.id for row in due]), findings.c.state == State.OPEN
    )
    found = [records.view(row) for row in connection.execute(query)]
    ids = [each.id for each in found]
    connection.execute(update(findings).where(findings.c.id.in_(ids)).values(**values))
    until, why = values["accepted_until"], values["accepted_why"]
    for gateway_id in gateways:
        mine = [
            Change(each, State.ACCEPTED, why, until)
            for each in found
            if each.gateway_id == gateway_id
        ]
        changes.write(unit, actor, gateway_id, mine, now)
        for each in mine:
            orders.trail(unit, actor, each, now)
    return [each.gateway_id for each in found]
