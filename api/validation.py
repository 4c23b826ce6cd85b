"""The validation listener: CRLs, OCSP answers and authority certificates over plain HTTP, SCEP and CMP.

Plain by design (RFC 5280 §8: a verifier that needed TLS to fetch a CRL would need a CRL for that TLS). Everything here
is signed and public; there is no caller, no cookie and no secret. Messages of SCEP and CMP protect themselves.

It is an RSGI application for Granian. WSGI was measured 1.5 times as fast with one thread, but there a client that
sends its body slowly holds the thread; here it holds nothing and is hung up on.
"""

import asyncio
import base64
import binascii
import logging
import re
import secrets
from asyncio import current_task
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from cryptography.hazmat.primitives.serialization import Encoding

from api.caching import Document, Headers, document, etag_of, is_not_modified
from api.cmp import MEDIA_TYPE, CmpDoors, is_cmp
from api.errors import BodyTooLarge, HeadTooLarge, MethodNotAllowed, RequestTooSlow, RouteNotFound
from api.pool import Pool
from api.problems import encode, problem, problem_headers, status_of
from api.scep import ScepDoors, is_scep
from core import spans
from core.errors import IkewardenError, NotFound, Unavailable
from pki import authorities, publication
from pki.desk import Desk
from pki.ocsp_responder import OcspAnswer, OcspResponder
from pki.publication import NO_SHARD
from pki.x509 import ocsp

_log = logging.getLogger(__name__)
T = TypeVar("T")

_MAX_REQUEST = 8 << 10  # bytes of an OCSP request; a usual one has 80
_MAX_MESSAGE = 64 << 10  # bytes of a SCEP or CMP message; a usual one has 3000
_MAX_QUERY = 96 << 10  # the same in base64, percent-encoded
_MAX_PATH = 4 << 10
_TICK = 0.25  # seconds between two looks at what changed
_MAX_READY = 100_000
_NONE = timedelta(0)
_REFRESH = timedelta(seconds=30)
_LIST_CHECK = timedelta(seconds=0.5)
# Between a revocation and the list that says so lies a second; a cache shall not add much to it.
_LIST_AGE = timedelta(seconds=60)
_CERTIFICATE_AGE = timedelta(days=1)
_NAME = r"([a-z0-9][a-z0-9-]{0,39})"
_CRL = re.compile(rf"/crl/{_NAME}(?:/(?:(delta)|([0-9]{{1,5}})))?\.crl")
_CA = re.compile(rf"/ca/{_NAME}\.crt")
_OCSP = re.compile(rf"/ocsp/{_NAME}(?:/(.*))?", re.DOTALL)
_OCSP_TYPE = "application/ocsp-response"
# RFC 6960 §4.2.1: to HTTP they are answers like any other.
_ERRORS = {
    ocsp.error_answer(status): status for status in ("malformedRequest", "tryLater", "unauthorized")
}
_PATHS = (
    "Here are /crl/NAME.crl, /crl/NAME/SHARD.crl, /crl/NAME/delta.crl, /ca/NAME.crt, /ocsp/NAME, with NAME that of an"
    " authority; /scep/ENDPOINT, /.well-known/cmp/p/ENDPOINT and /healthz. The API is at another address."
)
_NOT_THERE = (
    "Ask for exactly what the certificate says (its CRL distribution points, its authority information access); the"
    " lists of a new authority appear within a second."
)


class Scope(Protocol):
    """What Granian tells about a request."""

    proto: str
    client: str
    method: str
    path: str
    query_string: str
    headers: Any


class Wire(Protocol):
    """How Granian is read from and answered."""

    async def __call__(self) -> bytes: ...
    def __aiter__(self) -> Any: ...
    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None: ...


class _Reply(NamedTuple):
    status: int
    headers: Headers
    body: bytes
    outcome: str = ""


@dataclass
class _Shelved:
    """A list in memory, and when it was last compared with the record."""

    number: int
    next_update: datetime
    document: Document
    checked: datetime


class Validation:
    """The application of one worker process.

    `desk_factory` is called in the worker; `clock` gives the time; `count` is told now and then how many requests of a
    kind had which status since the last time; a client has `body_seconds` to send its request.
    """

    def __init__(
        self,
        desk_factory: Callable[[], Desk],
        *,
        clock: Callable[[], datetime],
        count: Callable[[str, str, int], None],
        threads: int,
        body_seconds: float,
    ) -> None:
        self._clock = clock
        self._body_seconds = body_seconds
        self._count = count
        self._counted: Counter[tuple[str, str]] = Counter()
        self._desk = desk_factory()
        self._responder = OcspResponder(self._desk)
        self._pool = Pool(threads=threads, queue=2000, patience=5.0, name="validation")
        self._scep = ScepDoors(self._desk, clock)
        self._cmp = CmpDoors(self._desk, clock)
        # Apart, for it signs and writes: verifiers do not wait for devices that enroll.
        self._enrolling = Pool(threads=2, queue=200, patience=5.0, name="enrolling")
        # Exact requests → answers with their headers: what most requests need and nothing else.
        self._ready: dict[tuple[str, bytes], Document] = {}
        self._generation = 0
        self._lists: dict[tuple[str, str, int], _Shelved] = {}
        self._certificates: dict[str, Document] = {}
        # Until when, from the next look at it.
        self._reading: dict[asyncio.Task[Any], float | None] = {}
        self._prepared = 0
        self._watch: asyncio.Task[None] | None = None
        self._watching = False

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch for changes of status."""
        self._watch = loop.create_task(self._keep_watch())

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop the threads."""
        if self._watch is not None:
            self._watch.cancel()
        self._tell_counts()
        for pool in (self._pool, self._enrolling):
            loop.run_until_complete(pool.stop(timeout=2.0))

    async def __rsgi__(self, scope: Scope, wire: Wire) -> None:
        """Answer one request."""
        path, method = scope.path, scope.method
        kind = "other"
        try:
            if path.startswith("/ocsp/"):
                kind = "ocsp"
                body = await self._body(scope, wire) if method == "POST" else b""
                # What nearly every request comes to: whatever more is done here takes from all that follow.
                held = self._ready.get((path, body))
                if held is not None and held.fresh_until > self._clock() and method == "POST":
                    self._prepared += 1
                    wire.response_bytes(200, held.headers, held.body)
                    return
                reply = await self._ocsp(scope, path, method, body)
            elif is_scep(path):
                kind = "scep"
                reply = await self._enroll(scope, path, method, wire)
            elif is_cmp(path):
                kind = "cmp"
                reply = await self._manage(scope, path, method, wire)
            else:
                kind = "crl" if path.startswith("/crl/") else "other"
                reply = await self._file(scope, path, method)
        except IkewardenError as error:
            reply = _refusal(error, enrolls=kind in {"scep", "cmp"})
        except Exception as error:  # noqa: BLE001 - the last line: whatever it was, the client gets an answer
            number = secrets.token_hex(12)
            _log.error("unforeseen", exc_info=error, extra={"request_id": number})
            reply = _refusal(IkewardenError("Something went wrong on our side."), number)
        self._counted[kind, reply.outcome or str(reply.status)] += 1
        wire.response_bytes(reply.status, reply.headers, reply.body)

    # OCSP

    async def _ocsp(self, scope: Scope, path: str, method: str, body: bytes) -> _Reply:
        if method not in {"GET", "HEAD", "POST"}:
            raise _not_allowed("GET, HEAD, POST")
        held = self._ready.get((path, body))
        if held is None or held.fresh_until <= self._clock():
            answer = await self._fresh(path, body, method)
            if isinstance(answer, _Reply):
                return answer
            held = answer
        if method != "POST" and is_not_modified(held, scope.headers.get):
            return _Reply(304, held.not_modified, b"")
        return _Reply(200, held.headers, held.body)

    async def _fresh(self, path: str, body: bytes, method: str) -> Document | _Reply:
        match = _OCSP.fullmatch(path[:_MAX_PATH])
        if match is None or len(path) > _MAX_PATH:
            raise RouteNotFound("There is nothing at this path.")
        name, text = match[1], match[2]
        if method == "POST" and text:
            raise RouteNotFound("There is nothing at this path.")
        request = body if method == "POST" else _from_path(text)
        generation, now = self._generation, self._clock()
        try:
            work = partial(self._responder.answer, name, request, now)
            answer = await self._pool.run(work)
        except Unavailable:
            answer = OcspAnswer(ocsp.error_answer("tryLater"))
        if answer.next_update is None or answer.this_update is None:
            # An error, or an answer to a nonce: for this one request only.
            headers = [("content-type", _OCSP_TYPE), ("cache-control", "no-store")]
            return _Reply(200, headers, answer.body, _ERRORS.get(answer.body, ""))
        made = document(
            answer.body,
            media_type=_OCSP_TYPE,
            etag=etag_of(answer.body),
            modified=answer.this_update,
            # RFC 5019 §6.2: before nextUpdate; and not so long that a revocation is news half a day later.
            expires=min(answer.next_update, now + self._desk.rules.ocsp_cache),
            now=now,
            refresh=min(_REFRESH, max(_NONE, (answer.fresh_until or now) - now)),
        )
        # What was found before a change of status was noticed may be older than the change.
        if generation == self._generation:
            if len(self._ready) >= _MAX_READY:
                self._ready.clear()
            self._ready[path, body] = made
        return made

    # SCEP

    async def _enroll(self, scope: Scope, path: str, method: str, wire: Wire) -> _Reply:
        query = scope.query_string
        if len(query) > _MAX_QUERY or len(path) > _MAX_PATH:
            raise HeadTooLarge("This is too long for a SCEP message.")
        body = await self._body(scope, wire, _MAX_MESSAGE) if method == "POST" else b""
        work = partial(self._scep.answer, method, path, query, body, _address(scope))
        answer = await self._enrolling.run(partial(_spanned, "SCEP", work))
        headers = [("content-type", answer.media_type), ("cache-control", "no-store")]
        return _Reply(200, headers, answer.body)

    # CMP

    async def _manage(self, scope: Scope, path: str, method: str, wire: Wire) -> _Reply:
        if len(path) > _MAX_PATH:
            raise HeadTooLarge("This is too long for a path.")
        body = await self._body(scope, wire, _MAX_MESSAGE) if method == "POST" else b""
        media_type = scope.headers.get("content-type") or ""
        work = partial(self._cmp.answer, method, path, media_type, body, _address(scope))
        answer = await self._enrolling.run(partial(_spanned, "CMP", work))
        # RFC 9811 §3.4: no intermediary keeps it.
        headers = [("content-type", MEDIA_TYPE), ("cache-control", "no-store")]
        return _Reply(200, headers, answer)

    async def _body(self, scope: Scope, wire: Wire, most: int = _MAX_REQUEST) -> bytes:
        length = scope.headers.get("content-length")
        task = current_task()
        if length is not None and int(length) > most:
            raise BodyTooLarge(f"A request has at most {most} bytes here.")
        if task is None:
            raise RuntimeError("an RSGI application runs as a task")
        # One dictionary and a look at it four times a second: a timer for each request costs an eighth of them all.
        self._reading[task] = None
        try:
            if length is not None:
                return await wire()
            pieces = []
            size = 0
            async for piece in wire:
                size += len(piece)
                if size > most:
                    raise BodyTooLarge(f"A request has at most {most} bytes here.")
                pieces.append(piece)
            return b"".join(pieces)
        except asyncio.CancelledError:
            task.uncancel()
            raise RequestTooSlow("The request's body did not arrive in time.") from None
        finally:
            del self._reading[task]

    # lists and certificates

    async def _file(self, scope: Scope, path: str, method: str) -> _Reply:
        found = None
        if match := _CRL.fullmatch(path):
            name, delta, shard = match.groups()
            kind = publication.DELTA if delta else publication.SHARD if shard else publication.FULL
            found = await self._list(name, kind, int(shard) if shard else NO_SHARD)
        elif match := _CA.fullmatch(path):
            found = await self._certificate(match[1])
        elif path == "/healthz":
            return _Reply(200, [("content-type", "application/json")], b'{"alive":true}')
        if found is None:
            raise RouteNotFound("There is nothing at this path.")
        if method not in {"GET", "HEAD"}:
            raise _not_allowed("GET, HEAD")
        if is_not_modified(found, scope.headers.get):
            return _Reply(304, found.not_modified, b"")
        return _Reply(200, found.headers, found.body)

    async def _list(self, name: str, kind: str, shard: int) -> Document:
        key = (name, kind, shard)
        now = self._clock()
        held = self._lists.get(key)
        # abs: the clock may have been set back since
        if held is not None and abs(now - held.checked) < _LIST_CHECK:
            return held.document
        if held is None:
            held = self._lists[key] = await self._pool.run(partial(self._load, key, None, now))
            return held.document
        # Others meanwhile get the copy; so does everybody while the records cannot be reached.
        held.checked = now
        try:
            self._lists[key] = await self._pool.run(partial(self._load, key, held, now))
        except Unavailable as error:
            _log.warning("a revocation list was not compared with the record: %s", error.message)
        return self._lists[key].document

    def _load(self, key: tuple[str, str, int], held: _Shelved | None, now: datetime) -> _Shelved:
        name, kind, shard = key
        if held is not None and publication.published_number(self._desk, *key) == held.number:
            if now < held.document.fresh_until:
                return held
        crl = publication.published(self._desk, name, kind, shard)
        made = document(
            crl.der,
            media_type="application/pkix-crl",
            etag=f'"{crl.sha256}"',
            modified=crl.this_update,
            expires=min(crl.next_update, now + _LIST_AGE),
            now=now,
            refresh=_REFRESH,
        )
        return _Shelved(crl.number, crl.next_update, made, now)

    async def _certificate(self, name: str) -> Document:
        now = self._clock()
        held = self._certificates.get(name)
        if held is None or held.fresh_until <= now:
            held = await self._pool.run(partial(self._load_certificate, name, now))
            self._certificates[name] = held
        return held

    def _load_certificate(self, name: str, now: datetime) -> Document:
        known = authorities.load(self._desk, name)
        der = known.certificate.public_bytes(Encoding.DER)
        return document(
            der,
            media_type="application/pkix-cert",
            etag=etag_of(der),
            modified=known.created_at,
            expires=now + _CERTIFICATE_AGE,
            now=now,
            refresh=_REFRESH,
        )

    # several times a second

    async def _keep_watch(self) -> None:
        while True:
            self._hang_up_on_the_slow()
            self._tell_counts()
            try:
                changed = await self._pool.run(self._look_for_changes)
            except Exception as error:  # noqa: BLE001 - it must go on, whatever happened once
                if self._watching:
                    _log.error("changes of status cannot be read", exc_info=error)
                self._watching = False
                changed = True  # for all we know
            if changed:
                self._generation += 1
                self._ready.clear()
            await asyncio.sleep(_TICK)

    def _look_for_changes(self) -> bool:
        changed = self._responder.watch(self._clock()) > 0
        if not self._watching:
            # What was answered while nobody watched may have changed before anybody looked.
            self._responder.forget_all()
            self._watching = changed = True
        return changed

    def _hang_up_on_the_slow(self) -> None:
        now = asyncio.get_running_loop().time()
        for task, deadline in list(self._reading.items()):
            if deadline is None:
                self._reading[task] = now + self._body_seconds
            elif deadline < now:
                task.cancel()

    def _tell_counts(self) -> None:
        counted, self._counted = self._counted, Counter()
        if self._prepared:
            counted["ocsp", "200"] += self._prepared
            self._prepared = 0
        for (kind, status), number in counted.items():
            self._count(kind, status, number)


def _from_path(text: str | None) -> bytes:
    # RFC 6960 §A.1: base64, then percent-encoded, which the server undid. Clients differ in what they encode, and some
    # take `+` for a space on the way; neither changes what is meant.
    cleaned = re.sub(r"[\r\n]", "", text or "").replace(" ", "+").lstrip("/").rstrip("=")
    try:
        return base64.b64decode(cleaned + "=" * (-len(cleaned) % 4), validate=True)
    except (ValueError, binascii.Error):
        return b""  # which is no OCSP request either, and is answered so


def _address(scope: Scope) -> str:
    """Where a request came from, without the port."""
    return scope.client.rpartition(":")[0].strip("[]")


def _not_allowed(methods: str) -> MethodNotAllowed:
    return MethodNotAllowed("This path does not know that method.", details={"allow": methods})


def _spanned(name: str, work: Callable[[], T]) -> T:
    # Not requests for lists and answers, of which there are thousands a second.
    with spans.span(name, "server"):
        return work()


def _refusal(error: IkewardenError, number: str = "", *, enrolls: bool = False) -> _Reply:
    """The answer for an error, in words for who has no credential and sees nothing but this listener. `number` is that
    in the log, where the log has something; `enrolls`: it was a device that wants a certificate.
    """
    headers = [*problem_headers(error), ("cache-control", "no-store")]
    if "allow" in error.details:
        headers.append(("allow", str(error.details["allow"])))
    said = problem(error, request_id=number)
    if not number:
        del said["request_id"]
    if isinstance(error, RouteNotFound):
        said["next_step"] = _PATHS
    elif isinstance(error, NotFound) and not enrolls:
        said["next_step"] = _NOT_THERE
    return _Reply(status_of(error), headers, encode(said))
