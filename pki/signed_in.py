"""Who is signed in to the console: sessions in force, looked at and ended by an admin, or by whose they are.

To end a session takes nothing from the person but this one: whoever may still sign in can do so again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, select

from core.errors import NotAuthenticated, NotFound
from pki.actors import Action, Actor, OutsideScope, Scope, require
from pki.desk import Desk
from pki.guarded import person
from pki.sessions import Session, holder, remove
from store.console_tables import sessions
from store.engine import Unit
from store.tables import authorities, certificates

# So many rows are read at a time; those of one person are found among them.
_ROWS: Final = 500
#: Of one's own that are shown.
MOST: Final = 100


class SessionNotFound(NotFound):
    """No session with this number."""

    code = "session_not_found"
    next_step = "It may have ended by itself: `ikewarden session list` shows those in force (GET /v1/sessions)."


@dataclass(frozen=True)
class SessionView:
    """A session in force, as it may be shown.

    `name` and `role` are whose it is, as they count now; `credential` is what it was opened with: `token:ID`,
    `certificate:AUTHORITY:SERIAL`, or `oidc:ISSUER#SUBJECT`; `client` is the address.
    """

    id: int
    name: str
    role: str
    way: str
    credential: str
    client: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


def list_(
    desk: Desk,
    actor: Actor,
    *,
    name: str | None = None,
    before: int | None = None,
    limit: int,
    now: datetime,
) -> list[SessionView]:
    """List sessions in force, newest first: of everybody, or of the person of this name.

    Raises RoleMayNot, OutsideScope.
    """
    require(actor, Action.SESSION_READ)
    _require_unlimited(actor)
    return _in_force(desk, name, before=before, limit=limit, now=now)


def get(desk: Desk, actor: Actor, number: int, *, now: datetime) -> SessionView:
    """Look at one session in force. Raises RoleMayNot, OutsideScope, SessionNotFound."""
    require(actor, Action.SESSION_READ)
    _require_unlimited(actor)
    found = _in_force(desk, None, before=number + 1, limit=1, now=now)
    if not found or found[0].id != number:
        raise SessionNotFound("There is no such session.")
    return found[0]


def end(desk: Desk, actor: Actor, number: int, *, now: datetime) -> None:
    """End a session: with its next request, and what it watches within a second. Raises RoleMayNot, OutsideScope,
    SessionNotFound.
    """
    require(actor, Action.SESSION_END)
    _require_unlimited(actor)

    def work(unit: Unit) -> None:
        if not remove(unit, actor, sessions.c.id == number, now=now):
            raise SessionNotFound("There is no such session.")

    desk.store.together(work)


def end_all(desk: Desk, actor: Actor, name: str, *, now: datetime) -> int:
    """End all sessions of the person of this name, by whatever way he signed in; how many there were.

    Raises RoleMayNot, OutsideScope.
    """
    require(actor, Action.SESSION_END)
    _require_unlimited(actor)
    return desk.store.together(_ending(actor, name, now))


def own(desk: Desk, session: Session, *, now: datetime) -> list[SessionView]:
    """List the sessions in force of who is signed in, newest first, at most MOST."""
    return _in_force(desk, session.actor.name, before=None, limit=MOST, now=now)


def end_own(desk: Desk, session: Session, *, now: datetime) -> int:
    """Sign out everywhere; how many sessions there were, this one among them."""
    return desk.store.together(_ending(session.actor, session.actor.name, now))


def _require_unlimited(actor: Actor) -> None:
    """Raise OutsideScope for a credential with any limit: sessions are of people, who may do more than it may."""
    if actor.scope != Scope():
        raise OutsideScope("This credential is limited; sessions are of all.")


def _ending(actor: Actor, name: str, now: datetime) -> Callable[[Unit], int]:
    def work(unit: Unit) -> int:
        rows = unit.connection.execute(select(sessions.c.id, sessions.c.name)).all()
        numbers = [row.id for row in rows if person(row.name) == person(name)]
        return sum(
            remove(unit, actor, sessions.c.id == number, now=now, by="person") for number in numbers
        )

    return work


def _in_force(
    desk: Desk, name: str | None, *, before: int | None, limit: int, now: datetime
) -> list[SessionView]:
    found: list[SessionView] = []
    alive = select(sessions).where(
        sessions.c.expires_at > now, sessions.c.seen_at > now - desk.rules.sessions.idle
    )
    while True:
        after = alive if before is None else alive.where(sessions.c.id < before)
        rows = desk.store.look(after.order_by(sessions.c.id.desc()).limit(_ROWS), {})
        for row in rows:
            if name is not None and person(row.name) != person(name):
                continue
            view = _view(desk, row, now)
            if view is not None:
                found.append(view)
            if len(found) == limit:
                return found
        if len(rows) < _ROWS:
            return found
        before = rows[-1].id


def _view(desk: Desk, row: Any, now: datetime) -> SessionView | None:
    """A session as it may be shown; None where what it was opened with does not count any more."""
    shown = _certificate(desk, row.credential) if row.way == "certificate" else None
    try:
        actor = holder(desk, row, shown, now=now, request_id="")
    except NotAuthenticated:
        return None
    return SessionView(
        id=row.id,
        name=actor.name,
        role=str(actor.role),
        way=row.way,
        credential=row.credential,
        client=row.client,
        created_at=row.created_at,
        seen_at=row.seen_at,
        expires_at=row.expires_at,
    )


_DER: Final = (
    select(certificates.c.der)
    .join_from(certificates, authorities)
    .where(
        certificates.c.serial == bindparam("number"), authorities.c.name == bindparam("authority")
    )
)


def _certificate(desk: Desk, credential: str) -> bytes | None:
    """The certificate that a credential names, which its holder would show."""
    authority, _, number = credential.partition(":")[2].rpartition(":")
    asked = {"number": number, "authority": authority}
    row = next(iter(desk.store.look(_DER, asked)), None)
    return None if row is None else row.der
