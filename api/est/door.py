"""EST over the TLS listener: paths, decoding, one operation each, encoding (RFC 7030 §3, §4).

/.well-known/est/OPERATION              the endpoint `gateway`
/.well-known/est/LABEL/OPERATION        the endpoint LABEL
/p/LABEL/.well-known/est/OPERATION      the same, for charon's `pki` before 5.9.11, which knows no labels
"""

import base64
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from flask import Flask, Response, request

from api import refused
from api.bridge import EXCHANGE, Exchange
from api.errors import MediaTypeRefused, MethodNotAllowed, RouteNotFound
from api.est import credentials, messages
from core.errors import IkewardenError, NotAuthenticated, NotFound
from fleet import ca_sets
from pki import enrollments, identity, profiles, serverkeys
from pki.actors import Actor, Role
from pki.desk import Desk
from pki.endpoints import DEFAULT, Endpoint, EndpointNotFound, EstDoor
from pki.enrollments import RETRY_AFTER, EnrollmentWaits
from pki.identity import TokenRefused
from pki.x509.csr_attributes import csr_attributes

_WELL_KNOWN: Final = "/.well-known/est/"
#: RFC 7030 §3.2.3: the challenge of HTTP Basic.
CHALLENGE: Final = 'Basic realm="ikewarden", charset="UTF-8"'
_RULES: Final = (
    "/.well-known/est/<operation>",
    "/.well-known/est/<label>/<operation>",
    "/p/<label>/.well-known/est/<operation>",
)


class OperationNotOffered(NotFound):
    """An operation of EST that this service does not have."""

    code = "est_operation_not_offered"
    next_step = "Use simpleenroll, simplereenroll or serverkeygen."


class ServerKeysOff(NotFound):
    """The endpoint makes no keys for devices."""

    code = "server_keys_off"
    next_step = (
        "Make the key on the device and use simpleenroll, or allow it in the file of the endpoint: "
        "server_keys = true under [est]."
    )


class CertificateMissing(NotAuthenticated):
    """A renewal without the certificate that it is of."""

    code = "client_certificate_missing"
    next_step = "Connect with the device's certificate and key, and without a password."


def is_est(path: str) -> bool:
    """Whether a path is of this door."""
    return _WELL_KNOWN in path


def install(app: Flask, desk: Desk, clock: Callable[[], datetime]) -> None:
    """Add the paths of EST to the application. `clock` is read once per request."""
    door = _Door(desk, clock)
    for rule in _RULES:
        app.add_url_rule(
            rule,
            endpoint=f"est {rule}",
            view_func=door.answer,
            methods=["GET", "POST"],
            provide_automatic_options=False,
        )


@dataclass(frozen=True, slots=True)
class _Ask:
    """One request, with what its path names."""

    desk: Desk
    through: Endpoint
    door: EstDoor
    exchange: Exchange
    now: datetime

    def actor(self) -> Actor:
        """Who asks. Raises what `credentials.identify` raises."""
        header = request.environ.get("HTTP_AUTHORIZATION")
        return credentials.identify(self.desk, self.door.ways, header, self.exchange, now=self.now)

    def earlier(self, csr: bytes) -> bytes | None:
        """What a token that is used up has fetched for the same key already, if it has."""
        token = credentials.password(request.environ.get("HTTP_AUTHORIZATION"))
        if token is None or "token" not in self.door.ways:
            return None
        spent = identity.used_up(self.desk, token, now=self.now)
        if spent is None:
            return None
        return enrollments.given(self.desk, spent, self.through, csr, now=self.now)


class _Door:
    def __init__(self, desk: Desk, clock: Callable[[], datetime]) -> None:
        self._desk = desk
        self._clock = clock

    def answer(self, operation: str, label: str = DEFAULT) -> Response:
        exchange: Exchange = request.environ[EXCHANGE]
        exchange.route = str(request.url_rule)
        try:
            return self._answer(operation, label, exchange)
        except IkewardenError as error:
            refused.tell(
                "EST",
                error,
                endpoint=label,
                client=exchange.client,
                request_id=exchange.request_id,
                actor=exchange.actor,
                claims=refused.subject_of(exchange.peer),
            )
            raise

    def _answer(self, operation: str, label: str, exchange: Exchange) -> Response:
        found = _OPERATIONS.get(operation)
        if found is None:
            raise RouteNotFound("EST has no such operation.")
        method, act = found
        if request.method != method:
            raise MethodNotAllowed(f"EST's {operation} is a {method}.")
        through = enrollments.endpoint(self._desk, label)
        if through.est is None:
            raise EndpointNotFound(f"The endpoint {through.name!r} is not reached by EST.")
        try:
            return act(_Ask(self._desk, through, through.est, exchange, self._clock()))
        except EnrollmentWaits as waits:  # RFC 7030 §4.2.3
            text = f"{waits.message} {waits.next_step}\n"
            headers = {"Retry-After": str(RETRY_AFTER)}
            return Response(text, 202, headers, content_type="text/plain; charset=utf-8")


def _cacerts(ask: _Ask) -> Response:
    """RFC 7030 §4.1: the chain of who issues, and in a rollover who stands in for each."""
    issuer = enrollments.issuer(ask.desk, ask.through, now=ask.now)
    line = ca_sets.line_of(ask.desk, issuer.name, now=ask.now)
    return _encoded(messages.certs_only(each.certificate for each in line), messages.CERTS)


def _csrattrs(ask: _Ask) -> Response:
    """RFC 7030 §4.5."""
    profile = profiles.load(ask.desk, ask.through.profile)
    content = base64.b64encode(csr_attributes(profile.key_algorithms[0]))
    return _encoded(content, messages.CSR_ATTRIBUTES)


def _enroll(ask: _Ask) -> Response:
    """RFC 7030 §4.2.1; by a certificate of ours it is the same as §4.2.2."""
    csr = _body()
    try:
        actor = ask.actor()
    except TokenRefused:
        earlier = ask.earlier(csr)
        if earlier is None:
            raise
        return _issued(earlier)
    return _issued(_made(ask, actor, csr))


def _reenroll(ask: _Ask) -> Response:
    """RFC 7030 §4.2.2."""
    actor = ask.actor()
    if actor.role is not Role.GATEWAY:
        raise CertificateMissing("Re-enrollment is by the certificate that is to be renewed.")
    return _issued(_made(ask, actor, _body()))


def _serverkeygen(ask: _Ask) -> Response:
    """RFC 7030 §4.4."""
    if not ask.door.server_keys:
        raise ServerKeysOff(f"The endpoint {ask.through.name!r} makes no keys for devices.")
    actor = ask.actor()
    peer = ask.exchange.peer
    pair = serverkeys.make(ask.desk, actor, ask.through, _body(), peer, now=ask.now)
    made = _made(ask, actor, pair.csr)
    boundary = secrets.token_hex(16)
    content = messages.mixed(
        [
            (
                messages.SERVER_KEY if pair.sealed else messages.PKCS8,
                base64.b64encode(pair.key.reveal()),
            ),
            (messages.CERTS, _certs_only(made)),
        ],
        boundary,
    )
    return _encoded(content, f"multipart/mixed; boundary={boundary}", transfer=False)


def _fullcmc(ask: _Ask) -> Response:
    """RFC 7030 §4.3 is optional."""
    raise OperationNotOffered("Full CMC is not offered here.")


_OPERATIONS: Final[Mapping[str, tuple[str, Callable[[_Ask], Response]]]] = {
    "cacerts": ("GET", _cacerts),
    "csrattrs": ("GET", _csrattrs),
    "simpleenroll": ("POST", _enroll),
    "simplereenroll": ("POST", _reenroll),
    "serverkeygen": ("POST", _serverkeygen),
    "fullcmc": ("POST", _fullcmc),
}


def _made(ask: _Ask, actor: Actor, csr: bytes) -> bytes:
    return enrollments.once(ask.desk, actor, ask.through, "est", csr, now=ask.now)


def _certs_only(der: bytes) -> bytes:
    return messages.certs_only([x509.load_der_x509_certificate(der)])


def _body() -> bytes:
    """The request of the body. Raises MediaTypeRefused."""
    if request.mimetype != messages.PKCS10:
        raise MediaTypeRefused(
            "The body must be a PKCS#10 request in base64.",
            next_step=f"Send it with Content-Type: {messages.PKCS10}.",
        )
    return request.get_data()


def _issued(der: bytes) -> Response:
    """RFC 7030 §4.2.3: the certificate alone."""
    return _encoded(_certs_only(der), messages.CERTS)


def _encoded(content: bytes, media_type: str, *, transfer: bool = True) -> Response:
    # RFC 8951 §3: nobody looks at the transfer encoding any more, but for clients that are older.
    headers = {"Content-Transfer-Encoding": "base64"} if transfer else {}
    return Response(content, 200, headers, content_type=media_type)
