"""What happened: the audit log, the jobs, and work that failed for good."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import Field

from api import cursors, decoding
from api.cursors import PageQuery
from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1.certificates import When, Word
from pki import history
from pki.actors import Action
from pki.history import AuditQuery

_EVENTS = "/v1/audit-events"
_TAG = "History"


class AuditSearch(PageQuery):
    """Which events."""

    action: Word | None = Field(default=None, description="Such as `certificate.revoke`.")
    actor: Word | None = None
    object: Word | None = Field(default=None, description="Such as `certificate:issuing:0a1b2c`.")
    since: When | None = None
    until: When | None = None


class AuditEvent(Shown):
    """One act, written in the transaction of the act."""

    id: int
    at: datetime
    actor: str
    role: str
    action: str
    object: str
    outcome: str
    detail: Mapping[str, Any]
    request_id: str


class AuditPage(Shown):
    """Some events, newest first."""

    items: list[AuditEvent]
    next_cursor: str | None


class Job(Shown):
    """A job of the clock: its latest run, its last success, its last failure."""

    job: str
    owner: str
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None = Field(description="ok or failed; null while it runs.")
    detail: Mapping[str, Any] | None
    last_success_at: datetime | None
    last_error_at: datetime | None
    last_error: str | None


class JobList(Shown):
    """Every job that ever ran, by name."""

    items: list[Job]


class DeadLetter(Shown):
    """Work after a commit that failed too often and now needs a person."""

    id: int
    topic: str
    key: str
    attempts: int
    last_error: str | None
    created_at: datetime


class DeadLetterList(Shown):
    """Work that failed for good, the oldest first."""

    items: list[DeadLetter]


class Few(Sent):
    """How many."""

    limit: int = Field(default=100, ge=1, le=cursors.MAX_LIMIT)


def audit_events(call: Call[None, AuditSearch]) -> Reply:
    """Search the audit log."""
    query = call.query
    wanted = AuditQuery(
        cursor=cursors.decode(_EVENTS, query.cursor, int),
        limit=query.limit,
        action=query.action,
        actor=query.actor,
        object=query.object,
        since=query.since,
        until=query.until,
    )
    found = history.audit_events(call.desk, call.actor, wanted)
    last = found[-1].id if found else None
    cursor, headers = cursors.next_page(_EVENTS, query, found, last)
    items = [AuditEvent.model_validate(event) for event in found]
    return Reply(AuditPage(items=items, next_cursor=cursor), headers=headers)


def jobs(call: Call[None, Nothing]) -> Reply:
    """List jobs."""
    found = history.job_states(call.desk, call.actor)
    return Reply(JobList(items=[Job.model_validate(state) for state in found]))


def dead_letters(call: Call[None, Few]) -> Reply:
    """List work that failed for good."""
    found = history.dead_letters(call.desk, call.actor, limit=call.query.limit)
    return Reply(DeadLetterList(items=[DeadLetter.model_validate(message) for message in found]))


def retry(call: Call[Nothing, Nothing]) -> Reply:
    """Queue work anew that failed for good."""
    found = history.retry(call.desk, call.actor, decoding.number(call.path["id"]), now=call.now)
    return Reply(DeadLetter.model_validate(found))


ROUTES = (
    Route(
        method="GET",
        path=_EVENTS,
        view=audit_events,
        summary="Search the audit log, newest first",
        tag=_TAG,
        action=Action.AUDIT_READ,
        query=AuditSearch,
        answer=AuditPage,
        refusals=(422,),
    ),
    Route(
        method="GET",
        path="/v1/jobs",
        view=jobs,
        summary="See what each job of the clock did last, and when it last worked",
        tag=_TAG,
        action=Action.JOB_READ,
        answer=JobList,
    ),
    Route(
        method="GET",
        path="/v1/jobs/dead-letters",
        view=dead_letters,
        summary="See work after commit that failed for good and needs a person",
        tag=_TAG,
        action=Action.JOB_READ,
        query=Few,
        answer=DeadLetterList,
        refusals=(422,),
    ),
    Route(
        method="POST",
        path="/v1/jobs/dead-letters/{id}/retry",
        view=retry,
        summary="Queue work anew that failed for good, as if it had never failed",
        tag=_TAG,
        action=Action.JOB_RETRY,
        body=Nothing,
        answer=DeadLetter,
        refusals=(404, 422),
    ),
)
