"""Syslog over UDP (RFC 5426): a message is a datagram."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from datetime import datetime
from typing import Final

from api.syslog.reading import Origin, Reading
from api.syslog.tally import Tally

_ROOM: Final = 8 << 20  # bytes of the kernel's buffer, in which a burst waits
_FORCE: Final = 33  # SO_RCVBUFFORCE, above the system's usual limit; for who may
_MEMORY: Final = 55  # SO_MEMINFO
_MEMORY_WORDS: Final = struct.Struct("=9I")
_DROPS: Final = 8  # SK_MEMINFO_DROPS
_AT_ONCE: Final = 256  # datagrams, before others have their turn
_LARGEST: Final = 1 << 16


def prepare(bound: socket.socket) -> None:
    """Have the kernel keep a burst."""
    try:
        bound.setsockopt(socket.SOL_SOCKET, _FORCE, _ROOM)
    except OSError:
        with contextlib.suppress(OSError):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)


class Datagrams:
    """A socket that is read until `close`. It stays open: the next process goes on with what waits in it."""

    def __init__(
        self,
        bound: socket.socket,
        reading: Reading,
        tally: Tally,
        clock: Callable[[], datetime],
    ) -> None:
        self._bound, self._reading, self._tally, self._clock = bound, reading, tally, clock
        self._dropped = self._drops()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(bound, self._come)

    def close(self) -> None:
        """Read no more."""
        self._loop.remove_reader(self._bound)

    def tick(self) -> None:
        """Count what the kernel had no room for."""
        dropped = self._drops()
        number = (dropped - self._dropped) % (1 << 32)
        self._tally.count("kernel", number)
        self._reading.note_dropped(number, self._clock())
        self._dropped = dropped

    def _come(self) -> None:
        now = self._clock()
        for _ in range(_AT_ONCE):
            try:
                message, source = self._bound.recvfrom(_LARGEST)
            except BlockingIOError:
                return
            except OSError:
                continue  # of one datagram; the socket goes on
            self._reading.hear(Origin(source[0], "udp"), message, now)

    def _drops(self) -> int:
        try:
            known = self._bound.getsockopt(socket.SOL_SOCKET, _MEMORY, _MEMORY_WORDS.size)
            return int(_MEMORY_WORDS.unpack(known)[_DROPS])
        except (OSError, struct.error):
            return 0  # a kernel that does not tell
