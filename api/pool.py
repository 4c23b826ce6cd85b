"""A bounded pool of threads for work that blocks, awaited from the event loop.

Its threads are crews (core.crew): one of them does what many could, as long as the works wait for nothing but commits
and signers; as many helpers wait for the signers. A second thread is called up when the first has not come back to the
queue for a while, and so on up to the limit; each lies down again when there is nothing to do.
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
from core.crew import Crew, Helpers

T = TypeVar("T")
_log = logging.getLogger(__name__)
_LOOK_AGAIN: Final = 0.01  # seconds
# Longer than any operation that waits for nothing but the processor; not so long that a client would notice.
_ABSENT: Final = 0.02  # seconds
# Works of one thread at a time: more would wait longer than a larger commit saves.
_CREW: Final = 32
# How long a commit waits, at most: for works that are being begun, since a queue that is never empty, of works that
# wait for nothing, would keep it waiting for ever; and for signers, while they have more works than wait for it, since
# one commit for each signature would cost as much as all else. Longer than it takes to begin a whole crew.
_ROUND: Final = 0.05  # seconds


class _Job(NamedTuple):
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop
    work: Callable[[], Any]
    came: float  # on the monotonic clock


@final
class _Hand:
    """One thread of the pool: when it last looked at the queue, whether it sleeps, and the lock that it sleeps on."""

    __slots__ = ("asleep", "looked", "wake")

    def __init__(self) -> None:
        self.looked = 0.0
        self.asleep = False
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
        self._stopping = False
        self._watched = False
        self._mutex = threading.Lock()
        self._hands = [_Hand() for _ in range(threads)]
        self._idle: list[_Hand] = []  # those that sleep and have room for a job
        self._helpers = Helpers(threads, f"{name}-helper")
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
            for hand in list(self._idle):
                self._rouse(hand)
        deadline = time.monotonic() + timeout
        while any(thread.is_alive() for thread in self._threads) and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_AGAIN)
        self._helpers.close()

    def _call_up(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake a thread if none that is up will look at the queue soon; look again later if there is one."""
        with self._mutex:
            if not self._jobs or not self._idle:
                return
            seen = time.monotonic() - _ABSENT
            all_sleep = len(self._idle) == len(self._hands)
            if all_sleep or not any(hand.looked > seen for hand in self._hands):
                self._rouse(self._idle[-1])
        if not self._watched:
            self._watched = True
            loop.call_later(_ABSENT, self._look_after, loop)

    def _look_after(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watched = False
        self._call_up(loop)

    def _serve(self, hand: _Hand) -> None:
        due = 0.0
        with Crew(self._helpers, partial(self._tell, hand)) as crew:
            while True:
                hand.looked = time.monotonic()
                if not crew.waiting:
                    due = hand.looked + _ROUND
                crew.go_on()
                while _has_room(crew) and (job := self._take()) is not None:
                    crew.start(partial(self._carry_out, job))
                    if time.monotonic() > due:
                        break
                if not crew.waiting:
                    if not self._rest(hand, crew):
                        return
                elif crew.away <= crew.waiting or not self._rest(hand, crew, due):
                    crew.settle()
                    due = time.monotonic() + _ROUND  # those that wait now began to after that

    def _take(self) -> _Job | None:
        try:
            return self._jobs.popleft()
        except IndexError:
            return None

    def _rest(self, hand: _Hand, crew: Crew, until: float | None = None) -> bool:
        """Sleep until there is work for the crew; False when there will be none, or the time has come."""
        seconds = -1 if until is None else until - time.monotonic()
        if until is not None and seconds <= 0:
            return False
        with self._mutex:
            room = _has_room(crew)
            if crew.back or (room and self._jobs):
                return True
            if self._stopping and not crew.away:
                return False
            if room:
                self._idle.append(hand)
            hand.asleep = True
            hand.looked = 0.0
        if hand.wake.acquire(timeout=seconds):
            return True
        with self._mutex:
            woken = not hand.asleep  # just now
            self._rouse(hand)
        hand.wake.acquire()
        return woken

    def _tell(self, hand: _Hand) -> None:
        """A call beside the crew of a thread is done."""
        with self._mutex:
            self._rouse(hand)

    def _rouse(self, hand: _Hand) -> None:
        """Wake a thread if it sleeps; the mutex is held."""
        if hand.asleep:
            hand.asleep = False
            hand.looked = time.monotonic()
            if hand in self._idle:
                self._idle.remove(hand)
            hand.wake.release()

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


def _has_room(crew: Crew) -> bool:
    return crew.waiting + crew.away < _CREW


def _settle(future: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
