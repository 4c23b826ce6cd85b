"""Who of several workers takes a new connection: the one that has the fewest.

Workers accept from one socket. Left to themselves, whoever wakes first takes all that wait, and with connections that
stay (agents that wait for news, clients that issue one certificate after the other) one worker then has most of the
work for hours while another has none.
"""

import asyncio
import contextlib
import errno
import mmap
import resource
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final, final

_SLOT: Final = struct.Struct("=I")
# How long a worker that has more than another leaves a connection to it; no longer, as that one may be busy, or gone.
_COURTESY: Final = 0.003  # seconds
# Out of file descriptors or memory: the connection stays in the queue, so asking again at once would only heat.
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_RECOVERY: Final = 0.5  # seconds
# File descriptors that connections leave to the records, the keys and the log.
RESERVE: Final = 64


@final
class Shares:
    """How many connections each worker has, in memory that they share. Made before the workers are forked."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._memory = mmap.mmap(-1, workers * _SLOT.size)

    def put(self, worker: int, connections: int) -> None:
        """Tell the others how many this worker has."""
        _SLOT.pack_into(self._memory, worker * _SLOT.size, connections)

    def least(self) -> int:
        """How many the worker with the fewest has."""
        content = self._memory[: self._workers * _SLOT.size]
        counts: list[int] = [number for (number,) in _SLOT.iter_unpack(content)]
        return min(counts)


@final
class Acceptor:
    """Takes connections of a listening socket, in turn with the workers that share it, until it is closed.

    `serve` makes a connection of an accepted socket; `connections` tells how many this worker (number `worker`) has.
    """

    def __init__(
        self,
        listening: socket.socket,
        serve: Callable[[socket.socket], Awaitable[object]],
        *,
        shares: Shares,
        worker: int,
        connections: Callable[[], int],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._serve = serve
        self._shares = shares
        self._worker = worker
        self._connections = connections
        self._begun: set[asyncio.Task[None]] = set()
        self._waiting: asyncio.TimerHandle | None = None
        self._closed = False
        self._listen()

    def close(self) -> None:
        """Take no more connections; those begun go on."""
        self._closed = True
        if self._waiting is not None:
            self._waiting.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()
        self._shares.put(self._worker, 0)

    async def wait_closed(self) -> None:
        """Nothing to wait for: see `asyncio.Server.wait_closed`."""

    def _listen(self) -> None:
        self._loop.add_reader(self._listening, self._come)

    def _count(self) -> int:
        count = self._connections() + len(self._begun)
        self._shares.put(self._worker, count)
        return count

    def _come(self) -> None:
        if self._count() > self._shares.least():
            self._pause(_COURTESY)
        else:
            self._accept()

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening)
        self._waiting = self._loop.call_later(seconds, self._take_over)

    def _take_over(self) -> None:
        self._waiting = None
        self._listen()
        self._accept()

    def _accept(self) -> None:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if self._count() >= max(limit - RESERVE, limit // 2):
            self._pause(_RECOVERY)
            return
        try:
            accepted, _ = self._listening.accept()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._pause(_RECOVERY)
            return  # else another worker was quicker, or the client is gone again
        accepted.setblocking(False)
        task = self._loop.create_task(self._begin(accepted))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        self._count()

    async def _begin(self, accepted: socket.socket) -> None:
        # A failed handshake is the client's affair, as it is with asyncio's own server.
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await self._serve(accepted)
