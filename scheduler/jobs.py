"""The jobs: each takes its lease, reads the clock once, and calls one operation."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

from core import spans
from core.errors import IkewardenError
from fleet import reach
from fleet.figures import gathering
from fleet.findings import expiry as acceptances
from fleet.monitoring import expiry as monitoring
from fleet.monitoring import hours
from fleet.rotation import due
from pki import (
    cleanup,
    cmp_transactions,
    decisions,
    expiry,
    ocsp_answers,
    ocsp_signers,
    publication,
    ra_credential,
    reconcile,
    search_index,
)
from pki.actors import Actor, Role
from pki.authorities import own_names
from pki.desk import Desk
from store import jobs, leases, outbox

_LOG = logging.getLogger("ikewarden.scheduler")
# Longer than any run; a replica that dies holds a job up no longer than this.
_LEASE = timedelta(minutes=5)
_PRESIGN = 2_000
FLEET_EVERY = timedelta(seconds=10)

SCHEDULER = Actor(name="scheduler", role=Role.SCHEDULER)


@dataclass(frozen=True)
class Job:
    """A named operation: gives what it did, as small numbers for the job's record. `every`: seconds, where the settings
    say nothing.
    """

    name: str
    run: Callable[[Desk, datetime], Mapping[str, int]]
    every: float = 60.0


class SomeFailed(IkewardenError):
    """A job went through all its items, and some of them failed."""

    code = "job_items_failed"


def refresh_crls(desk: Desk, now: datetime) -> Mapping[str, int]:
    """Publish every list that is missing or past half of its life; one that fails does not stop the others."""
    made = _Tally()
    # A full list makes its delta too, so deltas that are due come after.
    order = {publication.FULL: 0, publication.SHARD: 1, publication.DELTA: 2}
    due = sorted(publication.due(desk, SCHEDULER, now=now), key=lambda item: order[item[1]])
    fresh = {name for name, kind, _ in due if kind == publication.FULL}
    for name, kind, shard in due:
        if kind == publication.FULL:
            made.attempt(partial(publication.publish_full, desk, SCHEDULER, name, now=now))
        elif kind == publication.SHARD:
            made.attempt(partial(publication.publish_shard, desk, SCHEDULER, name, shard, now=now))
        elif name not in fresh:
            made.attempt(partial(publication.publish_delta, desk, SCHEDULER, name, now=now))
    return made.result("published")


def refresh_ocsp(desk: Desk, now: datetime) -> Mapping[str, int]:
    """Renew OCSP signers and sign answers in advance."""
    made = _Tally()
    for name in own_names(desk):
        made.attempt(partial(ocsp_signers.ensure, desk, SCHEDULER, name, now=now))
    signed = ocsp_answers.presign(desk, SCHEDULER, limit=_PRESIGN, now=now)
    return {**made.result("signers"), "answers": signed}


def settle(desk: Desk, now: datetime) -> Mapping[str, int]:
    """Give up intents that were left half-way, and let go of what waits for a time that a wrong clock told."""
    freed = leases.put_right(desk.store, now) + outbox.put_right(desk.store, now)
    told = {"put_right": freed} if freed else {}
    return {"abandoned": reconcile.settle(desk, SCHEDULER, now=now), **told}


def notify(desk: Desk, now: datetime) -> Mapping[str, int]:
    """Give notice of certificates that end soon."""
    return {"notices": expiry.give_notice(desk, SCHEDULER, now=now)}


def clean(desk: Desk, now: datetime) -> Mapping[str, int]:
    """Forget what nobody needs any more."""
    return {"removed": cleanup.sweep(desk, SCHEDULER, now=now)}


def tell_fleet(desk: Desk, now: datetime) -> Mapping[str, int]:
    """Let some more gateways fetch lists that were refreshed."""
    share = FLEET_EVERY / desk.rules.crl_spread
    return {"told": reach.refresh(desk, SCHEDULER, share=share, now=now)}


def rotate_due(desk: Desk, now: datetime) -> Mapping[str, int]:
    """Begin the rotation of every shared secret that is due."""
    return {"begun": due.begin_due(desk, SCHEDULER, now=now)}


def see_to_findings(desk: Desk, now: datetime) -> Mapping[str, int]:
    """Open findings whose acceptance has ended, and forget what was fixed long ago."""
    opened = acceptances.reopen_ended(desk, SCHEDULER, now=now)
    return {"opened": opened, "forgotten": acceptances.forget_fixed(desk, SCHEDULER, now=now)}


def see_to_monitoring(desk: Desk, now: datetime) -> Mapping[str, int]:
    """End alerts of devices that fell silent, tell of alerts whose silence has ended, and forget old events."""
    # First what is over: of that nobody has to be told that it is there.
    unheard = monitoring.end_unheard(desk, SCHEDULER, now=now)
    return {
        "unheard": unheard,
        "ended": monitoring.end_silences(desk, SCHEDULER, now=now),
        "forgotten": monitoring.forget_old(desk, SCHEDULER, now=now),
    }


def see_to_approvals(desk: Desk, now: datetime) -> Mapping[str, int]:
    """Write down which requests for approval have expired."""
    return {"expired": decisions.expire(desk, SCHEDULER, now=now)}


def see_to_registration_authorities(desk: Desk, now: datetime) -> Mapping[str, int]:
    """Make and renew the registration authorities of SCEP and CMP, where an endpoint has them."""
    return {"made": ra_credential.ensure(desk, SCHEDULER, now=now)}


def see_to_confirmations(desk: Desk, now: datetime) -> Mapping[str, int]:
    """Revoke certificates that came by CMP and were not confirmed in time."""
    return {"revoked": cmp_transactions.end_unconfirmed(desk, SCHEDULER, now=now)}


def keep_words(desk: Desk, now: datetime) -> Mapping[str, int]:
    """Keep the words by which new certificates are found."""
    return {"kept": search_index.keep_words(desk, SCHEDULER, now=now)}


def sum_up_hours(desk: Desk, now: datetime) -> Mapping[str, int]:
    """Sum up what the fleet's SAs did in the last hours."""
    return {"lines": hours.sum_up(desk, SCHEDULER, now=now)}


def count(desk: Desk, now: datetime) -> Mapping[str, int]:
    """Count certificates, gateways and what else costs too much to be counted at each look at /metrics."""
    return {"series": gathering.gather(desk, SCHEDULER, now=now)}


JOBS: tuple[Job, ...] = (
    Job("crl_refresh", refresh_crls),
    Job("ocsp_refresh", refresh_ocsp),
    Job("reconcile", settle),
    Job("expiry_notices", notify),
    Job("cleanup", clean),
    Job("fleet_crls", tell_fleet),
    Job("rotations_due", rotate_due, every=5.0),
    Job("findings", see_to_findings),
    Job("monitoring", see_to_monitoring),
    Job("approvals", see_to_approvals),
    # Soon after a rollover has switched, or one was revoked.
    Job("ra_credential", see_to_registration_authorities, every=10.0),
    Job("cmp_confirmations", see_to_confirmations),
    Job("search_words", keep_words),
    Job("fleet_hours", sum_up_hours),
    Job("figures", count),
)


class _Tally:
    """Counts what worked and keeps the first thing that did not."""

    def __init__(self) -> None:
        self.done = 0
        self.failed = 0
        self.first: IkewardenError | None = None

    def attempt(self, act: Callable[[], object]) -> None:
        try:
            if act() is not False:
                self.done += 1
        except IkewardenError as error:
            self.failed += 1
            self.first = self.first or error

    def result(self, what: str) -> Mapping[str, int]:
        if self.first is not None:
            raise SomeFailed(
                f"{self.failed} of {self.failed + self.done} failed, first: {self.first.message}",
                next_step=self.first.next_step,
            ) from self.first
        return {what: self.done}


def run(desk: Desk, job: Job, owner: str, now: datetime, clock: Callable[[], datetime]) -> bool:
    """Run a job once if no other replica does; tell whether it ran. Never raises: failures are recorded.

    `clock` is read only for the time of the end.
    """
    try:
        lease = leases.take(desk.store, f"job:{job.name}", owner, _LEASE, now)
        if lease is None:
            return False
        number = jobs.started(desk.store, job.name, owner, now)
    except IkewardenError as error:
        _LOG.error("job could not start", extra={"job": job.name, "code": error.code})
        return False
    outcome: Literal["ok", "failed"] = "ok"
    problem, detail = None, None
    try:
        with spans.span(f"job {job.name}"):
            detail = dict(job.run(desk, now))
    except IkewardenError as error:
        outcome, problem = "failed", f"{error.code}: {error.message}"
        _LOG.error("job failed", extra={"job": job.name, "code": error.code})
    except Exception as error:  # noqa: BLE001 - one job's fault must not stop the others
        outcome, problem = "failed", f"internal_error: {type(error).__name__}"
        _LOG.exception("job failed", extra={"job": job.name})
    try:
        jobs.finished(desk.store, number, outcome, problem, detail, clock())
        leases.release(desk.store, lease)
    except IkewardenError as error:
        _LOG.error("job could not be recorded", extra={"job": job.name, "code": error.code})
    return True
