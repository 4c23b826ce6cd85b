"""What operators order of rotations: to begin, after a look at what would be done, to be cancelled, confirmed."""

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from core.errors import Conflict
from fleet.rotation import begin, records, shown
from fleet.rotation import plan as plans
from fleet.rotation.allotment import store_of
from fleet.rotation.plan import Plan
from fleet.rotation.records import Slot, SlotNotFound
from fleet.rotation.shown import RotationView
from fleet.rotation.values import Kind, Method, Reason
from fleet.scopes import require_end
from fleet.tunnels import pick
from pki.actors import Action, Actor, require
from pki.desk import Desk
from pki.trail import leave
from store.engine import Unit


@dataclass(frozen=True)
class Order:
    """Which shared secrets of a tunnel are to be rotated: all, or those of a kind. `why` is for the audit log.

    `emergency`: the present key is known to others, so both ends change at once and SAs are made anew.
    """

    tunnel: str
    kind: Kind | None = None
    emergency: bool = False
    why: str = ""


@dataclass(frozen=True)
class SlotPlan:
    """What a rotation of one slot would do."""

    slot: Slot
    plan: Plan


def rotate(desk: Desk, actor: Actor, order: Order, *, now: datetime) -> list[RotationView]:
    """Begin a rotation of each of the secrets, all or none.

    Raises RoleMayNot, OutsideScope, TunnelNotFound, SlotNotFound, NoSecretStore, RotationUnderWay, ImportUnderWay.
    """
    require(actor, Action.ROTATION_ORDER)
    store_of(desk)
    reason = Reason.EMERGENCY if order.emergency else Reason.DEMANDED
    method = Method.EMERGENCY if order.emergency else None

    def work(unit: Unit) -> list[int]:
        made = []
        for slot in _meant(unit.connection, actor, order):
            number = begin.begin(unit, slot.id, reason, method, actor.name, now)
            made.append(number)
            leave(
                unit,
                actor,
                "rotation.begin",
                f"secret:{slot.name}",
                now=now,
                rotation=number,
                emergency=order.emergency,
                why=order.why,
            )
        return made

    numbers = desk.store.together(work)
    with desk.store.read() as connection:
        return [shown.pick_rotation(connection, number) for number in numbers]


def plan(desk: Desk, actor: Actor, order: Order) -> list[SlotPlan]:
    """What `rotate` would do; nothing is changed. Raises RoleMayNot, OutsideScope, TunnelNotFound, SlotNotFound."""
    require(actor, Action.ROTATION_ORDER)
    with desk.store.read() as connection:
        return [_plan(connection, slot, order) for slot in _meant(connection, actor, order)]


def _plan(connection: Connection, slot: Slot, order: Order) -> SlotPlan:
    found = plans.plan(slot, records.ends(connection, slot), emergency=order.emergency)
    try:
        begin.check_can_begin(connection, slot, emergency=order.emergency)
    except Conflict as refusal:
        found = replace(found, missing=(refusal.message, *found.missing))
    return SlotPlan(slot, found)


def _meant(connection: Connection, actor: Actor, order: Order) -> list[Slot]:
    tunnel = pick(connection, order.tunnel)
    require_end(actor, tunnel.left, tunnel.right)
    found = [
        slot
        for slot in records.slots_of_tunnel(connection, tunnel.id)
        if order.kind in (None, slot.kind)
    ]
    if not found:
        what = order.kind or "shared secret"
        step = f"Put it there with `tunnel secret-add {tunnel.name}`."
        if order.kind is Kind.PPK:
            step = "Only a managed tunnel has one: make it anew with `--managed --ppk required`."
        raise SlotNotFound(
            f"No {what} of the tunnel {tunnel.name!r} is under management.",
            next_step=step,
        )
    return found


def cancel(desk: Desk, actor: Actor, number: int, *, now: datetime) -> RotationView:
    """Have a rotation undone. Raises RoleMayNot, OutsideScope, RotationNotFound, RotationTooLate."""
    require(actor, Action.ROTATION_ORDER)

    def work(unit: Unit) -> None:
        slot = _of_rotation(unit.connection, actor, number)
        begin.cancel(unit, number, actor.name, now)
        leave(unit, actor, "rotation.cancel", f"secret:{slot.name}", now=now, rotation=number)

    desk.store.together(work)
    with desk.store.read() as connection:
        return shown.pick_rotation(connection, number)


def confirm(desk: Desk, actor: Actor, number: int, *, now: datetime) -> RotationView:
    """Note that the outside peer has the new key, so that our end may use it.

    Raises RoleMayNot, OutsideScope, RotationNotFound, NothingToConfirm.
    """
    require(actor, Action.ROTATION_CONFIRM)

    def work(unit: Unit) -> None:
        slot = _of_rotation(unit.connection, actor, number)
        begin.confirm(unit, number, now)
        leave(unit, actor, "rotation.confirm", f"secret:{slot.name}", now=now, rotation=number)

    desk.store.together(work)
    with desk.store.read() as connection:
        return shown.pick_rotation(connection, number)


def _of_rotation(connection: Connection, actor: Actor, number: int) -> Slot:
    slot = records.slot(connection, records.rotation(connection, number).slot_id)
    require_end(actor, slot.left, slot.right)
    return slot
