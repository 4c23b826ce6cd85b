"""The entry points: one worker process of the API, and the group of processes of the validation listener."""

import asyncio
import contextlib
import ctypes
import errno
import logging
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, cast

import uvicorn
from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server as Granian

from api.acceptor import Acceptor, Shares
from api.app import Wiring, build
from api.bridge import Exchange
from api.connection import Connection, Limits, ListenerConfig
from api.front import Front
from api.health import PREPARED
from api.live import Watchers
from api.meters import Meters, ValidationMeters
from api.pool import Pool
from api.tls import Credential, TlsDoor
from api.validation import Validation
from api.waiting import Waiting
from core.errors import Conflict, IkewardenError
from fleet.changes import Changes
from pki.actors import Actor, Role
from pki.desk import Desk

_log = logging.getLogger(__name__)
_access = logging.getLogger("ikewarden.access")
_BACKLOG = 1024
_HANDSHAKE_SECONDS = 10.0
# A client need not answer our close_notify (RFC 8446 §6.1); one that is idle does not.
_GOODBYE_SECONDS = 1.0
# For the answers to requests whose operations did not end in time.
_LAST_WORDS_SECONDS = 0.1
_HEADER_MILLISECONDS = 15_000
_PR_SET_PDEATHSIG = 1
_WATCHER = Actor(name="watcher", role=Role.SCHEDULER)


class ListenFailed(Conflict):
    """An address cannot be listened at. `in_use` says that another program has it, or this one already."""

    code = "listen_failed"
    next_step = "End the program that uses the address, or choose another one in the settings."

    def __init__(self, message: str, *, in_use: bool = False, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.in_use = in_use


@dataclass(frozen=True)
class ApiSettings:
    """How one worker of the API behaves. Times in seconds.

    `threads` work on requests, of which at most `queue` wait, each for at most `patience`. `reload` is how often the
    credential is looked at for a new certificate or authority; `grace` how long a stop waits for what is under way;
    `hsts` the max-age of Strict-Transport-Security (0: none; see api.front).
    """

    version: str
    limits: Limits = field(default_factory=Limits)
    threads: int = 16
    queue: int = 512
    patience: float = 5.0
    reload: float = 2.0
    grace: float = 10.0
    keep_alive: float = 65.0
    hsts: int = 0
    metrics_public: bool = False


def bind(host: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """Listen at an address, in the parent, so that a busy port is told at once. Raises ListenFailed.

    The workers inherit the socket and accept from it in turn. No two processes share a port for datagrams: a device's
    lines would be read by one now and by the other then.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=kind, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            if kind == socket.SOCK_STREAM:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            if kind == socket.SOCK_STREAM:
                bound.listen(_BACKLOG)
            bound.setblocking(False)
        except BaseException:
            bound.close()
            raise
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        of_kind = " (UDP)" if kind == socket.SOCK_DGRAM else ""
        raise ListenFailed(
            f"Cannot listen at {host} port {port}{of_kind}: {reason}.",
            in_use=error.errno == errno.EADDRINUSE,
        ) from None
    return bound


def end_with_parent(parent: int) -> None:
    """Have the kernel send SIGTERM to this process when `parent` (its process id) dies, however it dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)  # it died before we asked


def serve_api(
    sockets: Sequence[socket.socket],
    settings: ApiSettings,
    desk_factory: Callable[[], Desk],
    credential: Callable[[Desk], Credential],
    *,
    clock: Callable[[], datetime],
    shares: Shares | None = None,
    worker: int = 0,
) -> None:
    """Serve the API from this process until SIGTERM or SIGINT; returns when what was under way has ended.

    `desk_factory` is called once, here, so that nothing of the store crosses a fork. `credential` is asked at the start
    and then every `settings.reload` seconds; when it fails later, the listener goes on with what it has. Raises what
    both raise at the start, and TlsUnusable. `shares` is what the workers that share the sockets share besides, and
    `worker` this one's number in it, from 0.
    """
    desk = desk_factory()
    try:
        listener = ApiListener(
            settings, desk, credential, clock=clock, shares=shares, worker=worker
        )
        listener.run(sockets=list(sockets))
    finally:
        desk.store.close()


def _record(counted: Meters, exchange: Exchange, status: int, seconds: float) -> None:
    counted.request(exchange, status, seconds)
    _access.info(
        "%s %s %d",
        exchange.method,
        # Of what was refused the route alone: a token or a key may have been put into the path by mistake.
        exchange.path if status < 400 else exchange.route or "-",
        status,
        extra={
            "request_id": exchange.request_id,
            "client": exchange.client,
            "actor": exchange.actor,
            "route": exchange.route,
            "status": status,
            "milliseconds": round(seconds * 1000, 2),
        },
    )


class ApiListener(uvicorn.Server):
    """uvicorn's server with our application, our TLS and its reload, and our way to stop.

    `run(sockets)` serves until a signal comes or `should_exit` is set.
    """

    def __init__(
        self,
        settings: ApiSettings,
        desk: Desk,
        credential: Callable[[Desk], Credential],
        *,
        clock: Callable[[], datetime],
        shares: Shares | None = None,
        worker: int = 0,
    ) -> None:
        self._settings = settings
        self._shares = shares or Shares(worker + 1)
        self._worker = worker
        self._credential = partial(credential, desk)
        first = self._credential()
        self._present = first.digest()
        self._door = TlsDoor(first)
        self._reloading: asyncio.Task[None] | None = None
        # Apart from the requests, so that a full house does not let the certificate run out.
        self._reloader = Pool(threads=1, queue=2, patience=60.0, name="reload")
        self._pool = Pool(
            threads=settings.threads,
            queue=settings.queue,
            patience=settings.patience,
            name="request",
        )
        counted = Meters()
        wiring = Wiring(
            desk=desk,
            clock=clock,
            meters=counted,
            version=settings.version,
            metrics_public=settings.metrics_public,
        )
        self._waiting = Waiting(Changes(desk, _WATCHER), clock, at_once=settings.threads)
        self._watchers = Watchers()
        front = Front(
            build(wiring),
            self._pool,
            limits=settings.limits,
            record=partial(_record, counted),
            prepared=PREPARED,
            hsts=settings.hsts,
            waiting=self._waiting,
            watchers=self._watchers,
        )
        self._listener_config = _uvicorn_settings(front, settings)
        super().__init__(self._listener_config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; like uvicorn's, with a time limit for handshakes."""
        loop = asyncio.get_running_loop()
        # uvicorn closes them; it asks nothing else of its servers.
        self.servers = [cast("asyncio.Server", self._acceptor(bound)) for bound in sockets or ()]
        self._reloading = loop.create_task(self._keep_current())
        self._waiting.start()
        self.started = True

    def _acceptor(self, bound: socket.socket) -> Acceptor:
        loop = asyncio.get_running_loop()

        def serve(accepted: socket.socket) -> Awaitable[object]:
            return loop.connect_accepted_socket(
                self._connection,
                accepted,
                ssl=self._door.context,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=_GOODBYE_SECONDS,
            )

        return Acceptor(
            bound,
            serve,
            shares=self._shares,
            worker=self._worker,
            connections=lambda: len(self.server_state.connections),
        )

    def _connection(self) -> Connection:
        return Connection(self._listener_config, self.server_state, {})

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connection, let requests under way end, then stop the threads."""
        if self._reloading is not None:
            self._reloading.cancel()
        self._watchers.stop()
        await self._waiting.stop(timeout=_GOODBYE_SECONDS)
        await super().shutdown(sockets)
        await asyncio.sleep(_LAST_WORDS_SECONDS)
        await self._reloader.stop(timeout=_GOODBYE_SECONDS)
        await self._pool.stop(timeout=_GOODBYE_SECONDS)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop on SIGTERM and SIGINT, and return: uvicorn would raise the signal again and end without clean-up."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are the main thread's
            return
        wanted = [
            number
            for number in (signal.SIGTERM, signal.SIGINT)
            if signal.getsignal(number)
            is not signal.SIG_IGN  # a parent that passes Ctrl-C on itself
        ]
        before = {number: signal.signal(number, self.handle_exit) for number in wanted}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def _keep_current(self) -> None:
        complaint = ""
        while True:
            await asyncio.sleep(self._settings.reload)
            try:
                changed = await self._reloader.run(self._reload)
            except IkewardenError as error:
                if complaint != error.code:
                    _log.error(
                        "the TLS certificate was not renewed: %s",
                        error.message,
                        extra={"code": error.code},
                    )
                complaint = error.code
            except Exception as error:  # noqa: BLE001 - it must go on, whatever happened once
                if complaint != "unforeseen":
                    _log.error("the TLS certificate was not renewed", exc_info=error)
                complaint = "unforeseen"
            else:
                complaint = ""
                if changed:
                    _log.info("new TLS certificate or authorities in use")

    def _reload(self) -> bool:
        found = self._credential()
        digest = found.digest()
        if digest == self._present:
            return False
        self._door.reload(found)
        self._present = digest
        return True


def _uvicorn_settings(front: Front, settings: ApiSettings) -> ListenerConfig:
    return ListenerConfig(
        front,
        limits=settings.limits,
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="off",
        # Logging is the program's; and as no proxy stands before us, nobody speaks for another client.
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(settings.keep_alive),
        timeout_graceful_shutdown=int(settings.grace),
    )


@dataclass(frozen=True)
class ValidationSettings:
    """Where the validation listener listens and with how many processes."""

    host: str
    port: int
    workers: int = 1
    threads: int = 4
    body_seconds: float = 10.0


def serve_validation(
    settings: ValidationSettings, desk_factory: Callable[[], Desk], *, clock: Callable[[], datetime]
) -> None:
    """Serve CRLs and OCSP answers until SIGTERM or SIGINT, from `settings.workers` processes below this one.

    Each binds its own socket to the same address (SO_REUSEPORT); a busy port is told before. Raises ListenFailed.
    """
    bind(settings.host, settings.port).close()
    parent = os.getpid()

    def load() -> Validation:
        end_with_parent(parent)
        counted = ValidationMeters()
        return Validation(
            desk_factory,
            clock=clock,
            count=counted.requests,
            threads=settings.threads,
            body_seconds=settings.body_seconds,
        )

    server = Granian(
        "ikewarden validation",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.RSGI,
        workers=settings.workers,
        loop=Loops.uvloop,
        runtime_mode=RuntimeModes.st,
        websockets=False,
        # No verifier speaks HTTP/2, for which Granian has no limit of time.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_MILLISECONDS),
        backlog=_BACKLOG,
        respawn_failed_workers=True,
        workers_kill_timeout=10,
        log_level=LogLevels.warning,
    )
    # Granian's annotation knows only functions; an object with __rsgi__ is what its RSGI specification asks for.
    loader = cast("Callable[..., Callable[..., Any]]", load)
    server.serve(target_loader=loader, wrap_loader=False)
