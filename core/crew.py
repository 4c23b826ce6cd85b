"""Works that take turns in one thread: who waits lets the next one run.

With a thread for each work, most of the time goes into waking threads and into their quarrel for the interpreter's
lock: some fifty switches for one certificate, each of which the kernel must carry out. A crew is one thread. Its works
are greenlets; one that comes to a commit (`Store.together`) is laid aside, the next begins, and when nobody can go on,
the crew commits for all of them in one transaction. That makes the batches larger, too. One that asks a device or a
server (`beside`) is laid aside as well: the call is another thread's, and when it is done its work goes on.

A work that waits for anything else (a lock of the database) holds up its crew. Whoever has crews has several, and calls
up another one when the first does not come back (api.pool).
"""

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Final, Protocol, TypeVar, final

from greenlet import getcurrent, greenlet

T = TypeVar("T")
_here: Final = threading.local()


class Settler(Protocol):
    """Who carries out the entries that works wait for."""

    def run_all(self, entries: Sequence[Any]) -> None:
        """Carry out the entries; returns when each is done, and raises nothing of theirs."""


@final
class Helpers:
    """At most `most` threads that carry out what works of crews call beside them; started when they are needed."""

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._mutex = threading.Lock()
        self._started = 0
        self._busy = 0  # calls that are in the queue or under way

    def submit(self, call: Callable[[], None]) -> None:
        """Carry out a call that raises nothing."""
        with self._mutex:
            self._busy += 1
            if self._started < min(self._busy, self._most):
                self._started += 1
                name = f"{self._name}-{self._started}"
                # Daemons, so that a call that hangs for ever cannot keep a stopping process alive.
                threading.Thread(target=self._serve, name=name, daemon=True).start()
        self._calls.put(call)

    def close(self) -> None:
        """Let the threads end when they have carried out what is in the queue. Nothing is submitted afterwards."""
        for _ in range(self._started):
            self._calls.put(None)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            with self._mutex:
                self._busy -= 1


@final
class Crew:
    """The works of one thread; a context in which that thread starts and settles them, and lets them go on.

    `helpers` carry out what works call beside them; without them, works do it themselves. `told` is called by them
    when a call is done.
    """

    def __init__(
        self, helpers: Helpers | None = None, told: Callable[[], None] | None = None
    ) -> None:
        self._hub = getcurrent()
        self._waiting: list[tuple[greenlet, Settler, object]] = []
        self._helpers, self._told = helpers, told
        self._away = 0
        self._back: deque[greenlet] = deque()

    def __enter__(self) -> "Crew":
        _here.crew = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del _here.crew

    @property
    def waiting(self) -> int:
        """How many works wait for `settle`."""
        return len(self._waiting)

    @property
    def away(self) -> int:
        """How many works wait for a call beside them, with those that may go on."""
        return self._away

    @property
    def back(self) -> int:
        """How many works may `go_on`: their calls are done."""
        return len(self._back)

    def start(self, work: Callable[[], object]) -> None:
        """Run a work until it ends or waits. Raises what it raises."""
        greenlet(work, parent=self._hub).switch()

    def settle(self) -> None:
        """Settle what the works wait for, and let each go on until it ends or waits again."""
        waiting, self._waiting = self._waiting, []
        shared: defaultdict[Settler, list[object]] = defaultdict(list)
        for _, settler, entry in waiting:
            shared[settler].append(entry)
        failed: dict[Settler, Exception] = {}
        for settler, entries in shared.items():
            try:
                settler.run_all(entries)
            except Exception as error:  # noqa: BLE001 - without an outcome they cannot go on, nor may they wait for ever
                failed[settler] = error
        for work, settler, _ in waiting:
            if settler in failed:
                work.throw(failed[settler])
            else:
                work.switch()

    def go_on(self) -> None:
        """Let those whose calls are done go on until they end or wait again."""
        for _ in range(len(self._back)):
            self._away -= 1
            self._back.popleft().switch()

    def lay_aside(self, settler: Settler, entry: object) -> None:
        """Called by a work: wait until the entry is settled."""
        self._waiting.append((getcurrent(), settler, entry))
        self._hub.switch()

    def call_beside(self, call: Callable[[], T]) -> T:
        """Called by a work: have a helper carry out the call, and wait for it. Raises what the call raises."""
        if self._helpers is None:
            return call()
        outcome: list[T] = []
        failure: list[BaseException] = []
        work = getcurrent()

        def carry_out() -> None:
            try:
                outcome.append(call())
            except BaseException as error:  # noqa: BLE001 - it belongs to the work
                failure.append(error)
            self._back.append(work)
            if self._told is not None:
                self._told()

        self._away += 1
        self._helpers.submit(partial(copy_context().run, carry_out))
        self._hub.switch()
        if failure:
            try:
                raise failure[0]
            finally:
                failure.clear()  # breaks the circle error → traceback → frame → error
        return outcome[0]

    def at_work(self) -> bool:
        """Whether the caller is one of its works, and not the thread that leads them."""
        return getcurrent() is not self._hub


def crew_at_work() -> Crew | None:
    """The crew that the caller is a work of, if it is one."""
    crew: Crew | None = getattr(_here, "crew", None)
    return crew if crew is not None and crew.at_work() else None


def beside(call: Callable[[], T]) -> T:
    """Carry out a call that waits for a device or a server: of a work of a crew, in another thread, so that the others
    of the crew go on meanwhile; of anybody else, here. Raises what the call raises.
    """
    crew = crew_at_work()
    return call() if crew is None else crew.call_beside(call)
