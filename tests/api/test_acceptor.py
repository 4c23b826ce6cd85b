"""Accepting: the worker with the fewest connections takes the next, and nobody waits for one that does not."""

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from api.acceptor import RESERVE, Acceptor, Shares
from api.server import bind


class Worker:
    """An acceptor that keeps what it accepted."""

    def __init__(
        self, listening: socket.socket, shares: Shares, number: int, others: int = 0
    ) -> None:
        self.taken: list[socket.socket] = []
        self.acceptor = Acceptor(
            listening,
            self._take,
            shares=shares,
            worker=number,
            connections=lambda: others + len(self.taken),
        )

    async def _take(self, accepted: socket.socket) -> None:
        self.taken.append(accepted)

    def close(self) -> None:
        self.acceptor.close()
        for each in self.taken:
            each.close()


@contextmanager
def _clients(port: int, number: int) -> Iterator[None]:
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(number)]
    try:
        yield
    finally:
        for client in clients:
            client.close()


async def _until(workers: list[Worker], number: int) -> None:
    async with asyncio.timeout(60):
        while sum(len(worker.taken) for worker in workers) < number:
            await asyncio.sleep(0.005)


def test_connections_are_shared_out_evenly() -> None:
    async def main() -> list[int]:
        first = bind("127.0.0.1", 0)
        port = first.getsockname()[1]
        shares = Shares(3)
        workers = [
            Worker(each, shares, n) for n, each in enumerate((first, first.dup(), first.dup()))
        ]
        with _clients(port, 30):
            await _until(workers, 30)
            counts = [len(worker.taken) for worker in workers]
        for worker in workers:
            worker.close()
        return counts

    # Where the machine stands still for a moment, one takes what it would have left to another.
    assert [10, 10, 10] in [asyncio.run(main()) for _ in range(20)]


def test_nobody_waits_for_a_worker_that_is_gone() -> None:
    async def main() -> None:
        listening = bind("127.0.0.1", 0)
        worker = Worker(listening, Shares(2), 0)  # the other never says anything
        with _clients(listening.getsockname()[1], 5):
            await _until([worker], 5)
        worker.close()

    asyncio.run(main())


def test_without_file_descriptors_connections_wait() -> None:
    async def main() -> None:
        listening = bind("127.0.0.1", 0)
        worker = Worker(listening, Shares(1), 0)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with _clients(listening.getsockname()[1], 3):
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            try:
                await asyncio.sleep(0.1)
                assert worker.taken == []
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await _until([worker], 3)
        worker.close()

    asyncio.run(main())


def test_connections_leave_file_descriptors_to_everything_else() -> None:
    async def main() -> None:
        listening = bind("127.0.0.1", 0)
        # Those of the clients, too; and so many that the reserve is less than half of all.
        others = max(RESERVE + 40, *(int(each) + 20 for each in os.listdir("/proc/self/fd")))
        worker = Worker(listening, Shares(1), 0, others)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (others + RESERVE + 3, hard))
        try:
            with _clients(listening.getsockname()[1], 5):
                await _until([worker], 3)
                await asyncio.sleep(0.1)
                assert len(worker.taken) == 3
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                await _until([worker], 5)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            worker.close()

    asyncio.run(main())
