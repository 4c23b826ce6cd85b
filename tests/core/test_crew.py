"""A crew: many works in one thread, one transaction for all that wait."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

from core.crew import Crew, Helpers, beside, crew_at_work
from core.errors import Conflict
from store.engine import Store, Unit
from tests.store.test_together import note
from tests.store.test_transactions import count


class Refused(Conflict):
    """What a work raises when it does not want to."""

    code = "refused"


def refuse(unit: Unit) -> None:
    raise Refused("No.")


def test_works_of_one_thread_share_their_commits_and_each_gets_its_own_outcome(
    store: Store,
) -> None:
    order: list[str] = []
    threads: set[int] = set()

    def operation(name: str) -> None:
        threads.add(threading.get_ident())
        order.append(f"{name} begins")
        assert store.together(note(name)) == name
        order.append(f"{name} goes on")
        if name == "b":
            with pytest.raises(Refused):
                store.together(refuse)
        else:
            assert store.together(note(name + "2")) == name + "2"
        order.append(f"{name} ends")

    with Crew() as crew:
        for name in "abc":
            crew.start(partial(operation, name))
        assert crew.waiting == 3
        assert order == ["a begins", "b begins", "c begins"]
        crew.settle()
        assert count(store) == 3
        assert crew.waiting == 3
        crew.settle()
        assert crew.waiting == 0
    assert order[-3:] == ["a ends", "b ends", "c ends"]
    assert threads == {threading.get_ident()}
    assert count(store) == 5


def test_one_that_is_refused_does_not_disturb_the_others(store: Store) -> None:
    refused: list[str] = []

    def bad() -> None:
        try:
            store.together(refuse)
        except Refused as error:
            refused.append(error.code)

    with Crew() as crew:
        crew.start(bad)
        for word in ("a", "b"):
            crew.start(partial(store.together, note(word)))
        crew.settle()
    assert refused == ["refused"]
    assert count(store) == 2


def test_context_variables_are_each_works_own(store: Store) -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")
    seen: list[tuple[str, str]] = []

    def operation(name: str) -> None:
        assert who.get() == "nobody"
        who.set(name)
        store.together(note(name))
        seen.append((name, who.get()))

    with Crew() as crew:
        for name in "abc":
            crew.start(partial(operation, name))
        crew.settle()
    assert seen == [("a", "a"), ("b", "b"), ("c", "c")]
    assert who.get() == "nobody"


def test_only_works_are_laid_aside(store: Store) -> None:
    assert crew_at_work() is None
    with Crew() as crew:
        assert crew_at_work() is None
        assert store.together(note("from the thread itself")) == "from the thread itself"
        inside: list[bool] = []
        crew.start(lambda: inside.append(crew_at_work() is crew))
        assert inside == [True]
    assert crew_at_work() is None


def test_a_settler_that_breaks_is_told_to_those_that_wait_for_it_and_to_nobody_else(
    store: Store,
) -> None:
    class Broken:
        def run_all(self, entries: Sequence[Any]) -> None:
            raise MemoryError

    told: list[str] = []

    def unlucky() -> None:
        crew = crew_at_work()
        assert crew is not None
        try:
            crew.lay_aside(Broken(), "anything")
        except MemoryError:
            told.append("unlucky")

    with Crew() as crew:
        for work in (unlucky, partial(store.together, note("a")), unlucky):
            crew.start(work)
        crew.settle()
        assert crew.waiting == 0
    assert told == ["unlucky", "unlucky"]
    assert count(store) == 1


def test_a_call_beside_is_a_helpers_and_its_outcome_the_works(store: Store) -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")
    came = threading.Semaphore(0)
    seen: list[object] = []

    def call(name: str) -> str:
        assert who.get() == name
        if name == "b":
            raise Refused("No.")
        return f"{name} by {threading.current_thread().name}"

    def operation(name: str) -> None:
        who.set(name)
        try:
            seen.append(beside(partial(call, name)))
        except Refused as error:
            seen.append(error.code)
        seen.append(who.get())
        store.together(note(name))

    helpers = Helpers(1, "helper")
    with Crew(helpers, came.release) as crew:
        for name in "ab":
            crew.start(partial(operation, name))
        assert (crew.away, crew.waiting, seen) == (2, 0, [])
        for _ in range(2):
            assert came.acquire(timeout=60)
        assert crew.back == 2
        crew.go_on()
        assert (crew.away, crew.back, crew.waiting) == (0, 0, 2)
        crew.settle()
    helpers.close()
    assert seen == ["a by helper-1", "a", "refused", "b"]
    assert count(store) == 2


def test_without_a_crew_or_helpers_a_call_is_the_callers_own() -> None:
    me, seen = threading.get_ident(), [beside(threading.get_ident)]
    with Crew() as crew:
        seen.append(beside(threading.get_ident))
        crew.start(lambda: seen.append(beside(threading.get_ident)))
    assert seen == [me] * 3


def test_crews_and_threads_mix(store: Store) -> None:
    """Nobody sleeps for ever on one entry while the lead falls to another of the same thread."""

    def crewed(name: str) -> None:
        with Crew() as crew:
            for number in range(40):
                for place in range(1 + number % 7):

                    def operation(word: str = f"{name}{number}.{place}") -> None:
                        for step in "xy":
                            assert store.together(note(word + step)) == word + step

                    crew.start(operation)
                while crew.waiting:
                    crew.settle()

    def alone(name: str) -> None:
        for number in range(100):
            store.together(note(f"{name}{number}"))

    with ThreadPoolExecutor(8) as pool:
        works = [pool.submit(crewed, name) for name in "abcd"]
        works += [pool.submit(alone, name) for name in "wxyz"]
        for work in works:
            work.result(60)
    each = 2 * sum(1 + number % 7 for number in range(40))
    assert count(store) == 4 * each + 4 * 100
