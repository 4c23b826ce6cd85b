"""ACME over the TLS listener: paths, one operation each, and what every answer has (RFC 8555 §6, §7.1)."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from flask import Flask, Response, request

from api import refused
from api.acme import operations, problems
from api.acme.asked import Ask
from api.bridge import EXCHANGE, Exchange
from core.errors import IkewardenError
from pki import enrollments
from pki.acme import nonces
from pki.desk import Desk
from pki.endpoints import EndpointNotFound

_Operation = Callable[[Ask], Response]
# Paths below /acme/ENDPOINT; RFC 8555 §7.1 leaves them to the server.
_READ: Final[Mapping[str, _Operation]] = {
    "directory": operations.directory,
    "new-nonce": operations.new_nonce,
    "renewal-info/<name>": operations.renewal_info,
}
_SIGNED: Final[Mapping[str, _Operation]] = {
    "new-account": operations.new_account,
    "account/<name>": operations.account,
    "account/<name>/orders": operations.list_orders,
    "key-change": operations.key_change,
    "new-order": operations.new_order,
    "order/<name>": operations.order,
    "order/<name>/finalize": operations.finalize,
    "order/<name>/certificate": operations.certificate,
    "authorization/<name>": operations.authorization,
    "challenge/<name>": operations.challenge,
    "revoke-certificate": operations.revoke_certificate,
}


def is_acme(path: str) -> bool:
    """Whether a path is of this door."""
    return path.startswith("/acme/")


def install(app: Flask, desk: Desk, clock: Callable[[], datetime]) -> None:
    """Add the paths of ACME to the application. `clock` is read once per request."""
    for paths, method in ((_READ, "GET"), (_SIGNED, "POST")):
        for path, operation in paths.items():
            rule = f"/acme/<endpoint>/{path}"
            app.add_url_rule(
                rule,
                endpoint=f"acme {rule}",
                view_func=_Door(desk, clock, operation).answer,
                methods=[method],
                provide_automatic_options=False,
            )


class _Door:
    def __init__(self, desk: Desk, clock: Callable[[], datetime], operation: _Operation) -> None:
        self._desk, self._clock, self._operation = desk, clock, operation

    def answer(self, endpoint: str, name: str = "") -> Response:
        exchange: Exchange = request.environ[EXCHANGE]
        exchange.route = str(request.url_rule)
        now = self._clock()
        try:
            response = self._operation(self._ask(endpoint, name, exchange, now))
        except IkewardenError as error:
            refused.tell(
                "ACME",
                error,
                endpoint=endpoint,
                client=exchange.client,
                request_id=exchange.request_id,
                actor=exchange.actor,
            )
            response = refusal(error, exchange.request_id)
        if self._operation is not operations.directory:
            # RFC 8555 §7.1: where to begin.
            start = f"{self._desk.rules.service_url}/acme/{endpoint}/directory"
            if endpoint in self._desk.rules.endpoints:
                response.headers.add("Link", f'<{start}>;rel="index"')
        if request.method == "POST" or self._operation is operations.new_nonce:
            # RFC 8555 §6.5: also with errors, so that a client always has one for its next request.
            response.headers["Replay-Nonce"] = nonces.new(self._desk, now=now)
        response.headers["Cache-Control"] = "no-store"  # RFC 8555 §7.2
        return response

    def _ask(self, endpoint: str, name: str, exchange: Exchange, now: datetime) -> Ask:
        through = enrollments.endpoint(self._desk, endpoint)
        if through.acme is None:
            raise EndpointNotFound(f"The endpoint {through.name!r} is not reached by ACME.")
        return Ask(self._desk, through, through.acme, exchange, now, name)


def refusal(error: IkewardenError, request_id: str) -> Response:
    """The answer for an error, as ACME has it."""
    response = Response(problems.body(error, request_id), problems.kind_of(error)[1])
    for name, value in problems.headers(error).items():
        response.headers[name] = value
    return response
