"""A secret handed to whoever runs an outside peer: by a token that is good once, for some hours.

The token never stands in a URL, which is logged and remembered: it is sent in a body. Of it a digest is kept; it has
256 random bits, so nobody finds one by trying.
"""

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from core.errors import Conflict, InvalidInput, NotFound
from core.secret import Secret
from fleet.rotation import records
from fleet.rotation.allotment import store_of
from fleet.rotation.records import Slot, SlotNotFound
from fleet.rotation.values import Kind
from fleet.scopes import require_end
from fleet.tunnels import pick
from pki.actors import Action, Actor, require
from pki.desk import Desk
from pki.identity import token_hash
from pki.trail import leave
from store import audit
from store.engine import Unit
from store.rotation_tables import handovers, secret_slots, secrets

PREFIX: Final = "iwh1_"
_MOST_HOURS: Final = 14 * 24


class HandoverRefused(InvalidInput):
    """Something that cannot be handed over."""

    code = "handover_refused"
    next_step = "Correct what the message names."


class NothingToHandOver(Conflict):
    """There is no value yet."""

    code = "nothing_to_hand_over"
    next_step = "Wait until the rotation has made one: `rotation list` shows it."


class HandoverNotFound(NotFound):
    """No such token, or it was used, or its time is over, or what it gives is being undone."""

    code = "handover_not_found"
    next_step = (
        "Ask whoever sent it for another one; tell them if you have not used this one yourself."
    )


@dataclass(frozen=True)
class Handover:
    """A new token with what it gives; it is nowhere else."""

    id: int
    token: Secret
    slot: str
    version: int
    fingerprint: str | None
    expires_at: datetime


@dataclass(frozen=True)
class Claimed:
    """What a token gives."""

    tunnel: str
    kind: str
    version: int
    fingerprint: str | None
    ppk_id: str | None
    value: Secret


def create(
    desk: Desk, actor: Actor, tunnel: str, kind: Kind, hours: int, *, now: datetime
) -> Handover:
    """Make a token for the newest value of a tunnel's shared secret, good once within so many hours.

    Raises RoleMayNot, OutsideScope, TunnelNotFound, SlotNotFound, HandoverRefused, NothingToHandOver, NoSecretStore.
    """
    require(actor, Action.SECRET_HANDOVER)
    store_of(desk)
    if not 1 <= hours <= _MOST_HOURS:
        raise HandoverRefused(f"A handover is good for 1 to {_MOST_HOURS} hours.")
    token = Secret(PREFIX + base64.urlsafe_b64encode(desk.entropy(32)).rstrip(b"=").decode())
    until = now + timedelta(hours=hours)

    def work(unit: Unit) -> Handover:
        connection = unit.connection
        slot = _slot(connection, actor, tunnel, kind)
        secret = _newest(connection, slot)
        row = {
            "secret_id": secret.id,
            "digest": token_hash(token),
            "expires_at": until,
            "created_at": now,
            "created_by": actor.name,
        }
        made = insert(handovers).values(**row).returning(handovers.c.id)
        number = int(connection.execute(made).scalar_one())
        leave(
            unit,
            actor,
            "secret.handover",
            f"secret:{slot.name}",
            now=now,
            handover=number,
            version=secret.version,
            expires_at=until.isoformat(),
        )
        return Handover(number, token, slot.name, secret.version, secret.fingerprint, until)

    return desk.store.together(work)


def _slot(connection: Connection, actor: Actor, name: str, kind: Kind) -> Slot:
    tunnel = pick(connection, name)
    require_end(actor, tunnel.left, tunnel.right)
    if tunnel.right is not None:
        raise HandoverRefused(
            "Both ends of this tunnel are gateways of the fleet, and fetch the key by themselves.",
            next_step="Nothing needs to be handed over.",
        )
    for slot in records.slots_of_tunnel(connection, tunnel.id):
        if slot.kind is kind:
            return slot
    raise SlotNotFound(f"No {kind} of the tunnel {name!r} is under management.")


def _newest(connection: Connection, slot: Slot) -> Row[Any]:
    """The version of the rotation under way, else, also while that is being undone, the present one."""
    query = select(secrets).where(
        secrets.c.slot_id == slot.id,
        secrets.c.version != (_undone(connection, slot) or 0),
        secrets.c.store_version.is_not(None),
        secrets.c.destroyed_at.is_(None),
        secrets.c.state.in_(("stored", "current")),
    )
    row = connection.execute(query.order_by(secrets.c.version.desc()).limit(1)).one_or_none()
    if row is None:
        raise NothingToHandOver(f"There is no value of {slot.name} yet.")
    return row


def _undone(connection: Connection, slot: Slot) -> int | None:
    """The version that is being undone: nobody else is to have it."""
    under_way = None if slot.rotation_id is None else records.rotation(connection, slot.rotation_id)
    return under_way.to_version if under_way is not None and under_way.back else None


_FOUND = (
    select(
        handovers.c.id,
        secrets.c.version,
        secrets.c.fingerprint,
        secrets.c.ppk_id,
        secrets.c.store_version,
        secrets.c.destroyed_at,
        secret_slots.c.id.label("slot_id"),
        secret_slots.c.kind,
        secret_slots.c.path,
        secret_slots.c.name,
    )
    .join_from(handovers, secrets, secrets.c.id == handovers.c.secret_id)
    .join(secret_slots, secret_slots.c.id == secrets.c.slot_id)
)


def claim(desk: Desk, token: Secret, address: str, *, request_id: str, now: datetime) -> Claimed:
    """Use a token up and give the value: it is all the authorization that is needed, and needed once.

    The value is read before, so that a store that does not answer costs no token; it is given after the use is on
    record, with the `address` that it came from. Raises HandoverNotFound, NoSecretStore, and what the store raises.
    """
    unused = (
        handovers.c.digest == token_hash(token),
        handovers.c.used_at.is_(None),
        handovers.c.expires_at > now,
    )
    with desk.store.read() as connection:
        row = connection.execute(_FOUND.where(*unused)).one_or_none()
        if row is None or row.destroyed_at is not None:
            raise HandoverNotFound("There is nothing to be had for this token.")
        slot = records.slot(connection, row.slot_id)
    stored = store_of(desk).get(row.path, row.store_version)

    def work(unit: Unit) -> None:
        if row.version == _undone(unit.connection, records.slot(unit.connection, slot.name)):
            raise HandoverNotFound("There is nothing to be had for this token.")
        used = unit.connection.execute(
            update(handovers).where(*unused).values(used_at=now, used_from=address)
        )
        if used.rowcount != 1:
            raise HandoverNotFound("There is nothing to be had for this token.")
        audit.record(
            unit,
            at=now,
            actor=f"handover {row.id}",
            role="bearer",
            action="secret.claim",
            object=f"secret:{row.name}",
            outcome="ok",
            detail={"handover": row.id, "version": row.version, "address": address},
            request_id=request_id,
        )

    desk.store.together(work)
    return Claimed(
        tunnel=slot.tunnel,
        kind=row.kind,
        version=row.version,
        fingerprint=row.fingerprint,
        ppk_id=row.ppk_id,
        value=stored.value,
    )
