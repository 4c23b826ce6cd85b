"""charon's counters, looked at now and then."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ike.agent.watching.sources import Document, Gathered, Now
from ike.daemons.port import DaemonRefused, DaemonUnreachable
from ike.daemons.strongswan.counters import Reading, Tally, reading_of
from ike.daemons.strongswan.session import Endpoint, Session


class Counters:
    """What charon counts, and how many negotiations are half-open; never reset. Without its plugin counters there is
    nothing to tell.
    """

    def __init__(self, socket: Path, now: Now, seconds: float) -> None:
        self._endpoint, self._now, self._seconds = Endpoint(socket), now, seconds

    def gather(self, position: Document | None, stop: threading.Event) -> Iterator[Gathered]:
        """See the protocol. What was counted while the agent was away is told by the first look, as of then."""
        tally, known = Tally(position), position
        while not stop.is_set():
            failing, events = "", []
            try:
                events = tally.take(self._read(), self._now().timestamp())
                known = tally.position
            except DaemonUnreachable as gone:
                failing = gone.message
            yield Gathered(events, known, None, failing)
            stop.wait(self._seconds)

    def _read(self) -> Reading:
        with self._endpoint.session() as session:
            counters = _counters(session)
            return reading_of(session.incarnation(), counters, session.ask("stats"))


def _counters(session: Session) -> Any:
    try:
        return session.ask("get-counters")
    except DaemonRefused:  # a charon without the plugin
        return None
