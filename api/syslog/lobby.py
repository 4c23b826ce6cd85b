"""Where connections wait until it is known who they are: anybody can begin one, so there the newer comes first."""

import asyncio
import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast


class Lobby:
    """Tasks that wait: at most `most`, and `most_of_prefix` of a /24 (IPv6: /64). Beyond, the one that waits longest,
    of that prefix or of all, is cancelled for the newer.
    """

    def __init__(self, most: int, most_of_prefix: int, gave_way: Callable[[], None]) -> None:
        self._most, self._most_of_prefix = most, most_of_prefix
        self._gave_way = gave_way  # told of each
        self._waiting: dict[asyncio.Task[None], str] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @contextmanager
    def place(self, address: str) -> Iterator[None]:
        """Wait here, from this address: the task that enters may be cancelled until it leaves."""
        prefix = prefix_of(address)
        task = cast("asyncio.Task[None]", asyncio.current_task())  # of a coroutine, there is one
        alike = [each for each, from_there in self._waiting.items() if from_there == prefix]
        if len(alike) >= self._most_of_prefix:
            self._send_away(alike[0])
        elif len(self._waiting) >= self._most:
            self._send_away(next(iter(self._waiting)))
        self._waiting[task] = prefix
        try:
            yield
        finally:
            self._waiting.pop(task, None)

    def _send_away(self, task: asyncio.Task[None]) -> None:
        del self._waiting[task]
        self._gave_way()
        task.cancel()


def prefix_of(address: str) -> str:
    """The network that one host can easily have all addresses of: it is counted as one."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    length = 24 if parsed.version == 4 else 64
    return str(ipaddress.ip_network((parsed, length), strict=False))
