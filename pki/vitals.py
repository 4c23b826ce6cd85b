"""How the service itself does, for those who watch: authorities, their lists and signers, work after commit, jobs, the
audit log, approvals. All of it is read in milliseconds, so that it is as it is now.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import func, select

from core.figures import Figure, Labels, gauge
from pki import audit_log, decisions, history
from pki.actors import Action, Actor, require
from pki.desk import Desk
from store.tables import authorities, crls, ocsp_signers

AUTHORITY_EXPIRY: Final = gauge(
    "authority_expiry_timestamp_seconds",
    "When the certificate of an authority ends; kind is root or issuing, status what became of the authority: active,"
    " prepared, retired, revoked, outside.",
    "authority",
    "kind",
    "status",
)
CRL_NEXT: Final = gauge(
    "crl_next_update_timestamp_seconds",
    "The nextUpdate of an authority's revocation list, of several the earliest; kind is full, delta or shard."
    " Authorities whose own time is over have none.",
    "authority",
    "kind",
)
CRL_THIS: Final = gauge(
    "crl_this_update_timestamp_seconds",
    "The thisUpdate of an authority's revocation list, of several the earliest.",
    "authority",
    "kind",
)
CRL_ENTRIES: Final = gauge(
    "crl_entries",
    "Entries in an authority's revocation lists of a kind, all together.",
    "authority",
    "kind",
)
OCSP_EXPIRY: Final = gauge(
    "ocsp_signer_expiry_timestamp_seconds",
    "When the newest certificate of an authority's OCSP signer ends.",
    "authority",
)
OUTBOX: Final = gauge(
    "outbox_messages",
    "Work after commit by state: waiting (due), delayed (due later), dead (failed for good).",
    "state",
)
OUTBOX_OLDEST: Final = gauge(
    "outbox_oldest_seconds", "Age of the oldest message that could have been worked on; 0 if none."
)
JOB_SUCCESS: Final = gauge(
    "job_last_success_timestamp_seconds", "When a job last succeeded, by its name.", "name"
)
JOB_FAILURE: Final = gauge(
    "job_last_failure_timestamp_seconds", "When a job last failed, by its name.", "name"
)
JOB_FAILING: Final = gauge(
    "job_failing", "Whether the last run of a job that ended failed: 1 or 0.", "name"
)
LOG_WAITING: Final = gauge(
    "audit_log_waiting_rows",
    "Rows of the audit log that are not in its tree yet; 10,000 at most are counted.",
)
LOG_SIZE: Final = gauge("audit_log_size", "Rows under the newest signed head.")
LOG_AGE: Final = gauge(
    "audit_log_head_age_seconds",
    "Since the newest head of the audit log was signed; there is none while nothing happens.",
)
APPROVALS: Final = gauge(
    "approvals",
    "Requests for another person's approval: pending; approved, and not used yet.",
    "state",
)
APPROVALS_OLDEST: Final = gauge(
    "approvals_oldest_seconds",
    "Since when the oldest of those that are pending is; 0 where there is none.",
)
#: Of the authorities that a credential may see.
OF_AUTHORITIES: Final = (AUTHORITY_EXPIRY, CRL_NEXT, CRL_THIS, CRL_ENTRIES, OCSP_EXPIRY)
#: Of no gateway.
OF_SERVICE: Final = (
    *(OUTBOX, OUTBOX_OLDEST, JOB_SUCCESS, JOB_FAILURE, JOB_FAILING),
    *(LOG_WAITING, LOG_SIZE, LOG_AGE, APPROVALS, APPROVALS_OLDEST),
)


def of_authorities(desk: Desk, actor: Actor, *, now: datetime) -> list[Figure]:
    """Until when authorities, their lists and OCSP signers are good. Raises RoleMayNot."""
    require(actor, Action.METRICS_READ)
    own, lists, signers = authorities.c, crls.c, ocsp_signers.c
    with desk.store.read() as connection:
        known = connection.execute(
            select(own.id, own.name, own.kind, own.status, own.not_after).order_by(own.name)
        ).all()
        # Not the lists themselves, which are large.
        published = connection.execute(
            select(
                lists.authority_id,
                lists.kind,
                func.min(lists.next_update).label("next"),
                func.min(lists.this_update).label("this"),
                func.sum(lists.entries).label("entries"),
            ).group_by(lists.authority_id, lists.kind)
        ).all()
        ends = connection.execute(
            select(signers.authority_id, func.max(signers.not_after)).group_by(signers.authority_id)
        ).all()
    limits = actor.scope.authorities
    seen = [each for each in known if limits is None or each.name in limits]
    alive = {each.id: each.name for each in seen if each.not_after > now}
    shown = [(alive[row.authority_id], row) for row in published if row.authority_id in alive]
    return [
        AUTHORITY_EXPIRY.figure(
            {(each.name, each.kind, each.status): each.not_after.timestamp() for each in seen}
        ),
        CRL_NEXT.figure({(name, row.kind): row.next.timestamp() for name, row in shown}),
        CRL_THIS.figure({(name, row.kind): row.this.timestamp() for name, row in shown}),
        CRL_ENTRIES.figure({(name, row.kind): int(row.entries) for name, row in shown}),
        OCSP_EXPIRY.figure(
            {(alive[number],): end.timestamp() for number, end in ends if number in alive}
        ),
    ]


def of_service(desk: Desk, actor: Actor, *, now: datetime) -> list[Figure]:
    """What waits, what ran, what failed. Raises RoleMayNot, OutsideScope."""
    depth = history.outbox_depth(desk, actor, now=now)
    states = {(state,): getattr(depth, state) for state in ("waiting", "delayed", "dead")}
    return [
        OUTBOX.figure(states),
        OUTBOX_OLDEST.value(depth.oldest_age.total_seconds()),
        *_jobs(desk, actor),
        *_audit_log(desk, actor, now),
        *_approvals(desk, actor, now),
    ]


def _jobs(desk: Desk, actor: Actor) -> list[Figure]:
    good: dict[Labels, float] = {}
    bad: dict[Labels, float] = {}
    failing: dict[Labels, float] = {}
    never = datetime.fromtimestamp(0, UTC)
    for each in history.job_states(desk, actor):
        success, failure = each.last_success_at, each.last_error_at
        if success is not None:
            good[each.job,] = success.timestamp()
        if failure is not None:
            bad[each.job,] = failure.timestamp()
        if success or failure:
            failing[each.job,] = float((failure or never) > (success or never))
    return [JOB_SUCCESS.figure(good), JOB_FAILURE.figure(bad), JOB_FAILING.figure(failing)]


def _audit_log(desk: Desk, actor: Actor, now: datetime) -> list[Figure]:
    found = audit_log.figures(desk, actor, now=now)
    told = [LOG_WAITING.value(found.waiting), LOG_SIZE.value(found.size)]
    if found.head_age is not None:
        told.append(LOG_AGE.value(found.head_age.total_seconds()))
    return told


def _approvals(desk: Desk, actor: Actor, now: datetime) -> list[Figure]:
    found = decisions.figures(desk, actor, now=now)
    waits = timedelta(0) if found.oldest_at is None else now - found.oldest_at
    return [
        APPROVALS.figure({(each,): getattr(found, each) for each in ("pending", "approved")}),
        APPROVALS_OLDEST.value(waits.total_seconds()),
    ]
