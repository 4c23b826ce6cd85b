"""Those who wait for news of their gateway: a place each, and no thread.

One watcher a process looks about ten times a second at what changed, also by other processes, and wakes whom it
concerns. Whoever waits has the answer of its first attempt in hand; woken, or when its time is over, it asks again.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from api.bridge import Hold
from api.pool import Pool
from core.errors import IkewardenError
from fleet.changes import Change, Changes

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveCallable

_log = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 0.1
# While the database is away it is not asked as often.
_TROUBLE_SECONDS: Final = 1.0
_SEEN_SECONDS: Final = 40.0
_URGENT, _CHANGED, _TIME_OVER, _STOPPING, _GONE = (
    "urgent",
    "changed",
    "time_over",
    "stopping",
    "gone",
)


class ClientGone(Exception):
    """The client hung up before its request was complete, or while it waited for the answer."""


@dataclass(eq=False, slots=True)
class _Place:
    """One who waits."""

    hold: Hold
    news: "asyncio.Future[str]"

    def tell(self, what: str) -> None:
        if not self.news.done():
            self.news.set_result(what)


class Waiting:
    """The places of one process. `at_once` is how many of those that were woken ask again at the same time; those with
    commands do not queue behind the others.
    """

    def __init__(
        self, changes: Changes, clock: Callable[[], datetime], *, at_once: int = 8
    ) -> None:
        self._changes = changes
        self._clock = clock
        self._places: defaultdict[int, set[_Place]] = defaultdict(set)
        self._gates = {_URGENT: asyncio.Semaphore(at_once), _CHANGED: asyncio.Semaphore(at_once)}
        # A thread of its own, so that a full house does not keep news away.
        self._pool = Pool(threads=1, queue=4, patience=60.0, name="watch")
        self._watching: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def count(self) -> int:
        """How many wait."""
        # Asked for by other threads too: a copy is made in one step.
        return sum(map(len, list(self._places.values())))

    def start(self) -> None:
        """Begin to watch, in the running loop."""
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self, timeout: float) -> None:
        """Answer all who wait, now."""
        self._stopping = True
        if self._watching is not None:
            self._watching.cancel()
        for places in list(self._places.values()):
            for place in list(places):
                place.tell(_STOPPING)
        await self._pool.stop(timeout=timeout)

    @asynccontextmanager
    async def until_changed(
        self, hold: Hold, receive: "ASGIReceiveCallable"
    ) -> AsyncIterator[bool]:
        """Wait until something changed or the time is over, then let the body ask again; False: it must not, because
        the process stops. Raises ClientGone.
        """
        news = await self._wait(hold, receive)
        if news == _GONE:
            raise ClientGone
        if news == _STOPPING:
            yield False
            return
        async with self._gates[_URGENT if news == _URGENT else _CHANGED]:
            yield True

    async def _wait(self, hold: Hold, receive: "ASGIReceiveCallable") -> str:
        if self._stopping:
            return _STOPPING
        loop = asyncio.get_running_loop()
        place = _Place(hold, loop.create_future())
        places = self._places[hold.gateway_id]
        places.add(place)
        timer = loop.call_later(hold.seconds, place.tell, _TIME_OVER)
        listening = loop.create_task(_until_gone(receive, place))
        try:
            return await place.news
        finally:
            timer.cancel()
            listening.cancel()
            places.discard(place)
            if not places:
                self._places.pop(hold.gateway_id, None)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        seen = loop.time()
        trouble = ""
        while True:
            await asyncio.sleep(_TROUBLE_SECONDS if trouble else _LOOK_SECONDS)
            if not self._places:
                continue
            try:
                changes = await self._pool.run(lambda: self._changes.look(self._clock()))
                self._wake(changes)
                if loop.time() - seen >= _SEEN_SECONDS:
                    seen = loop.time()
                    waiting = list(self._places)
                    await self._pool.run(lambda ids=waiting: self._seen(ids))  # type: ignore[misc]  # a default that binds
            except IkewardenError as error:
                if trouble != error.code:
                    _log.error("no news can be read: %s", error.message, extra={"code": error.code})
                trouble = error.code
            except Exception as error:  # noqa: BLE001 - it must go on, whatever happened once
                if trouble != "unforeseen":
                    _log.error("no news can be read", exc_info=error)
                trouble = "unforeseen"
            else:
                trouble = ""

    def _seen(self, ids: Sequence[int]) -> None:
        self._changes.seen(ids, self._clock())

    def _wake(self, changes: Iterable[Change]) -> None:
        for change in changes:
            for place in self._places.get(change.gateway_id, ()):
                hold = place.hold
                if change.version is not None and change.version != hold.version:
                    place.tell(_URGENT if change.commanded > hold.version else _CHANGED)
                elif change.leaf_id is not None and change.leaf_id > hold.leaf_id:
                    place.tell(_CHANGED)


async def _until_gone(receive: "ASGIReceiveCallable", place: _Place) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        while (await receive())["type"] != "http.disconnect":
            pass
        place.tell(_GONE)
