"""People with tokens of their own, and short forms of what they do about approvals."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select

from pki import decisions, identity, tokens
from pki.actors import Actor, Role
from pki.approvals import ApprovalRequired
from pki.decisions import ApprovalView
from pki.desk import ApprovalRules, Desk
from pki.guarded import Guarded, Step
from pki.tokens import TokenRequest
from store.tables import audit_events
from tests.fixtures.desk import ADMIN, NOW, reopened


def guarded(desk: Desk, *acts: Guarded, **rules: Any) -> Desk:
    """The same desk under the rule; all acts if none is named."""
    required = frozenset(acts or Guarded)
    return reopened(desk, approvals=ApprovalRules(required, **rules))


def hire(desk: Desk, name: str, role: Role, **token: Any) -> Actor:
    """Somebody with a token, made when no rule was in the way yet."""
    free = reopened(desk, approvals=ApprovalRules())
    made = tokens.create(free, ADMIN, TokenRequest(name, role, **token), now=NOW)
    return identity.actor_from_token(desk, made.secret, now=NOW, request_id=f"r-{name}")


def fire(desk: Desk, who: Actor) -> None:
    """End somebody's token."""
    assert who.token_id is not None
    tokens.revoke(desk, ADMIN, who.token_id, now=NOW)


def asked(work: Callable[[], object]) -> int:
    """The number of the request that the work left in place of being done."""
    with pytest.raises(ApprovalRequired) as refused:
        work()
    assert refused.value.code == "approval_required"
    number = refused.value.details["approval"]
    assert isinstance(number, int)
    return number


def approve(desk: Desk, who: Actor, number: int, now: datetime = NOW) -> ApprovalView:
    """Approve a request."""
    return decisions.decide(desk, who, number, Step.APPROVE, "as planned", now=now)


def bearing(who: Actor, number: int) -> Actor:
    """Somebody who says that he has an approval."""
    return replace(who, approval=number)


def state_of(desk: Desk, number: int, now: datetime = NOW) -> str:
    """Where a request stands."""
    return decisions.get(desk, ADMIN, number, now=now).state


def details(desk: Desk, action: str, outcome: str = "ok") -> list[dict[str, Any]]:
    """The details of audit rows of an action, oldest first."""
    query = (
        select(audit_events.c.detail)
        .where(audit_events.c.action == action, audit_events.c.outcome == outcome)
        .order_by(audit_events.c.id)
    )
    with desk.store.read() as connection:
        return list(connection.scalars(query))
