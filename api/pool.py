"""A bounded pool of threads for work that blocks, awaited from the event loop."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from api.errors import Overloaded, Stopping

T = TypeVar("T")
_log = logging.getLogger(__name__)
_LOOK_AGAIN = 0.01  # seconds
# (future, its loop, work, monotonic time after which the work is not begun any more)
_Job = tuple["asyncio.Future[Any]", asyncio.AbstractEventLoop, Callable[[], Any], float]


class Pool:
    """`threads` workers behind a queue of at most `queue` jobs; a job that waited `patience`
    seconds is refused.

    `concurrent.futures` has no bound on its queue and costs two futures and a condition per call,
    which showed on the issuing path; this is a queue and a loop.
    """

    def __init__(self, *, threads: int, queue: int, patience: float, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._limit = queue
        self._patience = patience
        self._stopping = False
        self._threads = [
            # Daemons, so that an operation that hangs for ever cannot keep a stopping process
            # alive.
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs no thread has taken yet."""
        return self._jobs.qsize()

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread. Raises Overloaded without having begun, or whatever `work`
        raises.
        """
        if self._stopping:
            raise Stopping("This process is stopping.")
        if self._jobs.qsize() >= self._limit:
            raise Overloaded("Too many requests are waiting.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((future, loop, work, time.monotonic() + self._patience))
        return await future

    async def stop(self, timeout: float) -> None:
        """Let what was taken and queued end, and wait for it at most `timeout` seconds."""
        self._stopping = True
        for _ in self._threads:
            self._jobs.put(None)
        deadline = time.monotonic() + timeout
        while any(thread.is_alive() for thread in self._threads) and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_AGAIN)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, loop, work, deadline = job
            result: object = None
            error: BaseException | None = None
            if future.cancelled():
                continue
            try:
                if time.monotonic() > deadline:
                    raise Overloaded("The request waited too long for a free worker.")  # noqa: TRY301
                result = work()
            except BaseException as caught:  # noqa: BLE001 - it belongs to whoever awaits the future
                error = caught
            try:
                loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:  # the loop is closed: nobody waits any more
                _log.warning("an answer came after the event loop had closed")


def _settle(future: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
