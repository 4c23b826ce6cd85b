"""Shared secrets put under management: made here or imported, their policy changed, taken off again."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, select, update

from core.errors import Conflict, InvalidInput
from core.secret import Secret
from fleet.bumps import bump, hold
from fleet.rotation import (
    allotment,
    begin,
    binding,
    calendar,
    policies,
    records,
    retire,
    shown,
)
from fleet.rotation.allotment import Wanted, store_of
from fleet.rotation.binding import Binding
from fleet.rotation.policies import PolicyChange
from fleet.rotation.records import Slot
from fleet.rotation.shown import SlotView
from fleet.rotation.values import Kind, Policy, Reason
from fleet.tunnels import TunnelView, pick
from hsm.fingerprint import Fingerprints
from hsm.secretstore import VALUE_LIMIT, SecretStore, VersionState
from ike.secrets.strength import Strength, Verdict, judge
from pki.actors import Action, Actor, OutsideScope, require
from pki.desk import Desk
from pki.trail import leave
from store.engine import Unit
from store.errors import Duplicate
from store.rotation_tables import secret_slots, secrets
from store.text import storable

_FIRST = 1
_LONGEST_PPK_ID = 128
_OLDEST = timedelta(days=50 * 365)


class SlotExists(Conflict):
    """The tunnel has a shared secret of this kind already."""

    code = "secret_exists"
    next_step = "Look at it with `tunnel secrets`; rotate it, or change its policy."


class SlotRefused(InvalidInput):
    """A shared secret that this tunnel cannot have."""

    code = "secret_refused"
    next_step = "Correct what the message names."


class SecretWeak(InvalidInput):
    """The value can be guessed, or is in use elsewhere."""

    code = "secret_weak"
    next_step = (
        "Let the service make one. To take the present key over so that it is rotated away, import it with "
        "--accept-weak (`accept_weak`)."
    )


@dataclass(frozen=True)
class Import:
    """A value that is in use already, `since` when it is known. `ppk_id` for kind ppk alone; `accept_weak`: take it
    although it is weak.
    """

    value: Secret
    accept_weak: bool = False
    ppk_id: str | None = None
    since: datetime | None = None


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

    An imported value is version 1, and both ends have it from then on; else the first rotation begins. Cut off half-way
    an import can be done again. Raises RoleMayNot, OutsideScope, TunnelNotFound, NoSecretStore, SlotExists,
    SlotRefused, SecretWeak, PolicyRefused, BindingRefused, InvalidName, IdentitiesRefused, and what the store of
    secrets raises.
    """
    require(actor, Action.SECRET_CREATE)
    secret_store = store_of(desk)
    policies.checked(request.policy)
    wanted = Wanted(request.kind, request.policy, binding.checked(request.binding))
    with desk.store.read() as connection:
        found = pick(connection, tunnel)
    require_end(actor, found.left, found.right)
    _check_fits(found, wanted)
    for kept in found.secrets:
        # One with neither is an import that was cut off.
        if kept.kind == wanted.kind and (kept.version or kept.rotation_id):
            raise _exists(found, wanted.kind)
    if request.imported is None:
        _generate(desk, actor, found, wanted, now)
    else:
        _import(desk, actor, found, _Taking(wanted, request.imported, secret_store), now)
    with desk.store.read() as connection:
        return shown.view(connection, records.slot(connection, f"{found.name}.{request.kind}"))


def require_end(actor: Actor, left: str, right: str | None) -> None:
    """Raise OutsideScope where a credential is tied to a gateway that is neither end."""
    if actor.scope.gateway is not None and actor.scope.gateway not in (left, right):
        raise OutsideScope("This credential belongs to another gateway.")


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


def _generate(desk: Desk, actor: Actor, tunnel: TunnelView, wanted: Wanted, now: datetime) -> None:
    def work(unit: Unit) -> None:
        made = allotment.allot(unit, desk, (tunnel.id, tunnel.name), wanted, actor.name, now=now)
        begin.begin(unit, made, Reason.FIRST, None, actor.name, now)
        bump(unit.connection, _ends(unit.connection, made), now)
        leave(
            unit,
            actor,
            "secret.create",
            _about(f"{tunnel.name}.{wanted.kind}"),
            now=now,
            source="generate",
        )

    try:
        desk.store.together(work)
    except Duplicate:
        raise _exists(tunnel, wanted.kind) from None


def _ends(connection: Connection, slot_id: int) -> tuple[int, ...]:
    return records.slot(connection, slot_id).gateway_ids


def _exists(tunnel: TunnelView, kind: Kind) -> SlotExists:
    return SlotExists(f"The tunnel {tunnel.name!r} has a {kind} under management already.")


def _about(name: str) -> str:
    return f"secret:{name}"


@dataclass(frozen=True)
class _Taking:
    """An import on its way."""

    wanted: Wanted
    given: Import
    store: SecretStore


def _import(desk: Desk, actor: Actor, tunnel: TunnelView, taking: _Taking, now: datetime) -> None:
    given, name = taking.given, f"{tunnel.name}.{taking.wanted.kind}"
    _check_value(taking, now)
    since = given.since or now
    found = judge(given.value)
    mark = Fingerprints(store_of(desk)).of(given.value)
    _check_weak(desk, found, mark, name, accepted=given.accept_weak)
    # On record before it is in the store: nothing lies there that nobody knows of.
    slot = _intend(desk, actor, tunnel, taking, (mark, found), now)
    number = _put(taking.store, slot, given.value)

    def work(unit: Unit) -> None:
        connection = unit.connection
        connection.execute(
            update(secrets)
            .where(secrets.c.slot_id == slot.id, secrets.c.version == _FIRST)
            .values(state="current", store_version=number, current_at=since)
        )
        connection.execute(
            update(secret_slots)
            .where(secret_slots.c.id == slot.id)
            .values(
                left_keys=[_FIRST],
                right_keys=[_FIRST],
                due_at=calendar.next_due(slot.policy, since, _draw(desk)),
            )
        )
        bump(connection, slot.gateway_ids, now)
        leave(
            unit,
            actor,
            "secret.import",
            _about(name),
            now=now,
            fingerprint=mark,
            strength=found.verdict,
        )

    desk.store.together(work)


def _check_value(taking: _Taking, now: datetime) -> None:
    octets = len(taking.given.value.reveal())
    if not 1 <= octets <= VALUE_LIMIT:
        raise SlotRefused(f"A value has 1 to {VALUE_LIMIT} octets.")
    since = taking.given.since
    if since is not None and not now - _OLDEST <= since <= now:
        raise SlotRefused("A value is in use since a time in the past, at most 50 years ago.")
    name = taking.given.ppk_id
    if (taking.wanted.kind is Kind.PPK) != (name is not None):
        raise SlotRefused(
            "An imported PPK has the PPK_ID that both ends know it by; a PSK has none."
        )
    if name is not None and not (
        name.isascii() and name.isprintable() and 1 <= len(name) <= _LONGEST_PPK_ID
    ):
        raise SlotRefused(f"A PPK_ID has 1 to {_LONGEST_PPK_ID} visible ASCII characters.")


def _check_weak(desk: Desk, found: Strength, mark: str, name: str, *, accepted: bool) -> None:
    weak = found.verdict is Verdict.WEAK
    reasons = list(found.reasons) if weak else []
    with desk.store.read() as connection:
        query = (
            select(secret_slots.c.name)
            .join_from(secrets, secret_slots, secret_slots.c.id == secrets.c.slot_id)
            .where(
                secrets.c.fingerprint == mark,
                secrets.c.destroyed_at.is_(None),
                secret_slots.c.name != storable(name),
            )
            .order_by(secret_slots.c.id)
            .limit(1)
        )
        other = connection.execute(query).scalar_one_or_none()
    if other is not None:
        reasons.append(f"{other} has the same value")
    if reasons and not accepted:
        raise SecretWeak(
            f"The value is not taken: {'; '.join(reasons)}.",
            details={
                "bits": found.bits,
                "problems": [*(["weak"] if weak else []), *(["reused"] if other else [])],
            },
        )


def _intend(
    desk: Desk,
    actor: Actor,
    tunnel: TunnelView,
    taking: _Taking,
    found: tuple[str, Strength],
    now: datetime,
) -> Slot:
    """The slot with version 1 on record; that of an import that was cut off is used again."""
    mark, strong = found
    row: dict[str, Any] = {
        "version": _FIRST,
        "state": "intended",
        "source": retire.IMPORT,
        "fingerprint": mark,
        "ppk_id": taking.given.ppk_id,
        "store_version": None,
        "strength": {"bits": strong.bits, "verdict": strong.verdict, "reasons": [*strong.reasons]},
        "created_at": now,
        "current_at": None,
        "destroyed_at": None,
    }

    def work(unit: Unit) -> Slot:
        connection = unit.connection
        made = _left_behind(connection, f"{tunnel.name}.{taking.wanted.kind}")
        if made is None:
            of = (tunnel.id, tunnel.name)
            made = allotment.allot(unit, desk, of, taking.wanted, actor.name, now=now)
        else:
            connection.execute(delete(secrets).where(secrets.c.slot_id == made))
        connection.execute(secrets.insert().values(slot_id=made, **row))
        connection.execute(
            update(secret_slots)
            .where(secret_slots.c.id == made)
            .values(
                last_version=_FIRST,
                policy=records.policy_document(taking.wanted.policy),
                binding=binding.document(taking.wanted.binding),
            )
        )
        return records.slot(connection, made)

    try:
        return desk.store.together(work)
    except Duplicate:
        raise _exists(tunnel, taking.wanted.kind) from None


def _left_behind(connection: Connection, name: str) -> int | None:
    """The slot of an import that was cut off before its value was in the store, or known to be."""
    query = (
        select(secret_slots.c.id)
        .join(secrets, secrets.c.slot_id == secret_slots.c.id)
        .where(
            secret_slots.c.name == storable(name),
            secret_slots.c.rotation_id.is_(None),
            secret_slots.c.last_version == _FIRST,
            secrets.c.source == retire.IMPORT,
            secrets.c.state == "intended",
        )
        .with_for_update()
    )
    found: int | None = connection.execute(query).scalar_one_or_none()
    return found


def _put(secret_store: SecretStore, slot: Slot, value: Secret) -> int:
    """Keep the value and give its number; whatever an import that was cut off had put there is destroyed."""
    before = secret_store.versions(slot.path)
    newest = before[-1].number if before else 0
    turn = str(retire.import_turn(slot.id))
    tags = {"rotation": turn, "slot": slot.name, "version": str(_FIRST)}
    number = secret_store.put(slot.path, value, after=newest, tags=tags)
    for each in before:
        if each.state is not VersionState.DESTROYED:
            secret_store.destroy(slot.path, each.number)
    return number


def change(desk: Desk, actor: Actor, name: str, wanted: PolicyChange, *, now: datetime) -> SlotView:
    """Change the policy of a slot (`<tunnel>.<kind>`), freeze it or let it go on.

    Raises RoleMayNot, OutsideScope, SlotNotFound, PolicyRefused.
    """
    require(actor, Action.SECRET_CHANGE)

    def work(unit: Unit) -> None:
        slot = _own(unit.connection, actor, name)
        policy = policies.changed(slot.policy, wanted)
        since = _since(unit.connection, slot)
        # A version that is not in force yet has no age; its rotation says when the next one is due.
        due = slot.due_at if since is None else calendar.next_due(policy, since, _draw(desk))
        unit.connection.execute(
            update(secret_slots)
            .where(secret_slots.c.id == slot.id)
            .values(policy=records.policy_document(policy), due_at=due)
        )
        begin.wake(unit.connection, [slot.id], now)
        leave(
            unit,
            actor,
            "secret.policy",
            _about(slot.name),
            now=now,
            policy=records.policy_document(policy),
        )

    desk.store.together(work)
    with desk.store.read() as connection:
        return shown.view(connection, records.slot(connection, name))


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


def _draw(desk: Desk) -> float:
    """Where in the jitter it falls, 0 to 1: nobody can foretell it, and a fleet does not rotate all at once."""
    return int.from_bytes(desk.entropy(4)) / 2**32


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
        leave(unit, actor, "secret.remove", _about(slot.name), now=now)

    desk.store.together(work)
