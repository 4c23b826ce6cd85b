"""Shared secrets that are in use already, taken under management: on record first, then in the store, then in force."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from core.errors import Conflict, IkewardenError, InvalidInput
from core.secret import Secret
from fleet.bumps import bump
from fleet.rotation import allotment, begin, calendar, records, retire
from fleet.rotation.allotment import Wanted, store_of
from fleet.rotation.records import Slot
from fleet.rotation.values import Kind
from fleet.tunnels import TunnelNotFound, TunnelView
from hsm.fingerprint import Fingerprints
from hsm.secretstore import VALUE_LIMIT
from ike.secrets.strength import Strength, Verdict, judge
from pki.actors import Action, Actor, require
from pki.desk import Desk
from pki.trail import leave
from store import outbox
from store.engine import Unit
from store.errors import BrokenReference, Duplicate
from store.rotation_tables import secret_slots, secrets
from store.text import storable

# Its handler takes back an import that was cut off.
TOPIC = "secrets.import"
_FIRST = 1
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


class ImportTakenBack(Conflict):
    """The secret, or its tunnel, was removed while its value was on the way into the store; the value is destroyed."""

    code = "import_taken_back"
    next_step = "Import it again if it is still wanted."


@dataclass(frozen=True)
class Import:
    """A value that is in use already, `since` when it is known. `accept_weak`: take it although it is weak."""

    value: Secret
    accept_weak: bool = False
    since: datetime | None = None


def take(
    desk: Desk, actor: Actor, tunnel: TunnelView, wanted: Wanted, given: Import, *, now: datetime
) -> None:
    """Make a slot whose first version is a value that both ends have already.

    All or nothing: what fails is taken back at once, and what is cut off by `undo`. For `slots.create`, which has asked
    for permission. Raises SlotExists, SlotRefused, SecretWeak, ImportTakenBack, and what the store of secrets raises.
    """
    _check_value(wanted.kind, given, now)
    store, name = store_of(desk), f"{tunnel.name}.{wanted.kind}"
    found, mark = judge(given.value), Fingerprints(store).of(given.value)
    _check_weak(desk, found, mark, name, accepted=given.accept_weak)
    # On record before it is in the store: nothing lies there that nobody knows of.
    slot = _intend(desk, actor, tunnel, wanted, _first(given, mark, found, now), now)
    try:
        # Of two that bring the same value at once, each is on record by now and sees the other.
        _check_weak(desk, found, mark, name, accepted=given.accept_weak)
        # Whatever else lies there is another's. The numbers tell them apart, and the tags whose they are.
        before = store.versions(slot.path)
        turn = str(retire.import_turn(slot.id))
        tags = {"rotation": turn, "slot": slot.name, "version": str(_FIRST)}
        after = before[-1].number if before else 0
        number = store.put(slot.path, given.value, after=after, tags=tags)
        try:
            _put_in_force(desk, actor, slot, number, given.since or now, now)
        except ImportTakenBack:
            store.destroy(slot.path, number)
            raise
    except IkewardenError:
        _take_back(desk, actor, slot.id, now)
        raise


def _put_in_force(
    desk: Desk, actor: Actor, intended: Slot, number: int, since: datetime, now: datetime
) -> None:
    def work(unit: Unit) -> None:
        connection = unit.connection
        slot = _locked_import(unit, intended.id)
        if slot is None:
            raise ImportTakenBack(f"The secret {intended.name} was removed while it was imported.")
        kept = secrets.c.slot_id == slot.id
        connection.execute(
            update(secrets)
            .where(kept)
            .values(state="current", store_version=number, current_at=since)
        )
        draw = allotment.draw(desk)
        connection.execute(
            update(secret_slots)
            .where(secret_slots.c.id == slot.id)
            .values(
                left_keys=[_FIRST],
                right_keys=[_FIRST],
                due_at=calendar.next_due(slot.policy, since, draw),
            )
        )
        bump(connection, slot.gateway_ids, now)
        first = connection.execute(select(secrets.c.fingerprint, secrets.c.strength).where(kept))
        mark, strength = first.one()
        detail = {"fingerprint": mark, "strength": strength["verdict"]}
        leave(unit, actor, "secret.import", f"secret:{slot.name}", now=now, **detail)

    desk.store.together(work)


def undo(desk: Desk, actor: Actor, slot_ids: Iterable[int], *, now: datetime) -> int:
    """Take back those imports that never came to an end; tell how many. May be done again. Raises RoleMayNot."""
    require(actor, Action.JOB_RUN)
    return sum(_take_back(desk, actor, number, now) for number in slot_ids)


def _take_back(desk: Desk, actor: Actor, slot_id: int, now: datetime) -> bool:
    def work(unit: Unit) -> bool:
        slot = _locked_import(unit, slot_id)
        if slot is None:
            return False
        retire.forget_slot(unit, slot.id, actor.name, now)
        bump(unit.connection, slot.gateway_ids, now)
        leave(unit, actor, "secret.import_undone", f"secret:{slot.name}", now=now)
        return True

    return desk.store.together(work)


def _locked_import(unit: Unit, slot_id: int) -> Slot | None:
    """The slot of an import that has not come to its end, locked; None where there is none any more."""
    try:
        slot = begin.locked_slot(unit.connection, slot_id)
    except records.SlotNotFound:
        return None
    return slot if records.is_being_imported(unit.connection, slot_id) else None


def _first(given: Import, mark: str, found: Strength, now: datetime) -> dict[str, Any]:
    return {
        "version": _FIRST,
        "state": records.INTENDED,
        "source": records.IMPORT,
        "fingerprint": mark,
        "ppk_id": None,
        "store_version": None,
        "strength": {"bits": found.bits, "verdict": found.verdict, "reasons": [*found.reasons]},
        "created_at": now,
        "current_at": None,
        "destroyed_at": None,
    }


def _intend(
    desk: Desk,
    actor: Actor,
    tunnel: TunnelView,
    wanted: Wanted,
    first: dict[str, Any],
    now: datetime,
) -> Slot:
    """A slot of this import's own, with version 1 and what is to be done should this process die on record."""

    def work(unit: Unit) -> Slot:
        connection = unit.connection
        of = (tunnel.id, tunnel.name)
        made = allotment.allot(unit, desk, of, wanted, actor.name, now=now)
        connection.execute(secrets.insert().values(slot_id=made, **first))
        connection.execute(
            update(secret_slots).where(secret_slots.c.id == made).values(last_version=_FIRST)
        )
        undo_it = {"slot": made}
        outbox.put(unit, topic=TOPIC, key="", payload=undo_it, now=now, delay=retire.LATER)
        return records.slot(connection, made)

    try:
        return desk.store.together(work)
    except Duplicate:
        raise exists(tunnel, wanted.kind) from None
    except BrokenReference:
        raise gone(tunnel) from None


def gone(tunnel: TunnelView) -> TunnelNotFound:
    """The refusal of a slot of a tunnel that was removed meanwhile."""
    return TunnelNotFound(f"The tunnel {tunnel.name!r} was removed.")


def exists(tunnel: TunnelView, kind: Kind) -> SlotExists:
    """The refusal of a second slot of a kind."""
    return SlotExists(f"The tunnel {tunnel.name!r} has a {kind} under management already.")


def _check_value(kind: Kind, given: Import, now: datetime) -> None:
    octets = len(given.value.reveal())
    if not 1 <= octets <= VALUE_LIMIT:
        raise SlotRefused(f"A value has 1 to {VALUE_LIMIT} octets.")
    since = given.since
    if since is not None and not now - _OLDEST <= since <= now:
        raise SlotRefused("A value is in use since a time in the past, at most 50 years ago.")
    if kind is not Kind.PSK:
        raise SlotRefused("Only a PSK can be imported: the service names the PPKs that it makes.")


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
