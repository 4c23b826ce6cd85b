"""The process that receives syslog: one for each host, whatever the number of API workers.

One thread reads all sockets, so that the lines of a device are read in their order and by one reader, which remembers
what earlier ones said; another gives events to the records. The sockets are bound by the parent and outlive this
process: what the kernel holds is read by the next one.
"""

import asyncio
import itertools
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal

from api.meters import SyslogMeters
from api.server import bind
from api.syslog import connections, datagrams
from api.syslog.connections import House, Wanted
from api.syslog.datagrams import Datagrams
from api.syslog.delivery import Delivery, Room
from api.syslog.reading import Reading
from api.syslog.senders import Sender, Senders
from api.syslog.tally import FAULTS, LINES, Tally
from api.tls import Credential, TlsDoor
from core.errors import IkewardenError
from pki import identity
from pki.desk import Desk
from store import jobs

_LOG = logging.getLogger("ikewarden.syslog")
JOB: Final = "syslog"
_TICK_SECONDS: Final = 0.25
_DELIVER_SECONDS: Final = 0.3
_TICKS_OF_A_SECOND: Final = 4
_NOTE_SECONDS: Final = 60.0
_RELOAD_SECONDS: Final = 10.0
_LAST_DELIVERY_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Bound:
    """Sockets that listen; None for a transport that is off."""

    udp: socket.socket | None = None
    tcp: socket.socket | None = None
    tls: socket.socket | None = None


@dataclass(frozen=True)
class SyslogSettings:
    """What the receiver obeys. `stream` tells this receiver from all others that write into the same records."""

    senders: Sequence[Sender]
    stream: str
    owner: str
    must_prove: bool = False
    room: Room = field(default_factory=Room)


def bind_all(host: str, udp: int | None, tcp: int | None, tls: int | None) -> Bound:
    """Bind what is on. Raises ListenFailed."""
    datagram = None if udp is None else bind(host, udp, socket.SOCK_DGRAM)
    if datagram is not None:
        datagrams.prepare(datagram)
    return Bound(
        udp=datagram,
        tcp=None if tcp is None else bind(host, tcp),
        tls=None if tls is None else bind(host, tls),
    )


def serve_syslog(
    bound: Bound,
    settings: SyslogSettings,
    desk_factory: Callable[[], Desk],
    credential: Callable[[Desk], Credential],
    *,
    clock: Callable[[], datetime],
) -> None:
    """Receive until SIGTERM or SIGINT; then give what waits to the records, for at most ten seconds.

    `desk_factory` is called once, here. `credential` is asked at the start, and then again and again for a new one.
    Raises what both raise at the start, and TlsUnusable.
    """
    desk = desk_factory()
    try:
        receiver = Receiver(bound, settings, desk, partial(credential, desk), clock)
        asyncio.run(receiver.run())
    finally:
        desk.store.close()


class Receiver:
    """All that one process holds for it. `run` receives until `stop` is set, or a signal comes to the main thread."""

    def __init__(
        self,
        bound: Bound,
        settings: SyslogSettings,
        desk: Desk,
        credential: Callable[[], Credential],
        clock: Callable[[], datetime],
    ) -> None:
        self._bound, self._settings, self._desk = bound, settings, desk
        self._credential, self._clock = credential, clock
        self._tally = Tally()
        senders = Senders(settings.senders)
        self._delivery = Delivery(desk, settings.stream, self._tally, settings.room)
        self._reading = Reading(senders, self._delivery, self._tally)
        self._house = House(senders, self._reading, self._delivery, self._tally, clock)
        self._meters = SyslogMeters()
        self._datagrams: Datagrams | None = None
        self._door: TlsDoor | None = None
        self._present = b""
        if bound.tls is not None:
            first = credential()
            self._door, self._present = TlsDoor(first), first.digest()
        self.stop = asyncio.Event()

    async def run(self) -> None:
        """Receive. Raises what ended a part of it."""
        loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    loop.add_signal_handler(number, self.stop.set)
        enough = threading.Event()
        deliverer = threading.Thread(
            target=self._deliver, args=(enough, loop), name="deliver", daemon=True
        )
        deliverer.start()
        work = [*self._listeners(), self._tick_for_ever()]
        if self._door is not None:
            work.append(self._keep_current(self._door))
        tasks = [loop.create_task(each) for each in work]
        _LOG.info(
            "receiver of syslog started",
            extra={"owner": self._settings.owner, "senders": len(self._settings.senders)},
        )
        stopped = loop.create_task(self.stop.wait())
        # None of them ends by itself, but by a mistake; then another process does better than this one without it.
        await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in (stopped, *tasks):
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        if self._datagrams is not None:
            self._datagrams.close()
        self._house.close()
        self._tell()
        self._reading.close(self._clock())
        self._publish()
        enough.set()
        await asyncio.to_thread(deliverer.join, _LAST_DELIVERY_SECONDS)
        if self._delivery.waiting:
            _LOG.error("events from syslog are lost", extra={"events": self._delivery.waiting})
        for end in ends:
            if isinstance(end, Exception):
                raise end

    def _listeners(self) -> list[Coroutine[Any, Any, None]]:
        bound, wanted = self._bound, Wanted()
        if bound.udp is not None:
            self._datagrams = Datagrams(bound.udp, self._reading, self._tally, self._clock)
        found = []
        if bound.tcp is not None:
            found.append(connections.accept(bound.tcp, self._house, wanted))
        if bound.tls is not None and self._door is not None:
            wanted = Wanted(
                self._door.context, self._identify, must_prove=self._settings.must_prove
            )
            found.append(connections.accept(bound.tls, self._house, wanted))
        return found

    def _identify(self, certificate: bytes) -> str:
        actor = identity.actor_from_certificate(
            self._desk, certificate, now=self._clock(), request_id=""
        )
        return str(actor.scope.gateway)

    async def _tick_for_ever(self) -> None:
        for number in itertools.count():
            await asyncio.sleep(_TICK_SECONDS)
            now = self._clock()
            self._house.tick(now)
            if number % _TICKS_OF_A_SECOND:
                continue
            self._tell()
            self._reading.tick(now)

    def _tell(self) -> None:
        if self._datagrams is not None:
            self._datagrams.tick()
        self._publish()

    def _publish(self) -> None:
        for name, number in self._tally.fresh().items():
            if name in LINES:
                self._meters.lines(name, number)
            else:
                self._meters.dropped(name, number)
        self._meters.stand(self._house.connections, self._delivery.waiting)

    async def _keep_current(self, door: TlsDoor) -> None:
        while True:
            await asyncio.sleep(_RELOAD_SECONDS)
            try:
                await asyncio.to_thread(self._reload, door)
            except IkewardenError as error:
                about = {"code": error.code, "reason": error.message}
                _LOG.error("the TLS certificate was not renewed", extra=about)
            except Exception:  # noqa: BLE001 - it must go on, whatever happened once
                _LOG.exception("the TLS certificate was not renewed")

    def _reload(self, door: TlsDoor) -> None:
        found = self._credential()
        digest = found.digest()
        if digest != self._present:
            door.reload(found)
            self._present = digest

    def _deliver(self, enough: threading.Event, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._deliver_until(enough)
        finally:
            if not enough.is_set():
                loop.call_soon_threadsafe(self.stop.set)

    def _deliver_until(self, enough: threading.Event) -> None:
        note_at = time.monotonic() + _NOTE_SECONDS
        while not enough.wait(_DELIVER_SECONDS):
            self._delivery.deliver_all(self._clock, enough)
            if time.monotonic() >= note_at:
                note_at = time.monotonic() + _NOTE_SECONDS
                self._note()
        self._delivery.deliver_all(self._clock, threading.Event())
        self._note()

    def _note(self) -> None:
        """Put on record how the last minute was, where people look for what the service does."""
        lately, now = self._tally.lately(), self._clock()
        faults = {name: number for name, number in lately.items() if number and name in FAULTS}
        words = "; ".join(f"{number} {FAULTS[name]}" for name, number in sorted(faults.items()))
        detail = {name: number for name, number in sorted(lately.items()) if number}
        detail["waiting"] = self._delivery.waiting
        try:
            number = jobs.started(self._desk.store, JOB, self._settings.owner, now)
            error = f"syslog_dropped: {words}." if faults else None
            outcome: Literal["ok", "failed"] = "failed" if faults else "ok"
            jobs.finished(self._desk.store, number, outcome, error, detail, now)
        except IkewardenError as error:
            _LOG.warning("how syslog fares is not on record", extra={"code": error.code})
        except Exception:  # noqa: BLE001 - events must be delivered, whatever becomes of this
            _LOG.exception("how syslog fares is not on record")
