"""Group commit: one transaction for many callers, to each its own outcome."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select, update

from core.crew import Crew
from core.errors import Conflict
from store.engine import Limits, Store, Unit, open_store
from store.errors import Duplicate, StoreBusy
from store.tables import audit_events, authorities, certificates, notices
from store.together import GroupCommit
from store.transaction import Transaction
from tests.store.test_transactions import authority, certificate, count, row

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Refused(Conflict):
    """What a work raises when it does not want to."""

    code = "refused"


class Crowd:
    """Works that are sure to share a batch: they queue up behind one that is held in its transaction."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.pool = ThreadPoolExecutor(32)
        self.entered, self.release = threading.Event(), threading.Event()
        self.first = self.pool.submit(store.together, self._hold)
        assert self.entered.wait(10)

    def _hold(self, unit: Unit) -> int:
        self.entered.set()
        assert self.release.wait(20)
        return threading.get_ident()

    def add(self, work: Callable[[Unit], object]) -> Future[object]:
        before = self._queued()
        future = self.pool.submit(self.store.together, work)
        while self._queued() == before:
            threading.Event().wait(0.001)
        return future

    def _queued(self) -> int:
        return len(self.store._group._queue)  # there is no other way to see who waits

    def go(self) -> None:
        self.release.set()
        self.first.result(20)


@contextmanager
def crowd(store: Store) -> Iterator[Crowd]:
    people = Crowd(store)
    try:
        yield people
    finally:
        people.release.set()
        people.pool.shutdown()


class Counted:
    """A work that remembers by which threads it was run."""

    def __init__(self, work: Callable[[Unit], object]) -> None:
        self.work = work
        self.threads: list[int] = []

    def __call__(self, unit: Unit) -> object:
        self.threads.append(threading.get_ident())
        return self.work(unit)


def note(number: str) -> Callable[[Unit], str]:
    def work(unit: Unit) -> str:
        unit.insert(notices, row(number))
        return number

    return work


def test_result_is_given_back_after_the_commit(store: Store) -> None:
    assert store.together(note("1")) == "1"
    assert count(store) == 1


def test_each_caller_gets_its_own_result_from_one_transaction(store: Store) -> None:
    works = [Counted(note(str(number))) for number in range(10)]
    with crowd(store) as people:
        futures = [people.add(work) for work in works]
        assert count(store) == 0
        people.go()
        assert [future.result(20) for future in futures] == [str(n) for n in range(10)]
    assert {len(work.threads) for work in works} == {1}
    assert len({work.threads[0] for work in works}) == 1  # one led, the others waited
    assert count(store) == 10


def test_batch_is_bounded(store_url: str) -> None:
    store = open_store(store_url, limits=Limits(batch=4))
    works = [Counted(note(str(number))) for number in range(10)]
    with crowd(store) as people:
        futures = [people.add(work) for work in works]
        people.go()
        for future in futures:
            future.result(20)
    leaders = [work.threads[0] for work in works]
    assert [leaders.count(leader) for leader in dict.fromkeys(leaders)] == [4, 4, 2]
    store.close()


def test_works_see_what_was_written_but_not_what_was_deferred(store: Store) -> None:
    def look(unit: Unit) -> int:
        return unit.connection.execute(select(func.count()).select_from(notices)).scalar_one()

    def write(unit: Unit) -> None:
        unit.connection.execute(insert(notices), row("now"))
        unit.insert(notices, row("later"))

    with crowd(store) as people:
        first, second = people.add(write), people.add(look)
        people.go()
        first.result(20)
        assert second.result(20) == 1
    assert count(store) == 2


def test_refusal_without_a_write_disturbs_nobody(store: Store) -> None:
    def refuse(unit: Unit) -> None:
        unit.connection.execute(select(notices)).all()
        unit.insert(notices, row("never"))
        raise Refused("No.")

    works = [Counted(note("1")), Counted(refuse), Counted(note("2"))]
    with crowd(store) as people:
        futures = [people.add(work) for work in works]
        people.go()
        assert futures[0].result(20) == "1"
        assert futures[2].result(20) == "2"
        with pytest.raises(Refused):
            futures[1].result(20)
    assert [len(work.threads) for work in works] == [1, 1, 1]
    assert count(store) == 2


def test_refusal_after_a_write_leaves_nothing_of_it(store: Store) -> None:
    def refuse(unit: Unit) -> None:
        unit.connection.execute(insert(notices), row("never"))
        raise Refused("No.")

    works = [Counted(note("1")), Counted(refuse), Counted(note("2"))]
    with crowd(store) as people:
        futures = [people.add(work) for work in works]
        people.go()
        assert futures[0].result(20) == "1"
        assert futures[2].result(20) == "2"
        with pytest.raises(Refused):
            futures[1].result(20)
    assert [len(work.threads) for work in works] == [
        2,
        2,
        1,
    ]  # the third had not begun when the batch ended
    assert count(store) == 2


@pytest.mark.parametrize("deferred", [True, False], ids=["deferred", "at once"])
def test_duplicate_is_the_error_of_its_own_caller(store: Store, deferred: bool) -> None:
    store.together(note("taken"))

    def again(unit: Unit) -> None:
        if deferred:
            unit.insert(notices, row("taken"))
        else:
            unit.connection.execute(insert(notices), row("taken"))

    with crowd(store) as people:
        futures = [people.add(note("1")), people.add(again), people.add(note("2"))]
        people.go()
        assert futures[0].result(20) == "1"
        assert futures[2].result(20) == "2"
        with pytest.raises(Duplicate) as caught:
            futures[1].result(20)
    assert caught.value.constraint == "uq_notices_kind_object_stage"
    assert count(store) == 3


def test_two_that_ask_for_the_same_get_one_yes_and_one_no(store: Store) -> None:
    with crowd(store) as people:
        futures = [people.add(note("same")), people.add(note("same"))]
        people.go()
        outcomes = [future.exception(20) for future in futures]
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Duplicate", "NoneType"]
    assert count(store) == 1


def test_parents_are_inserted_before_children(store: Store) -> None:
    def work(unit: Unit) -> None:
        unit.insert(certificates, certificate("0a"))
        unit.insert(authorities, authority())

    store.together(work)
    with store.read() as connection:
        assert connection.execute(select(certificates.c.serial)).scalar() == "0a"


def test_rows_with_different_columns_are_both_inserted(store: Store) -> None:
    def work(unit: Unit) -> None:
        unit.insert(authorities, authority())
        unit.insert(certificates, certificate("0a"))
        unit.insert(certificates, {**certificate("0b"), "gateway": "gw1"})

    store.together(work)
    with store.read() as connection:
        found = connection.scalars(select(certificates.c.gateway).order_by(certificates.c.serial))
        assert list(found) == [None, "gw1"]


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit])
def test_work_that_wants_to_exit_only_ends_its_own_caller(
    store: Store, kind: type[BaseException]
) -> None:
    def leave(unit: Unit) -> None:
        raise kind

    with crowd(store) as people:
        futures = [people.add(note("1")), people.add(leave), people.add(note("2"))]
        people.go()
        assert isinstance(futures[1].exception(20), kind)
        assert [futures[0].result(20), futures[2].result(20)] == ["1", "2"]
    assert count(store) == 2


def test_interrupted_leader_leaves_its_batch_to_the_next(store: Store) -> None:
    interrupted = []

    def interrupt(unit: Unit) -> str:
        if not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt
        return "went on"

    with crowd(store) as people:
        futures = [people.add(note("1")), people.add(interrupt), people.add(note("2"))]
        people.go()
        # The first of the batch leads, so it is the one that Ctrl-C hits; nobody else notices.
        assert isinstance(futures[0].exception(20), KeyboardInterrupt)
        assert [futures[1].result(20), futures[2].result(20)] == ["went on", "2"]
    assert count(store) == 1
    assert store.together(note("3")) == "3"


def test_interrupted_waiter_leaves_the_queue(store: Store) -> None:
    class Alarm(BaseException):
        pass

    def ring(number: int, frame: object) -> None:
        raise Alarm

    previous = signal.signal(signal.SIGALRM, ring)
    try:
        with crowd(store) as people:
            other = people.add(note("other"))
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(Alarm):
                store.together(note("mine"))
            people.go()
            assert other.result(20) == "other"
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert count(store) == 1


def test_locked_database_is_everyones_error(store: Store, store_url: str) -> None:
    def work(unit: Unit) -> None:
        unit.connection.execute(update(authorities).values(created_by="me"))
        unit.insert(notices, row("never"))

    with store.write() as connection:
        connection.execute(insert(authorities), authority())
    hasty = open_store(store_url, limits=Limits(busy=timedelta(milliseconds=200)))
    with store.write() as connection, ThreadPoolExecutor(6) as pool:
        connection.execute(update(authorities).values(created_by="somebody else"))
        futures = [pool.submit(hasty.together, work) for _ in range(6)]
        errors = [future.exception(20) for future in futures]
    assert [type(error) for error in errors] == [StoreBusy] * 6
    assert len({id(error) for error in errors}) == 6  # to each a traceback of its own
    assert count(store) == 0
    assert hasty.together(note("after")) == "after"
    hasty.close()


def test_nobody_waits_a_second_time_for_a_transaction_that_cannot_be_begun(store_url: str) -> None:
    limits = Limits(busy=timedelta(milliseconds=200))
    hasty = open_store(store_url, pool_size=1, limits=limits)
    tries: list[str] = []

    def begin(lasting: bool) -> Transaction:
        tries.append("one")
        return hasty._writing(lasting)  # what the store gives its own group

    group = GroupCommit(begin, 2)
    refused: list[StoreBusy] = []

    def attempt() -> None:
        try:
            group.run(note("never"))
        except StoreBusy as error:
            refused.append(error)

    def crewed() -> None:
        with Crew() as crew:
            for _ in range(9):
                crew.start(attempt)
            crew.settle()

    with hasty.write():
        thread = threading.Thread(target=crewed)
        thread.start()
        thread.join(20)
    assert len(set(map(id, refused))) == 9
    assert len(tries) == 1
    assert group.run(note("after")) == "after"
    hasty.close()


def test_audit_row_shares_the_fate_of_the_act(store: Store) -> None:
    store.together(note("taken"))

    def act(unit: Unit) -> None:
        unit.insert(audit_events, AUDIT)
        unit.insert(notices, row("taken"))

    with pytest.raises(Duplicate):
        store.together(act)
    with store.read() as connection:
        assert connection.execute(select(audit_events)).first() is None


AUDIT = {
    "at": NOW,
    "actor": "a",
    "role": "admin",
    "action": "x",
    "object": "o",
    "outcome": "ok",
    "detail": {},
    "request_id": "r",
}


@pytest.mark.parametrize("company", [0, 2])
def test_crosswise_works_of_two_processes_are_done_though_the_database_ends_one(
    store: Store, second_store: Store, company: int
) -> None:
    for number in ("left", "right"):
        store.together(note(number))
    begun = {"left": threading.Event(), "right": threading.Event()}
    runs: list[str] = []

    def cross(first: str, second: str) -> Callable[[Unit], object]:
        def work(unit: Unit) -> str:
            runs.append(first)
            for place in (first, second):
                unit.connection.execute(
                    update(notices).where(notices.c.object == place).values(stage=f"by {first}")
                )
                begun[first].set()
                # On SQLite the other one cannot begin before this one has ended.
                begun[second].wait(5 if store.dialect == "postgresql" else 0.1)
            return first

        return work

    with crowd(store) as here, ThreadPoolExecutor(1) as there:
        ours = [here.add(note(str(number))) for number in range(company)]
        ours.append(here.add(cross("left", "right")))
        theirs = there.submit(second_store.together, cross("right", "left"))
        here.go()
        assert [future.result(20) for future in ours][-1] == "left"
        assert theirs.result(20) == "right"
    assert count(store) == 2 + company
    # PostgreSQL ended one of them at least, which then ran again.
    assert len(runs) > 2 if store.dialect == "postgresql" else len(runs) == 2


def waits_for_the_disk(unit: Unit) -> bool:
    """What the database itself says of the commit of this transaction."""
    if unit.connection.dialect.name == "sqlite":
        # https://www.sqlite.org/pragma.html#pragma_synchronous: 1 is NORMAL, 2 is FULL
        return unit.connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
    return unit.connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"


def test_only_what_need_not_last_by_itself_does_not_wait_for_the_disk(store: Store) -> None:
    """And what comes after it on the same connection does again."""
    for _ in range(2):
        assert store.together(waits_for_the_disk)
        assert not store.together(waits_for_the_disk, lasting=False)
        with store.write() as connection:
            assert waits_for_the_disk(Unit(connection))


def test_a_batch_waits_for_the_disk_if_one_of_its_works_has_to(store: Store) -> None:
    crowd = Crowd(store)
    loose = crowd.pool.submit(store.together, waits_for_the_disk, lasting=False)
    while crowd._queued() == 0:
        threading.Event().wait(0.001)
    lasting = crowd.add(waits_for_the_disk)
    crowd.go()
    assert loose.result(20) is True
    assert lasting.result(20) is True


def test_what_need_not_last_is_there_for_everybody_at_once(store: Store, store_url: str) -> None:
    store.together(lambda unit: unit.insert(notices, row("soon")), lasting=False)
    other = open_store(store_url)
    try:
        with other.read() as connection:
            assert connection.execute(select(func.count()).select_from(notices)).scalar_one() == 1
    finally:
        other.close()
