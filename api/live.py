"""Answers that are watched: sent as events (WHATWG HTML §9.2), and again whenever they have changed.

A watcher holds a place and no thread: once a second its request is asked anew from the start, who calls too. So what
it sees ends with its session, and whatever process changed the records, it is seen.
"""

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from api.bridge import Answer, Live
from core.errors import IkewardenError, Unavailable

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable

#: Of one person, so that nobody takes the places of all.
_EACH: Final = 12
#: So many ask at the same time, so that threads are left for those who do something.
_ASKING: Final = 4
#: A client that reads nothing holds its place no longer.
_SEND_SECONDS: Final = 30.0
#: A proxy that hears nothing for a minute hangs up.
_ALIVE_SECONDS: Final = 15.0
#: Then the browser comes again by itself.
_LONGEST_SECONDS: Final = 600.0
_RETRY: Final = b"retry: 2000\n\n"


class TooManyWatchers(Unavailable):
    """All places for those who watch are taken, or all of one person."""

    code = "too_many_watchers"
    next_step = "Close pages that nobody looks at, or load the page again later."


class Watchers:
    """The places of one process."""

    def __init__(self, most: int = 200) -> None:
        self._most = most
        self._count = 0
        self._by: Counter[str] = Counter()
        self._stopping = asyncio.Event()
        self._asking = asyncio.Semaphore(_ASKING)

    @property
    def count(self) -> int:
        """How many watch."""
        return self._count

    def stop(self) -> None:
        """End all streams; browsers come again."""
        self._stopping.set()

    def check(self, who: str) -> None:
        """Raise TooManyWatchers where no place is left, or none for this one."""
        if self._count >= self._most or self._by[who] >= _EACH:
            raise TooManyWatchers("All places for pages that are live are taken.")

    async def stream(
        self,
        first: Answer,
        ask: Callable[[], Awaitable[Answer]],
        live: Live,
        who: str,
        receive: "ASGIReceiveCallable",
        send: "ASGISendCallable",
    ) -> None:
        """Send the answer and what becomes of it, until the client has gone, it is refused, or the process stops."""
        self._count += 1
        self._by[who] += 1
        gone = asyncio.ensure_future(_until_gone(receive))
        stopping = asyncio.ensure_future(self._stopping.wait())
        loop = asyncio.get_running_loop()
        end, told, known = loop.time() + _LONGEST_SECONDS, loop.time(), _digest(first)
        try:
            await _send(send, _RETRY + event(first.body))
            while loop.time() < end:
                await asyncio.wait(
                    {gone, stopping}, timeout=live.seconds, return_when=asyncio.FIRST_COMPLETED
                )
                if gone.done() or stopping.done():
                    break
                try:
                    async with self._asking:
                        answer = await ask()
                except IkewardenError:
                    continue  # all threads are busy, or the database is: it is asked again
                if answer.status >= 500:
                    continue
                if answer.status != 200:
                    await _send(send, event(b"", "over"))
                    break
                if _digest(answer) != known:
                    known, told = _digest(answer), loop.time()
                    await _send(send, event(answer.body))
                elif loop.time() - told >= _ALIVE_SECONDS:
                    told = loop.time()
                    await _send(send, b": alive\n\n")
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            pass  # nobody reads
        finally:
            self._count -= 1
            self._by[who] -= 1
            self._by += Counter()  # without those who have none
            gone.cancel()
            stopping.cancel()


def event(body: bytes, name: str = "message") -> bytes:
    """One event with this data."""
    lines = b"".join(b"data: %s\n" % line for line in body.replace(b"\r", b"").split(b"\n"))
    return b"event: %s\n%s\n" % (name.encode(), lines)


async def _send(send: "ASGISendCallable", content: bytes) -> None:
    async with asyncio.timeout(_SEND_SECONDS):
        await send({"type": "http.response.body", "body": content, "more_body": True})


async def _until_gone(receive: "ASGIReceiveCallable") -> None:
    with contextlib.suppress(asyncio.CancelledError):
        while (await receive())["type"] != "http.disconnect":
            pass


def _digest(answer: Answer) -> bytes:
    return hashlib.sha256(answer.body).digest()
