"""Looking whether clients control their names (RFC 8555 §8): what is due is claimed, looked at elsewhere, recorded.

A claim has an end, so what somebody took who died then is looked at by the next; to look twice does no harm. How to
look is a port: sockets and resolvers are no matter of this room.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, update

from pki.acme import accounts, jws, limits, reach, states
from pki.acme.states import State, Step
from pki.actors import Action, Actor, require
from pki.desk import Desk
from pki.endpoints import AcmeDoor
from pki.identity import TokenRefused, scope_of_token
from pki.trail import leave
from pki.x509.names import GeneralName
from store.acme_tables import acme_accounts, acme_authorizations, acme_challenges
from store.engine import Unit

#: Longer than one look takes.
LEASE: Final = timedelta(seconds=90)
# After how long it is tried again: what a client has just set up may not be everywhere yet.
PAUSES: Final = (timedelta(seconds=2), timedelta(seconds=5))


class ProofMissing(Exception):
    """Control of a name was not shown. `kind` is an error of RFC 8555 §6.7: connection, dns, tls, unauthorized,
    incorrectResponse, rejectedIdentifier, rateLimited; the text tells nothing of what was found where the client has no
    business.
    """

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(words)
        self.kind = kind
        self.words = words


@dataclass(frozen=True)
class Look:
    """One challenge that is due: where to look for what. `spent`: too many others of its account failed."""

    challenge_id: int
    authorization_id: int
    kind: str
    name: GeneralName
    token: str
    key_authorization: str
    attempts: int
    door: AcmeDoor
    spent: bool = False


class Prober(Protocol):
    """Looks for proofs. Raises ProofMissing; ends within `LEASE` whatever the other side does."""

    def __call__(self, look: Look) -> None: ...


def claim(desk: Desk, actor: Actor, *, owner: str, limit: int, now: datetime) -> list[Look]:
    """Take up to `limit` challenges that are due, for as long as `LEASE`. Raises RoleMayNot."""
    require(actor, Action.JOB_RUN)
    free = or_(acme_challenges.c.lease_until.is_(None), acme_challenges.c.lease_until <= now)
    due = and_(acme_challenges.c.state == State.PROCESSING, acme_challenges.c.due_at <= now, free)
    with desk.store.read() as connection:
        if connection.execute(select(acme_challenges.c.id).where(due).limit(1)).first() is None:
            return []  # the usual case
    chosen = select(acme_challenges.c.id).where(due, acme_challenges.c.id.in_(_in_turn(due, limit)))
    with desk.store.write() as connection:
        numbers = list(connection.scalars(chosen.with_for_update(skip_locked=True)))
        taken = update(acme_challenges).where(acme_challenges.c.id.in_(numbers))
        connection.execute(taken.values(lease_owner=owner, lease_until=now + LEASE))
        rows = connection.execute(_LOOKS.where(acme_challenges.c.id.in_(numbers))).all()
    looks = [(row.account_id, _look(desk, row, now)) for row in rows]
    with desk.store.read() as connection:
        return [
            replace(look, spent=limits.is_spent(connection, account, look.door, now))
            for account, look in looks
        ]


def _in_turn(due: ColumnElement[bool], limit: int) -> Select[Any]:
    """The first of each account before the second of any: who asks for very many lets the others wait for one."""
    account, at = acme_authorizations.c.account_id, acme_challenges.c.due_at
    place = func.row_number().over(partition_by=account, order_by=(at, acme_challenges.c.id))
    waiting = (
        select(acme_challenges.c.id, at, place.label("place"))
        .join_from(acme_challenges, acme_authorizations)
        .where(due)
        .subquery()
    )
    turns = (waiting.c.place, waiting.c.due_at, waiting.c.id)
    return select(waiting.c.id).order_by(*turns).limit(limit)


_SHUT: Final = AcmeDoor(challenges=())
_LOOKS: Final = (
    select(
        acme_challenges.c.id,
        acme_challenges.c.authorization_id,
        acme_challenges.c.kind,
        acme_challenges.c.token,
        acme_challenges.c.attempts,
        acme_authorizations.c.account_id,
        acme_authorizations.c.identifier,
        acme_authorizations.c.state.label("whole"),
        acme_accounts.c.thumbprint,
        acme_accounts.c.endpoint,
        acme_accounts.c.state,
        acme_accounts.c.token_id,
    )
    .join_from(acme_challenges, acme_authorizations)
    .join(acme_accounts, acme_accounts.c.id == acme_authorizations.c.account_id)
)


def _look(desk: Desk, row: Any, now: datetime) -> Look:
    return Look(
        challenge_id=row.id,
        authorization_id=row.authorization_id,
        kind=row.kind,
        name=GeneralName.parse(row.identifier),
        token=row.token,
        key_authorization=jws.key_authorization(row.token, row.thumbprint),
        attempts=row.attempts,
        door=_door(desk, row, now),
    )


def _door(desk: Desk, row: Any, now: datetime) -> AcmeDoor:
    """What is open to the account of a challenge now: where the endpoint was shut since, or the account is good for
    nothing any more, no challenge is; nor of an authorization that is over.
    """
    through = desk.rules.endpoints.get(row.endpoint)
    door = None if through is None else through.acme
    over = row.whole not in (State.PENDING, State.VALID)
    if door is None or over or row.state != accounts.VALID:
        return _SHUT
    if row.token_id is None:
        # RFC 8555 §7.3.4: made when the endpoint wanted no binding, and wants one now.
        return (
            _SHUT if door.external_account else replace(door, networks=reach.networks(door, None))
        )
    try:
        scope = scope_of_token(desk, row.token_id, now=now)
    except TokenRefused:
        return _SHUT
    return replace(door, networks=reach.networks(door, scope.networks))


def release_of(desk: Desk, is_dead: Callable[[str], bool]) -> int:
    """Give back what those have claimed of whom `is_dead` says so; tells how many challenges that were."""
    owner = acme_challenges.c.lease_owner
    with desk.store.read() as connection:
        owners = connection.scalars(select(owner).where(owner.is_not(None)).distinct()).all()
    gone = [each for each in owners if each is not None and is_dead(each)]
    if not gone:
        return 0
    with desk.store.write() as connection:
        freed = update(acme_challenges).where(owner.in_(gone))
        return connection.execute(freed.values(lease_owner=None, lease_until=None)).rowcount


def settle(
    desk: Desk, actor: Actor, look: Look, missing: ProofMissing | None, *, now: datetime
) -> None:
    """Record what a look came to: proved, to be tried again, or failed for good. Raises RoleMayNot.

    Nothing changes where somebody else recorded it meanwhile.
    """
    require(actor, Action.JOB_RUN)
    # What leads inside is not asked for again: who wants it changes the name, and orders anew.
    final = missing is None or missing.kind in {"rejectedIdentifier", "rateLimited"}
    again = not final and look.attempts < len(PAUSES)
    step = Step.PROVE if missing is None else Step.FAIL
    state = State.PROCESSING if again else states.after(State.PROCESSING, step)
    values: dict[str, Any] = {"state": state, "attempts": look.attempts + 1, "lease_owner": None}
    values["lease_until"] = None
    values["error"] = None if missing is None else problem(look, missing)
    values["due_at"] = now + PAUSES[look.attempts] if again else None
    values["validated_at"] = None if again else now
    this = update(acme_challenges).where(
        acme_challenges.c.id == look.challenge_id,
        acme_challenges.c.state == State.PROCESSING,
        acme_challenges.c.attempts == look.attempts,
    )

    def work(unit: Unit) -> None:
        changed = unit.connection.execute(this.values(**values)).rowcount
        if changed and not again:
            _end(unit, actor, look, state or State.INVALID, missing, now)

    desk.store.together(work)


def _end(
    unit: Unit,
    actor: Actor,
    look: Look,
    state: State,
    missing: ProofMissing | None,
    now: datetime,
) -> None:
    # RFC 8555 §7.1.6: one proof is enough; one failure ends the authorization.
    whole = update(acme_authorizations).where(
        acme_authorizations.c.id == look.authorization_id,
        acme_authorizations.c.state == State.PENDING,
    )
    unit.connection.execute(whole.values(state=state))
    about = f"acme-authorization:{look.authorization_id}"
    told = {"identifier": str(look.name), "by": look.kind}
    if missing is not None:
        told["why"] = missing.kind
    leave(unit, actor, f"acme.authorization.{state}", about, now=now, **told)


def problem(look: Look, missing: ProofMissing) -> Mapping[str, Any]:
    """What went wrong, as the client is shown it (RFC 8555 §8, §6.7)."""
    status = 403 if missing.kind in {"unauthorized", "rejectedIdentifier"} else 400
    return {"kind": missing.kind, "detail": f"{look.name}: {missing.words}", "status": status}
