"""What ran, when it last worked, what went wrong."""

from datetime import timedelta

from store import jobs
from store.engine import Store
from store.jobs import JobState
from tests.store.writers import NOW

SECOND = timedelta(seconds=1)


def run(store: Store, job: str, start: int, outcome: str | None, error: str | None = None) -> int:
    number = jobs.started(store, job, "me", NOW + start * SECOND)
    if outcome is not None:
        detail = {"made": start} if outcome == "ok" else None
        jobs.finished(store, number, outcome, error, detail, NOW + (start + 1) * SECOND)
    return number


def latest(store: Store) -> list[JobState]:
    with store.read() as connection:
        return jobs.latest(connection)


def test_nothing_ran_yet(store: Store) -> None:
    assert latest(store) == []


def test_state_tells_of_the_latest_run_success_and_error(store: Store) -> None:
    run(store, "crl", 0, "ok")
    run(store, "crl", 10, "failed", "signer away")
    run(store, "crl", 20, "ok")
    run(store, "crl", 30, None)
    run(store, "audit", 5, "failed", "x" * 5000)
    audit, crl = latest(store)
    assert crl == JobState(
        job="crl",
        owner="me",
        started_at=NOW + 30 * SECOND,
        finished_at=None,
        outcome=None,
        detail=None,
        last_success_at=NOW + 21 * SECOND,
        last_error_at=NOW + 11 * SECOND,
        last_error="signer away",
    )
    assert (audit.job, audit.outcome, audit.last_success_at) == ("audit", "failed", None)
    assert len(audit.last_error or "") == 1000


def test_detail_of_the_latest_run_is_kept(store: Store) -> None:
    run(store, "crl", 3, "ok")
    assert latest(store)[0].detail == {"made": 3}


def test_pruning_keeps_what_the_state_needs(store: Store) -> None:
    for start in range(10):
        run(store, "crl", start, "failed" if start == 4 else "ok", "no" if start == 4 else None)
    run(store, "idle", 0, "ok")
    before = latest(store)
    with store.write() as connection:
        assert jobs.prune(connection, NOW + 8 * SECOND) == 7  # of 0…7 the failure stays
        assert jobs.prune(connection, NOW + 8 * SECOND) == 0
    assert latest(store) == before


def test_pruning_nothing(store: Store) -> None:
    with store.write() as connection:
        assert jobs.prune(connection, NOW) == 0
