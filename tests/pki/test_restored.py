"""Records of an earlier time are in use again: no number means something else than it did before."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Table, delete, insert, select

from fleet import state
from fleet.state import DesiredState
from pki import backups, publication, sequencing
from pki.desk import Desk
from store.engine import Store
from store.tables import crl_numbers, metadata
from tests.fixtures.desk import ADMIN, CLOCKWORK, NOW, SHARDS, drain
from tests.fleet.crew import connect, enlist
from tests.pki.logkeeping import Memory, record, sequence

Rows = Mapping[Table, list[dict[str, Any]]]


@pytest.fixture
def memory(desk: Desk) -> Memory:
    """What is remembered beside the keys of a log that is begun."""
    memory = Memory()
    sequence(desk, memory)
    return memory


def copy_of(store: Store) -> Rows:
    """All records."""
    with store.read() as connection:
        return {
            table: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in metadata.sorted_tables
        }


def put_back(store: Store, rows: Rows) -> None:
    """Put them in the place of those that are there."""
    with store.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))
        for table in metadata.sorted_tables:
            if rows[table]:
                connection.execute(insert(table), rows[table])


def by_hand(desk: Desk, memory: Memory, rows: Rows, now: datetime) -> None:
    """A dump is put back, and what is lost is accepted."""
    put_back(desk.store, rows)
    sequencing.accept_gap(desk, ADMIN, memory, "lost", now=now)


def from_backup(desk: Desk, memory: Memory, rows: Rows, now: datetime) -> None:
    """The same of a backup, which has the remembered head in it."""
    put_back(desk.store, rows)
    with desk.store.write() as connection:
        backups.mark_restored(connection, ADMIN, "b1", NOW.isoformat(), now=now)
    sequencing.accept_gap(desk, ADMIN, memory.copy(), "lost", now=now)


def numbers(desk: Desk) -> dict[int, int]:
    """The last number of each authority's lists."""
    query = select(crl_numbers.c.authority_id, crl_numbers.c.number)
    with desk.store.read() as connection:
        return {authority: number for authority, number in connection.execute(query)}


def live(desk: Desk, memory: Memory, acts: int, now: datetime) -> None:
    """Some work, and some lists."""
    for number in range(acts):
        desk.store.together(lambda unit, number=number: record(unit, number))  # type: ignore[misc]
    drain(desk, now)
    for _ in range(10):
        for shard in range(SHARDS):
            publication.publish_shard(desk, CLOCKWORK, "sharded", shard, now=now)


@pytest.mark.parametrize("again", [by_hand, from_backup])
@pytest.mark.parametrize("once", [by_hand, from_backup])
def test_the_same_copy_is_put_back_twice(
    desk: Desk,
    memory: Memory,
    once: Callable[[Desk, Memory, Rows, datetime], None],
    again: Callable[[Desk, Memory, Rows, datetime], None],
) -> None:
    rows = copy_of(desk.store)
    live(desk, memory, 300, NOW)
    sequence(desk, memory)
    once(desk, memory, rows, NOW + timedelta(seconds=10))
    live(desk, memory, 3, NOW + timedelta(seconds=11))
    given = numbers(desk)
    again(desk, memory, rows, NOW + timedelta(seconds=30))
    assert all(number > given[authority] for authority, number in numbers(desk).items())


def test_a_clock_that_is_wrong_does_not_count_back(desk: Desk, memory: Memory) -> None:
    rows = copy_of(desk.store)
    from_backup(desk, memory, rows, NOW)
    there = copy_of(desk.store)
    given = numbers(desk)
    from_backup(desk, memory, there, datetime.fromisoformat("1980-01-01T00:00:00Z"))
    assert all(
        number >= given[authority] + 1_000_000 for authority, number in numbers(desk).items()
    )


def test_no_state_of_a_gateway_is_taken_for_one_of_the_lost_time(
    desk: Desk, memory: Memory
) -> None:
    left, right = enlist(desk, "left.example"), enlist(desk, "right.example")
    drain(desk, NOW)
    rows = copy_of(desk.store)
    lost = []
    for number in range(9):
        connect(desk, f"lost-{number}", left, right)
        lost.append(left.state().mark)
    from_backup(desk, memory, rows, NOW + timedelta(hours=1))
    for number in range(9):
        connect(desk, f"new-{number}", left, right)
        known = frozenset(mark.etag for mark in lost)
        assert isinstance(state.current(desk, left.actor, known, now=NOW), DesiredState)
    # Nor is what the gateway reports of a lost one taken for the present one.
    assert left.state().mark.version > max(mark.version for mark in lost)
