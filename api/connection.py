"""One client connection: uvicorn's protocol, with the peer's certificate and the limits that
uvicorn leaves out.
"""

import asyncio
import ssl
from asyncio.events import TimerHandle
from dataclasses import dataclass
from typing import Any, NoReturn

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from api.errors import HeadTooLarge, MalformedRequest
from api.problems import problem_body, status_of
from core.errors import IkewardenError

# What a chunk costs besides its content at most: a size of eight digits and two line ends. What is more are extensions.
_CHUNK_FRAME = 16
_VERSIONS = frozenset({"1.0", "1.1"})
# The key in the ASGI scope's `state` under which the application finds the peer's DER certificate.
PEER = "peer_certificate"


@dataclass(frozen=True)
class Limits:
    """What one client may cost. Sizes in bytes, times in seconds.

    `body` is the largest body accepted, `report` that of a gateway's reports; a larger one is read
    away up to `drain` bytes, so that the client gets to read the refusal. `stalled` is how long a
    client may leave our answer unread.
    """

    body: int = 1 << 20
    report: int = 4 << 20
    drain: int = 8 << 20
    head: int = 32 << 10
    head_seconds: float = 15.0
    body_seconds: float = 30.0
    stalled_seconds: float = 60.0
    connections: int = 20_000


class ListenerConfig(Config):
    """uvicorn's configuration with our limits beside it."""

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limits = limits


class Connection(HttpToolsProtocol):
    """HTTP/1.1 over TLS; puts the verified client certificate (DER or None) into every request's
    scope.
    """

    def __init__(
        self,
        config: ListenerConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = config.limits
        self._head_open = True
        # Bytes of the piece at hand, and of the pieces before it since the one that the request began in.
        self._piece = 0
        self._pieces = 0
        # Bytes that came since the last ones of a body and are of none: head, chunk extensions, trailers. Those of the
        # piece that the request began in are left out, as the end of another request may have come with it.
        self._framing = 0
        self._began = False
        self._refusal: IkewardenError | None = None
        self._head_timer: TimerHandle | None = None
        self._stall_timer: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Note who is at the other end, before the first request."""
        super().connection_made(transport)
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        # CERT_OPTIONAL: OpenSSL keeps a peer certificate only after it verified it.
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        self.app_state = {**self.app_state, PEER: certificate}
        if len(self.connections) > self._limits.connections:
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the timers with the connection."""
        self._head_arrived()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; watch the size of what is no body, and the time while a head is incomplete."""
        self._piece = len(data)
        self._began = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        self._pieces += self._piece
        self._framing = 0 if self._began else max(self._framing + self._piece, 0)
        if self._framing > self._limits.head:
            self._refuse(_too_large())
            return
        if self._head_open or self.cycle.response_complete:
            self._await_head()

    def on_message_begin(self) -> None:
        """A request line begins."""
        super().on_message_begin()
        self._head_open = True
        self._began = True
        self._pieces = 0

    def on_headers_complete(self) -> None:
        """The head is whole."""
        # Nearly every head comes in a piece that is smaller than the limit: then nothing is added up.
        if self._pieces + self._piece > self._limits.head:
            self._weigh(len(self.url))
        self._check_head()
        self._head_open = False
        self._head_arrived()
        super().on_headers_complete()
        # What comes after the body under the names of headers is none of the request's (RFC 9110 §6.5.1): it would
        # come with credentials, or with another length, after the head was looked at.
        self.headers = []

    def on_body(self, body: bytes) -> None:
        """Some of the body, at most that of one chunk."""
        self._framing -= len(body) + _CHUNK_FRAME
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The body is whole, and its trailers have been read."""
        if self.headers:
            self._weigh(0)
        super().on_message_complete()

    def _check_head(self) -> None:
        """Refuse what the parser lets pass and another one may read otherwise."""
        version = self.parser.get_http_version()
        hosts = 0
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            # RFC 9112 §6.1: no other coding is understood, and a client of 1.0 does not know of any.
            elif name == b"transfer-encoding" and (value.lower() != b"chunked" or version != "1.1"):
                self._give_up(MalformedRequest("The only transfer coding here is chunked."))
        # RFC 9112 §3.2: exactly one; a client of 1.0 may leave it out.
        if hosts != 1 and (hosts or version != "1.0"):
            self._give_up(MalformedRequest("A request has one Host header."))
        if version not in _VERSIONS:
            self._give_up(MalformedRequest("The request's version is not HTTP/1.1."))

    def _give_up(self, error: IkewardenError) -> NoReturn:
        self._refusal = error
        raise error  # the parser ends, and asks for what is sent where a request is no HTTP

    def _weigh(self, size: int) -> None:
        size += sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._limits.head:
            self._give_up(_too_large())

    def pause_writing(self) -> None:
        """The client does not read: give it a while."""
        super().pause_writing()
        self._stall_timer = self.loop.call_later(self._limits.stalled_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, or what was refused while it was read, with a problem document and hang up."""
        self._refuse(self._refusal or MalformedRequest("This is not a well-formed HTTP request."))

    def _await_head(self) -> None:
        if self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(
                self._limits.head_seconds, self.timeout_keep_alive_handler
            )

    def _head_arrived(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, error: IkewardenError) -> None:
        self._head_arrived()
        if not self._head_open and self.cycle.response_started:
            self.transport.close()  # one answer for one request
            return
        body = problem_body(error, request_id="")
        head = (
            b"content-type: application/problem+json\r\ncache-control: no-store\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        )
        self.transport.write(STATUS_LINE[status_of(error)] + head + body)
        self.transport.close()


def _too_large() -> HeadTooLarge:
    return HeadTooLarge("The request's head, or what frames its body, is too large.")
