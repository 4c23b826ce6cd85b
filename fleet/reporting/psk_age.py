"""How old the shared secrets of tunnels are, and which of them should have been replaced. Never a value."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Select, and_, case, func, select
from sqlalchemy.orm import aliased

from fleet.reporting.listing import Part, check, require_all
from pki.actors import Action, Actor
from pki.desk import Desk
from store.fleet_tables import gateways, tunnels
from store.rotation_tables import rotations, secret_slots, secrets

_READS: Final = (Action.SECRET_READ, Action.TUNNEL_READ)
_DAY: Final = timedelta(days=1)
# Upper ends of the classes of age, in days.
CLASSES: Final = (30, 90, 180, 365)


@dataclass(frozen=True)
class SecretAge:
    """A tunnel's shared secrets of one kind, never a value. `days`: how long the version in use is that already;
    `overdue`: it should be replaced by now; `interval_days` 0: only on demand. `rotation` is the state of the rotation
    under way; `strength` is known of imported secrets.
    """

    name: str
    tunnel: str
    kind: str
    left: str
    right: str | None
    version: int | None
    source: str | None
    strength: str | None
    current_at: datetime | None
    days: int | None
    due_at: datetime | None
    overdue: bool
    frozen: bool
    interval_days: int
    rotation: str | None


@dataclass(frozen=True)
class PskAgeFigures:
    """How old they are, the oldest first. `ages`: how many are up to how many days old."""

    made_at: datetime
    total: int
    none_yet: int
    overdue: int
    rotating: int
    oldest_days: int | None
    ages: Mapping[str, int]
    secrets: tuple[SecretAge, ...]
    more: int


def figures(desk: Desk, actor: Actor, rows: int, *, now: datetime) -> PskAgeFigures:
    """Tell how old shared secrets are, the oldest `rows` one by one. Raises RoleMayNot, OutsideScope, BadQuery."""
    require_all(actor, *_READS)
    check(rows)
    with desk.store.read() as connection:
        return counted(connection, rows, now)


def counted(connection: Connection, rows: int, now: datetime) -> PskAgeFigures:
    """The same for who has the permission already."""
    within = _secrets().order_by(None).subquery()
    since = within.c.current_at
    bounds = [now - timedelta(days=each) for each in CLASSES]
    # Younger than each bound: the difference of two is a class.
    query = select(
        func.count(),
        func.count(case((since.is_(None), 1))),
        func.count(case((within.c.due_at < now, 1))),
        func.count(within.c.rotation),
        func.min(since),
        *(func.count(case((since > bound, 1))) for bound in bounds),
    ).select_from(within)
    total, none_yet, overdue, rotating, oldest, *younger = connection.execute(query).one()
    # Those that have none yet come last, on both databases.
    order = (secrets.c.current_at.is_(None), secrets.c.current_at, secret_slots.c.id)
    statement = _secrets().order_by(None).order_by(*order).limit(rows)
    found = connection.execute(statement).all() if rows else []
    return PskAgeFigures(
        made_at=now,
        total=total,
        none_yet=none_yet,
        overdue=overdue,
        rotating=rotating,
        oldest_days=None if oldest is None else (now - oldest) // _DAY,
        ages=_classes(younger, total - none_yet),
        secrets=tuple(_row(row, now) for row in found),
        more=total - len(found),
    )


def page(
    desk: Desk, actor: Actor, after: tuple[int, int] | None, limit: int, *, now: datetime
) -> Part[SecretAge]:
    """The next `limit`, in the order in which they were put on record. Raises RoleMayNot, OutsideScope."""
    require_all(actor, *_READS)
    number = after[1] if after else 0
    query = _secrets().where(secret_slots.c.id > number).limit(limit)
    with desk.store.read() as connection:
        found = connection.execute(query).all()
    rows = tuple(_row(row, now) for row in found)
    return Part(rows, (0, found[-1].id) if len(found) == limit else None)


def _classes(younger: list[int], total: int) -> dict[str, int]:
    names = [*(f"up to {each}" for each in CLASSES), f"over {CLASSES[-1]}"]
    counts = [*younger, total]
    return {
        name: number - before
        for name, number, before in zip(names, counts, [0, *younger], strict=True)
    }


def _secrets() -> Select[Any]:
    own, left, right = secret_slots.c, aliased(gateways), aliased(gateways)
    current = and_(secrets.c.slot_id == own.id, secrets.c.state == "current")
    return (
        select(
            own.id,
            own.name,
            tunnels.c.name.label("tunnel"),
            own.kind,
            left.c.name.label("left"),
            func.coalesce(right.c.name, tunnels.c.peer_name).label("right"),
            secrets.c.version,
            secrets.c.source,
            secrets.c.strength,
            secrets.c.current_at,
            own.due_at,
            own.policy,
            rotations.c.state.label("rotation"),
        )
        .select_from(secret_slots)
        .join(tunnels, tunnels.c.id == own.tunnel_id)
        .join(left, left.c.id == tunnels.c.left_id)
        .outerjoin(right, right.c.id == tunnels.c.right_id)
        .outerjoin(secrets, current)
        .outerjoin(rotations, rotations.c.id == own.rotation_id)
        .order_by(own.id)
    )


def _row(row: Any, now: datetime) -> SecretAge:
    kept = ("name", "tunnel", "kind", "left", "right", "version", "source", "current_at", "due_at")
    since = row.current_at
    return SecretAge(
        **{name: getattr(row, name) for name in kept},
        strength=(row.strength or {}).get("verdict"),
        days=None if since is None else max(0, (now - since) // _DAY),
        overdue=row.due_at is not None and row.due_at < now,
        frozen=bool(row.policy.get("frozen")),
        interval_days=int(row.policy.get("interval_days", 0)),
        rotation=row.rotation,
    )
