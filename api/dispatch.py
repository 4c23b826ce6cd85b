"""From a Flask request to an operation and back: who calls, what was sent, once or again, and
the answer.
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from flask import Response, request

from api import callers, decoding
from api.bridge import EXCHANGE, Exchange
from api.errors import MalformedRequest, RouteNotFound
from api.problems import MEDIA_TYPE, encode, status_of, without_words
from api.registry import JSON, Call, Nothing, Reply, Route, Shown
from core import spans
from core.errors import IkewardenError
from core.secret import Secret
from pki import idempotency
from pki.actors import Actor
from pki.desk import Desk
from pki.idempotency import Claim, Earlier
from pki.identity import TokenRefused

_MAX_NAME = 255
# RFC 9110 §8.8.3 entity-tag, without W/
_TAG = re.compile(r'"[\x21\x23-\x7e]*"')
_log = logging.getLogger(__name__)
# RFC 8941 §3.3.3 string as the draft has it, or the same bare as most clients send it
_KEY = re.compile(r'"([\x20-\x21\x23-\x5b\x5d-\x7e]{1,200})"|([\x21\x23-\x7e]{1,200})')


@dataclass(frozen=True, slots=True)
class _Request:
    """What of the environment a route needs."""

    exchange: Exchange
    path: Mapping[str, str]
    url: str
    query: str
    content: bytes
    media_type: str
    token: Secret | None
    key: str | None
    approval: int | None = None

    def claim(self, route: Route, credential: str) -> Claim:
        """Tell this request apart from others for its Idempotency-Key."""
        content = b"" if route.secret_body else self.content
        parts = [self.url.encode(), self.query.encode(), content]
        if (
            self.approval is not None
        ):  # with it, it is another request than the one that was refused without
            parts.append(str(self.approval).encode())
        same = hashlib.sha256(b"\0".join(parts))
        return Claim(credential, self.key or "", route.name, same.hexdigest())


class Dispatcher:
    """Makes Flask views of routes. `clock` is read once per request."""

    def __init__(self, desk: Desk, clock: Callable[[], datetime]) -> None:
        self._desk = desk
        self._clock = clock

    def view(self, route: Route) -> Callable[..., Response]:
        """Make the Flask view of a route."""

        def answer(**path: str) -> Response:
            return self._answer(route, path)

        return answer

    def _answer(self, route: Route, path: Mapping[str, str]) -> Response:
        environ = request.environ
        environ[EXCHANGE].route = route.path
        # No name of ours has such characters, and not every database takes them.
        if not all(value.isprintable() and len(value) <= _MAX_NAME for value in path.values()):
            raise RouteNotFound("There is nothing at this path.")
        now = self._clock()
        sent = _read(environ, route, path)
        try:
            actor = self._actor(route, sent, now)
        except TokenRefused:
            earlier = self._answer_to_spent_token(route, sent, now)
            if earlier is None:
                raise
            return _replay(earlier)
        call: Call[Any, Any] = Call(
            desk=self._desk,
            caller=actor,
            now=now,
            body=_body(route, sent),
            query=_query(route, sent),
            path=path,
            known=_tags(environ.get("HTTP_IF_NONE_MATCH")),
            client=sent.exchange.client,
        )
        with spans.span(route.operation_id):
            if sent.key is None or actor is None:
                reply = route.view(call)
                sent.exchange.hold = reply.hold
                return _encode(reply)
            return self._once(route, call, sent.claim(route, actor.credential))

    def _actor(self, route: Route, sent: _Request, now: datetime) -> Actor | None:
        if route.public:
            return None
        actor = callers.identify(
            self._desk,
            sent.token,
            sent.exchange.peer,
            now=now,
            request_id=sent.exchange.request_id,
        )
        sent.exchange.actor = actor.name
        return actor if sent.approval is None else replace(actor, approval=sent.approval)

    def _answer_to_spent_token(self, route: Route, sent: _Request, now: datetime) -> Earlier | None:
        if sent.token is None or sent.key is None:
            return None
        claim = sent.claim(route, "")
        return idempotency.answer_to_spent_token(self._desk.store, sent.token, claim, now=now)

    def _once(self, route: Route, call: Call[Any, Any], claim: Claim) -> Response:
        store = self._desk.store
        turn = idempotency.begin(store, claim, now=call.now)
        if isinstance(turn, Earlier):
            return _replay(turn)
        try:
            response = _encode(route.view(call))
        except IkewardenError as error:
            status = status_of(error)
            if status >= 500:
                self._settle(lambda: idempotency.give_up(store, turn), call)
            else:
                body = encode(without_words(error, request_id=call.actor.request_id))
                kept = _keep(MEDIA_TYPE, None, body)
                self._settle(lambda: idempotency.end(store, turn, status=status, body=kept), call)
            raise
        except BaseException:
            self._settle(lambda: idempotency.give_up(store, turn), call)
            raise
        shown = None
        if not route.secret:
            shown = _keep(response.mimetype, response.headers.get("Location"), response.data)
        self._settle(
            lambda: idempotency.end(store, turn, status=response.status_code, body=shown), call
        )
        return response

    def _settle(self, step: Callable[[], None], call: Call[Any, Any]) -> None:
        try:
            step()
        except IkewardenError as error:
            # What was done is done and said; without its row a repetition waits and is then carried
            # out again.
            _log.warning(
                "the answer to an Idempotency-Key was not kept",
                extra={"request_id": call.actor.request_id, "code": error.code},
            )


def _read(environ: Mapping[str, Any], route: Route, path: Mapping[str, str]) -> _Request:
    return _Request(
        exchange=environ[EXCHANGE],
        path=path,
        url=environ["PATH_INFO"],
        query=environ["QUERY_STRING"],
        content=environ["wsgi.input"].read(),
        media_type=environ.get("CONTENT_TYPE", ""),
        token=None if route.public else callers.bearer_token(environ.get("HTTP_AUTHORIZATION")),
        key=_key(environ.get("HTTP_IDEMPOTENCY_KEY")) if route.method == "POST" else None,
        approval=_approval(environ.get("HTTP_IKEWARDEN_APPROVAL")),
    )


def _key(header: str | None) -> str | None:
    if header is None:
        return None
    match = _KEY.fullmatch(header.strip())
    if match is None:
        raise MalformedRequest(
            "The Idempotency-Key must be 1 to 200 visible ASCII characters, given once.",
            next_step="Send a random value such as a UUID.",
        )
    return match[1] or match[2]


def _approval(header: str | None) -> int | None:
    if header is None:
        return None
    number = decoding.number(header.strip())
    if not number:
        raise MalformedRequest(
            "Ikewarden-Approval must be the number of one approval.",
            next_step="Send the number that the refusal named, or leave the header out.",
        )
    return number


def _tags(header: str | None) -> frozenset[str]:
    # RFC 9110 §13.1.2: compared weakly
    return frozenset(_TAG.findall(header)) if header else frozenset()


def _query(route: Route, sent: _Request) -> Any:
    if not sent.query and route.query is Nothing:
        return _NOTHING
    return decoding.query(route.query, sent.query)


_NOTHING = Nothing()


def _body(route: Route, sent: _Request) -> Any:
    if route.body is None:
        return None
    return decoding.body(route.body, sent.content, sent.media_type)


def _encode(reply: Reply) -> Response:
    content = reply.content
    data = content.model_dump_json().encode() if isinstance(content, Shown) else content
    response = Response(data, reply.status, content_type=reply.media_type)
    for name, value in reply.headers:
        response.headers[name] = value
    return response


def _keep(media_type: str | None, location: str | None, body: bytes) -> str:
    return json.dumps([media_type or JSON, location, body.decode()], ensure_ascii=False)


def _replay(earlier: Earlier) -> Response:
    media_type, location, body = json.loads(earlier.body)
    response = Response(body, earlier.status, content_type=media_type)
    if location is not None:
        response.headers["Location"] = location
    response.headers["Idempotency-Replayed"] = "true"
    return response
