"""Runs of scheduled jobs: what ran, when it last worked, what went wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, func, insert, select, update

from store.engine import Store
from store.tables import job_runs
from store.text import storable

_LONGEST_ERROR: Final = 1000


@dataclass(frozen=True)
class JobState:
    """A job as its runs show it.

    The first fields tell of the latest run (`outcome` and `finished_at` are None while it runs, or
    for ever where its process died); `last_success_at` and `last_error_at` are ends of the latest
    run of each kind.
    """

    job: str
    owner: str
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    detail: Mapping[str, Any] | None
    last_success_at: datetime | None
    last_error_at: datetime | None
    last_error: str | None


@dataclass(frozen=True)
class JobRun:
    """One run; `outcome` and `finished_at` are None while it runs, or for ever where its process died."""

    id: int
    owner: str
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    error: str | None
    detail: Mapping[str, Any] | None


def started(store: Store, job: str, owner: str, now: datetime) -> int:
    """Record the start of a run; gives its number."""
    with store.write() as connection:
        made = connection.execute(insert(job_runs).values(job=job, owner=owner, started_at=now))
        number = made.inserted_primary_key
    if number is None:
        raise RuntimeError("the database gave no number for a new row")
    return int(number[0])


def finished(
    store: Store,
    number: int,
    outcome: Literal["ok", "failed"],
    error: str | None,
    detail: Mapping[str, Any] | None,
    now: datetime,
) -> None:
    """Record the end of a run. `error` is one line without secrets, `detail` is JSON."""
    with store.write() as connection:
        connection.execute(
            update(job_runs)
            .where(job_runs.c.id == number)
            .values(
                finished_at=now,
                outcome=outcome,
                error=None if error is None else storable(error)[:_LONGEST_ERROR],
                detail=None if detail is None else dict(detail),
            )
        )


def latest(connection: Connection) -> list[JobState]:
    """The state of each job that ever ran, by name."""
    groups = connection.execute(_latest_runs()).all()
    wanted = {number for group in groups for number in group[1:] if number is not None}
    query = select(job_runs).where(job_runs.c.id.in_(wanted))
    runs: dict[int | None, Row[Any]] = {row.id: row for row in connection.execute(query)}
    return [
        _state(
            runs[max(number for number in numbers if number is not None)],
            *(runs.get(number) for number in numbers[1:]),
        )
        for _, *numbers in groups
    ]


def runs(connection: Connection, job: str, *, before: int | None, limit: int) -> list[JobRun]:
    """Runs of a job, newest first: at most `limit`, with numbers below `before`."""
    columns = [job_runs.c[name] for name in JobRun.__dataclass_fields__]
    query = select(*columns).where(job_runs.c.job == storable(job))
    if before is not None:
        query = query.where(job_runs.c.id < before)
    query = query.order_by(job_runs.c.id.desc()).limit(limit)
    return [JobRun(**row) for row in connection.execute(query).mappings()]


def last_success(connection: Connection, job: str) -> datetime | None:
    """When the latest run that succeeded ended, if one did. The latest by its number: the clock may have been ahead."""
    query = select(job_runs.c.finished_at).where(job_runs.c.job == job, job_runs.c.outcome == "ok")
    return connection.execute(query.order_by(job_runs.c.id.desc()).limit(1)).scalar()


def prune(connection: Connection, before: datetime) -> int:
    """Forget runs that started before; of each job the latest run, success and failure stay. Tells how many went."""
    kept = {
        number for group in connection.execute(_latest_runs()) for number in group[1:] if number
    }
    gone = connection.execute(
        delete(job_runs).where(job_runs.c.started_at < before, job_runs.c.id.not_in(kept))
    )
    return gone.rowcount


def _latest_runs() -> Select[Any]:
    # Of each job a step or two into the index: there is a run every few seconds, for days.
    first = select(func.min(job_runs.c.job).label("job")).cte("names", recursive=True)
    later = select(func.min(job_runs.c.job)).where(job_runs.c.job > first.c.job)
    names = first.union_all(select(later.scalar_subquery()).where(first.c.job.is_not(None)))

    def last(ended: ColumnElement[bool]) -> Any:
        mine = select(func.max(job_runs.c.id)).where(job_runs.c.job == names.c.job, ended)
        return mine.scalar_subquery()

    outcome = job_runs.c.outcome
    return (
        select(
            names.c.job, last(outcome.is_(None)), last(outcome == "ok"), last(outcome == "failed")
        )
        .where(names.c.job.is_not(None))
        .order_by(names.c.job)
    )


def _state(last: Row[Any], success: Row[Any] | None, failure: Row[Any] | None) -> JobState:
    return JobState(
        job=last.job,
        owner=last.owner,
        started_at=last.started_at,
        finished_at=last.finished_at,
        outcome=last.outcome,
        detail=last.detail,
        last_success_at=success.finished_at if success else None,
        last_error_at=failure.finished_at if failure else None,
        last_error=failure.error if failure else None,
    )
