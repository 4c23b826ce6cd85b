"""What happens in charon, as it happens: events over a session of their own, and a look once a second for what has no
event: a restart, keys and connections that somebody made it forget.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from threading import Event
from typing import Any

from core.errors import IkewardenError
from ike.daemons.port import DaemonEvent, DaemonUnreachable, EventKind, IkeSa
from ike.daemons.strongswan import listing
from ike.daemons.strongswan.files import SwanctlFiles
from ike.daemons.strongswan.sas import listed_sas, sa_of
from ike.daemons.strongswan.session import Answer, Endpoint, Session
from ike.daemons.strongswan.sightings import Sightings
from ike.daemons.strongswan.trusting import authority_name

_log = logging.getLogger(__name__)
_EVENTS = ("ike-updown", "ike-rekey", "child-updown")
# The socket, or an event that is none: whoever watches goes on watching.
_BROKEN = (IkewardenError, KeyError, ValueError, TypeError)
_IDLE_SECONDS = 0.25
_LOOK_SECONDS = 1.0
_pause = Event().wait


class Watching:
    """The watch over one charon. `secrets` are the ids of the shared secrets that it should have, `sweep` ends proofs
    that are over, `incarnation` names the daemon that answers, `flush` empties its cache of certificates.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        files: SwanctlFiles,
        sightings: Sightings,
        *,
        secrets: Callable[[], set[str]],
        sweep: Callable[[], None],
        incarnation: Callable[[], str],
        flush: Callable[[Session], None],
        now: Callable[[], datetime],
    ) -> None:
        self._endpoint = endpoint
        self._files = files
        self._sightings = sightings
        self._secrets = secrets
        self._sweep = sweep
        self._incarnation = incarnation
        self._flush = flush
        self._to_flush = True
        self._now = now

    def watch(self, stop: Callable[[], bool]) -> Iterator[DaemonEvent]:
        lost = False
        while not stop():
            try:
                with self._endpoint.session() as session:
                    events = session.listen(_EVENTS, idle=_IDLE_SECONDS)
                    first = next(events)
                    if lost:
                        lost = False
                        yield DaemonEvent(EventKind.RESTARTED)
                    yield from self._told(first)
                    yield from self._listen(events, stop)
            except _BROKEN as failed:
                if not lost:
                    lost = True
                    self._to_flush = True  # whatever answers next numbers its SAs from 1
                    _log.warning("The watch over charon broke: %s", failed)
                    yield DaemonEvent(EventKind.LOST)
                _pause(_IDLE_SECONDS)
            finally:
                self._sightings.save()

    # inside

    def _listen(
        self, events: Iterator[tuple[str, Answer] | None], stop: Callable[[], bool]
    ) -> Iterator[DaemonEvent]:
        incarnation, forgotten, looked = self._incarnation(), False, 0.0
        for event in events:
            if stop():
                return
            yield from self._told(event)
            if event is None:
                self._sightings.save()
                if self._to_flush:
                    self._flush_if_quiet()
            if time.monotonic() - looked < _LOOK_SECONDS:
                continue
            looked = time.monotonic()
            self._sightings.save()
            self._sweep()
            if self._incarnation() != incarnation:
                raise DaemonUnreachable("Another charon answers.")
            if self._is_forgotten() != forgotten:
                forgotten = not forgotten
                if forgotten:
                    yield DaemonEvent(EventKind.RESTARTED)

    def _is_forgotten(self) -> bool:
        """Whether charon lacks what our files say that it has: told by ids and names alone, so that it is cheap.

        Files are written after loading and deleted before unloading, and are read before and after: what lacks in
        between was not on its way.
        """
        before = self._expected()
        with self._endpoint.session() as session:
            held = {
                *listing.keys(session),
                *session.ask("get-authorities").get("authorities", []),
                *session.ask("get-conns").get("conns", []),
                *session.ask("get-shared").get("keys", []),
            }
        return bool((before & self._expected()) - held)

    def _expected(self) -> set[str]:
        authorities = (authority_name(each) for each in self._files.authorities())
        return {
            *self._files.key_ids(),
            *authorities,
            *self._files.connections(),
            *self._secrets(),
        }

    def _told(self, event: tuple[str, Answer] | None) -> Iterator[DaemonEvent]:
        if event is None:
            return
        name, message = event
        up = message.pop("up", "") == "yes"
        for connection, raw in message.items():
            if not isinstance(raw, Mapping):
                continue
            if name == "ike-rekey":
                yield self._rekeyed(connection, raw)
            elif name == "child-updown":
                yield DaemonEvent(EventKind.CHANGED, self._sa(connection, raw))
            elif up:
                yield DaemonEvent(EventKind.UP, self._came_up(sa_of(connection, raw, self._now())))
            else:
                down = self._sa(connection, raw)
                self._sightings.went_down(down)
                yield DaemonEvent(EventKind.DOWN, down)

    def _rekeyed(self, connection: str, raw: Mapping[str, Any]) -> DaemonEvent:
        old, new = (sa_of(connection, raw[each], self._now()) for each in ("old", "new"))
        self._sightings.rekeyed(old, new)
        return DaemonEvent(EventKind.CHANGED, self._sightings.told(new, []))

    def _came_up(self, sa: IkeSa) -> IkeSa:
        with self._endpoint.session() as session:
            listed = listing.certificates(session)
        self._sightings.came_up(sa, listed)
        self._to_flush = True
        return self._sightings.told(sa, listed)

    def _flush_if_quiet(self) -> None:
        """Empty the cache, so that the next SA finds only what was verified for it, but not under an SA that is coming
        up: half-open ones may stay for long, and the certificates with them.
        """
        with self._endpoint.session() as session:
            if self._sightings.is_quiet(listed_sas(session, self._now())):
                self._flush(session)
                self._to_flush = False

    def _sa(self, connection: str, raw: Mapping[str, Any]) -> IkeSa:
        return self._sightings.told(sa_of(connection, raw, self._now()), [])
