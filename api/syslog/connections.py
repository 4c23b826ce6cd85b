"""Syslog over TCP (RFC 6587) and TLS (RFC 5425): connections that last, each from a known source."""

import asyncio
import errno
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final, cast

from api.syslog.delivery import Delivery
from api.syslog.framing import Frames
from api.syslog.lobby import Lobby
from api.syslog.reading import Origin, Reading
from api.syslog.senders import Senders
from api.syslog.tally import Tally
from core.errors import IkewardenError, Unavailable

_LOG = logging.getLogger("ikewarden.syslog")
#: Connections at a time: all, and those of one source.
MOST: Final = 1024
MOST_OF_ONE: Final = 32
#: Those over TLS that have not said a word, and those whose handshake is under way, which cost memory: all, and those
#: of one network. The sources that the settings name have as much room for themselves.
SILENT: Final = (256, 32)
SHAKING: Final = (96, 24)
_HANDSHAKE_SECONDS: Final = 10.0
_GOODBYE_SECONDS: Final = 1.0
_EXHAUSTED_SECONDS: Final = 0.5
#: A message that has begun must end within this time.
_PATIENCE: Final = timedelta(seconds=60)
_PROVEN_FOR: Final = timedelta(seconds=60)
_KEEP_ALIVE: Final = (
    (socket.TCP_KEEPIDLE, 60),
    (socket.TCP_KEEPINTVL, 20),
    (socket.TCP_KEEPCNT, 3),
)

Identify = Callable[[bytes], str]


class Wanted:
    """What a listener wants of who connects. `context` is None for TCP without TLS; `identify` gives the gateway that a
    client certificate (DER) stands for, or raises; `must_prove`: whether there must be one.
    """

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        identify: Identify | None = None,
        *,
        must_prove: bool = False,
    ) -> None:
        self.context, self.identify, self.must_prove = context, identify, must_prove


class House:
    """All connections, and what they share."""

    def __init__(
        self,
        senders: Senders,
        reading: Reading,
        delivery: Delivery,
        tally: Tally,
        clock: Callable[[], datetime],
    ) -> None:
        self.senders, self.reading, self.delivery = senders, reading, delivery
        self.tally, self.clock = tally, clock
        self.lines: set[Line] = set()
        self._by_source: Counter[str] = Counter()
        # Whoever only begins handshakes must not keep those out that are expected.
        gave_way = partial(tally.count, "gave_way")
        self._lobbies = {
            known: (Lobby(*SILENT, gave_way), Lobby(*SHAKING, gave_way)) for known in (False, True)
        }

    @property
    def connections(self) -> int:
        """How many there are, handshakes included."""
        waiting = sum(len(each) for both in self._lobbies.values() for each in both)
        return self._by_source.total() + waiting

    def lobbies(self, address: str) -> tuple[Lobby, Lobby]:
        """Where those from there wait until they say a word, and until their handshake is over."""
        return self._lobbies[self.senders.knows(address)]

    def enter(self, address: str) -> bool:
        """Whether one more may be from there; then it counts until `leave`."""
        if self._by_source.total() >= MOST or self._by_source[address] >= MOST_OF_ONE:
            self.tally.count("connection_limit")
            return False
        self._by_source[address] += 1
        return True

    def leave(self, address: str) -> None:
        """One from there has ended."""
        self._by_source[address] -= 1
        if not self._by_source[address]:
            del self._by_source[address]

    def tick(self, now: datetime) -> None:
        """Let those read on for whom there is room, and end those that keep us waiting."""
        for line in list(self.lines):
            line.tick(now)

    def close(self) -> None:
        """End all."""
        for line in list(self.lines):
            line.end()


async def accept(bound: socket.socket, house: House, wanted: Wanted) -> None:
    """Take connections until cancelled. The socket stays open: the next process goes on with what waits in it."""
    loop = asyncio.get_running_loop()
    begun: set[asyncio.Task[None]] = set()
    try:
        while True:
            try:
                accepted, source = await loop.sock_accept(bound)
            except OSError as error:
                if error.errno != errno.ECONNABORTED:
                    await asyncio.sleep(_EXHAUSTED_SECONDS)  # no descriptor is left
                continue
            address = source[0]
            if wanted.identify is None and not house.senders.knows(address):
                house.reading.note_unknown(address)
                accepted.close()
            elif wanted.context is None and not house.enter(address):
                accepted.close()
            else:
                task = loop.create_task(_begin(accepted, address, house, wanted))
                begun.add(task)
                task.add_done_callback(begun.discard)
    finally:
        for task in begun:
            task.cancel()


async def _begin(accepted: socket.socket, address: str, house: House, wanted: Wanted) -> None:
    line = Line(address, house, wanted)
    try:
        accepted.setblocking(False)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEP_ALIVE:
            accepted.setsockopt(socket.IPPROTO_TCP, option, value)
        loop = asyncio.get_running_loop()
        if wanted.context is None:
            await loop.connect_accepted_socket(lambda: line, accepted)
            return
        silent, shaking = house.lobbies(address)
        with silent.place(address):
            await asyncio.wait_for(_first_byte(accepted), _HANDSHAKE_SECONDS)
        with shaking.place(address):
            await loop.connect_accepted_socket(
                lambda: line,
                accepted,
                ssl=wanted.context,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=_GOODBYE_SECONDS,
            )
    except (OSError, TimeoutError, asyncio.CancelledError):
        # A failed handshake is the client's affair.
        accepted.close()
    finally:
        if wanted.context is None and not line.was_made:
            house.leave(address)


async def _first_byte(accepted: socket.socket) -> None:
    """Wait until the other side says something. Raises OSError where it goes instead."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[None] = loop.create_future()

    def readable() -> None:
        if not came.done():
            came.set_result(None)

    loop.add_reader(accepted, readable)
    try:
        await came
    finally:
        loop.remove_reader(accepted)
    if not accepted.recv(1, socket.MSG_PEEK):
        raise ConnectionResetError


class Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, address: str, house: House, wanted: Wanted) -> None:
        self._house, self._wanted, self._address = house, wanted, address
        transport = "tcp" if wanted.context is None else "tls"
        self._origin = Origin(address, transport)
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._certificate: bytes | None = None
        self._proven_at: datetime | None = None
        self._proving: asyncio.Task[None] | None = None
        self._within_since: datetime | None = None
        self._gateways: set[str] = set()  # without room
        self._paused = False
        self.was_made, self._is_counted = False, True

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands; with TLS, after the handshake."""
        self._transport, self.was_made = cast(asyncio.Transport, transport), True  # a stream's
        if self._wanted.context is not None and not self._house.enter(self._address):
            self._is_counted = False
            self.end()
            return
        self._house.lines.add(self)
        secured = transport.get_extra_info("ssl_object")
        self._certificate = secured.getpeercert(binary_form=True) if secured else None
        if self._certificate is not None:
            self._pause()
            self._prove()
        elif self._wanted.must_prove:
            self._refuse("no client certificate came")
        elif not self._house.senders.knows(self._address):
            self._house.reading.note_unknown(self._address)
            self.end()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        now = self._house.clock()
        cut = self._frames.cut
        messages = self._frames.feed(data)
        if messages or not self._frames.is_within:
            self._within_since = None
        if self._frames.is_within:
            self._within_since = self._within_since or now
        if self._frames.cut > cut:
            self._house.reading.note_cut(self._frames.cut - cut)
        self._hear(messages, now)

    def eof_received(self) -> None:
        """Nothing more comes; what has no end has one now."""
        self._hear(self._frames.close(), self._house.clock())

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._house.lines.discard(self)
        if self._is_counted:
            self._house.leave(self._address)
        if self._proving is not None:
            self._proving.cancel()

    # what time brings

    def tick(self, now: datetime) -> None:
        """Read on where there is room; prove again who it is; end what takes too long."""
        if self._proven_at is not None and abs(now - self._proven_at) > _PROVEN_FOR:
            self._proven_at = None
            self._prove()
        if self._paused:
            self._look_for_room()
        elif self._within_since is not None and now - self._within_since > _PATIENCE:
            self.end()

    def end(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    # inside

    def _hear(self, messages: list[bytes], now: datetime) -> None:
        for message in messages:
            gateway = self._house.reading.hear(self._origin, message, now)
            if gateway is not None and not self._house.delivery.has_room(gateway):
                self._gateways.add(gateway)
        if self._gateways:
            self._pause()

    def _pause(self) -> None:
        if self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _look_for_room(self) -> None:
        if self._certificate is not None and self._origin.gateway is None:
            return  # nobody knows yet who it is
        has_room = self._house.delivery.has_room
        self._gateways = {each for each in self._gateways if not has_room(each)}
        if not self._gateways:
            self._resume()

    def _resume(self) -> None:
        self._paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._within_since = None  # it was us who did not read
            self._transport.resume_reading()

    def _prove(self) -> None:
        if self._certificate is not None and self._wanted.identify is not None:
            asking = self._find_out(self._certificate, self._wanted.identify)
            self._proving = asyncio.get_running_loop().create_task(asking)

    async def _find_out(self, certificate: bytes, identify: Identify) -> None:
        """Ask the records whose certificate it is, at the beginning and now and then: it may be revoked by now."""
        loop = asyncio.get_running_loop()
        try:
            gateway = await loop.run_in_executor(None, identify, certificate)
        except Unavailable as error:
            if self._origin.gateway is None:
                self._refuse(error.message)
            else:  # the records are away: it is what it was
                self._proven_at = self._house.clock()
            return
        except IkewardenError as error:
            self._refuse(error.message)
            return
        except Exception as error:  # noqa: BLE001 - of a thread; the reason is told, not swallowed
            self._refuse(type(error).__name__)
            return
        self._origin = Origin(self._address, "tls", gateway)
        self._proven_at = self._house.clock()

    def _refuse(self, reason: str) -> None:
        self._house.tally.count("no_certificate")
        _LOG.info(
            "a connection of syslog is refused", extra={"source": self._address, "reason": reason}
        )
        self.end()
