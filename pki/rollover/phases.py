"""The phases of a rollover: a successor prepared, published, switched to; the old authority retired; and the way back.

The successor is an authority of its own, with its own key, serial numbers, lists and OCSP; so those of the old key go
on as they were until its last certificate ends. Each phase is one transaction; whatever is signed for it comes before.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, select, update

from core.errors import Conflict, InvalidInput
from pki import authorities, founding, outside, revocation
from pki.actors import Action, Actor, require, require_authority, require_whole
from pki.approvals import asked_for, require_approval
from pki.authorities import ACTIVE, OUTSIDE, PREPARED, RETIRED, REVOKED, Authority
from pki.conditions import check_in_force, check_still, check_unrevoked
from pki.desk import Desk
from pki.guarded import Act, Guarded
from pki.rollover import crossing, records
from pki.rollover.crossing import Crossing
from pki.rollover.records import BACK, STEPS, Rollover, State
from pki.rollover.successor import RolloverRequest, successor_of
from pki.rollover.usage import Usage, in_force
from pki.trail import leave
from pki.x509.crl import Reason
from store.engine import Unit
from store.rollover_tables import rollovers
from store.tables import authorities as authorities_table


class ParentOutside(InvalidInput):
    """The authority's key, or that of its parent, is not here."""

    code = "rollover_parent_outside"
    next_step = (
        "Make the key and a request with `ikewarden ca rollover request NAME --out FILE`, have it signed outside, and "
        "bring the certificate in with `ikewarden ca import`. A root outside is rolled over on its own machine."
    )


class WrongPhase(Conflict):
    """The rollover is in another phase than this step leads on from."""

    code = "rollover_wrong_phase"
    next_step = "Look at the rollover; its phases follow each other, and `back` goes one back."


class SwitchRefused(InvalidInput):
    """A date at which nothing can be switched."""

    code = "rollover_date_refused"
    next_step = (
        "Give a time that is not in the past, while the certificates of both authorities are valid."
    )


class StillInUse(Conflict):
    """Certificates of the authority are in force that this step would leave without it."""

    code = "rollover_certificates_in_force"
    next_step = (
        "Renew or revoke them first, and finish the rollovers of CAs below; "
        "`cert list --authority NAME --status valid` shows them."
    )


@dataclass(frozen=True)
class Order:
    """A step: to `published`, `switched` (`on` a date, or now), `finished`, or `back`.

    `despite`: although certificates of the old authority are in force, or gateways do not know the successor yet.
    `seen`: only from this phase, so that a step that is asked for twice is taken once.
    """

    to: str
    on: datetime | None = None
    despite: bool = False
    seen: str | None = None


_Values = dict[str, Any]
# What a step sets, and what its audit row says beside.
_Done = tuple[_Values, _Values]
_Work = Callable[[Connection, Rollover, Order, datetime], _Done]
# Told in the transaction of a step, when it is done, with the rollover as it is now. It may raise to refuse it.
Witness = Callable[[Unit, Rollover, Order], None]


def prepare(desk: Desk, actor: Actor, request: RolloverRequest, *, now: datetime) -> Rollover:
    """Make the successor of an authority: its key and certificate, its first lists. It issues nothing yet.

    It has the same kind, limits and parent (or who issues in the parent's place by now). Raises what
    `founding.create` raises, AuthorityRetired, AuthorityExpired, ParentOutside, RolloverUnderWay.
    """
    require(actor, Action.AUTHORITY_CREATE)
    require_whole(actor)
    old = authorities.get(desk, actor, request.name)
    if OUTSIDE in {old.status, _parent_status(desk, old)}:
        raise ParentOutside(f"The key that certifies {old.name!r} is not here.")
    _check_succeeded(desk, old, now)
    made = founding.create(desk, actor, successor_of(desk, old, request), now=now)
    with desk.store.read() as connection:
        [found] = [each for each in records.all_(connection) if each.successor == made.name]
    return found


def ask(desk: Desk, actor: Actor, request: RolloverRequest, *, now: datetime) -> tuple[str, bytes]:
    """Make the key of what is to succeed an issuing authority, to be certified outside; give its name and its request
    (PKCS#10, PEM). Asked again, it is for the same key. `outside.install` begins the rollover.

    Raises what `outside.ask` raises, AuthorityRetired, AuthorityExpired, ParentOutside, RolloverUnderWay.
    """
    require(actor, Action.AUTHORITY_CREATE)
    require_whole(actor)
    old = authorities.get(desk, actor, request.name)
    if old.kind != "issuing":
        raise ParentOutside(
            f"{old.name!r} is a root: it signs itself.",
            next_step="Roll it over with `ikewarden ca rollover start`, on the machine that has its key.",
        )
    _check_succeeded(desk, old, now)
    wanted = successor_of(desk, old, request)
    return wanted.name, outside.ask(desk, actor, wanted, now=now)


def _check_succeeded(desk: Desk, old: Authority, now: datetime) -> None:
    # One whose certificate is revoked needs a successor all the more.
    check_in_force(replace(old, status=ACTIVE) if old.status == REVOKED else old, now)
    with desk.store.read() as connection:
        records.refuse_second(connection, old.name)


def _parent_status(desk: Desk, old: Authority) -> str | None:
    return None if old.parent is None else authorities.load(desk, old.parent).status


def list_(desk: Desk, actor: Actor) -> list[Rollover]:
    """The rollovers of the authorities that this caller may see, newest first. Raises RoleMayNot."""
    require(actor, Action.AUTHORITY_READ)
    visible = actor.scope.authorities
    with desk.store.read() as connection:
        found = records.all_(connection)
    return [each for each in found if visible is None or each.authority in visible]


def get(desk: Desk, actor: Actor, number: int) -> Rollover:
    """Look at one. Raises RoleMayNot, OutsideScope, RolloverNotFound."""
    require(actor, Action.AUTHORITY_READ)
    with desk.store.read() as connection:
        found = records.pick(connection, number)
    require_authority(actor, found.authority)
    return found


def usage(desk: Desk, actor: Actor, number: int, *, now: datetime) -> Usage:
    """What of the authority is still in use. Raises RoleMayNot, OutsideScope, RolloverNotFound."""
    require(actor, Action.AUTHORITY_READ)
    found = get(desk, actor, number)
    with desk.store.read() as connection:
        return in_force(connection, found.authority_id, now)


def move(
    desk: Desk,
    actor: Actor,
    number: int,
    order: Order,
    *,
    now: datetime,
    witness: Witness | None = None,
) -> Rollover:
    """Take a step of a rollover. To publish a root's, its key and its successor's are certified by each other first.

    Of two who take one at once, one does. Raises RoleMayNot, OutsideScope, RolloverNotFound, WrongPhase, SwitchRefused,
    StillInUse, RolloverUnderWay where the successor is succeeded itself, AuthorityRetired where the successor's
    certificate is revoked, the errors of `pki.approvals`, what `crossing.cross_sign` raises, and what the `witness`
    raises.
    """
    require(actor, Action.AUTHORITY_CREATE)
    require_whole(actor)
    found = get(desk, actor, number)
    _after(found, order, now)
    if order.to == State.PUBLISHED:
        _cross(desk, actor, found, now)

    def work(unit: Unit) -> Rollover:
        before = records.locked(unit.connection, number)
        state = _after(before, order, now)
        _check(unit.connection, desk, before, order)
        said = require_approval(unit, desk, actor, _act(desk, before, order), now=now)
        values, stated = _WORKS[before.state, order.to](unit.connection, before, order, now)
        stamped = _stamped(before, order, actor, now)
        _set(unit.connection, number, state=state, **values, **stamped)
        if state == State.ABANDONED:
            _give_up(unit, desk, actor, before, now)
        verb = order.to if order.to == BACK else _VERBS[order.to]
        detail: dict[str, Any] = {
            "successor": before.successor,
            "state": state,
            "despite": order.despite,
            **stated,
        }
        about = f"rollover:{before.authority}"
        leave(unit, actor, f"rollover.{verb}", about, now=now, **detail, **said)
        done = records.pick(unit.connection, number)
        if witness is not None:
            witness(unit, done, order)
        return done

    with asked_for(desk, actor, now=now):
        return desk.store.together(work)


def _after(found: Rollover, order: Order, now: datetime) -> State:
    state, phase = STEPS.get((found.state, order.to)), found.phase(now)
    if state is None:
        wanted = "go back" if order.to == BACK else f"become {order.to}"
        raise WrongPhase(f"The rollover {found.id} is {phase}; it cannot {wanted}.")
    if order.seen not in {None, found.state, phase}:
        raise WrongPhase(f"The rollover {found.id} is {phase} by now, not {order.seen}.")
    return state


def _check(connection: Connection, desk: Desk, found: Rollover, order: Order) -> None:
    """What must hold beside the phase."""
    if order.to == BACK:
        records.refuse_succeeded(connection, found)
        if found.state == State.PREPARED:
            both = (authorities.load(desk, name) for name in (found.successor, found.authority))
            _refuse_pending(connection, found, [Crossing(*both)])
    elif order.to != State.FINISHED:
        check_unrevoked(connection, authorities.load(desk, found.successor))


def _act(desk: Desk, found: Rollover, order: Order) -> Act:
    """What another person must approve: that an authority ends, or comes back."""
    names, whom = _GUARDS.get((found.state, order.to), ((), "authority"))
    name = getattr(found, whom)
    return Act(
        names,
        {
            "rollover": found.id,
            "authority": name,
            "sha256": authorities.load(desk, name).sha256,
            "successor": found.successor,
            "successor_sha256": authorities.load(desk, found.successor).sha256,
            "to": order.to,
            "despite": order.despite,
        },
    )


def _give_up(unit: Unit, desk: Desk, actor: Actor, found: Rollover, now: datetime) -> None:
    """Revoke what was signed for the successor's key, and by it: nobody shall trust it any more."""
    new = authorities.load(desk, found.successor)
    which = crossing.touching(unit.connection, new.id)
    # What was signed outside is revoked there.
    if new.parent is not None and authorities.load(desk, new.parent).status != OUTSIDE:
        which.append((new.parent, new.serial))
    revocation.revoke_with(unit, actor, which, Reason.cessationOfOperation, now)


def _cross(desk: Desk, actor: Actor, found: Rollover, now: datetime) -> None:
    """New with old and old with new (RFC 4210 §4.4); those that a run before this one made count."""
    old = authorities.get(desk, actor, found.authority)
    # It becomes active with the step.
    new = replace(authorities.load(desk, found.successor), status=ACTIVE)
    if old.kind != "root":
        return  # both are certified by one parent, which peers trust already
    wanted = [Crossing(new, old), Crossing(old, new)]
    with desk.store.read() as connection:
        missing = [each for each in wanted if not crossing.standing(connection, each, now)]

    def look_again(unit: Unit) -> None:
        connection = unit.connection
        _after(records.locked(connection, found.id), Order(State.PUBLISHED), now)
        check_still(connection, old)
        _refuse_pending(connection, found, wanted)
        if any(crossing.standing(connection, each, now) for each in missing):
            raise WrongPhase(f"Somebody else publishes the rollover {found.id} at this moment.")

    if missing:
        crossing.make(desk, actor, missing, None, now, look_again)


def _refuse_pending(connection: Connection, found: Rollover, crossings: list[Crossing]) -> None:
    if any(crossing.pending(connection, each) for each in crossings):
        raise WrongPhase(
            f"Cross-certificates for the rollover {found.id} are being signed.",
            next_step="Try again; if whoever signs them has died, they are given up after two minutes.",
        )


def _publish(connection: Connection, found: Rollover, order: Order, now: datetime) -> _Done:
    _set_status(connection, found.successor_id, PREPARED, ACTIVE)
    return {}, {}


def _switch(connection: Connection, found: Rollover, order: Order, now: datetime) -> _Done:
    on = order.on or now
    ends = select(authorities_table.c.not_after).where(
        authorities_table.c.id.in_([found.authority_id, found.successor_id])
    )
    if on < now or on >= min(connection.scalars(ends)):
        raise SwitchRefused(f"Nothing is switched at {on:%Y-%m-%dT%H:%M:%SZ}.")
    return {"switch_at": on}, {"switch_at": on.isoformat()}


def _finish(connection: Connection, found: Rollover, order: Order, now: datetime) -> _Done:
    if found.switch_at is not None and now < found.switch_at:
        raise WrongPhase(
            f"The rollover {found.id} is scheduled for {found.switch_at:%Y-%m-%dT%H:%M:%SZ}.",
            next_step="Wait for that date; or go back, and switch now.",
        )
    left = _in_use(connection, found.authority_id, now)
    if left.total and not order.despite:
        raise _still_in_use(found.authority, left)
    _set_status(connection, found.authority_id, ACTIVE, RETIRED)
    return {}, {"in_force": left.total}


def _resume(connection: Connection, found: Rollover, order: Order, now: datetime) -> _Done:
    _set_status(connection, found.authority_id, RETIRED, ACTIVE)
    return {}, {}


def _switch_back(connection: Connection, found: Rollover, order: Order, now: datetime) -> _Done:
    return {"switch_at": None}, {}


def _withdraw(connection: Connection, found: Rollover, order: Order, now: datetime) -> _Done:
    _refuse_in_use(connection, found.successor, found.successor_id, now)
    _set_status(connection, found.successor_id, ACTIVE, PREPARED)
    return {}, {}


def _abandon(connection: Connection, found: Rollover, order: Order, now: datetime) -> _Done:
    _refuse_in_use(connection, found.successor, found.successor_id, now)
    _set_status(connection, found.successor_id, PREPARED, RETIRED)
    return {}, {}


# What a step does beside the state, and what it sets.
_WORKS: Final[Mapping[tuple[str, str], _Work]] = {
    (State.PREPARED, State.PUBLISHED): _publish,
    (State.PUBLISHED, State.SWITCHED): _switch,
    (State.SWITCHED, State.FINISHED): _finish,
    (State.FINISHED, BACK): _resume,
    (State.SWITCHED, BACK): _switch_back,
    (State.PUBLISHED, BACK): _withdraw,
    (State.PREPARED, BACK): _abandon,
}
# What needs another person, and about whom it is.
_GUARDS: Final[Mapping[tuple[str, str], tuple[tuple[Guarded, ...], str]]] = {
    (State.SWITCHED, State.FINISHED): ((Guarded.AUTHORITY_RETIRE,), "authority"),
    (State.FINISHED, BACK): ((Guarded.AUTHORITY_RETIRE, Guarded.AUTHORITY_CREATE), "authority"),
    (State.PREPARED, BACK): ((Guarded.AUTHORITY_RETIRE, Guarded.AUTHORITY_REVOKE), "successor"),
}
_VERBS: Final[Mapping[str, str]] = {
    State.PUBLISHED: "publish",
    State.SWITCHED: "switch",
    State.FINISHED: "finish",
}
# Which "who and when" a step fills, or empties.
_STAMPS: Final[Mapping[tuple[str, str], str]] = {
    (State.PREPARED, State.PUBLISHED): "published",
    (State.PUBLISHED, State.SWITCHED): "switched",
    (State.SWITCHED, State.FINISHED): "ended",
    (State.PREPARED, BACK): "ended",
    (State.FINISHED, BACK): "ended",
    (State.SWITCHED, BACK): "switched",
    (State.PUBLISHED, BACK): "published",
}


def _stamped(found: Rollover, order: Order, actor: Actor, now: datetime) -> _Values:
    column = _STAMPS[found.state, order.to]
    emptied = order.to == BACK and found.state != State.PREPARED
    return {
        f"{column}_at": None if emptied else now,
        f"{column}_by": None if emptied else actor.name,
    }


def _refuse_in_use(connection: Connection, name: str, authority_id: int, now: datetime) -> None:
    left = _in_use(connection, authority_id, now)
    if left.total:
        raise _still_in_use(name, left)


def _in_use(connection: Connection, authority_id: int, now: datetime) -> Usage:
    # Whoever puts a certificate of it on record at this moment is waited for, and counted; who comes later sees the
    # new status before his result is on record.
    row = select(authorities_table.c.id).where(authorities_table.c.id == authority_id)
    connection.execute(row.with_for_update()).all()
    return in_force(connection, authority_id, now)


def _still_in_use(name: str, left: Usage) -> StillInUse:
    only_pending = left.pending == left.total
    return StillInUse(
        f"Of {name!r} are in force: {left.told()}.",
        next_step="Try again: within minutes they are valid or given up." if only_pending else "",
        details={
            "certificates": left.certificates,
            "pending": left.pending,
            "authorities": list(left.authorities),
            "cross_certificates": left.cross_certificates,
            "until": None if left.until is None else left.until.isoformat(),
        },
    )


def _set_status(connection: Connection, authority_id: int, before: str, after: str) -> None:
    this = (authorities_table.c.id == authority_id) & (authorities_table.c.status == before)
    done = connection.execute(update(authorities_table).where(this).values(status=after))
    if done.rowcount != 1:
        raise WrongPhase(f"The authority is not {before}.")


def _set(connection: Connection, number: int, **values: object) -> None:
    connection.execute(update(rollovers).where(rollovers.c.id == number).values(**values))
