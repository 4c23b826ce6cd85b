"""The runner of rotations: claims what is due, works in the store of secrets, puts on record what came of it.

Several may run, in one process or in many. Between claim and record nothing is held but the claim, and any of them may
die at any line: another one looks again when the claim has ended, and finds what was done.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from threading import Event
from typing import TypeVar

from core.errors import IkewardenError, Unavailable
from fleet.rotation import claims, custody, ledger
from fleet.rotation.claims import LEASE, Worker
from fleet.rotation.custody import Job
from fleet.rotation.ledger import Outcome, Seen
from hsm.secretstore import SecretNotFound, SecretPathUnusable, SecretStoreUnavailable
from pki.actors import Action, Actor, require
from pki.desk import Desk
from store.errors import StoreBusy

T = TypeVar("T")
_LOG = logging.getLogger("ikewarden.rotation")
_BATCH = 128
_THREADS = 8
_ROUNDS = 50
_TRIES = 3
# The store answers, and others of a batch need not suffer.
_OF_ONE_PATH = (SecretNotFound, SecretPathUnusable)


class Runner:
    """One worker; for one thread at a time. `name` is one of its own among all replicas."""

    def __init__(self, desk: Desk, actor: Actor, name: str, *, batch: int = _BATCH) -> None:
        self._worker = Worker(desk, actor, name, batch)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="rotation")
        self._opened = False
        self._put_right: datetime | None = None

    def close(self) -> None:
        """End its threads."""
        self._pool.shutdown()

    def run(self, clock: Callable[[], datetime]) -> int:
        """Look at all that is due, and at what became due thereby; tell how many rotations moved.

        Raises RoleMayNot, and the errors of the records; those of the store of secrets are put on record.
        """
        require(self._worker.actor, Action.JOB_RUN)
        if not self._opened:
            claims.open_gate(self._worker, clock())
            self._opened = True
        now = clock()
        if self._put_right is None or abs(now - self._put_right) >= LEASE:
            claims.put_right(self._worker, now)
            self._put_right = now
        moved = 0
        flying: list[Future[Outcome]] = []
        for _ in range(_ROUNDS):
            ids = claims.take(self._worker, clock()) + claims.admit(self._worker, clock())
            if not ids and not flying:
                break
            # Whoever needs nothing of the store of secrets does not wait for it; and while it works for some, the next
            # ones are looked at.
            seen = self._look(ids, clock)
            begun = self._work(seen.jobs)
            moved += seen.moved + self._settle(flying, clock)
            flying = begun
        return moved + self._settle(flying, clock)

    def _look(self, ids: Sequence[int], clock: Callable[[], datetime]) -> Seen:
        return _patiently(lambda: ledger.look(self._worker, ids, clock())) if ids else Seen()

    def _work(self, jobs: Sequence[Job]) -> list[Future[Outcome]]:
        away = Event()
        return [self._pool.submit(_attempt, self._worker.desk, job, away) for job in jobs]

    def _settle(self, flying: Sequence[Future[Outcome]], clock: Callable[[], datetime]) -> int:
        outcomes = [each.result() for each in flying]
        if not outcomes:
            return 0
        return _patiently(lambda: ledger.settle(self._worker, outcomes, clock()))


def _patiently(act: Callable[[], T]) -> T:
    for _ in range(_TRIES - 1):
        try:
            return act()
        except StoreBusy:
            continue  # somebody held one of the rows for long, or two waited for each other
    return act()


def _attempt(desk: Desk, job: Job, away: Event) -> Outcome:
    if away.is_set():
        words = (
            "The store of secrets did not answer others of the same batch: it was not asked again."
        )
        return Outcome(job, error=SecretStoreUnavailable(words))
    try:
        return Outcome(job, made=custody.do(desk, job, lambda each: ledger.waits(desk, each)))
    except IkewardenError as error:
        if isinstance(error, Unavailable) and not isinstance(error, _OF_ONE_PATH):
            away.set()
        _LOG.warning(
            "work in the store of secrets failed",
            extra={"rotation": job.rotation_id, "work": str(job.work), "code": error.code},
        )
        return Outcome(job, error=error)
