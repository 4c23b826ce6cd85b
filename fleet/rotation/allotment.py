"""Slots made inside a caller's transaction, and what a service without a store of secrets says."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from core.errors import Unavailable
from fleet.rotation import begin, binding, records
from fleet.rotation.binding import Binding
from fleet.rotation.values import Kind, Policy, Reason
from hsm.secretstore import SecretStore
from pki.desk import Desk
from store.engine import Unit
from store.rotation_tables import secret_slots


class NoSecretStore(Unavailable):
    """This service has nowhere to keep shared secrets."""

    code = "no_secret_store"
    next_step = "Name a store in [secrets] of the settings, and start the service again."


@dataclass(frozen=True)
class Wanted:
    """A slot to be made."""

    kind: Kind
    policy: Policy = field(default_factory=Policy)
    binding: Binding = field(default_factory=Binding)


def store_of(desk: Desk) -> SecretStore:
    """The store of secrets. Raises NoSecretStore."""
    if desk.secrets is None:
        raise NoSecretStore("There is no store for shared secrets.")
    return desk.secrets


def draw(desk: Desk) -> float:
    """Where in the jitter a due date falls, 0 to 1: nobody can foretell it, and a fleet does not rotate all at once."""
    return int.from_bytes(desk.entropy(4)) / 2**32


def allot(
    unit: Unit,
    desk: Desk,
    tunnel: tuple[int, str],
    wanted: Wanted,
    actor_name: str,
    *,
    now: datetime,
) -> int:
    """Make an empty slot of a tunnel (number, name), and give its number.

    Raises Duplicate where there is one, BrokenReference where the tunnel was removed meanwhile.
    """
    number, name = tunnel
    template = desk.rules.rotation.path
    row = {
        "tunnel_id": number,
        "kind": str(wanted.kind),
        "name": f"{name}.{wanted.kind}",
        "path": template.replace("{tunnel}", name).replace("{kind}", str(wanted.kind)),
        "left_keys": [],
        "right_keys": [],
        "policy": records.policy_document(wanted.policy),
        "binding": binding.document(wanted.binding),
        "last_version": 0,
        "rotation_id": None,
        "due_at": None,
        "created_at": now,
        "created_by": actor_name,
    }
    made = secret_slots.insert().values(**row).returning(secret_slots.c.id)
    return int(unit.connection.execute(made).scalar_one())


def allot_managed(
    unit: Unit,
    desk: Desk,
    tunnel: tuple[int, str],
    kinds: Sequence[Kind],
    actor_name: str,
    *,
    now: datetime,
) -> None:
    """Make the slots that a managed tunnel cannot do without, and begin their first rotations. Raises NoSecretStore."""
    for kind in kinds:
        store_of(desk)
        made = allot(unit, desk, tunnel, Wanted(kind), actor_name, now=now)
        begin.begin(unit, made, Reason.FIRST, None, actor_name, now)
