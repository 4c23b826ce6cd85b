"""What people do with requests for approval: look, decide, withdraw; and what the clock does."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, and_, func, or_, select, update

from core.errors import Conflict, InvalidInput, NotPermitted
from pki.actors import Action, Actor, OutsideScope, Role, Scope, require, require_gateway
from pki.approvals import ApprovalNotFound, about, holds, note_denial, standing
from pki.desk import Desk
from pki.guarded import OPEN, Guarded, State, Step, after, digest, person
from pki.identity import TokenRefused
from pki.trail import leave
from store import outbox
from store.approval_tables import approvals
from store.engine import Unit

DECIDED: Final = "approval.decided"
MAX_REASON: Final = 1000
_BATCH = 500


class OwnApproval(NotPermitted):
    """Nobody decides on what he asked for himself, with whatever token."""

    code = "approval_own"
    next_step = "Have another person decide. To take the request back, withdraw it."


class NotTheAsker(NotPermitted):
    """Only who asked for an approval withdraws it."""

    code = "approval_not_yours"
    next_step = "An approver can refuse it instead."


class ApprovalDecided(Conflict):
    """The approval has come to its end, or stands where it is to be brought already."""

    code = "approval_decided"
    next_step = "Nothing more can be done with it: whoever needs it asks again."


class ReasonMissing(InvalidInput):
    """A decision without a reason, or with one that is too long."""

    code = "approval_reason_missing"
    next_step = f"Say why, in up to {MAX_REASON} characters: it stands in the audit log."


class ParametersChanged(Conflict):
    """What the record shows is not what was asked for: somebody changed the database."""

    code = "approval_record_changed"
    next_step = "Refuse it, have it asked for again, and find out who wrote to the database."


@dataclass(frozen=True)
class ApprovalView:
    """A request for approval and what became of it. `parameters` are exactly what an approval is for."""

    id: int
    act: str
    sha256: str
    parameters: Mapping[str, Any]
    state: str
    asked_by: str
    role: str
    asked_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None
    ended_at: datetime | None


@dataclass(frozen=True)
class ApprovalQuery:
    """Which requests: `cursor` is the last id of a page."""

    state: str | None = None
    act: str | None = None
    cursor: int | None = None
    limit: int = 100


@dataclass(frozen=True)
class ApprovalFigures:
    """How many wait for a decision, how many are approved and not used, since when the oldest waits."""

    pending: int
    approved: int
    oldest_at: datetime | None


def list_(desk: Desk, actor: Actor, query: ApprovalQuery, *, now: datetime) -> list[ApprovalView]:
    """List requests, newest first. Raises RoleMayNot."""
    require(actor, Action.APPROVAL_READ)
    require_gateway(actor, None)
    statement = select(approvals).order_by(approvals.c.id.desc()).limit(query.limit)
    if query.cursor is not None:
        statement = statement.where(approvals.c.id < query.cursor)
    if query.act is not None:
        statement = statement.where(approvals.c.act == query.act)
    if query.state is not None:
        statement = statement.where(_stands(State(query.state), now))
    with desk.store.read() as connection:
        return [_view(row, now) for row in connection.execute(statement)]


def get(desk: Desk, actor: Actor, number: int, *, now: datetime) -> ApprovalView:
    """Look at one request. Raises RoleMayNot, ApprovalNotFound."""
    require(actor, Action.APPROVAL_READ)
    require_gateway(actor, None)
    with desk.store.read() as connection:
        return _view(_row(connection, number), now)


def decide(
    desk: Desk, actor: Actor, number: int, step: Step, reason: str, *, now: datetime
) -> ApprovalView:
    """Approve or refuse what another person asked for; what was approved can be refused until it is used.

    Raises RoleMayNot, OutsideScope (a limited token decides nothing), ReasonMissing, ApprovalNotFound, OwnApproval,
    ApprovalDecided, ParametersChanged, TokenRefused (the token was ended at this moment).
    """
    require(actor, Action.APPROVAL_DECIDE)
    require_gateway(actor, None)
    if actor.scope != Scope():
        raise OutsideScope("A token that is limited in any way decides on nothing.")
    why = reason.strip()
    if not 1 <= len(why) <= MAX_REASON:
        raise ReasonMissing("A decision needs a reason.")

    def work(unit: Unit) -> ApprovalView:
        row = _row(unit.connection, number, lock=True)
        if row.credential == actor.credential or row.person == person(actor.name):
            raise OwnApproval(f"You asked for {number} yourself.")
        if not holds(unit.connection, actor.credential, Role.APPROVER, now):
            raise TokenRefused("This token is not valid.")
        if step is Step.APPROVE and row.sha256 != digest(Guarded(row.act), row.parameters):
            raise ParametersChanged(
                f"The parameters of {number} are not those that were asked for."
            )
        decision = {
            "decided_by": actor.name,
            "decided_credential": actor.credential,
            "decided_at": now,
            "reason": why,
        }
        if step is Step.APPROVE:
            decision["expires_at"] = now + desk.rules.approvals.valid
        return _take(unit, actor, row, step, decision, now)

    try:
        return desk.store.together(work)
    except OwnApproval as denied:
        note_denial(desk, actor, f"approval.{step}", number, denied, now)
        raise


def withdraw(desk: Desk, actor: Actor, number: int, *, now: datetime) -> ApprovalView:
    """Take back what one asked for. Raises RoleMayNot, ApprovalNotFound, NotTheAsker, ApprovalDecided."""
    require(actor, Action.APPROVAL_WITHDRAW)
    require_gateway(actor, None)

    def work(unit: Unit) -> ApprovalView:
        row = _row(unit.connection, number, lock=True)
        if row.person != person(actor.name):
            raise NotTheAsker(f"{row.asked_by} asked for {number}.")
        return _take(unit, actor, row, Step.WITHDRAW, {}, now)

    return desk.store.together(work)


def expire(desk: Desk, actor: Actor, *, now: datetime) -> int:
    """Write down what has expired, which counts for nothing from its end on anyway; tell how many.

    Raises RoleMayNot.
    """
    require(actor, Action.JOB_RUN)
    over = and_(approvals.c.state.in_(sorted(OPEN)), approvals.c.expires_at <= now)
    query = select(approvals).where(over).order_by(approvals.c.id).limit(_BATCH)

    def work(unit: Unit) -> int:
        rows = unit.connection.execute(query.with_for_update(skip_locked=True)).all()
        for row in rows:
            _change(unit.connection, row, State.EXPIRED, {"ended_at": now})
            leave(unit, actor, "approval.expire", about(row.id), now=now, was=row.state)
        return len(rows)

    return desk.store.together(work)


def figures(desk: Desk, actor: Actor, *, now: datetime) -> ApprovalFigures:
    """Count what is open. Raises RoleMayNot."""
    require(actor, Action.METRICS_READ)
    query = (
        select(approvals.c.state, func.count(), func.min(approvals.c.asked_at))
        .where(approvals.c.state.in_(sorted(OPEN)), approvals.c.expires_at > now)
        .group_by(approvals.c.state)
    )
    with desk.store.read() as connection:
        found = {state: (count, oldest) for state, count, oldest in connection.execute(query)}
    pending, oldest = found.get(State.PENDING, (0, None))
    return ApprovalFigures(pending, found.get(State.APPROVED, (0, None))[0], oldest)


def _stands(state: State, now: datetime) -> Any:
    alive, same = approvals.c.expires_at > now, approvals.c.state == state
    if state in OPEN:
        return and_(same, alive)
    if state is State.EXPIRED:
        return or_(same, and_(approvals.c.state.in_(sorted(OPEN)), ~alive))
    return same


def _row(connection: Connection, number: int, *, lock: bool = False) -> Any:
    query = select(approvals).where(approvals.c.id == number)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise ApprovalNotFound(f"There is no approval {number}.")
    return row


def _take(
    unit: Unit, actor: Actor, row: Any, step: Step, changes: Mapping[str, Any], now: datetime
) -> ApprovalView:
    """Take a step with a row that is locked, leave the trail, and tell the notifiers."""
    was = standing(row, now)
    state = after(was, step)
    if state is None:
        raise ApprovalDecided(f"The approval {row.id} is {was}.", details={"state": str(was)})
    ended = {} if state in OPEN else {"ended_at": now}
    _change(unit.connection, row, state, {**changes, **ended})
    reason = changes.get("reason")
    leave(
        unit,
        actor,
        f"approval.{step}",
        about(row.id),
        now=now,
        act=row.act,
        sha256=row.sha256,
        asked_by=row.asked_by,
        **({"reason": reason} if reason else {}),
    )
    payload = {
        "approval": row.id,
        "act": row.act,
        "state": state,
        "asked_by": row.asked_by,
        "by": actor.name,
        "reason": reason,
    }
    outbox.put(unit, topic=DECIDED, key=str(row.id), payload=payload, now=now)
    return _view(_row(unit.connection, row.id), now)


def _change(connection: Connection, row: Any, state: State, changes: Mapping[str, Any]) -> None:
    changed = connection.execute(
        update(approvals)
        .where(approvals.c.id == row.id, approvals.c.state == row.state)
        .values(state=state, **changes)
    )
    if changed.rowcount != 1:
        raise ApprovalDecided("Somebody else did something with it at this moment.")


def _view(row: Any, now: datetime) -> ApprovalView:
    return ApprovalView(
        id=row.id,
        act=row.act,
        sha256=row.sha256,
        parameters=row.parameters,
        state=str(standing(row, now)),
        asked_by=row.asked_by,
        role=row.role,
        asked_at=row.asked_at,
        expires_at=row.expires_at,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        reason=row.reason,
        ended_at=row.ended_at,
    )
