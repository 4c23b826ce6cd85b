"""The two-person rule: an act that settings name is done only after another person approved exactly that.

An operation calls `require_approval` in the transaction of its act, so that every door ends there, and does its work
within `asked_for`, which puts on record what still needs an approval. Who asked then does the same again and names the
approval; it is used up together with the act, or neither happens. What people do with approvals is in `pki.decisions`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, case, exists, func, insert, select, update

from core.errors import Conflict, IkewardenError, NotFound, NotPermitted
from pki.actors import PEOPLE, Actor, Role
from pki.desk import Desk
from pki.guarded import (
    Act,
    Guarded,
    State,
    Step,
    after,
    differences,
    digest,
    person,
    shown,
    state_at,
)
from pki.trail import leave
from store import outbox
from store.acme_tables import acme_accounts
from store.approval_tables import approvals
from store.engine import Unit
from store.tables import authorities, certificates, tokens

ASKED: Final = "approval.asked"
# The parameter that holds the acts of a whole, each as it would be asked for alone.
PARTS: Final = "parts"
# So many of one person wait at once: nobody looks at more.
_MOST: Final = 100


class ApprovalRequired(NotPermitted):
    """Another person must approve this first; the request is on record and waits."""

    code = "approval_required"
    next_step = "Have it approved; then send the same request again with the approval's number."

    def __init__(
        self,
        message: str,
        *,
        next_step: str = "",
        details: Mapping[str, object] | None = None,
        wanted: tuple[Guarded, Mapping[str, object]] | None = None,
    ) -> None:
        super().__init__(message, next_step=next_step, details=details)
        self.wanted = wanted


class ApprovalNotFound(NotFound):
    """No approval with this number."""

    code = "approval_not_found"
    next_step = "List the approvals to see their numbers."


class ApprovalOfAnother(NotPermitted):
    """The approval was asked for with another credential."""

    code = "approval_of_another"
    next_step = "Use the token that it was asked for with, or leave the approval out to ask for one of your own."


class ApprovalMismatch(NotPermitted):
    """The approval is for something else than what was sent; `differences` tells what."""

    code = "approval_mismatch"
    next_step = (
        "Send exactly what was approved (times as they were worked out then), "
        "or leave the approval out to ask anew."
    )


class ApprovalNotUsable(Conflict):
    """The approval is not there to be used: nobody decided yet, or it was refused, used, withdrawn, or has expired."""

    code = "approval_not_usable"
    next_step = "Leave the approval out to ask for a new one."


class TooManyWaiting(Conflict):
    """So many requests of one person wait already."""

    code = "approvals_too_many"
    next_step = "Withdraw what is not needed any more: `ikewarden approval list` shows it."


def named(desk: Desk, names: tuple[Guarded, ...]) -> Guarded | None:
    """The first of the names that settings put under the rule."""
    return next((name for name in names if name in desk.rules.approvals.required), None)


def latest(
    connection: Connection, desk: Desk, actor: Actor, act: Act, *, now: datetime
) -> int | None:
    """The number of the newest request for exactly this act with this credential that is not over, an approved one
    before others, refused ones too: for whoever cannot name it, because his protocol has no place for that.
    """
    name = _wanted(desk, act)
    if name is None:
        return None
    # Two processes that were asked at the same moment have put two on record: one that is approved will do.
    approved = case((approvals.c.state == State.APPROVED, 1), else_=0)
    query = (
        select(approvals.c.id)
        .where(
            approvals.c.credential == actor.credential,
            approvals.c.sha256 == digest(name, act.parameters),
            approvals.c.state.in_([State.PENDING, State.APPROVED, State.REFUSED]),
            approvals.c.expires_at > now,
        )
        .order_by(approved.desc(), approvals.c.id.desc())
        .limit(1)
    )
    number: int | None = connection.execute(query).scalar_one_or_none()
    return number


def require_approval(
    unit: Unit, desk: Desk, actor: Actor, act: Act, *, now: datetime
) -> Mapping[str, Any]:
    """Use up the approval that the actor names, in the transaction of the act; tell what its audit row shall say.

    Nothing is said and needed where settings do not name the act. Call it before the work changes anything, and within
    `asked_for`. Raises ApprovalRequired, ApprovalNotFound, ApprovalOfAnother, ApprovalMismatch, ApprovalNotUsable.
    """
    connection = unit.connection
    row, said = _find(connection, desk, actor, act, now, lock=True)
    if row is None or row.state == State.USED:
        return said  # a part of what was approved as a whole needs no more
    used = connection.execute(
        update(approvals)
        .where(approvals.c.id == row.id, approvals.c.state == State.APPROVED)
        .values(state=State.USED, ended_at=now)
    )
    if used.rowcount != 1:
        raise ApprovalNotUsable("The approval was used by somebody else at this moment.")
    leave(unit, actor, "approval.use", about(row.id), now=now, act=row.act, **said)
    return said


def look(desk: Desk, actor: Actor, act: Act, *, now: datetime) -> None:
    """Make sure that an act could be done, and use nothing up: for what is costly before the acting transaction.

    Raises what `require_approval` raises.
    """
    if _wanted(desk, act) is None:
        return
    with desk.store.read() as connection:
        _find(connection, desk, actor, act, now, lock=False)


@contextmanager
def asked_for(desk: Desk, actor: Actor, *, now: datetime) -> Iterator[None]:
    """Put on record what the work inside was refused for want of an approval; raise ApprovalRequired with its number.

    Asking for the same again finds the request that waits. Raises TooManyWaiting.
    """
    try:
        yield
    except ApprovalRequired as missing:
        if missing.wanted is None:
            raise
        name, parameters = missing.wanted
        raise _ask(desk, actor, name, shown(parameters), now) from None
    except (ApprovalMismatch, ApprovalOfAnother) as denied:
        note_denial(desk, actor, "approval.use", actor.approval, denied, now)
        raise


def note_denial(
    desk: Desk,
    actor: Actor,
    action: str,
    number: int | None,
    denied: IkewardenError,
    now: datetime,
) -> None:
    """Leave an audit row of a try to get round the second person."""
    desk.store.together(
        lambda unit: leave(
            unit, actor, action, about(number), now=now, outcome="denied", error=denied.code
        )
    )


def about(number: int | None) -> str:
    """An approval as the audit log names it."""
    return f"approval:{number}"


def standing(row: Any, now: datetime) -> State:
    """The state of a row by the clock."""
    return state_at(State(row.state), row.expires_at, now)


def has_approver(connection: Connection, now: datetime, *, beside: str | None = None) -> bool:
    """Whether anybody can approve, `beside` a person whose name that is."""
    query = select(tokens.c.name, tokens.c.expires_at).where(
        tokens.c.role == Role.APPROVER, tokens.c.revoked_at.is_(None)
    )
    return any(
        (row.expires_at is None or row.expires_at > now) and person(row.name) != beside
        for row in connection.execute(query)
    )


def _wanted(desk: Desk, act: Act) -> Guarded | None:
    """By which name an act needs an approval, if it does."""
    return act.names[0] if act.always else named(desk, act.names)


def _find(
    connection: Connection, desk: Desk, actor: Actor, act: Act, now: datetime, *, lock: bool
) -> tuple[Any | None, Mapping[str, Any]]:
    """The approval to use, and what to say of it; no row where none is needed."""
    name = _wanted(desk, act)
    if name is None:
        return None, {}
    exempt = _exempt(connection, desk, actor, act)
    if exempt is not None:
        return None, {"approval": exempt}
    if actor.approval is None:
        raise ApprovalRequired(
            f"Another person must approve this: {name}.", wanted=(name, act.parameters)
        )
    query = select(approvals).where(approvals.c.id == actor.approval)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise ApprovalNotFound(f"There is no approval {actor.approval}.")
    _check(connection, actor, row, name, shown(act.parameters), now)
    return row, {"approval": row.id, "approved_by": row.decided_by}


def _exempt(connection: Connection, desk: Desk, actor: Actor, act: Act) -> str | None:
    """Why nobody needs to approve this, where nobody can have been able to yet."""
    if actor.credential == "local" and _none(connection):
        return "founding"  # `init`, before the first token
    others = desk.rules.sessions.has_approver
    if act.makes_approver and not others and _first_approver(connection, person(actor.name)):
        return "first approver"
    return None


def _none(connection: Connection) -> bool:
    return connection.execute(select(tokens.c.id).limit(1)).first() is None


def _first_approver(connection: Connection, asker: str) -> bool:
    # Ever, not now: who could end all approvers' tokens and then make his own would need nobody.
    known = connection.scalars(select(tokens.c.name).where(tokens.c.role == Role.APPROVER))
    return all(person(name) == asker for name in known)


def _check(
    connection: Connection,
    actor: Actor,
    row: Any,
    name: Guarded,
    asked: Mapping[str, object],
    now: datetime,
) -> None:
    """Raise what is against the use of an approval for an act, or for one of the `parts` of what was approved."""
    if row.credential != actor.credential or row.person != person(actor.name):
        raise ApprovalOfAnother(f"The approval {row.id} was asked for by {row.asked_by}.")
    part = _is_part(row, name, asked)
    if row.sha256 != digest(name, asked) and not part:
        found = differences({"act": name, **asked}, {"act": row.act, **row.parameters})
        raise ApprovalMismatch(
            f"The approval {row.id} is for something else.", details={"differences": found}
        )
    state = standing(row, now)
    if (
        not (part and state is State.USED and now < row.expires_at)
        and after(state, Step.USE) is None
    ):
        raise ApprovalNotUsable(
            f"The approval {row.id} is {state}.",
            next_step="Wait until another person has decided." if state is State.PENDING else "",
            details={"approval": row.id, "state": str(state)},
        )
    if not holds(connection, actor.credential, actor.role, now):
        raise ApprovalNotUsable("The token that this was asked for with has ended.")
    # Not whether it has run out since: that says nothing against who held it.
    if not holds(connection, row.decided_credential, Role.APPROVER, None):
        raise ApprovalNotUsable(
            f"The token of {row.decided_by}, who approved {row.id}, was revoked since."
        )


def _is_part(row: Any, name: Guarded, asked: Mapping[str, object]) -> bool:
    """Whether an act is one of those that were approved together, once the whole has begun and used the approval up.

    Each part can be done once, because the name of what it makes is for ever, or the ceremony sees to it (a
    cross-certificate has no name); and only as long as the approval lasts.
    """
    parts = row.parameters.get(PARTS)
    return (
        row.state == State.USED
        and row.act == name
        and row.sha256 == digest(name, row.parameters)
        and isinstance(parts, list)
        and asked in parts
    )


def holds(connection: Connection, credential: str, role: Role, now: datetime | None) -> bool:
    """Whether a credential is a token of this role that was not revoked and, with `now`, has not run out; an account
    that may still ask; or a person's certificate that is valid. What came through OpenID Connect is not kept here: the
    session that it acts in was looked up with this request.
    """
    kind, _, token_id = credential.partition(":")
    if kind == "certificate" and role in PEOPLE:
        return _is_valid(connection, token_id, now)
    if kind == "oidc":
        return role in PEOPLE
    if kind == "acme":
        return role is Role.ENROLLER and _stands(connection, int(token_id))
    if kind != "token":
        return kind == "local"
    query = select(tokens.c.expires_at).where(
        tokens.c.id == token_id, tokens.c.role == role, tokens.c.revoked_at.is_(None)
    )
    row = connection.execute(query).one_or_none()
    return row is not None and (now is None or row.expires_at is None or row.expires_at > now)


def _is_valid(connection: Connection, named: str, now: datetime | None) -> bool:
    authority, _, serial = named.rpartition(":")
    query = select(certificates.c.not_after).where(
        certificates.c.serial == serial,
        certificates.c.status == "valid",
        certificates.c.authority_id == authorities.c.id,
        authorities.c.name == authority,
    )
    row = connection.execute(query).one_or_none()
    return row is not None and (now is None or row.not_after > now)


def _stands(connection: Connection, account: int) -> bool:
    """Whether an account was not deactivated, nor the token revoked that it is bound to."""
    ended = exists().where(
        tokens.c.id == acme_accounts.c.token_id, tokens.c.revoked_at.is_not(None)
    )
    query = select(acme_accounts.c.id).where(
        acme_accounts.c.id == account, acme_accounts.c.state == "valid", ~ended
    )
    return connection.execute(query).first() is not None


def _ask(
    desk: Desk, actor: Actor, name: Guarded, parameters: dict[str, object], now: datetime
) -> ApprovalRequired:
    sha256 = digest(name, parameters)
    mine = (approvals.c.credential == actor.credential, approvals.c.expires_at > now)
    same = select(approvals).where(
        *mine, approvals.c.sha256 == sha256, approvals.c.state.in_([State.PENDING, State.APPROVED])
    )
    waiting = select(func.count()).where(*mine, approvals.c.state == State.PENDING)

    def work(unit: Unit) -> tuple[int, str, bool]:
        connection = unit.connection
        able = desk.rules.sessions.has_approver or has_approver(
            connection, now, beside=person(actor.name)
        )
        known = connection.execute(same.order_by(approvals.c.id.desc()).limit(1)).first()
        if known is not None:
            return known.id, known.state, able
        if connection.execute(waiting).scalar_one() >= _MOST:
            raise TooManyWaiting(f"{_MOST} requests of yours wait for an approval.")
        return _record(unit, desk, actor, name, parameters, now), State.PENDING, able

    number, state, able = desk.store.together(work)
    return ApprovalRequired(
        f"Another person must approve this: {name}. "
        + (
            f"Your request is {number}."
            if state == State.PENDING
            else f"It was approved as {number}."
        ),
        next_step=_next_step(number, able=able or state == State.APPROVED),
        details={"approval": number, "act": str(name), "state": str(state), "sha256": sha256},
    )


def _next_step(number: int, *, able: bool) -> str:
    again = (
        f"send the same again with `--approval {number}` (over REST: Ikewarden-Approval: {number})."
    )
    if able:
        return f"When an approver has approved it (`ikewarden approval approve {number}`), {again}"
    return (
        "Nobody who could approve it has a token: `ikewarden token create NAME --role approver` makes the first one. "
        f"After the approval, {again}"
    )


def _record(
    unit: Unit,
    desk: Desk,
    actor: Actor,
    name: Guarded,
    parameters: dict[str, object],
    now: datetime,
) -> int:
    sha256, expires = digest(name, parameters), now + desk.rules.approvals.valid
    row = {
        "act": name,
        "sha256": sha256,
        "parameters": parameters,
        "state": State.PENDING,
        "asked_by": actor.name,
        "person": person(actor.name),
        "role": actor.role,
        "credential": actor.credential,
        "asked_at": now,
        "expires_at": expires,
    }
    # At once: the same that is asked for in the same batch shall find it.
    made = unit.connection.execute(insert(approvals).values(**row).returning(approvals.c.id))
    number = int(made.scalar_one())
    leave(unit, actor, "approval.ask", about(number), now=now, act=name, sha256=sha256)
    payload = {
        "approval": number,
        "act": name,
        "parameters": parameters,
        "asked_by": actor.name,
        "expires_at": expires.isoformat(),
    }
    outbox.put(unit, topic=ASKED, key=str(number), payload=payload, now=now)
    return number
