"""The ASGI front: reads the request whole, lets Flask work on it in a thread, answers, and writes
it down.

No thread is held by a slow client: a thread is taken when the request is complete and given back
when the answer is. Routes that wait or stream belong here, before the pool is reached.
"""

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from api import bridge
from api.bridge import Answer, Exchange
from api.connection import PEER, Limits
from api.errors import BodyTooLarge, RequestTooSlow, RouteNotFound, Stopping
from api.live import Watchers
from api.pool import Pool
from api.problems import encode, internal, problem_body, problem_headers, status_of
from api.waiting import ClientGone, Waiting
from core import spans
from core.errors import IkewardenError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

_log = logging.getLogger(__name__)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{7,63}")
# Nothing may be guessed about, framed, or keep what needed a credential to see. Pages loosen what
# they need.
_REPORTS = frozenset(
    f"/v1/gateways/self/{what}" for what in ("applied", "sas", "findings", "sa-events")
)
_ALWAYS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}


_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "DELETE", "PUT", "OPTIONS"})
_CUT_OFF = Stopping(
    "The service stopped before this was done; it may or may not be carried out.",
    next_step="Send it again with the same Idempotency-Key, or look whether it was done.",
)


class Front:
    """The ASGI application of the API listener.

    `prepared` are answers that need no thread, by method and path: for those who ask whether we live, also when all
    threads are busy. `record` is called once per answered request with the exchange, its status and its seconds.
    `hsts` is the max-age in seconds of Strict-Transport-Security, 0 for none: the default, because
    the validation listener of the same host name speaks plain HTTP by design and a browser would
    not reach it any more (RFC 6797 §8.3 knows no ports). `waiting` keeps those whose answer may wait,
    `watchers` those to whom it is sent again when it has changed.
    """

    def __init__(
        self,
        application: "WSGIApplication",
        pool: Pool,
        *,
        limits: Limits,
        record: Callable[[Exchange, int, float], None],
        prepared: Mapping[tuple[str, str], Answer],
        hsts: int = 0,
        waiting: Waiting | None = None,
        watchers: Watchers | None = None,
    ) -> None:
        self._application = application
        self._pool = pool
        self._limits = limits
        self._report_limits = replace(limits, body=max(limits.body, limits.report))
        self._record = record
        self._prepared = prepared
        self._waiting = waiting
        self._watchers = watchers
        self._always = dict(_ALWAYS)
        if hsts:
            self._always[b"strict-transport-security"] = b"max-age=%d" % hsts

    async def __call__(
        self, scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable"
    ) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        exchange = _exchange(scope)
        with spans.span("request", "server", _parent(scope)) as span:
            try:
                answer = await self._answer(scope, receive, exchange)
            except ClientGone:
                return
            headers = self._finish(answer, exchange.request_id)
            _say(span, exchange, answer.status)
        if exchange.live is not None and answer.status == 200 and self._watchers is not None:
            await self._stream(answer, scope, receive, send, exchange, began)
            return
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": headers,
                "trailers": False,
            }
        )
        await send({"type": "http.response.body", "body": answer.body, "more_body": False})
        self._record(exchange, answer.status, time.perf_counter() - began)

    async def _answer(
        self, scope: "HTTPScope", receive: "ASGIReceiveCallable", exchange: Exchange
    ) -> Answer:
        try:
            ready = self._prepared.get((scope["method"], scope["path"]))
            if ready is not None:
                exchange.route = scope["path"]
                return ready
            limits = self._report_limits if _is_report(scope) else self._limits
            body = await _whole_body(scope, receive, limits)
            _check_path(scope)
            answer = await self._ask(scope, body, exchange)
            if exchange.live is not None and self._watchers is not None:
                self._watchers.check(exchange.actor)
            if exchange.hold is None or self._waiting is None:
                return answer
            # What this request knows has not changed: nothing but a place is held until it has. Then it is asked
            # again from the start, who calls too.
            async with self._waiting.until_changed(exchange.hold, receive) as changed:
                return await self._ask(scope, body, exchange) if changed else answer
        except IkewardenError as error:
            # A client whose body we did not read to its end cannot send another request behind it.
            close = isinstance(error, BodyTooLarge | RequestTooSlow)
            return _refusal(error, exchange, close=close)
        except asyncio.CancelledError:
            # The process stops and has waited long enough; the operation may still end well.
            return _refusal(_CUT_OFF, exchange, close=True)
        except ClientGone:
            raise
        except Exception:  # noqa: BLE001 - the last line: whatever it was, the client gets an answer
            _log.exception("unforeseen", extra={"request_id": exchange.request_id})
            return Answer(
                500,
                [(b"content-type", b"application/problem+json")],
                encode(internal(exchange.request_id)),
            )

    async def _stream(
        self,
        answer: Answer,
        scope: "HTTPScope",
        receive: "ASGIReceiveCallable",
        send: "ASGISendCallable",
        exchange: Exchange,
        began: float,
    ) -> None:
        assert self._watchers is not None  # noqa: S101 - for the type checker: looked at before
        assert exchange.live is not None  # noqa: S101
        kept = [
            each for each in answer.headers if each[0] not in {b"content-type", b"content-length"}
        ]
        named = replace(answer, headers=[*kept, (b"content-type", b"text/event-stream")])
        headers = [
            each
            for each in self._finish(named, exchange.request_id)
            if each[0] != b"content-length"
        ]
        await send(
            {"type": "http.response.start", "status": 200, "headers": headers, "trailers": False}
        )
        self._record(exchange, 200, time.perf_counter() - began)
        again = partial(self._ask, scope, b"", exchange)
        await self._watchers.stream(answer, again, exchange.live, exchange.actor, receive, send)

    async def _ask(self, scope: "HTTPScope", body: bytes, exchange: Exchange) -> Answer:
        environ = bridge.environment(scope, body, exchange)
        work = partial(bridge.call, self._application, environ)
        return await self._pool.run(spans.below(work))

    def _finish(self, answer: Answer, request_id: str) -> list[tuple[bytes, bytes]]:
        given = {name for name, _ in answer.headers}
        headers = [
            *answer.headers,
            *((name, value) for name, value in self._always.items() if name not in given),
            (b"x-request-id", request_id.encode()),
        ]
        # W3C Trace Context Level 2 §4: what this was taken down as.
        headers += [(b"traceresponse", name.encode()) for name in spans.traceparent().values()]
        # RFC 9110 §8.6: none for 204, and for 304 only that of the answer that was not sent.
        if b"content-length" not in given and answer.status not in {204, 304}:
            headers.append((b"content-length", b"%d" % len(answer.body)))
        return headers


def _refusal(error: IkewardenError, exchange: Exchange, *, close: bool) -> Answer:
    headers = [(name.lower().encode(), value.encode()) for name, value in problem_headers(error)]
    if close:
        headers.append((b"connection", b"close"))
    return Answer(status_of(error), headers, problem_body(error, request_id=exchange.request_id))


def _parent(scope: "HTTPScope") -> str | None:
    """The span that a client says that its request belongs under. Whoever calls may say so: no more hangs on it."""
    if spans.recorder() is None:
        return None
    found = [value for name, value in scope["headers"] if name == b"traceparent"]
    return found[0].decode("latin-1") if len(found) == 1 else None


def _say(span: spans.Span, exchange: Exchange, status: int) -> None:
    # By the names that OpenTelemetry has for them.
    route = exchange.route or "none"
    method = exchange.method if exchange.method in _METHODS else "_OTHER"
    span.rename(f"{method} {route}")
    span.note(http__request__method=method, http__route=route, http__response__status_code=status)


def _exchange(scope: "HTTPScope") -> Exchange:
    request_id = ""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            request_id = value.decode()
    client = scope["client"]
    return Exchange(
        method=scope["method"],
        # as it was sent: percent-encoded, so that no byte of it can act in a log
        path=scope["raw_path"][:200].decode("ascii", "replace"),
        client=client[0] if client else "",
        request_id=request_id or os.urandom(12).hex(),
        peer=scope.get("state", {}).get(PEER),
    )


async def _whole_body(scope: "HTTPScope", receive: "ASGIReceiveCallable", limits: Limits) -> bytes:
    length = _announced(scope)
    if length == 0:
        return b""
    too_large = BodyTooLarge(
        f"The body is over {limits.body} bytes.", details={"limit_bytes": limits.body}
    )
    if length is not None and length > limits.body:
        expects = any(name == b"expect" for name, _ in scope["headers"])
        if expects or length > limits.drain:
            raise too_large  # RFC 9110 §10.1.1: a final status instead of 100 (Continue)
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            more = True
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientGone
                size += len(message["body"])
                more = message["more_body"]
                if size <= limits.body:
                    pieces.append(message["body"])
                elif size > limits.drain:
                    break
                else:
                    pieces.clear()  # read away, so that the client gets to read why
    except TimeoutError:
        raise RequestTooSlow("The request's body did not arrive in time.") from None
    if size > limits.body:
        raise too_large
    return b"".join(pieces)


def _check_path(scope: "HTTPScope") -> None:
    # werkzeug would take it for the path with one slash.
    if scope["path"].startswith("//"):
        raise RouteNotFound("There is nothing at this path.")


def _is_report(scope: "HTTPScope") -> bool:
    # Of a gateway that has proved itself in the handshake: a hub has thousands of SAs.
    return scope["path"] in _REPORTS and scope.get("state", {}).get(PEER) is not None


def _announced(scope: "HTTPScope") -> int | None:
    # RFC 9112 §6.3: without Content-Length and Transfer-Encoding a request has no body.
    chunked = False
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
        chunked = chunked or name == b"transfer-encoding"
    return None if chunked else 0
