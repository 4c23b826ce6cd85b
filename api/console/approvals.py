"""Approvals: what somebody asked for, exactly, and what another person says to it."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field

from api import cursors, decoding
from api.console.errors import PageStale
from api.console.lists import ROWS, ListSearch, behind
from api.console.mending import refused
from api.console.page import Answer, Form, Page, Redirect, Refused, Screen, Visit, tell, text
from api.console.tones import Tone
from api.registry import Nothing
from api.v1.certificates import Word
from core.errors import IkewardenError
from pki import decisions
from pki.actors import Action
from pki.approvals import PARTS
from pki.decisions import ApprovalQuery, ApprovalView
from pki.guarded import Guarded, Step, person

_PATH = "/approvals"
STATES: Final[Mapping[str, Tone]] = {
    "pending": Tone("warn", text("pending")),
    "approved": Tone("busy", text("approved")),
    "refused": Tone("bad", text("refused")),
    "used": Tone("good", text("used")),
    "expired": Tone("off", text("expired")),
    "withdrawn": Tone("off", text("withdrawn")),
}
#: What happens if it is approved, in a sentence.
ACTS: Mapping[str, str] = {
    Guarded.AUTHORITY_CREATE: text("A CA is made, or a retired one comes back."),
    Guarded.AUTHORITY_RETIRE: text("A CA ends: it issues no more certificates."),
    Guarded.AUTHORITY_ISSUE: text("A CA signs the certificate of another CA."),
    Guarded.AUTHORITY_REVOKE: text(
        "The certificate of a CA is revoked, held or released: it concerns all that the CA issued."
    ),
    Guarded.MASS_REVOKE: text("Many certificates end at once, and the tunnels with them."),
    Guarded.BACKUP_EXPORT: text("A backup with all records and keys leaves this instance."),
    Guarded.BACKUP_RESTORE: text("The instance goes on with records that were restored."),
    Guarded.ROLE_CHANGE: text("Somebody gets a token of the role admin, operator or approver."),
    Guarded.CERTIFICATE_ENROLL: text("A device gets its first certificate through an endpoint."),
}
CEREMONY = text("A key ceremony is held: all that is listed is made before witnesses.")


class ApprovalSearch(ListSearch):
    """Which requests."""

    state: (
        Literal["pending", "approved", "refused", "used", "expired", "withdrawn", "all"] | None
    ) = None
    act: Word | None = None


class DecisionForm(Form):
    """What the second person says. `sha256` and `state` are of the request as the page showed it."""

    decision: Literal["approve", "refuse"]
    reason: str = Field(default="", max_length=decisions.MAX_REASON)
    sha256: str = Field(max_length=64)
    state: str = Field(max_length=20)


class WithdrawForm(Form):
    """The state of the request as the page showed it."""

    state: str = Field(max_length=20)


def search(visit: Visit[None, ApprovalSearch]) -> Answer:
    """The list, newest first."""
    query = visit.query
    wanted = ApprovalQuery(
        state=None if query.state == "all" else query.state,
        act=query.act,
        cursor=cursors.decode(_PATH, query.cursor, int),
        limit=ROWS,
    )
    found = decisions.list_(visit.desk, visit.actor, wanted, now=visit.now)
    onward = behind(visit, _PATH, found, found[-1].id if found else None)
    shown = {
        "found": found,
        "behind": onward,
        "query": query,
        "states": STATES,
        "acts": list(Guarded),
    }
    return Screen("approvals/list.html", shown)


def show(visit: Visit[None, Nothing]) -> Answer:
    """One request: who asks, what exactly will happen, when it ends."""
    return _show(visit)


def decide(visit: Visit[DecisionForm, Nothing]) -> Answer:
    """Approve or refuse."""
    number, sent = decoding.number(visit.path["id"]), visit.body
    step = Step(sent.decision)
    try:
        _fresh(visit, number, sent.state, sent.sha256)
        decisions.decide(visit.desk, visit.actor, number, step, sent.reason, now=visit.now)
    except IkewardenError as error:
        return _show(visit, refused(error, visit), sent.reason)
    return Redirect(f"{_PATH}/{number}", f"approval-{sent.decision}")


def withdraw(visit: Visit[WithdrawForm, Nothing]) -> Answer:
    """Take back a request of one's own."""
    number = decoding.number(visit.path["id"])
    try:
        _fresh(visit, number, visit.body.state)
        decisions.withdraw(visit.desk, visit.actor, number, now=visit.now)
    except IkewardenError as error:
        return _show(visit, refused(error, visit))
    return Redirect(f"{_PATH}/{number}", "approval-withdraw")


def _show(visit: Visit[Any, Any], error: Refused | None = None, reason: str = "") -> Answer:
    one = decisions.get(visit.desk, visit.actor, decoding.number(visit.path["id"]), now=visit.now)
    parts = one.parameters.get(PARTS)
    shown = {
        "one": one,
        "states": STATES,
        "what": CEREMONY if parts else ACTS.get(one.act, ""),
        "parameters": {name: each for name, each in one.parameters.items() if name != PARTS},
        "parts": parts if isinstance(parts, list) else [],
        "is_open": one.state in {"pending", "approved"},
        "is_own": person(one.asked_by) == person(visit.actor.name),
        "reason": reason,
        "error": error,
    }
    return Screen("approvals/approval.html", shown, status=error.status if error else 200)


def _fresh(
    visit: Visit[Any, Any], number: int, state: str, sha256: str | None = None
) -> ApprovalView:
    """The request, if it is as the page showed it. Raises PageStale."""
    one = decisions.get(visit.desk, visit.actor, number, now=visit.now)
    if one.state != state or (sha256 is not None and one.sha256 != sha256):
        raise PageStale("The request has changed since the page was loaded.")
    return one


tell(
    approval_approve="You approved it. Who asked for it can do it now.",
    approval_refuse="You refused it. Nothing was done.",
    approval_withdraw="The request is withdrawn.",
)

PAGES: tuple[Page, ...] = (
    Page("GET", _PATH, search, Action.APPROVAL_READ, query=ApprovalSearch, menu="Approvals"),
    Page("GET", f"{_PATH}/{{id}}", show, Action.APPROVAL_READ),
    Page("POST", f"{_PATH}/{{id}}", decide, Action.APPROVAL_DECIDE, form=DecisionForm),
    Page("POST", f"{_PATH}/{{id}}/withdraw", withdraw, Action.APPROVAL_WITHDRAW, form=WithdrawForm),
)
