"""The scheduler process: APScheduler tells when, `scheduler.jobs` and `scheduler.outbox` know what."""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Literal

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from core.errors import IkewardenError
from fleet.rotation.runner import Runner
from pki.acme import validation
from pki.desk import Desk
from scheduler.acme import proofs
from scheduler.acme.proofs import Proofs
from scheduler.jobs import JOBS, SCHEDULER, Job, run
from scheduler.outbox import LANES, Drain, Handlers, Pace
from store import holders, jobs, leases, outbox

_LOG = logging.getLogger("ikewarden.scheduler")
ROTATIONS = "rotations"
# The drain runs several times a second; its record says so about once a minute, and at once when it fails.
_RECORD_EVERY = timedelta(seconds=30)
# How often the clock is looked at, in seconds that nobody sets: no job is late by more because of what the clock did.
_LOOK_AT_CLOCK = 1.0


def owner_name() -> str:
    """A name for this process among replicas, with a random part against reuse."""
    return holders.name_of_this_process(secrets.token_hex(4))


def _inherit(desk: Desk) -> None:
    """Free what processes of this machine held that were killed: the only instance would wait for itself."""
    try:
        freed = outbox.release_of(desk.store, holders.is_dead)
        freed += leases.release_of(desk.store, holders.is_dead)
        freed += validation.release_of(desk, holders.is_dead)
    except IkewardenError as error:
        _LOG.warning("what dead processes held was not freed", extra={"code": error.code})
        return  # it ends by itself
    if freed:
        _LOG.info("freed what dead processes held", extra={"number": freed})


class Lane:
    """Work that is looked for several times a second, as a job: silent while it works, visible when it does not.

    `work` gives how much it did.
    """

    def __init__(
        self,
        desk: Desk,
        owner: str,
        clock: Callable[[], datetime],
        name: str,
        work: Callable[[datetime], int],
    ) -> None:
        self._desk, self._owner, self._clock = desk, owner, clock
        self._name, self._work = name, work
        self._recorded: datetime | None = None
        self._was_ok = True

    def __call__(self) -> None:
        """Look once."""
        now = self._clock()
        try:
            done = self._work(now)
        except IkewardenError as error:
            self._note(now, "failed", f"{error.code}: {error.message}", 0)
        except Exception as error:  # noqa: BLE001 - the next round must come
            _LOG.exception("%s failed", self._name)
            self._note(now, "failed", f"internal_error: {type(error).__name__}", 0)
        else:
            self._note(now, "ok", None, done)

    def _note(
        self, now: datetime, outcome: Literal["ok", "failed"], error: str | None, done: int
    ) -> None:
        ok = outcome == "ok"
        # abs: the clock may have been set back since
        due = self._recorded is None or abs(now - self._recorded) >= _RECORD_EVERY
        if not due and ok == self._was_ok:
            return
        try:
            number = jobs.started(self._desk.store, self._name, self._owner, now)
            jobs.finished(self._desk.store, number, outcome, error, {"done": done}, self._clock())
        except IkewardenError:
            return  # the store is away: the next round says so, if it can
        self._recorded, self._was_ok = now, ok


class OutboxJob(Lane):
    """One lane of the outbox."""

    def __init__(
        self,
        desk: Desk,
        owner: str,
        clock: Callable[[], datetime],
        lane: str,
        pace: Pace,
        more: Handlers | None = None,
    ) -> None:
        drain = Drain(desk, f"{owner}:{lane}", clock, topics=LANES[lane], pace=pace, more=more)
        super().__init__(desk, owner, clock, lane, drain.run)


class Every(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Fires at once, and then each time `seconds` after it was last seen to be due. What was missed stays missed.

    APScheduler's own interval counts from the time before, and lists every time that was missed to take the last of
    them: after a clock that was a month ahead for a moment these are millions.
    """

    def __init__(self, seconds: float) -> None:
        self.pause = timedelta(seconds=seconds)

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """When to fire next, as APScheduler asks for it."""
        return now if previous_fire_time is None else now + self.pause


def _heed_clock(scheduler: BackgroundScheduler) -> None:
    """Have every job run that would wait for longer than its pause because the clock was set back.

    The scheduler is woken in any case: it sleeps as long as it seemed right by the clock before.
    """
    now = read_clock()
    for job in scheduler.get_jobs():
        if job.next_run_time - now > job.trigger.pause:
            job.modify(next_run_time=now)
    scheduler.wakeup()


def read_clock() -> datetime:
    """The time now, UTC. Only entry points call it (house rule 5)."""
    return datetime.now(UTC)  # noqa: TID251 - an entry point


def serve(
    desk: Desk,
    *,
    intervals: Mapping[str, float],
    outbox_seconds: float,
    stop: Event,
    more: Sequence[Job] = (),
    rotation_seconds: float = 0.2,
    clock: Callable[[], datetime] = read_clock,
    handlers: Handlers | None = None,
) -> None:
    """Run all jobs until `stop` is set; then wait for what is running and return.

    `intervals` gives seconds between runs by job name, 0 for never; a job that is missing there runs as often as it
    says. Every job runs once right at the start. A clock that is set, however far, makes no job wait. `more` are jobs
    besides JOBS. `rotation_seconds`: how often rotations are looked at. `handlers` are for topics of the outbox
    besides those that every scheduler knows.
    """
    owner = owner_name()
    _inherit(desk)
    scheduler = BackgroundScheduler(
        timezone=UTC,
        executors={
            "default": ThreadPoolExecutor(len(JOBS) + len(more)),
            # A thread for each lane: what takes long in one must not hold up the others.
            **{lane: ThreadPoolExecutor(1) for lane in (*LANES, ROTATIONS, proofs.LANE)},
        },
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    wanted = [job for job in (*JOBS, *more) if intervals.get(job.name, job.every) > 0]
    for job in wanted:
        scheduler.add_job(
            _runner(desk, job, owner, clock),
            Every(intervals.get(job.name, job.every)),
            id=job.name,
        )
    runner = Runner(desk, SCHEDULER, f"{owner}:{ROTATIONS}")
    looking = Proofs(desk, f"{owner}:{proofs.LANE}", clock)
    lanes = _lanes(desk, owner, clock, outbox_seconds, handlers)
    # Without a store of secrets there is nothing to rotate.
    if desk.secrets is not None:
        rotations = Lane(desk, owner, clock, ROTATIONS, lambda _: runner.run(clock))
        lanes.append((ROTATIONS, rotations, rotation_seconds))
    if any(each.acme for each in desk.rules.endpoints.values()):
        lane = Lane(desk, owner, clock, proofs.LANE, looking.run)
        lanes.append((proofs.LANE, lane, outbox_seconds))
    for name, lane_job, seconds in lanes:
        scheduler.add_job(lane_job, Every(seconds), id=name, executor=name)
    # APScheduler warns each time a short interval passes while the drain still works; that is how it is meant.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    scheduler.start()
    _LOG.info("scheduler started", extra={"owner": owner})
    while not stop.wait(_LOOK_AT_CLOCK):
        _heed_clock(scheduler)
    scheduler.shutdown(wait=True)
    runner.close()
    looking.close()
    _LOG.info("scheduler stopped")


def _lanes(
    desk: Desk,
    owner: str,
    clock: Callable[[], datetime],
    seconds: float,
    more: Handlers | None,
) -> list[tuple[str, Lane, float]]:
    """The lanes of the outbox."""
    pace = Pace()
    return [(lane, OutboxJob(desk, owner, clock, lane, pace, more), seconds) for lane in LANES]


def _runner(desk: Desk, job: Job, owner: str, clock: Callable[[], datetime]) -> Callable[[], None]:
    def act() -> None:
        run(desk, job, owner, clock(), clock)

    return act
