"""Rollovers reach the gateways: they are told of a successor, and nothing is switched before they know it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, select

from core.errors import Conflict
from fleet import ca_sets
from fleet.bumps import bump, chunks, lock
from ike.daemons.port import fingerprint
from pki import authorities
from pki.actors import Action, Actor, require
from pki.desk import Desk
from pki.rollover import phases, records
from pki.rollover.phases import Order
from pki.rollover.records import Rollover, State
from pki.rollover.usage import in_force
from store import outbox
from store.engine import Unit
from store.fleet_tables import gateway_authorities, gateway_reports, gateways

TOPIC: Final = "fleet.trust"
# How many are called by their names.
_NAMED: Final = 10
_DAY: Final = timedelta(days=1)


class GatewaysUntold(Conflict):
    """Gateways have not reported yet that they trust the successor: they would refuse their peers' new certificates."""

    code = "rollover_gateways_untold"
    next_step = (
        "Wait until their agents have reported, or see to those that are away (`gateway list`);"
        " a switch `despite` them leaves them behind."
    )


def move(desk: Desk, actor: Actor, number: int, order: Order, *, now: datetime) -> Rollover:
    """Take a step of a rollover, and let all gateways know whom it concerns.

    Raises what `phases.move` raises, and GatewaysUntold.
    """

    require(actor, Action.AUTHORITY_CREATE)
    ca_sets.warm(desk)

    def witness(unit: Unit, done: Rollover, order: Order) -> None:
        if order.to != State.SWITCHED:
            _ask(unit, number, now)
        elif not order.despite:
            _require_told(desk, unit.connection, done)

    return phases.move(desk, actor, number, order, now=now, witness=witness)


def _ask(unit: Unit, number: int, now: datetime, *, delay: timedelta = timedelta()) -> None:
    payload = {"rollover": number}
    outbox.put(unit, topic=TOPIC, key=str(number), payload=payload, now=now, delay=delay)


def _require_told(desk: Desk, connection: Connection, rollover: Rollover) -> None:
    untold = list(_untold(desk, connection, rollover))
    if untold:
        more = f" and {len(untold) - _NAMED} more" if len(untold) > _NAMED else ""
        raise GatewaysUntold(
            f"Gateways that do not trust {rollover.successor!r} yet: "
            f"{', '.join(untold[:_NAMED])}{more}."
        )


def _untold(desk: Desk, connection: Connection, rollover: Rollover) -> Iterator[str]:
    """The gateways that trust the authority and did not report its successor as loaded. Those that never reported
    anything are fed when they come.
    """
    successor = fingerprint(authorities.load(desk, rollover.successor).certificate)
    query = (
        select(gateways.c.name, gateway_reports.c.inventory)
        .join_from(gateways, gateway_reports, gateway_reports.c.gateway_id == gateways.c.id)
        .join(gateway_authorities, gateway_authorities.c.gateway_id == gateways.c.id)
        .where(
            gateway_authorities.c.authority_id == rollover.authority_id,
            gateway_reports.c.inventory.is_not(None),
        )
        .order_by(gateways.c.name)
    )
    for row in connection.execute(query):
        loaded = (row.inventory or {}).get("certificates", ())
        if not any(each["fingerprint"] == successor and each["authority"] for each in loaded):
            yield row.name


def spread(desk: Desk, actor: Actor, number: int, *, now: datetime) -> int:
    """Give the gateways that a rollover concerns the CA sets that it asks for; tells how many got another one.

    While certificates of an authority that was retired are in force, it is looked after again each day. May be done
    again. Raises RoleMayNot, RolloverNotFound.
    """
    require(actor, Action.JOB_RUN)
    ca_sets.warm(desk)
    with desk.store.read() as connection:
        rollover = records.pick(connection, number)
        both = (rollover.authority_id, rollover.successor_id)
        query = select(gateway_authorities.c.gateway_id).where(
            gateway_authorities.c.authority_id.in_(both)
        )
        concerned = sorted(set(connection.scalars(query)))
        ends_later = (
            rollover.state == State.FINISHED
            and in_force(connection, rollover.authority_id, now).total
        )
    if ends_later:
        desk.store.together(lambda unit: _ask(unit, number, now, delay=_DAY))
    return sum(_settle(desk, list(some), now) for some in chunks(concerned))


def _settle(desk: Desk, some: list[int], now: datetime) -> int:
    def work(unit: Unit) -> int:
        lock(unit.connection, some)
        known = ca_sets.kin_of(unit.connection, now)
        others = [each for each in some if ca_sets.settle(desk, unit.connection, each, known)]
        bump(unit.connection, others, now)
        return len(others)

    return desk.store.together(work)
