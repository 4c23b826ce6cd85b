"""The scheduler under a clock that is set: nothing waits for the old time, nothing that was missed piles up."""

import resource
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo

import apscheduler.schedulers.base
import pytest
from sqlalchemy import delete

from pki import authorities, ocsp_signers, publication, revocation
from pki.desk import Desk
from scheduler import clock
from scheduler.jobs import JOBS, Job, run
from scheduler.outbox import Pace
from store import leases, outbox, tables
from tests.fixtures.desk import CLOCKWORK, OPERATOR, drain
from tests.pki.acts import crl, issue, listed

PATIENCE = 60.0  # seconds; far more than it takes
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MEGABYTE = 1 << 10  # of ru_maxrss, which counts in KiB


class Settable(datetime):
    """The machine's clock as seen by who asks this class: ahead by so much."""

    ahead = timedelta(0)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Settable":
        """The time."""
        return super().now(tz) + cls.ahead


class Ticking:
    """A running scheduler, and how often its job ran."""

    def __init__(self, desk: Desk) -> None:
        self._ran = threading.Semaphore(0)
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=clock.serve,
            args=(desk,),
            kwargs={
                "intervals": {job.name: 0 for job in JOBS},
                "outbox_seconds": 0.25,
                "stop": self._stop,
                "more": (Job("tick", self._tick, every=0.25),),
            },
        )

    def _tick(self, desk: Desk, now: datetime) -> Mapping[str, int]:
        self._ran.release()
        return {}

    def runs_on(self) -> bool:
        """Whether the job runs, again and again."""
        while self._ran.acquire(blocking=False):
            pass
        return all(self._ran.acquire(timeout=PATIENCE) for _ in range(4))

    @contextmanager
    def running(self) -> Iterator[None]:
        """For as long as the block."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@pytest.fixture
def settable(monkeypatch: pytest.MonkeyPatch) -> type[Settable]:
    """The clock that APScheduler and the scheduler read."""

    class Own(Settable):
        pass

    monkeypatch.setattr(apscheduler.schedulers.base, "datetime", Own)
    monkeypatch.setattr(clock, "datetime", Own)
    return Own


def test_jobs_go_on_whatever_the_clock_does(desk: Desk, settable: type[Settable]) -> None:
    ticking = Ticking(desk)
    with ticking.running():
        assert ticking.runs_on()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for ahead in (-HOUR, timedelta(0), 2 * DAY, timedelta(0), 40 * DAY, timedelta(0)):
            settable.ahead = ahead
            assert ticking.runs_on(), f"not after the clock was set to {ahead} ahead"
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 200 * MEGABYTE


def test_what_a_killed_scheduler_had_claimed_is_done_at_once(desk: Desk) -> None:
    made = issue(desk, now=clock.read_clock())
    revocation.revoke(desk, OPERATOR, made.serial, "superseded", now=clock.read_clock())
    # A name that this process would give itself had it begun earlier: that one is dead.
    host, pid, start, place, _ = clock.owner_name().split(":")
    dead = f"{host}:{pid}:{int(start) - 1}:{place}:r:outbox_changes"
    day = timedelta(days=1)
    assert outbox.claim(desk.store, owner=dead, limit=9, lease=day, now=clock.read_clock())
    assert leases.take(desk.store, "job:tick", dead, day, clock.read_clock())
    ticking = Ticking(desk)
    with ticking.running():
        assert ticking.runs_on()
        deadline = time.monotonic() + PATIENCE
        while made.serial not in listed(crl(desk)):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_missed_times_are_not_listed() -> None:
    every = clock.Every(0.25)
    now = datetime.now(UTC)
    assert every.get_next_fire_time(None, now) == now
    later = every.get_next_fire_time(now, now + 40 * DAY)
    assert later == now + 40 * DAY + timedelta(seconds=0.25)


def test_a_revocation_made_while_the_clock_was_ahead_is_on_the_list_when_it_is_right(
    desk: Desk, now: datetime
) -> None:
    made = issue(desk, now=now)
    ahead = now + 40 * DAY
    publication.publish_full(desk, CLOCKWORK, "issuing", now=ahead)
    revocation.revoke(desk, OPERATOR, made.serial, "superseded", now=ahead)
    run(desk, next(job for job in JOBS if job.name == "reconcile"), "me", now, lambda: now)
    drain(desk, now)
    assert made.serial in listed(crl(desk))
    assert publication.published(desk, "issuing", "full").this_update == now


def test_a_list_that_begins_in_the_future_is_made_anew(desk: Desk, now: datetime) -> None:
    publication.publish_full(desk, CLOCKWORK, "issuing", now=now + 40 * DAY)
    assert ("issuing", "full", -1) in publication.due(desk, CLOCKWORK, now=now)
    assert ("root", "full", -1) not in publication.due(desk, CLOCKWORK, now=now)


def test_a_signer_that_begins_in_the_future_is_not_waited_for(desk: Desk, now: datetime) -> None:
    ahead = now + 40 * DAY
    assert ocsp_signers.ensure(desk, CLOCKWORK, "issuing", now=ahead)
    with desk.store.write() as connection:  # as the clean-up did, by whose clock they had ended
        connection.execute(
            delete(tables.ocsp_signers).where(tables.ocsp_signers.c.not_after < ahead)
        )
    assert ocsp_signers.ensure(desk, CLOCKWORK, "issuing", now=now)
    ocsp_signers.current(desk, authorities.load(desk, "issuing"), now=now)
    assert not ocsp_signers.ensure(desk, CLOCKWORK, "issuing", now=now)


def test_the_pause_between_long_lists_does_not_grow_with_a_clock_that_is_set_back(
    now: datetime,
) -> None:
    pace = Pace()
    ahead = now + 40 * DAY
    pace.note("issuing", ahead, ahead + timedelta(seconds=2))
    assert pace.wait("issuing", now) == timedelta(seconds=8)
