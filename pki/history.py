"""What happened: audit events and jobs, for those who may look.

None of it is of one gateway, so a credential that is tied to one is shown nothing.
"""

from dataclasses import dataclass
from datetime import datetime

from core.errors import NotFound
from pki.actors import Action, Actor, require, require_gateway
from pki.desk import Desk
from pki.revocation import PUBLISH
from pki.trail import leave
from store import audit, jobs, outbox
from store.audit import AuditEvent
from store.engine import Unit
from store.jobs import JobRun, JobState
from store.outbox import Message, OutboxDepth


class DeadLetterNotFound(NotFound):
    """No work of this number failed for good."""

    code = "dead_letter_not_found"
    next_step = "List what failed for good: `ikewarden job dead-letters`. It may have been queued anew already."


class AuditEventNotFound(NotFound):
    """No audit event has this number."""

    code = "audit_event_not_found"
    next_step = "Look for its number: `ikewarden audit-log list`."


@dataclass(frozen=True)
class AuditQuery:
    """A search in the audit log: at most `limit` events after the id `cursor`."""

    cursor: int | None = None
    limit: int = 100
    action: str | None = None
    actor: str | None = None
    object: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def audit_events(
    desk: Desk,
    actor: Actor,
    query: AuditQuery,
) -> list[AuditEvent]:
    """Audit events, newest first. Raises RoleMayNot, OutsideScope."""
    require(actor, Action.AUDIT_READ)
    require_gateway(actor, None)
    with desk.store.read() as connection:
        return audit.page(
            connection,
            after=query.cursor,
            limit=query.limit,
            action=query.action,
            actor=query.actor,
            object=query.object,
            since=query.since,
            until=query.until,
        )


def audit_event(desk: Desk, actor: Actor, number: int) -> AuditEvent:
    """One audit event. Raises RoleMayNot, OutsideScope, AuditEventNotFound."""
    found = audit_events(desk, actor, AuditQuery(cursor=number + 1, limit=1))
    if not found or found[0].id != number:
        raise AuditEventNotFound(f"There is no audit event {number}.")
    return found[0]


def job_states(desk: Desk, actor: Actor) -> list[JobState]:
    """Every job's last run, last success and last error. Raises RoleMayNot, OutsideScope."""
    require(actor, Action.JOB_READ)
    require_gateway(actor, None)
    with desk.store.read() as connection:
        return jobs.latest(connection)


def job_runs(
    desk: Desk, actor: Actor, job: str, *, cursor: int | None = None, limit: int = 50
) -> list[JobRun]:
    """The runs of a job, newest first, at most `limit` before the run `cursor`. Raises RoleMayNot, OutsideScope."""
    require(actor, Action.JOB_READ)
    require_gateway(actor, None)
    with desk.store.read() as connection:
        return jobs.runs(connection, job, before=cursor, limit=limit)


def outbox_depth(desk: Desk, actor: Actor, *, now: datetime) -> OutboxDepth:
    """How much work after commit waits. Raises RoleMayNot, OutsideScope."""
    require(actor, Action.METRICS_READ)
    require_gateway(actor, None)
    with desk.store.read() as connection:
        return outbox.depth(connection, now)


def last_success(desk: Desk, actor: Actor, job: str) -> datetime | None:
    """When a job last succeeded, if it ever did. Raises RoleMayNot, OutsideScope."""
    require(actor, Action.JOB_READ)
    require_gateway(actor, None)
    with desk.store.read() as connection:
        return jobs.last_success(connection, job)


def oldest_change(desk: Desk, actor: Actor) -> datetime | None:
    """Since when the oldest change of a certificate's status waits for its list. Raises RoleMayNot, OutsideScope."""
    require(actor, Action.METRICS_READ)
    require_gateway(actor, None)
    with desk.store.read() as connection:
        return outbox.oldest(connection, PUBLISH)


def dead_letters(desk: Desk, actor: Actor, *, limit: int = 100) -> list[Message]:
    """Work after commit that failed for good and needs a person. Raises RoleMayNot, OutsideScope."""
    require(actor, Action.JOB_READ)
    require_gateway(actor, None)
    with desk.store.read() as connection:
        return outbox.dead_letters(connection, limit)


def retry(desk: Desk, actor: Actor, number: int, *, now: datetime) -> Message:
    """Queue work anew that failed for good, as if it had never failed.

    Raises RoleMayNot, OutsideScope, DeadLetterNotFound.
    """
    require(actor, Action.JOB_RETRY)
    require_gateway(actor, None)

    def work(unit: Unit) -> Message:
        found = outbox.revive(unit.connection, number, now)
        if found is None:
            raise DeadLetterNotFound(f"No work of the number {number} failed for good.")
        leave(
            unit,
            actor,
            "job.retry",
            f"dead-letter:{number}",
            now=now,
            topic=found.topic,
            key=found.key,
        )
        return found

    return desk.store.together(work)
