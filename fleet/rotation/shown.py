"""Shared secrets and rotations as they may be shown: versions, states, keyed fingerprints, ages; never a value."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, case, func, select, true

from fleet.rotation import binding, records, turns
from fleet.rotation.binding import Binding
from fleet.rotation.records import RotationNotFound, Slot
from fleet.rotation.values import ENDED, End, Policy, State
from fleet.rotation.waiting import Before, waits_for
from fleet.scopes import require_end, within
from fleet.tunnels import pick
from pki.actors import Action, Actor, require
from pki.certificates import MAX_PAGE, BadQuery
from pki.desk import Desk, RotationRules
from store.fleet_tables import tunnels
from store.rotation_tables import rotations, secret_reports, secret_slots, secrets
from store.text import storable

RUNNING = "running"


@dataclass(frozen=True)
class VersionView:
    """A version of a secret. `strength` is known of imported ones: `bits`, `verdict`, `reasons`."""

    id: int
    version: int
    state: str
    source: str
    fingerprint: str | None
    ppk_id: str | None
    strength: Mapping[str, Any] | None
    created_at: datetime
    current_at: datetime | None
    destroyed_at: datetime | None


@dataclass(frozen=True)
class EndView:
    """An end: which versions it should have, and what it last said; `gateway` None is an outside peer."""

    end: End
    gateway: str | None
    foreign: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class RotationView:
    """A rotation as it may be shown. `waits_for` is told of a single one."""

    id: int
    slot: str
    tunnel: str
    kind: str
    state: str
    back: bool
    method: str
    reason: str
    from_version: int | None
    to_version: int | None
    created_at: datetime
    created_by: str
    entered_at: datetime
    deadline_at: datetime | None
    confirmed_at: datetime | None
    tries: int
    error_code: str | None
    error: str | None
    next_step: str | None
    ended_at: datetime | None
    waits_for: str | None = None


@dataclass(frozen=True)
class SlotView:
    """A tunnel's shared secrets of one kind; versions newest first, destroyed ones among them."""

    id: int
    name: str
    tunnel: str
    kind: str
    policy: Policy
    binding: Binding
    due_at: datetime | None
    created_at: datetime
    created_by: str
    versions: tuple[VersionView, ...]
    ends: tuple[EndView, ...]
    rotation: RotationView | None

    @property
    def version(self) -> int | None:
        """The one by which the left end proves itself."""
        keys = self.ends[0].end.keys
        return keys[0] if keys else None

    @property
    def current_at(self) -> datetime | None:
        """Since when that one is in use."""
        return next(
            (each.current_at for each in self.versions if each.version == self.version), None
        )


@dataclass(frozen=True)
class RotationQuery:
    """A search. `state` is one of the states, or `running`; of those that ended, `ended_after` on; `cursor` the last id
    of a page.
    """

    state: str | None = None
    tunnel: str | None = None
    cursor: int | None = None
    limit: int = 100
    ended_after: datetime | None = None


def of_tunnel(desk: Desk, actor: Actor, name: str) -> list[SlotView]:
    """The shared secrets of a tunnel, by kind. Raises RoleMayNot, OutsideScope, TunnelNotFound."""
    require(actor, Action.SECRET_READ)
    with desk.store.read() as connection:
        found = pick(connection, name)
        require_end(actor, found.left, found.right)
        kept = records.slots_of_tunnel(connection, found.id)
        return [view(connection, each) for each in kept]


def view(connection: Connection, slot: Slot) -> SlotView:
    """A slot with everything around it."""
    kept = connection.execute(
        select(secret_slots.c.binding, secret_slots.c.created_at, secret_slots.c.created_by).where(
            secret_slots.c.id == slot.id
        )
    ).one()
    query = select(secrets).where(secrets.c.slot_id == slot.id).order_by(secrets.c.version.desc())
    return SlotView(
        id=slot.id,
        name=slot.name,
        tunnel=slot.tunnel,
        kind=str(slot.kind),
        policy=slot.policy,
        binding=binding.from_document(kept.binding),
        due_at=slot.due_at,
        created_at=kept.created_at,
        created_by=kept.created_by,
        versions=tuple(map(_version, connection.execute(query))),
        ends=_ends(connection, slot),
        rotation=None
        if slot.rotation_id is None
        else _waiting(connection, pick_rotation(connection, slot.rotation_id)),
    )


def _version(row: Row[Any]) -> VersionView:
    return VersionView(**{name: getattr(row, name) for name in VersionView.__dataclass_fields__})


def _ends(connection: Connection, slot: Slot) -> tuple[EndView, ...]:
    query = select(secret_reports.c.side, secret_reports.c.foreign).where(
        secret_reports.c.slot_id == slot.id
    )
    foreign = {row.side: tuple(row.foreign) for row in connection.execute(query)}
    names = (slot.left, slot.right)
    return tuple(
        EndView(end, name, foreign.get(end.side, ()))
        for end, name in zip(records.ends(connection, slot), names, strict=True)
    )


def rotation(desk: Desk, actor: Actor, number: int, *, now: datetime) -> RotationView:
    """Look at one rotation; where it waits its turn, also for which others.

    Raises RoleMayNot, OutsideScope, RotationNotFound.
    """
    require(actor, Action.SECRET_READ)
    with desk.store.read() as connection:
        found = pick_rotation(connection, number)
        slot = records.slot(connection, found.slot)
        require_end(actor, slot.left, slot.right)
        before: Sequence[Before] = ()
        if found.state in {State.SCHEDULED, State.STAGED}:
            before = _before(connection, actor, slot, State(found.state), desk.rules.rotation, now)
        return _waiting(connection, found, before)


def _before(
    connection: Connection,
    actor: Actor,
    slot: Slot,
    state: State,
    rules: RotationRules,
    now: datetime,
) -> tuple[Before, ...]:
    tied = actor.scope.gateway
    own = None if tied is None else slot.left_id if slot.left == tied else slot.right_id
    found = []
    for row in turns.in_the_way(connection, slot, state, rules, now):
        until = row.deadline_at
        if row.state == State.PROMOTED:
            # From then on it holds up nobody.
            out = row.entered_at + rules.step + rules.proof
            until = out if until is None else min(until, out)
        # Of a tunnel that ends at the other gateway alone this credential may know no more.
        named = row.slot if own in (None, row.left_id, row.right_id) else None
        found.append(Before(row.id, named, row.state, until))
    return tuple(found)


def search(desk: Desk, actor: Actor, query: RotationQuery) -> list[RotationView]:
    """Search rotations, the newest first, at most `limit` (1 to 500) of them after `cursor`.

    A credential of one gateway sees those of tunnels that end there. Raises RoleMayNot, OutsideScope, BadQuery,
    TunnelNotFound.
    """
    require(actor, Action.SECRET_READ)
    if not 1 <= query.limit <= MAX_PAGE:
        raise BadQuery(f"A page has between 1 and {MAX_PAGE} entries.")
    statement = _ROTATIONS.order_by(rotations.c.id.desc()).limit(query.limit)
    statement = statement.where(within(actor, tunnels.c.left_id, tunnels.c.right_id))
    for condition in _conditions(query):
        statement = statement.where(condition)
    with desk.store.read() as connection:
        if query.tunnel is not None:
            found = pick(connection, query.tunnel)
            require_end(actor, found.left, found.right)
        return [_rotation(row) for row in connection.execute(statement)]


def _conditions(query: RotationQuery) -> Iterable[ColumnElement[bool]]:
    if query.cursor is not None:
        yield rotations.c.id < query.cursor
    if query.ended_after is not None:
        yield rotations.c.ended_at >= query.ended_after
    if query.tunnel is not None:
        yield tunnels.c.name == storable(query.tunnel)
    if query.state == RUNNING:
        yield rotations.c.state.in_([str(each) for each in State if each not in ENDED])
    elif query.state is not None:
        if query.state not in {*State}:
            raise BadQuery(f"A state is {RUNNING}, or one of {', '.join(State)}.")
        yield rotations.c.state == query.state


_ROTATIONS = (
    select(
        rotations,
        secret_slots.c.name.label("slot"),
        secret_slots.c.kind,
        tunnels.c.name.label("tunnel"),
    )
    .join_from(rotations, secret_slots, secret_slots.c.id == rotations.c.slot_id)
    .join(tunnels, tunnels.c.id == secret_slots.c.tunnel_id)
)


def pick_rotation(connection: Connection, number: int) -> RotationView:
    """Find one rotation inside a transaction. Raises RotationNotFound."""
    row = connection.execute(_ROTATIONS.where(rotations.c.id == number)).one_or_none()
    if row is None:
        raise RotationNotFound(f"There is no rotation {number}.")
    return _rotation(row)


def _rotation(row: Row[Any]) -> RotationView:
    kept = [name for name in RotationView.__dataclass_fields__ if name != "waits_for"]
    fields: dict[str, Any] = {name: getattr(row, name) for name in kept}
    return RotationView(**{**fields, "back": bool(row.back)})


def _waiting(
    connection: Connection, found: RotationView, before: Sequence[Before] = ()
) -> RotationView:
    """With what it waits for."""
    if found.state in ENDED:
        return found
    slot = records.slot(connection, found.slot)
    ends = records.ends(connection, slot)
    kept = records.rotation(connection, found.id)
    told = waits_for(kept, ends, slot.policy, found.tunnel, before)
    return replace(found, waits_for=told or None)


@dataclass(frozen=True)
class Figures:
    """Numbers for those who watch. `states` counts all rotations ever, by state; `oldest_at`: since when the key that
    is longest in use is.
    """

    all: int
    due: int
    frozen: int
    oldest_at: datetime | None
    states: Mapping[str, int]


def figures(desk: Desk, actor: Actor, *, now: datetime) -> Figures:
    """Count slots and rotations; for a credential of one gateway those of tunnels that end there. Raises RoleMayNot."""
    require(actor, Action.METRICS_READ)
    mine: ColumnElement[bool] = true()
    if actor.scope.gateway is not None:
        ends = within(actor, tunnels.c.left_id, tunnels.c.right_id)
        mine = secret_slots.c.tunnel_id.in_(select(tunnels.c.id).where(ends))
    of_slot = select(secret_slots.c.id).where(mine)
    with desk.store.read() as connection:
        is_frozen = secret_slots.c.policy["frozen"].as_boolean()
        slots = select(func.count(), func.count(case((is_frozen, 1)))).where(mine)
        total, frozen = connection.execute(slots).one()
        due = select(func.count()).where(
            mine, secret_slots.c.due_at <= now, secret_slots.c.rotation_id.is_(None)
        )
        oldest = select(func.min(secrets.c.current_at)).where(secrets.c.state == "current")
        states = select(rotations.c.state, func.count()).group_by(rotations.c.state)
        if actor.scope.gateway is not None:
            oldest = oldest.where(secrets.c.slot_id.in_(of_slot))
            states = states.where(rotations.c.slot_id.in_(of_slot))
        return Figures(
            all=total,
            due=connection.execute(due).scalar_one(),
            frozen=frozen,
            oldest_at=connection.execute(oldest).scalar_one(),
            states={name: count for name, count in connection.execute(states)},
        )
