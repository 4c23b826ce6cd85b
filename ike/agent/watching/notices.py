"""What charon's plugin error-notify tells over its socket: why a negotiation failed."""

import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ike.agent.watching.sources import Document, Gathered, Now
from ike.daemons.port import DaemonUnreachable
from ike.daemons.strongswan import happenings
from ike.daemons.strongswan.notices import MESSAGE, event_of
from ike.daemons.strongswan.session import Endpoint
from ike.events.event import SaEvent

_IDLE: Final = 0.25
_AGAIN: Final = 1.0
_ASKED_AGAIN: Final = 60.0
_BLOCK: Final = 1 << 16


class Notices:
    """Failures from a charon that tells none over VICI (before 6.0.3); from another nothing, or each came twice."""

    def __init__(self, path: Path, vici: Path, now: Now) -> None:
        self._path, self._vici, self._now = path, Endpoint(vici), now

    def gather(self, position: Document | None, stop: threading.Event) -> Iterator[Gathered]:
        """See the protocol. What happened while nobody listened is lost."""
        while not stop.is_set():
            try:
                if self._told_over_vici():
                    yield Gathered([], position, None)
                    stop.wait(_ASKED_AGAIN)
                    continue
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(str(self._path))
                    yield Gathered([], position, None)
                    yield from self._listen(connection, position, stop)
            except DaemonUnreachable as gone:
                yield Gathered([], position, None, gone.message)
            except OSError as gone:
                words = f"error-notify at {self._path}: {gone.strerror or gone}"
                yield Gathered([], position, None, words)
            stop.wait(_AGAIN)

    def _told_over_vici(self) -> bool:
        with self._vici.session() as session:
            return session.knows(happenings.ALERT)

    def _listen(
        self, connection: socket.socket, position: Document | None, stop: threading.Event
    ) -> Iterator[Gathered]:
        rest = b""
        while not stop.is_set():
            if not select.select([connection], [], [], _IDLE)[0]:
                continue
            data = connection.recv(_BLOCK)
            if not data:
                raise OSError("charon closed the connection")
            rest += data
            whole = len(rest) - len(rest) % MESSAGE.size
            events = self._events(rest[:whole])
            rest = rest[whole:]
            if events:
                yield Gathered(events, position, None)

    def _events(self, messages: bytes) -> list[SaEvent]:
        at = self._now().timestamp()
        pieces = range(0, len(messages), MESSAGE.size)
        try:
            found = [event_of(messages[each : each + MESSAGE.size], at) for each in pieces]
        except ValueError:
            raise OSError("what listens there is not charon's plugin") from None
        return [event for event in found if event is not None]
