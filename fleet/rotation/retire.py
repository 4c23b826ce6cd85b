"""The end of a tunnel's shared secrets: records removed, and the values in the store after them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select

from fleet.rotation.allotment import store_of
from fleet.rotation.records import IMPORT
from hsm.secretstore import SecretNotFound, SecretStore, VersionState
from pki.actors import Action, Actor, require
from pki.desk import Desk
from store import outbox
from store.engine import Unit
from store.rotation_tables import (
    handovers,
    rotations,
    secret_reports,
    secret_slots,
    secrets,
)

TOPIC = "secrets.forget"
# By then whoever was writing a value while the records went has written it, or never will.
LATER = timedelta(minutes=5)


def forget_tunnel(unit: Unit, tunnel_id: int, actor_name: str, now: datetime) -> None:
    """Remove the slots of a tunnel with all that hangs on them, and queue the destruction of their values.

    For the removal of the tunnel, whose row is locked, before that row is deleted.
    """
    query = select(secret_slots.c.id).where(secret_slots.c.tunnel_id == tunnel_id)
    for number in unit.connection.scalars(query.order_by(secret_slots.c.id)).all():
        forget_slot(unit, number, actor_name, now)


def forget_slot(unit: Unit, slot_id: int, actor_name: str, now: datetime) -> None:
    """Remove one slot with all that hangs on it, and queue the destruction of its values."""
    connection = unit.connection
    query = select(secret_slots).where(secret_slots.c.id == slot_id).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        return
    mine = secrets.c.slot_id == row.id
    kept = connection.execute(select(secrets.c.store_version, secrets.c.source).where(mine)).all()
    turns = list(connection.scalars(select(rotations.c.id).where(rotations.c.slot_id == row.id)))
    if any(each.source == IMPORT for each in kept):
        turns.append(import_turn(row.id))
    known = tuple(each.store_version for each in kept if each.store_version is not None)
    queue(unit, Leftover(row.path, known, tuple(turns), actor_name), now)
    connection.execute(
        delete(handovers).where(handovers.c.secret_id.in_(select(secrets.c.id).where(mine)))
    )
    for table in (secret_reports, secrets, rotations):
        connection.execute(delete(table).where(table.c.slot_id == row.id))
    connection.execute(delete(secret_slots).where(secret_slots.c.id == row.id))


def import_turn(slot_id: int) -> int:
    """What stands in the place of a rotation's number beside a value that was imported."""
    return -slot_id


@dataclass(frozen=True)
class Leftover:
    """Values that no record names any more: what these rotations made, as the tags say. Where tags cannot be read, as
    of what somebody deleted, the `numbers` in the store. `by` is whose act made them so; `kept` are numbers that stay.
    """

    path: str
    numbers: tuple[int, ...]
    rotations: tuple[int, ...]
    by: str
    kept: tuple[int, ...] = ()


def queue(unit: Unit, left: Leftover, now: datetime) -> None:
    """Have values destroyed: now, and once again when a worker that knew nothing of it has ended."""
    payload = asdict(left)
    for delay in (timedelta(0), LATER) if left.rotations else (timedelta(0),):
        outbox.put(unit, topic=TOPIC, key=left.path, payload=payload, now=now, delay=delay)


def destroy(desk: Desk, actor: Actor, payloads: Iterable[Any]) -> None:
    """Destroy what `queue` names. May be done again. Raises RoleMayNot, NoSecretStore and what the store raises."""
    require(actor, Action.JOB_RUN)
    store = store_of(desk)
    for payload in payloads:
        for version in store.versions(payload["path"]):
            kept = version.number in payload.get("kept", ())
            if version.state is not VersionState.DESTROYED and not kept:
                if _is_left_over(store, payload, version.number):
                    store.destroy(payload["path"], version.number)


def _is_left_over(store: SecretStore, payload: Any, number: int) -> bool:
    try:
        tags = store.get(payload["path"], number).tags
    except SecretNotFound:
        return number in payload["numbers"]  # deleted by somebody
    # The path may have a new owner by now, and even new numbers: somebody may have removed it with all that was there.
    return tags.get("rotation") in {str(each) for each in payload["rotations"]}
