"""Approvals: what one person asked for, and what another one says to it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from api import cursors, decoding
from api.cursors import PageQuery
from api.decoding import PLAIN
from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1.certificates import Word
from pki import decisions
from pki.actors import Action
from pki.decisions import MAX_REASON, ApprovalQuery
from pki.guarded import Step

_PATH = "/v1/approvals"
_TAG = "Approvals"


class ApprovalSearch(PageQuery):
    """Which requests."""

    state: Literal["pending", "approved", "refused", "used", "expired", "withdrawn"] | None = None
    act: Word | None = Field(default=None, description="As [approvals] required names it.")


class Decision(Sent):
    """What the second person says."""

    decision: Literal["approve", "refuse"]
    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON, pattern=PLAIN)]


class Approval(Shown):
    """A request for approval and what became of it."""

    id: int
    act: str = Field(description="As [approvals] required names it.")
    parameters: Mapping[str, Any] = Field(description="Exactly what is approved, defaults too.")
    sha256: str = Field(description="Over the canonical form of act and parameters, hexadecimal.")
    state: str = Field(description="pending, approved, refused, used, expired or withdrawn.")
    asked_by: str
    role: str = Field(description="Of who asked.")
    asked_at: datetime
    expires_at: datetime = Field(description="Until when it can be decided on or, approved, used.")
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None
    ended_at: datetime | None = Field(description="When it was used, refused, or withdrawn.")


class ApprovalPage(Shown):
    """Some requests, newest first."""

    items: list[Approval]
    next_cursor: str | None


def search(call: Call[None, ApprovalSearch]) -> Reply:
    """List requests for approval."""
    query = call.query
    wanted = ApprovalQuery(
        state=query.state,
        act=query.act,
        cursor=cursors.decode(_PATH, query.cursor, int),
        limit=query.limit,
    )
    found = decisions.list_(call.desk, call.actor, wanted, now=call.now)
    last = found[-1].id if found else None
    cursor, headers = cursors.next_page(_PATH, query, found, last)
    items = [Approval.model_validate(each) for each in found]
    return Reply(ApprovalPage(items=items, next_cursor=cursor), headers=headers)


def show(call: Call[None, Nothing]) -> Reply:
    """Look at one request."""
    number = decoding.number(call.path["id"])
    found = decisions.get(call.desk, call.actor, number, now=call.now)
    return Reply(Approval.model_validate(found))


def decide(call: Call[Decision, Nothing]) -> Reply:
    """Approve or refuse a request."""
    number, body = decoding.number(call.path["id"]), call.body
    step = Step(body.decision)
    decided = decisions.decide(call.desk, call.actor, number, step, body.reason, now=call.now)
    return Reply(Approval.model_validate(decided))


def withdraw(call: Call[Nothing, Nothing]) -> Reply:
    """Take a request of one's own back."""
    number = decoding.number(call.path["id"])
    return Reply(
        Approval.model_validate(decisions.withdraw(call.desk, call.actor, number, now=call.now))
    )


ROUTES = (
    Route(
        method="GET",
        path=_PATH,
        view=search,
        summary="List requests for approval, newest first",
        tag=_TAG,
        action=Action.APPROVAL_READ,
        query=ApprovalSearch,
        answer=ApprovalPage,
        refusals=(422,),
    ),
    Route(
        method="GET",
        path=_PATH + "/{id}",
        view=show,
        summary="Look at a request for approval: what exactly would be done",
        tag=_TAG,
        action=Action.APPROVAL_READ,
        answer=Approval,
        refusals=(404,),
    ),
    Route(
        method="POST",
        path=_PATH + "/{id}",
        view=decide,
        summary="Approve or refuse what another person asked for",
        description=(
            "Nobody decides on what he asked for himself, also not with another token in his name. An approval is for "
            "exactly these parameters, once, with the credential that asked. What was approved can be refused until "
            "it is used."
        ),
        tag=_TAG,
        action=Action.APPROVAL_DECIDE,
        body=Decision,
        answer=Approval,
        example={"decision": "approve", "reason": "ticket 4711, planned for tonight"},
        refusals=(404, 409, 422),
    ),
    Route(
        method="POST",
        path=_PATH + "/{id}/withdraw",
        view=withdraw,
        summary="Take back a request of one's own",
        tag=_TAG,
        action=Action.APPROVAL_WITHDRAW,
        body=Nothing,
        answer=Approval,
        refusals=(404, 409, 422),
    ),
)
