"""What people decide of findings: accepted until a time, for a reason; opened again."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update

from fleet.findings import changes, records
from fleet.findings.changes import Change
from fleet.findings.records import FindingView
from fleet.findings.values import (
    AcceptanceRefused,
    FindingChanged,
    FindingFixed,
    FindingNotAccepted,
    State,
)
from fleet.gateways import locked
from pki.actors import Action, Actor, require, require_gateway
from pki.desk import Desk
from store.engine import Unit
from store.finding_tables import findings
from store.text import storable

_LONGEST = timedelta(days=3 * 366)
_WITHDRAWN = "the acceptance was taken back"


def accept(
    desk: Desk,
    actor: Actor,
    number: int,
    until: datetime,
    why: str,
    *,
    now: datetime,
    seen: str | None = None,
) -> FindingView:
    """Accept a finding until a time; an earlier acceptance is replaced. When it ends, or if the finding gets worse, it
    is open again. `seen`: its `changed_at`, in ISO 8601, when it was looked at.

    Raises RoleMayNot, OutsideScope, AcceptanceRefused, FindingNotFound, FindingFixed, FindingChanged.
    """
    require(actor, Action.FINDING_ACCEPT)
    values = acceptance(actor, until, why, now)
    why = values["accepted_why"]

    def work(unit: Unit) -> None:
        found = _held(unit, actor, number, seen)
        if found.state == State.FIXED:
            raise FindingFixed(f"The finding {number} is fixed.")
        _write(unit, actor, found, values, Change(found, State.ACCEPTED, why, until), now)

    desk.store.together(work)
    return _shown(desk, number)


def acceptance(actor: Actor, until: datetime, why: str, now: datetime) -> dict[str, Any]:
    """What makes an open finding an accepted one. Raises AcceptanceRefused."""
    why = storable(why).strip()
    if not why:
        raise AcceptanceRefused("An acceptance has a reason.")
    if not now < until <= now + _LONGEST:
        raise AcceptanceRefused("An acceptance ends, and neither now nor in more than three years.")
    return {
        "state": str(State.ACCEPTED),
        "changed_at": now,
        "accepted_until": until,
        "accepted_by": actor.name,
        "accepted_why": why,
    }


def reopen(
    desk: Desk, actor: Actor, number: int, why: str, *, now: datetime, seen: str | None = None
) -> FindingView:
    """Take the acceptance of a finding back; `seen` as for `accept`.

    Raises RoleMayNot, OutsideScope, FindingNotFound, FindingNotAccepted, FindingChanged.
    """
    require(actor, Action.FINDING_ACCEPT)
    why = storable(why).strip() or _WITHDRAWN
    values = {**records.OPEN_AGAIN, "changed_at": now}

    def work(unit: Unit) -> None:
        found = _held(unit, actor, number, seen)
        if found.state != State.ACCEPTED:
            raise FindingNotAccepted(f"The finding {number} is {found.state}.")
        _write(unit, actor, found, values, Change(found, State.OPEN, why), now)

    desk.store.together(work)
    return _shown(desk, number)


def _held(unit: Unit, actor: Actor, number: int, seen: str | None) -> FindingView:
    """The finding, whose gateway's reports and other people wait until the transaction ends."""
    gateway = records.pick(unit.connection, number).gateway
    require_gateway(actor, gateway)
    locked(unit.connection, gateway)
    found = records.pick(unit.connection, number)
    if seen is not None and found.changed_at.isoformat() != seen:
        raise FindingChanged(f"The finding {number} has changed since it was looked at.")
    return found


def _write(
    unit: Unit,
    actor: Actor,
    found: FindingView,
    values: dict[str, object],
    change: Change,
    now: datetime,
) -> None:
    this = findings.c.id == found.id
    unit.connection.execute(update(findings).where(this).values(**values))
    changes.write(unit, actor, found.gateway_id, [change], now)
    trail(unit, actor, change, now)


def trail(unit: Unit, actor: Actor, change: Change, now: datetime) -> None:
    """Leave an audit row about what somebody decided of one finding."""
    found = change.row
    changes.trail(
        unit,
        actor,
        "finding.accept" if change.state is State.ACCEPTED else "finding.reopen",
        found.gateway,
        now,
        finding=found.id,
        rule=found.rule,
        path=found.path,
        why=change.why,
        until=None if change.until is None else change.until.isoformat(),
    )


def _shown(desk: Desk, number: int) -> FindingView:
    with desk.store.read() as connection:
        return records.pick(connection, number)
