"""From a Flask request to a page's view and back: who is signed in, whether the form is ours, once or again."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from flask import Flask, Response, request

from api import decoding
from api.bridge import EXCHANGE, Exchange, Live
from api.console import cookies, language, sending
from api.console.mending import shown as shown_error
from api.console.mistakes import places
from api.console.page import MAX_KEPT, Answer, Download, Page, Redirect, Screen, Visit
from api.console.render import POLICY, link, render
from api.errors import RouteNotFound
from api.problems import status_of
from core.errors import IkewardenError
from core.secret import Secret
from pki import idempotency, sessions
from pki.actors import require
from pki.desk import Desk
from pki.idempotency import Claim, Earlier
from pki.sessions import Session, SessionEnded

_log = logging.getLogger(__name__)
_HTML: Final = "text/html; charset=utf-8"
_EVENTS: Final = "text/event-stream"
_MAX_NAME: Final = 255
# What a form brings beside the fields of its model.
_OURS: Final = ("csrf", "once")


@dataclass(frozen=True)
class _Sent:
    """What of the request a page needs."""

    environ: Mapping[str, Any]
    exchange: Exchange
    cookie: Secret | None
    fields: dict[str, str]

    @property
    def htmx(self) -> bool:
        """Whether a part of a page asks, and not the browser itself."""
        return self.environ.get("HTTP_HX_REQUEST") == "true"

    @property
    def watched(self) -> bool:
        """Whether the page's part shall be sent again whenever it has changed."""
        return bool(self.environ.get("HTTP_ACCEPT", "").startswith(_EVENTS))

    @property
    def note(self) -> str:
        """The code of what the page before did: for the page that a browser goes to, and not for its parts."""
        whole = self.environ["REQUEST_METHOD"] == "GET" and not (self.htmx or self.watched)
        return request.cookies.get(cookies.DONE, "") if whole else ""


class Door:
    """Makes Flask views of pages. `clock` is read once per request."""

    def __init__(self, desk: Desk, clock: Callable[[], datetime], pages: Iterable[Page]) -> None:
        self._desk = desk
        self._clock = clock
        self._menu = tuple(page for page in pages if page.menu)

    def view(self, page: Page) -> Callable[..., Response]:
        """Make the Flask view of a page."""

        def answer(**path: str) -> Response:
            return self._answer(page, path)

        return answer

    def refusal(self, error: IkewardenError) -> Response:
        """Show an error to somebody who looks at a path of no page with a browser, signed in or not."""
        sent = _sent(False)
        visit = self._visitor(sent, self._clock(), {})
        with contextlib.suppress(IkewardenError):
            visit = self._signed_in(visit, sent)
        return self._refuse(error, visit, sent)

    def _answer(self, page: Page, path: Mapping[str, str]) -> Response:
        exchange: Exchange = request.environ[EXCHANGE]
        exchange.route = page.path
        now = self._clock()
        sent = _sent(False)
        visit = self._visitor(sent, now, path)
        try:
            sent = _sent(page.method == "POST")
            if page.method == "POST":
                sending.check_origin(request.environ)
            if not page.public:
                visit = self._signed_in(visit, sent)
                exchange.actor = visit.actor.name
            return self._view(page, visit, sent)
        except SessionEnded as error:
            return self._sign_in(error, visit, sent, page)
        except IkewardenError as error:
            return self._refuse(error, visit, sent)

    def _visitor(self, sent: _Sent, now: datetime, path: Mapping[str, str]) -> Visit[Any, Any]:
        environ = request.environ
        chosen, theme = cookies.read_view(request.cookies.get(cookies.VIEW))
        query = environ["QUERY_STRING"]
        return Visit(
            desk=self._desk,
            session=None,
            now=now,
            body=None,
            query=None,
            path=path,
            here=environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
            + (f"?{query}" if query else ""),
            client=sent.exchange.client,
            language=language.choose(chosen, environ.get("HTTP_ACCEPT_LANGUAGE")),
            csrf=cookies.csrf(sent.cookie),
            request_id=sent.exchange.request_id,
            theme=theme,
            done=sent.note,
            certificate=sent.exchange.peer,
            cookies=request.cookies,
        )

    def _signed_in(self, visit: Visit[Any, Any], sent: _Sent) -> Visit[Any, Any]:
        if sent.cookie is None:
            raise SessionEnded("Nobody is signed in.")
        session = sessions.find(
            self._desk,
            sent.cookie,
            sent.exchange.peer,
            now=visit.now,
            request_id=sent.exchange.request_id,
            seen=not sent.watched,
        )
        return replace(visit, session=session)

    def _view(self, page: Page, visit: Visit[Any, Any], sent: _Sent) -> Response:
        if not all(v.isprintable() and len(v) <= _MAX_NAME for v in visit.path.values()):
            raise RouteNotFound("There is nothing at this path.")
        if page.action is not None:
            # Before the form is read: whoever may not is told so, and not what is wrong with his form.
            require(visit.actor, page.action)
        if page.method == "GET":
            query = decoding.query(page.query, request.environ["QUERY_STRING"], places)
            visit = replace(visit, query=query)
            return self._respond(page, page.view(visit), visit, sent)
        if not page.public:
            sending.check_csrf(sent.fields.get("csrf", ""), visit.csrf)
        given = {name: value for name, value in sent.fields.items() if name not in _OURS}
        visit = replace(visit, body=sending.form(page, given))
        if visit.session is None or "once" not in sent.fields:
            return self._respond(page, page.view(visit), visit, sent)
        return self._once(page, visit, sent, given)

    def _once(
        self, page: Page, visit: Visit[Any, Any], sent: _Sent, given: Mapping[str, str]
    ) -> Response:
        """A form that is sent twice, by a second click or a browser that loads again, does once what it does."""
        store = self._desk.store
        content = json.dumps([request.environ["PATH_INFO"], given], sort_keys=True).encode()
        digest = hashlib.sha256(content).hexdigest()  # no form that has `once` holds a secret
        key = sent.fields["once"][:100]
        claim = Claim(visit.actor.credential, key, page.name, digest)
        turn = idempotency.begin(store, claim, now=visit.now)
        if isinstance(turn, Earlier):
            to, done = json.loads(turn.body)
            return self._respond(page, Redirect(to, done), visit, sent)
        try:
            answer = page.view(visit)
        except BaseException:
            _settle(visit, lambda: idempotency.give_up(store, turn))
            raise
        if isinstance(answer, Redirect):
            body = json.dumps([answer.to, answer.done])
            _settle(visit, lambda: idempotency.end(store, turn, status=303, body=body))
        elif page.secret and isinstance(answer, Screen) and answer.status == 200:
            # Loaded again, the page would make another secret: it is told that the first was shown.
            _settle(visit, lambda: idempotency.end(store, turn, status=200, body=None))
        else:
            _settle(visit, lambda: idempotency.give_up(store, turn))
        return self._respond(page, answer, visit, sent)

    def _respond(self, page: Page, answer: Answer, visit: Visit[Any, Any], sent: _Sent) -> Response:
        if isinstance(answer, Redirect):
            return _redirect(answer, sent)
        if isinstance(answer, Download):
            response = Response(answer.content, content_type=answer.media_type)
            response.headers["Content-Disposition"] = f'attachment; filename="{answer.filename}"'
            return response
        whole = not (sent.htmx or (page.live and sent.watched))
        screen = replace(answer, part="") if whole else answer
        response = self._html(screen, visit)
        response.headers["Vary"] = "HX-Request, Accept, Accept-Language, Cookie"
        if page.live and sent.watched:
            sent.exchange.live = Live()
        for cookie in answer.cookies:
            response.headers.add("Set-Cookie", cookie)
        return response

    def _html(self, screen: Screen, visit: Visit[Any, Any]) -> Response:
        response = Response(render(screen, visit, self._menu), screen.status, content_type=_HTML)
        response.headers["Content-Security-Policy"] = POLICY
        if visit.done:
            response.headers.add("Set-Cookie", cookies.gone(cookies.DONE))
        return response

    def _sign_in(
        self, error: SessionEnded, visit: Visit[Any, Any], sent: _Sent, page: Page
    ) -> Response:
        """Ask to sign in. What was typed into a form is kept in the page, and offered to be sent afterwards."""
        if sent.htmx or sent.watched:
            response = Response("", 401, content_type=_HTML)
            response.headers["HX-Redirect"] = "/sign-in"
            return response
        if page.method == "GET" and sent.cookie is None:
            back = visit.here if visit.here != "/" else None
            return _redirect(Redirect(link("/sign-in", next=back)), sent)
        kept = {name: value for name, value in sent.fields.items() if name not in _OURS}
        typed = "" if page.secret else urlencode(kept)
        typed = typed if len(typed) <= MAX_KEPT else ""
        shown = {
            "next": visit.here if page.method == "GET" else "",
            "error": shown_error(error, visit.request_id),
            "kept": typed,
            "kept_for": visit.here if page.method == "POST" and typed else "",
        }
        screen = Screen("sign_in.html", shown, status=401, cookies=(cookies.gone(cookies.SESSION),))
        return self._respond(page, screen, visit, sent)

    def _refuse(self, error: IkewardenError, visit: Visit[Any, Any], sent: _Sent) -> Response:
        if status_of(error) >= 500:
            extra = {"request_id": visit.request_id, "code": error.code}
            _log.warning("%s", error.message, extra=extra)
        shown = shown_error(error, visit.request_id)
        screen = Screen("error.html", {"error": shown}, status=shown.status, part="message")
        response = self._html(screen if sent.htmx else replace(screen, part=""), visit)
        retry = error.details.get("retry_after")
        if isinstance(retry, int):
            response.headers["Retry-After"] = str(retry)
        return response


def _sent(form: bool) -> _Sent:
    environ = request.environ
    return _Sent(
        environ,
        environ[EXCHANGE],
        cookies.read_session(request.cookies),
        sending.fields(environ["wsgi.input"].read(), environ.get("CONTENT_TYPE", ""))
        if form
        else {},
    )


def _redirect(answer: Redirect, sent: _Sent) -> Response:
    if sent.htmx:
        response = Response("", 204)
        response.headers["HX-Redirect"] = answer.to
    else:
        response = Response("", 303)
        response.headers["Location"] = answer.to
        response.autocorrect_location_header = False
    if answer.done:
        response.headers.add("Set-Cookie", cookies.done(answer.done))
    for cookie in answer.cookies:
        response.headers.add("Set-Cookie", cookie)
    return response


def _settle(visit: Visit[Any, Any], step: Callable[[], None]) -> None:
    """What was done is done and said, also where that cannot be kept for a repetition."""
    try:
        step()
    except IkewardenError as error:
        extra = {"request_id": visit.request_id, "code": error.code}
        _log.warning("the answer to a form was not kept", extra=extra)


def wants_page(environ: Mapping[str, Any]) -> bool:
    """Whether a browser looks, and not a program."""
    return environ["REQUEST_METHOD"] == "GET" and "text/html" in environ.get("HTTP_ACCEPT", "")


def install(app: Flask, desk: Desk, clock: Callable[[], datetime], pages: Iterable[Page]) -> Door:
    """Add all pages to the application."""
    pages = tuple(pages)
    door = Door(desk, clock, pages)
    for page in pages:
        app.add_url_rule(
            page.rule,
            endpoint=page.name,
            view_func=door.view(page),
            methods=[page.method],
            provide_automatic_options=False,
        )
    return door


def session_of(visit: Visit[Any, Any]) -> Session:
    """Who is signed in. Raises SessionEnded."""
    if visit.session is None:
        raise SessionEnded("Nobody is signed in.")
    return visit.session
