"""A bounded pool of threads for work that blocks, awaited from the event loop.

Its threads are crews (store.crew): one of them does what many could, as long as the works wait for nothing but commits.
A second thread is called up when the first has not come back to the queue for a while, and so on up to the limit; each
lies down again when there is nothing to do.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar, final

from api.errors import Overloaded, Stopping
from store.crew import Crew

T = TypeVar("T")
_log = logging.getLogger(__name__)
_LOOK_AGAIN: Final = 0.01  # seconds
# Longer than any operation that waits for nothing but the processor; not so long that a client would notice.
_ABSENT: Final = 0.02  # seconds
# Works of one thread at a time: more would wait longer than a larger commit saves.
_CREW: Final = 32
# Of works that wait for a device to sign, a crew takes few: one after the other, they would leave its other sessions
# unused, and the device itself while a large crew is begun.
_SLOW_CREW: Final = 2
_SLOW: Final = 0.002  # seconds for each work: by a key in memory only the longest RSA takes that
# Only every other commit is followed by a signature.
_FADING: Final = 0.9
# How long a thread begins works before it commits for those that wait: a queue that is never empty, of works that wait
# for nothing, would keep them waiting for ever. Longer than it takes to begin a whole crew.
_ROUND: Final = 0.05  # seconds


class _Job(NamedTuple):
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop
    work: Callable[[], Any]
    came: float  # on the monotonic clock


@final
class _Hand:
    """One thread of the pool: when it last looked at the queue, and the lock that it sleeps on."""

    __slots__ = ("looked", "wake")

    def __init__(self) -> None:
        self.looked = 0.0
        self.wake = threading.Lock()
        self.wake.acquire()


class Pool:
    """At most `threads` threads behind a queue of at most `queue` jobs; one that waited `patience` seconds is refused.

    One event loop uses it.
    """

    def __init__(self, *, threads: int, queue: int, patience: float, name: str) -> None:
        self._jobs: deque[_Job] = deque()
        self._limit = queue
        self._patience = patience
        self._pace = 0.0
        self._stopping = False
        self._watched = False
        self._mutex = threading.Lock()
        self._hands = [_Hand() for _ in range(threads)]
        self._idle: list[_Hand] = []
        self._threads = [
            # Daemons, so that an operation that hangs for ever cannot keep a stopping process
            # alive.
            threading.Thread(target=self._serve, args=(hand,), name=f"{name}-{number}", daemon=True)
            for number, hand in enumerate(self._hands)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs no thread has taken yet."""
        return len(self._jobs)

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread. Raises Overloaded without having begun, or whatever `work`
        raises.
        """
        if self._stopping:
            raise Stopping("This process is stopping.")
        if len(self._jobs) >= self._limit:
            raise Overloaded("Too many requests are waiting.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.append(_Job(future, loop, work, time.monotonic()))
        self._call_up(loop)
        return await future

    async def stop(self, timeout: float) -> None:
        """Let what was taken and queued end, and wait for it at most `timeout` seconds."""
        self._stopping = True
        with self._mutex:
            idle, self._idle = self._idle, []
        for hand in idle:
            hand.wake.release()
        deadline = time.monotonic() + timeout
        while any(thread.is_alive() for thread in self._threads) and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_AGAIN)

    def _call_up(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake a thread if none that is up will look at the queue soon; look again later if there is one."""
        with self._mutex:
            if not self._jobs or not self._idle:
                return
            seen = time.monotonic() - _ABSENT
            if len(self._idle) < len(self._hands) and any(
                hand.looked > seen for hand in self._hands
            ):
                hand = None
            else:
                hand = self._idle.pop()
                hand.looked = time.monotonic()
        if hand is not None:
            hand.wake.release()
        if not self._watched:
            self._watched = True
            loop.call_later(_ABSENT, self._look_after, loop)

    def _look_after(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watched = False
        self._call_up(loop)

    def _serve(self, hand: _Hand) -> None:
        with Crew() as crew:
            while True:
                hand.looked = time.monotonic()
                room = _CREW if self._pace < _SLOW else _SLOW_CREW
                while crew.waiting < room and (job := self._take()) is not None:
                    crew.start(partial(self._carry_out, job))
                    if time.monotonic() > hand.looked + _ROUND:
                        break
                if crew.waiting:
                    if room < _CREW:
                        self._pass_on()
                    crew.settle()
                    self._pace = max(crew.pace, _FADING * self._pace)
                elif not self._rest(hand):
                    return

    def _take(self) -> _Job | None:
        try:
            return self._jobs.popleft()
        except IndexError:
            return None

    def _pass_on(self) -> None:
        """Wake another thread for what a small crew leaves in the queue."""
        with self._mutex:
            if not self._jobs or not self._idle:
                return
            hand = self._idle.pop()
            hand.looked = time.monotonic()
        hand.wake.release()

    def _rest(self, hand: _Hand) -> bool:
        """Sleep until there is work; False when there will be none."""
        with self._mutex:
            if self._jobs:
                return True
            if self._stopping:
                return False
            self._idle.append(hand)
            hand.looked = 0.0
        hand.wake.acquire()
        return True

    def _carry_out(self, job: _Job) -> None:
        result: object = None
        error: BaseException | None = None
        if job.future.cancelled():
            return
        try:
            if time.monotonic() > job.came + self._patience:
                raise Overloaded("The request waited too long for a free worker.")  # noqa: TRY301
            result = job.work()
        except BaseException as caught:  # noqa: BLE001 - it belongs to whoever awaits the future
            error = caught
        try:
            job.loop.call_soon_threadsafe(_settle, job.future, result, error)
        except RuntimeError:  # the loop is closed: nobody waits any more
            _log.warning("an answer came after the event loop had closed")


def _settle(future: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
