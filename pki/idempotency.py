"""Requests that may be sent twice and done once (draft-ietf-httpapi-idempotency-key-header).

A door takes a turn before it calls the operation and ends it with the answer. The same key from the
same credential then gets that answer again, for a day. A turn that never ended (the process died)
is taken over after a while; the operation may then have run already, which is the one case in which
it runs twice.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, select, update

from core.errors import Conflict, InvalidInput
from core.secret import Secret
from pki.identity import token_hash
from store.engine import Store, Unit
from store.errors import Duplicate
from store.tables import idempotency, tokens

KEPT = timedelta(hours=24)
TAKEN_OVER_AFTER = timedelta(seconds=60)
_RETRY_AFTER = 5  # seconds


class KeyReused(InvalidInput):
    """The key came before, with another request."""

    code = "idempotency_key_reused"
    next_step = "Use a new Idempotency-Key for each different request."


class StillRunning(Conflict):
    """The first request with this key has not ended."""

    code = "idempotency_running"
    next_step = "Wait as long as Retry-After says, then send the same request again."


class SecretNotReplayable(Conflict):
    """The request succeeded before; its answer held a secret, which is kept nowhere."""

    code = "idempotency_secret_not_replayable"
    next_step = "If the first answer was lost, revoke what it made and ask anew (over REST with a new Idempotency-Key)."


@dataclass(frozen=True)
class Claim:
    """One request as it is told apart: the credential that sent it, its key, its route, the SHA-256
    (hex) of the rest.
    """

    credential: str
    key: str
    route: str
    request_sha256: str


@dataclass(frozen=True)
class Turn:
    """The right to carry out a claimed request since `at`; whoever takes it over has a later
    one.
    """

    claim: Claim
    at: datetime


@dataclass(frozen=True)
class Earlier:
    """The answer that was given to the same request before; `body` as the door encoded it."""

    status: int
    body: str


def begin(store: Store, claim: Claim, *, now: datetime) -> Turn | Earlier:
    """Take the turn for a request, or find the answer it had.

    Raises KeyReused, StillRunning (with `retry_after` seconds in its details), SecretNotReplayable,
    and the errors of the store.
    """

    def work(unit: Unit) -> Turn | Earlier:
        row = unit.connection.execute(_FIND.where(_is(claim))).one_or_none()
        if row is None:
            # Two at once both get here; the primary key lets one through and the other one in again.
            unit.insert(idempotency, _row(claim, now))
            return Turn(claim, now)
        if row.expires_at > now:
            _refuse_other_request(row, claim)
            if row.state == "done":
                return _earlier(row)
            if now - row.created_at < TAKEN_OVER_AFTER:
                raise StillRunning(
                    "The first request with this Idempotency-Key is still running.",
                    details={"retry_after": _RETRY_AFTER},
                )
        return _take_over(unit.connection, claim, row.created_at, now)

    try:
        return store.together(work)
    except Duplicate:
        return store.together(work)  # the other one was in another process; now his row is there


def end(store: Store, turn: Turn, *, status: int, body: str | None) -> None:
    """Keep the answer. `body` None says that it held a secret and cannot be given again."""
    store.together(
        lambda unit: unit.connection.execute(
            update(idempotency).where(_holds(turn)).values(state="done", status=status, body=body)
        )
    )


def give_up(store: Store, turn: Turn) -> None:
    """Forget the claim, so that the same request may be tried again."""
    store.together(lambda unit: unit.connection.execute(delete(idempotency).where(_holds(turn))))


def answer_to_spent_token(
    store: Store, token: Secret, claim: Claim, *, now: datetime
) -> Earlier | None:
    """Find the answer to a request whose one-time token was used up by that very request.

    Without this a gateway that lost the answer to its enrollment could not ask again.
    `claim.credential` is ignored: the token says which it is, used up but neither revoked nor
    expired. Raises KeyReused, SecretNotReplayable.
    """
    spent = select(tokens.c.id, tokens.c.expires_at).where(
        tokens.c.hash == token_hash(token), tokens.c.uses_left == 0, tokens.c.revoked_at.is_(None)
    )
    with store.read() as connection:
        held = connection.execute(spent).one_or_none()
        if held is None or (held.expires_at is not None and held.expires_at <= now):
            return None
        own = Claim(f"token:{held.id}", claim.key, claim.route, claim.request_sha256)
        row = connection.execute(_FIND.where(_is(own))).one_or_none()
    if row is None or row.state != "done" or row.expires_at <= now:
        return None
    _refuse_other_request(row, own)
    return _earlier(row)


_FIND = select(
    idempotency.c.route,
    idempotency.c.request_sha256,
    idempotency.c.state,
    idempotency.c.status,
    idempotency.c.body,
    idempotency.c.created_at,
    idempotency.c.expires_at,
)


def _is(claim: Claim) -> ColumnElement[bool]:
    return and_(idempotency.c.actor == claim.credential, idempotency.c.key == claim.key)


def _holds(turn: Turn) -> ColumnElement[bool]:
    # `created_at` is the fence: a turn that was taken over changes nothing any more.
    return and_(
        _is(turn.claim), idempotency.c.state == "running", idempotency.c.created_at == turn.at
    )


def _row(claim: Claim, now: datetime) -> dict[str, Any]:
    return {
        "actor": claim.credential,
        "key": claim.key,
        "route": claim.route,
        "request_sha256": claim.request_sha256,
        "state": "running",
        "status": None,
        "body": None,
        "created_at": now,
        "expires_at": now + KEPT,
    }


def _take_over(connection: Connection, claim: Claim, since: datetime, now: datetime) -> Turn:
    taken = connection.execute(
        update(idempotency)
        .where(_is(claim), idempotency.c.created_at == since)
        .values(_row(claim, now))
    )
    if taken.rowcount != 1:
        raise StillRunning(
            "The same request was just taken up by another process.",
            details={"retry_after": _RETRY_AFTER},
        )
    return Turn(claim, now)


def _refuse_other_request(row: Any, claim: Claim) -> None:
    if (row.route, row.request_sha256) != (claim.route, claim.request_sha256):
        raise KeyReused("This Idempotency-Key was used with another request.")


def _earlier(row: Any) -> Earlier:
    if row.body is None:
        raise SecretNotReplayable(
            "This request succeeded before; its answer held a secret that was not kept."
        )
    return Earlier(row.status, row.body)
