"""The pool: bounded, patient for a while, stopped in order."""

import asyncio
import itertools
import threading
import time
from functools import partial

import pytest

from api.errors import Overloaded, Stopping
from api.pool import Pool
from core.crew import beside
from store.engine import Store
from tests.store.test_together import note


def test_work_is_done_in_a_thread_and_errors_come_back() -> None:
    async def main() -> None:
        pool = Pool(threads=2, queue=10, patience=300, name="test")
        names = await asyncio.gather(*(pool.run(threading.get_ident) for _ in range(8)))
        assert threading.get_ident() not in names
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 // 0)
        await pool.stop(60)
        with pytest.raises(Stopping):
            await pool.run(int)

    asyncio.run(main())


def test_too_much_is_refused_and_too_old_is_not_begun() -> None:
    async def main() -> None:
        gate = threading.Event()
        begun = threading.Event()
        pool = Pool(threads=1, queue=1, patience=0.1, name="test")

        def hold() -> None:
            begun.set()
            gate.wait(60)

        first = asyncio.ensure_future(pool.run(hold))
        while not begun.is_set():
            await asyncio.sleep(0.01)
            if first.done():  # the machine stood still for longer than it may wait
                assert isinstance(first.exception(), Overloaded)
                first = asyncio.ensure_future(pool.run(hold))
        ran: list[int] = []
        second = asyncio.ensure_future(pool.run(lambda: ran.append(1)))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await pool.run(int)
        assert pool.waiting == 1
        await asyncio.sleep(0.2)
        gate.set()
        await first
        with pytest.raises(Overloaded):
            await second
        assert ran == []
        await pool.stop(60)

    asyncio.run(main())


def test_work_nobody_waits_for_is_not_begun() -> None:
    async def main() -> None:
        gate = threading.Event()
        pool = Pool(threads=1, queue=5, patience=300, name="test")
        first = asyncio.ensure_future(pool.run(lambda: gate.wait(60)))
        ran: list[int] = []
        second = asyncio.ensure_future(pool.run(lambda: ran.append(1)))
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.sleep(0)
        gate.set()
        await first
        await pool.stop(60)
        assert ran == []

    asyncio.run(main())


def test_an_answer_after_the_loop_has_closed_is_dropped() -> None:
    gate = threading.Event()
    pool = Pool(threads=1, queue=5, patience=300, name="test")

    async def leave() -> None:
        asyncio.ensure_future(pool.run(lambda: gate.wait(60)))  # noqa: RUF006 - left behind on purpose
        await asyncio.sleep(0.05)

    asyncio.run(leave())
    gate.set()
    asyncio.run(pool.stop(60))


def test_a_second_thread_is_called_up_when_the_first_does_not_come_back() -> None:
    async def main() -> None:
        pool = Pool(threads=3, queue=10, patience=300, name="test")
        gate = threading.Event()
        held = [asyncio.ensure_future(pool.run(lambda: gate.wait(60))) for _ in range(2)]
        assert await asyncio.wait_for(pool.run(lambda: "done"), 60) == "done"
        gate.set()
        await asyncio.gather(*held)
        await pool.stop(60)

    asyncio.run(main())


def test_one_thread_does_the_work_of_many_that_wait_for_nothing() -> None:
    async def main() -> None:
        pool = Pool(threads=8, queue=200, patience=300, name="test")
        await pool.run(int)

        async def threads() -> set[int]:
            return set(await asyncio.gather(*(pool.run(threading.get_ident) for _ in range(100))))

        # Where the machine stands still for a moment, a second is called up.
        assert 1 in [len(await threads()) for _ in range(20)]
        await pool.stop(60)

    asyncio.run(main())


def test_a_thread_that_had_nothing_to_do_is_found_again() -> None:
    async def main() -> None:
        pool = Pool(threads=2, queue=10, patience=300, name="test")
        for pause in (0, 0.001, 0.05, 0.1):
            await asyncio.sleep(pause)
            assert await asyncio.wait_for(pool.run(lambda: 1), 60) == 1
        await pool.stop(60)

    asyncio.run(main())


def test_works_that_never_wait_do_not_keep_one_from_its_commit(store: Store) -> None:
    async def main() -> None:
        pool = Pool(threads=1, queue=10, patience=300, name="test")
        commit = asyncio.ensure_future(pool.run(partial(store.together, note("1"))))
        end = time.monotonic() + 60

        def until_more_are_there() -> None:
            while pool.waiting == 0 and not commit.done() and time.monotonic() < end:
                time.sleep(0.0001)

        async def ask() -> None:
            while not commit.done() and time.monotonic() < end:
                await pool.run(until_more_are_there)

        await asyncio.gather(ask(), ask(), ask())
        assert commit.done()
        assert await commit == "1"
        await pool.stop(60)

    asyncio.run(main())


def test_a_thread_goes_on_while_calls_beside_it_last(store: Store) -> None:
    gate, begun = threading.Event(), threading.Semaphore(0)

    def hold() -> int:
        begun.release()
        gate.wait(60)
        return threading.get_ident()

    def signs(name: str) -> tuple[int, int, str]:
        store.together(note(f"{name} intent"))
        return threading.get_ident(), beside(hold), store.together(note(f"{name} result"))

    async def main() -> None:
        pool = Pool(threads=1, queue=100, patience=300, name="test")
        signed = [asyncio.ensure_future(pool.run(partial(signs, each))) for each in "ab"]
        while begun._value == 0:
            await asyncio.sleep(0.001)
        # Neither what waits for nothing nor what waits for a commit waits for the signer.
        assert await asyncio.wait_for(pool.run(lambda: "read"), 60) == "read"
        written = pool.run(partial(store.together, note("written")))
        assert await asyncio.wait_for(written, 60) == "written"
        assert not any(each.done() for each in signed)
        gate.set()
        told = await asyncio.gather(*signed)
        assert [result for _, _, result in told] == ["a result", "b result"]
        assert all(thread != helper for thread, helper, _ in told)
        await pool.stop(60)

    asyncio.run(main())


def test_reads_without_end_do_not_keep_a_commit_waiting_for_a_signer_that_hangs(
    store: Store,
) -> None:
    gate = threading.Event()

    async def main() -> None:
        pool = Pool(threads=1, queue=100, patience=300, name="test")
        hanging = [
            asyncio.ensure_future(pool.run(partial(beside, partial(gate.wait, 60))))
            for _ in range(5)
        ]
        commit = asyncio.ensure_future(pool.run(partial(store.together, note("1"))))
        end = time.monotonic() + 60
        while not commit.done() and time.monotonic() < end:
            await pool.run(int)
        assert await commit == "1"
        gate.set()
        assert await asyncio.gather(*hanging) == [True] * 5
        await pool.stop(60)

    asyncio.run(main())


def test_more_works_than_one_thread_takes_may_wait_beside() -> None:
    gate = threading.Event()

    async def main() -> None:
        pool = Pool(threads=3, queue=200, patience=300, name="test")
        away = [
            asyncio.ensure_future(pool.run(partial(beside, partial(gate.wait, 60))))
            for _ in range(50)
        ]
        assert await asyncio.wait_for(pool.run(lambda: "read"), 60) == "read"
        gate.set()
        assert await asyncio.gather(*away) == [True] * 50
        await pool.stop(60)

    asyncio.run(main())


def test_a_stop_lets_calls_beside_end() -> None:
    gate, begun = threading.Event(), threading.Event()

    def hold() -> str:
        begun.set()
        gate.wait(60)
        return "signed"

    async def main() -> None:
        pool = Pool(threads=2, queue=10, patience=300, name="test")
        held = asyncio.ensure_future(pool.run(partial(beside, hold)))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        stopping = asyncio.ensure_future(pool.stop(60))
        await asyncio.sleep(0.05)
        assert not stopping.done()
        gate.set()
        assert await held == "signed"
        await stopping

    asyncio.run(main())


def test_a_thread_that_is_never_without_works_still_begins_all_that_wait(store: Store) -> None:
    """It began one at a time, once it had not been without a work for longer than a commit may wait."""

    number = itertools.count()

    def commit() -> None:
        store.together(note(str(next(number))))

    async def begun_before_its_second_commit(pool: Pool) -> int:
        course: list[str] = []

        def first() -> None:
            commit()
            end = time.monotonic() + 60
            while pool.waiting < 5 and time.monotonic() < end:
                time.sleep(0.001)
            time.sleep(0.1)  # longer than a commit may wait
            commit()
            course.append("first")

        def second() -> None:
            course.append("second")
            commit()

        works = [asyncio.ensure_future(pool.run(first))]
        await asyncio.sleep(0)
        while pool.waiting:
            await asyncio.sleep(0.001)
        works += [asyncio.ensure_future(pool.run(second)) for _ in range(5)]
        await asyncio.gather(*works)
        return course.index("first")

    async def main() -> None:
        pool = Pool(threads=1, queue=100, patience=300, name="test")
        # Where the machine stands still in just that moment, some are begun later.
        assert any([await begun_before_its_second_commit(pool) > 1 for _ in range(5)])
        await pool.stop(60)

    asyncio.run(main())
