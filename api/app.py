"""The Flask application: routes in, problems out. It knows neither sockets nor threads nor the
clock.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from flask import Flask, Response, current_app, request
from flask.sessions import SecureCookieSession, SessionInterface
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map

from api import acme, est, reference
from api.bridge import EXCHANGE
from api.cmp import over_tls as cmp
from api.console import assets as console_assets
from api.console import door as console
from api.console.pages import PAGES
from api.dispatch import Dispatcher
from api.errors import RouteNotFound
from api.health import health_routes
from api.meters import Meters
from api.problems import (
    MEDIA_TYPE,
    encode,
    from_werkzeug,
    internal,
    problem_body,
    problem_headers,
    status_of,
)
from api.registry import Route
from api.scep import over_tls as scep
from api.v1 import (
    agents,
    alerts,
    approvals,
    audit_log,
    authorities,
    certificates,
    enroll_endpoints,
    findings,
    gateways,
    handovers,
    history,
    overview,
    profiles,
    reports,
    revocations,
    rollovers,
    rotations,
    sa_events,
    secrets,
    sessions,
    tokens,
    trust,
    tunnels,
    whoami,
)
from core.errors import IkewardenError
from pki.desk import Desk

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wiring:
    """What the application is made of. `metrics_public`: anybody may read /metrics."""

    desk: Desk
    clock: Callable[[], datetime]
    meters: Meters
    version: str
    metrics_public: bool = False


def routes(wiring: Wiring) -> tuple[Route, ...]:
    """All routes of this door."""
    operations = (
        *certificates.ROUTES,
        *revocations.ROUTES,
        *authorities.ROUTES,
        *rollovers.ROUTES,
        *trust.ROUTES,
        *profiles.ROUTES,
        *enroll_endpoints.ROUTES,
        *tokens.ROUTES,
        *sessions.ROUTES,
        *approvals.ROUTES,
        *gateways.ROUTES,
        *agents.ROUTES,
        *tunnels.ROUTES,
        *secrets.ROUTES,
        *rotations.ROUTES,
        *handovers.ROUTES,
        *findings.ROUTES,
        *sa_events.ROUTES,
        *alerts.ROUTES,
        *reports.ROUTES,
        *overview.ROUTES,
        *history.ROUTES,
        *audit_log.ROUTES,
        *whoami.ROUTES,
        *health_routes(wiring.meters, version=wiring.version, metrics_public=wiring.metrics_public),
    )
    return (*operations, *reference.reference_routes(operations, wiring.version))


def build(wiring: Wiring) -> Flask:
    """Make the application."""
    # No static folder and no templates of Flask's own: every path is a route of the registry.
    app = Flask(__name__, static_folder=None, template_folder=None)
    app.session_interface = _NoSessions()
    # A path is what was asked for; werkzeug would otherwise send clients from //v1 to /v1.
    app.url_map = Map(merge_slashes=False)
    dispatcher = Dispatcher(wiring.desk, wiring.clock)
    _add(app, dispatcher, routes(wiring))
    est.install(app, wiring.desk, wiring.clock)
    acme.install(app, wiring.desk, wiring.clock)
    cmp.install(app, wiring.desk, wiring.clock)
    scep.install(app, wiring.desk, wiring.clock)
    pages = console.install(app, wiring.desk, wiring.clock, PAGES)
    app.extensions[_CONSOLE] = pages
    app.add_url_rule("/assets/<name>", view_func=_asset, provide_automatic_options=False)
    app.register_error_handler(IkewardenError, _refuse)
    app.register_error_handler(HTTPException, _refuse_http)
    app.register_error_handler(Exception, _unforeseen)
    return app


_CONSOLE: Final = "ikewarden.console"


def _asset(name: str) -> Response:
    found = console_assets.by_address().get(name)
    if found is None:
        raise RouteNotFound("There is nothing at this path.")
    response = Response(found.content, content_type=found.media_type)
    # The name changes with the content.
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response


def _add(app: Flask, dispatcher: Dispatcher, all_routes: Iterable[Route]) -> None:
    for route in all_routes:
        app.add_url_rule(
            route.rule,
            endpoint=route.name,
            view_func=dispatcher.view(route),
            methods=[route.method],
            provide_automatic_options=False,
        )


class _NoSessions(SessionInterface):
    """There are no cookies: every request says anew who sends it."""

    def open_session(self, app: Flask, request: object) -> SecureCookieSession:
        return _SESSION

    def is_null_session(self, obj: object) -> bool:
        return True


_SESSION = SecureCookieSession()


def _refuse(error: IkewardenError) -> Response:
    request_id = request.environ[EXCHANGE].request_id
    if acme.is_acme(request.path):
        return acme.refusal(error, request_id)
    if _for_people():
        return _page_of(error)
    if status_of(error) >= 500:
        _log.warning("%s", error.message, extra={"request_id": request_id, "code": error.code})
    response = Response(problem_body(error, request_id=request_id), status_of(error))
    token_given = "HTTP_AUTHORIZATION" in request.environ
    for name, value in problem_headers(error, token_given=token_given):
        response.headers[name] = value
    if "WWW-Authenticate" in response.headers and est.is_est(request.path):
        response.headers["WWW-Authenticate"] = est.CHALLENGE
    return response


def _refuse_http(error: HTTPException) -> Response:
    ours = from_werkzeug(error)
    if type(ours) is IkewardenError:
        return _unforeseen(error)
    response = _refuse(ours)
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def _unforeseen(error: Exception) -> Response:
    request_id = request.environ[EXCHANGE].request_id
    _log.error("unforeseen", exc_info=error, extra={"request_id": request_id})
    if acme.is_acme(request.path):
        return acme.refusal(IkewardenError("Something went wrong on our side."), request_id)
    if _for_people():
        return _page_of(IkewardenError("Something went wrong on our side."))
    return Response(encode(internal(request_id)), 500, content_type=MEDIA_TYPE)


def _for_people() -> bool:
    path = request.path
    return console.wants_page(request.environ) and not path.startswith(("/v1", "/.well-known"))


def _page_of(error: IkewardenError) -> Response:
    shown: Response = current_app.extensions[_CONSOLE].refusal(error)
    return shown
