"""How the shared secrets of tunnels are, in a line each."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, select

from fleet.bumps import chunks
from store.rotation_tables import rotations, secret_slots, secrets

CURRENT = "current"


@dataclass(frozen=True)
class SecretSummary:
    """`version` proves the left end, since `current_at`; both None before there is one. `state` is that of the
    rotation under way, which is `rotation_id`.
    """

    kind: str
    version: int | None
    current_at: datetime | None
    due_at: datetime | None
    frozen: bool
    rotation_id: int | None
    state: str | None


def of_tunnels(
    connection: Connection, ids: Collection[int]
) -> dict[int, tuple[SecretSummary, ...]]:
    """The shared secrets of these tunnels, by tunnel; one that has none is left out."""
    found: dict[int, tuple[SecretSummary, ...]] = {}
    for some in chunks(sorted(set(ids))):
        query = _SUMMARY.where(secret_slots.c.tunnel_id.in_(some))
        for row in connection.execute(query):
            summary = SecretSummary(
                kind=row.kind,
                version=row.left_keys[0] if row.left_keys else None,
                current_at=row.current_at,
                due_at=row.due_at,
                frozen=bool(row.policy.get("frozen")),
                rotation_id=row.rotation_id,
                state=row.state,
            )
            found[row.tunnel_id] = (*found.get(row.tunnel_id, ()), summary)
    return found


_SUMMARY = (
    select(
        secret_slots.c.tunnel_id,
        secret_slots.c.kind,
        secret_slots.c.left_keys,
        secret_slots.c.due_at,
        secret_slots.c.policy,
        secret_slots.c.rotation_id,
        secrets.c.current_at,
        rotations.c.state,
    )
    .outerjoin(secrets, and_(secrets.c.slot_id == secret_slots.c.id, secrets.c.state == CURRENT))
    .outerjoin(rotations, rotations.c.id == secret_slots.c.rotation_id)
    .order_by(secret_slots.c.tunnel_id, secret_slots.c.kind.desc())
)
