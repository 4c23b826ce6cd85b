"""What pages that show and change records share: parts that not every role sees, fields that are read, approvals."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from api.console.errors import FormInvalid
from api.console.mistakes import FORM
from api.console.page import Visit
from api.cursors import MAX_DIGITS
from core.errors import NotFound, NotPermitted
from pki import decisions
from pki.actors import Action, Actor
from pki.decisions import ApprovalView

Told = TypeVar("Told")


def told(visit: Visit[Any, Any], action: Action, ask: Callable[[], Told]) -> Told | None:
    """What an operation tells; None where the role or the credential may not ask, or there is no such thing."""
    if not visit.may(action):
        return None
    try:
        return ask()
    except (NotPermitted, NotFound):
        return None


def moment(name: str, text: str | None) -> datetime | None:
    """The instant that a field holds, in UTC where it names no zone. Raises FormInvalid."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        utc = (found.replace(tzinfo=UTC) if found.tzinfo is None else found).astimezone(UTC)
    except (ValueError, OverflowError):
        raise wrong(name, "This is no date and time, as 2026-11-30T12:00.") from None
    if not 1970 <= utc.year <= 9998:
        raise wrong(name, "This must lie between the years 1970 and 9998.")
    return utc


def number(name: str, text: str | None) -> int | None:
    """The whole number that a field holds. Raises FormInvalid."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise wrong(name, "This is no whole number.")
    return int(text)


def lines(text: str | None) -> tuple[str, ...]:
    """What a field holds, a line each."""
    return tuple(line.strip() for line in (text or "").splitlines() if line.strip())


def wrong(name: str, detail: str) -> FormInvalid:
    """A mistake in one field of a form, to be raised."""
    errors = [{"pointer": f"/{name}", "detail": detail}]
    return FormInvalid(FORM, details={"errors": errors})


def with_approval(visit: Visit[Any, Any], text: str | None) -> Actor:
    """Who acts, with the approval that his form names. Raises FormInvalid."""
    found = number("approval", text)
    return visit.actor if found is None else replace(visit.actor, approval=found)


def approval(visit: Visit[Any, Any], found: int | None) -> ApprovalView | None:
    """The approval that a page waits for, for who may look at it."""
    if found is None:
        return None
    return told(
        visit,
        Action.APPROVAL_READ,
        lambda: decisions.get(visit.desk, visit.actor, found, now=visit.now),
    )
