"""Shared secrets put under management: made here or imported, their policy changed, taken off again."""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select, update

from fleet import identities
from fleet.bumps import bump, hold
from fleet.rotation import (
    allotment,
    begin,
    binding,
    calendar,
    due,
    imports,
    policies,
    records,
    retire,
    shown,
)
from fleet.rotation.allotment import Wanted, store_of
from fleet.rotation.binding import Binding, BindingRefused
from fleet.rotation.imports import Import, SlotRefused
from fleet.rotation.policies import PolicyChange
from fleet.rotation.records import Slot
from fleet.rotation.shown import SlotView
from fleet.rotation.values import Kind, Policy, Reason
from fleet.scopes import require_end
from fleet.tunnels import TunnelView, pick
from pki.actors import Action, Actor, require
from pki.desk import Desk
from pki.trail import leave
from store.engine import Unit
from store.errors import BrokenReference, Duplicate
from store.fleet_tables import gateways
from store.rotation_tables import secret_slots, secrets
from store.text import storable


@dataclass(frozen=True)
class SlotRequest:
    """What shall be kept for a tunnel; without `imported` a value is made, and brought to the ends."""

    kind: Kind = Kind.PSK
    policy: Policy = field(default_factory=Policy)
    binding: Binding = field(default_factory=Binding)
    imported: Import | None = None


def create(
    desk: Desk, actor: Actor, tunnel: str, request: SlotRequest, *, now: datetime
) -> SlotView:
    """Put a tunnel's shared secret under management.

    An imported value is version 1, and both ends have it from then on; else the first rotation begins. Raises
    RoleMayNot, OutsideScope, TunnelNotFound, NoSecretStore, SlotExists, SlotRefused, SecretWeak, ImportUnderWay,
    ImportTakenBack, PolicyRefused, BindingRefused, InvalidName, IdentitiesRefused, and what the store raises.
    """
    require(actor, Action.SECRET_CREATE)
    store_of(desk)
    policies.checked(request.policy)
    wanted = Wanted(request.kind, request.policy, binding.checked(request.binding))
    with desk.store.read() as connection:
        found = pick(connection, tunnel)
        require_end(actor, found.left, found.right)
        _check_fits(found, wanted)
        _check_identities(connection, found, wanted.binding)
        for kept in records.slots_of_tunnel(connection, found.id):
            if kept.kind == wanted.kind:
                begin.check_not_on_its_way(connection, kept)
                raise imports.exists(found, wanted.kind)
    if request.imported is None:
        _generate(desk, actor, found, wanted, now)
    else:
        imports.take(desk, actor, found, wanted, request.imported, now=now)
    with desk.store.read() as connection:
        return shown.view(connection, records.slot(connection, f"{found.name}.{request.kind}"))


def _check_fits(tunnel: TunnelView, wanted: Wanted) -> None:
    if tunnel.definition is None:
        if wanted.kind is Kind.PPK:
            raise SlotRefused(
                "A PPK needs a managed tunnel: the daemon's connection must name its PPK_ID."
            )
    elif wanted.kind not in tunnel.definition.kinds:
        raise SlotRefused(
            f"The tunnel's connection is managed, and uses no {wanted.kind}.",
            next_step="Make the tunnel anew with --psk or --ppk.",
        )
    elif wanted.binding != Binding():
        raise SlotRefused("The connection of a managed tunnel has its name and identities already.")


def _check_identities(connection: Connection, tunnel: TunnelView, bound: Binding) -> None:
    """Raise BindingRefused where both ends would be known by one identity: no daemon could tell their keys apart."""
    ours = dict(
        connection.execute(
            select(gateways.c.name, gateways.c.identities).where(
                gateways.c.name.in_([tunnel.left, tunnel.right])
            )
        ).all()
    )
    left = identities.split(ours[tunnel.left])
    right = tunnel.peer.identities if tunnel.peer else identities.split(ours[tunnel.right])
    found = identities.shared(left, right, (bound.left_identity, bound.right_identity))
    if found is not None:
        raise BindingRefused(f"Both ends would have the identity {found}.")


def _generate(desk: Desk, actor: Actor, tunnel: TunnelView, wanted: Wanted, now: datetime) -> None:
    def work(unit: Unit) -> None:
        made = allotment.allot(unit, desk, (tunnel.id, tunnel.name), wanted, actor.name, now=now)
        begin.begin(unit, made, Reason.FIRST, None, actor.name, now)
        bump(unit.connection, _ends(unit.connection, made), now)
        leave(
            unit,
            actor,
            "secret.create",
            f"secret:{tunnel.name}.{wanted.kind}",
            now=now,
            source="generate",
        )

    try:
        desk.store.together(work)
    except Duplicate:
        raise imports.exists(tunnel, wanted.kind) from None
    except BrokenReference:
        raise imports.gone(tunnel) from None


def _ends(connection: Connection, slot_id: int) -> tuple[int, ...]:
    return records.slot(connection, slot_id).gateway_ids


def change(desk: Desk, actor: Actor, name: str, wanted: PolicyChange, *, now: datetime) -> SlotView:
    """Change the policy of a slot (`<tunnel>.<kind>`), freeze it or let it go on.

    Raises RoleMayNot, OutsideScope, SlotNotFound, PolicyRefused.
    """
    require(actor, Action.SECRET_CHANGE)

    def work(unit: Unit) -> None:
        slot = _own(unit.connection, actor, name)
        policy = policies.changed(slot.policy, wanted)
        since = _since(unit.connection, slot)
        due_at = (
            slot.due_at if since is None else _due(slot, policy, since, allotment.draw(desk), now)
        )
        unit.connection.execute(
            update(secret_slots)
            .where(secret_slots.c.id == slot.id)
            .values(policy=records.policy_document(policy), due_at=due_at)
        )
        begin.wake(unit.connection, [slot.id], now)
        leave(
            unit,
            actor,
            "secret.policy",
            f"secret:{slot.name}",
            now=now,
            policy=records.policy_document(policy),
        )

    desk.store.together(work)
    with desk.store.read() as connection:
        return shown.view(connection, records.slot(connection, name))


_TIMES = ("interval_days", "jitter", "windows")


def _due(
    slot: Slot, policy: Policy, since: datetime, draw: float, now: datetime
) -> datetime | None:
    """When a slot is due by another policy: as before, unless what the time was found by has changed.

    A version that is not in force yet has no age; its rotation says when the next one is due.
    """
    if slot.due_at is None or any(
        getattr(policy, name) != getattr(slot.policy, name) for name in _TIMES
    ):
        return calendar.next_due(policy, since, draw)
    if slot.policy.frozen and not policy.frozen and slot.due_at <= now + due.LATER:
        # It may have been put off for the freeze alone.
        latest = calendar.next_due(policy, since, 0)
        return slot.due_at if latest is None else min(slot.due_at, latest)
    if policy.zone != slot.policy.zone:
        return calendar.opening(policy, slot.due_at)
    return slot.due_at


def _own(connection: Connection, actor: Actor, name: str) -> Slot:
    """The slot, locked after its gateways, as all do that lock both. Raises SlotNotFound, OutsideScope."""
    hold(connection, records.slot(connection, name).gateway_ids)
    query = select(secret_slots.c.id).where(secret_slots.c.name == storable(name))
    connection.execute(query.with_for_update())
    slot = records.slot(connection, name)
    require_end(actor, slot.left, slot.right)
    return slot


def _since(connection: Connection, slot: Slot) -> datetime | None:
    query = select(secrets.c.current_at).where(
        secrets.c.slot_id == slot.id, secrets.c.version == slot.current
    )
    found: datetime | None = connection.execute(query).scalar_one_or_none()
    return found


def remove(desk: Desk, actor: Actor, name: str, *, now: datetime) -> None:
    """Take a slot off: its gateways unload it, and its values are destroyed in the store soon after.

    Raises RoleMayNot, OutsideScope, SlotNotFound, SlotRefused where a managed tunnel cannot do without.
    """
    require(actor, Action.SECRET_REMOVE)

    def work(unit: Unit) -> None:
        slot = _own(unit.connection, actor, name)
        definition = pick(unit.connection, slot.tunnel).definition
        if definition is not None and slot.kind in definition.kinds:
            raise SlotRefused(
                f"The connection of the managed tunnel {slot.tunnel!r} cannot do without it.",
                next_step="Remove the tunnel.",
            )
        retire.forget_slot(unit, slot.id, actor.name, now)
        bump(unit.connection, slot.gateway_ids, now)
        leave(unit, actor, "secret.remove", f"secret:{slot.name}", now=now)

    desk.store.together(work)
