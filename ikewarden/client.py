"""A client of the REST API: TLS that is always verified, problems as errors, pages followed, posts sent once."""

import json
import re
import secrets
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NewConnectionError,
    SSLError,
)

from core.errors import IkewardenError, InvalidInput, Unavailable
from core.secret import Secret

Method = Literal["GET", "POST", "PATCH", "DELETE"]
Query = Mapping[str, str | int | None]
Document = dict[str, Any]

_MAX_ANSWER: Final = 32 * 2**20
_PAGE: Final = 500
# A path at the same service: the credential goes nowhere else.
_NEXT: Final = re.compile(r'<(/[!-;=?-~]*)>; rel="next"')
# Founding an authority with an RSA key is the slowest answer there is.
_TIMEOUT: Final = urllib3.Timeout(connect=10, read=90)
# X509_V_ERR_*, as OpenSSL numbers them
_EXPIRED, _NOT_YET_VALID = 10, 9
_OTHER_NAME = (62, 64)


class ServiceUnreachable(Unavailable):
    """No connection, or it broke before the answer was there.

    `maybe_done`: the request was sent, so that the service may have carried it out.
    """

    code = "service_unreachable"
    next_step = "Check the URL, and that `ikewarden serve` runs there."

    def __init__(self, message: str, *, next_step: str = "", maybe_done: bool = False) -> None:
        super().__init__(message, next_step=next_step)
        self.maybe_done = maybe_done


class ServiceUntrusted(Unavailable):
    """Whoever answers did not prove to be the service; nothing was sent."""

    code = "service_untrusted"


class AnswerUnreadable(Unavailable):
    """Something answers there that does not speak like the service."""

    code = "answer_unreadable"
    next_step = "Check the URL: host and port of the API are in [api] of the service's settings."


class ConnectionUnusable(InvalidInput):
    """A URL, CA file or client certificate that cannot be used."""

    code = "connection_unusable"


class Refused(IkewardenError):
    """The service said no: the members of its RFC 9457 problem document.

    `surely_not_done`: nothing happened for this request, also not in an earlier attempt.
    """

    code = "refused"

    def __init__(self, status: int, problem: Document, *, surely_not_done: bool) -> None:
        message = str(problem.get("detail") or f"The service answered with status {status}.")
        super().__init__(message, next_step=str(problem.get("next_step") or ""))
        self.status = status
        self.problem = problem
        self.surely_not_done = surely_not_done


@dataclass(frozen=True)
class Service:
    """Where the API is, and what proves it to us and us to it.

    `ca_file` holds the root in PEM; no other is trusted. `certificate` and `key` are for mutual TLS.
    """

    url: str
    ca_file: Path
    token: Secret | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class Listing:
    """The first entries of a list, and whether there are more."""

    items: list[Document]
    more: bool


class Client:
    """Requests to one service, one at a time. `passphrase` is asked for that of an encrypted client key; `approval` is
    the number of another person's approval for what is asked; `trace` is the header of what they belong under.
    """

    def __init__(
        self,
        service: Service,
        *,
        passphrase: Callable[[], str] | None = None,
        approval: str | None = None,
        trace: Mapping[str, str] | None = None,
    ) -> None:
        self._service = service
        self._approval = approval
        self._trace = trace or {}
        self._url = _checked_url(service.url)
        self._link = ""  # of the last answer
        self._pool = urllib3.PoolManager(
            ssl_context=_tls(service, passphrase), retries=False, timeout=_TIMEOUT, maxsize=1
        )

    def get(self, path: str, query: Query | None = None) -> Document:
        """The document at a path. Raises Refused, ServiceUnreachable, ServiceUntrusted, AnswerUnreadable."""
        return self._ask("GET", path, query, None)

    def content(self, path: str, query: Query | None = None) -> bytes:
        """What is at a path, whatever its form. Raises what `get` raises."""
        return b"".join(self.parts(path, query))

    def parts(self, path: str, query: Query | None = None) -> Iterator[bytes]:
        """What is at a path, and where the Link headers of the answers lead to. Raises what `get` raises."""
        target, seen = self._target(path, query), set()
        while target not in seen:
            seen.add(target)
            status, answer = self._exchange("GET", target, self._headers("*/*"), None)
            if not 200 <= status < 300:
                self._read(status, answer, again=False)
            yield answer
            following = _NEXT.fullmatch(self._link)
            if following is None:
                return
            target = self._url + following[1]
        raise AnswerUnreadable(f"The parts of {self._url}{path} have no end.")

    def post(
        self, path: str, body: Mapping[str, Any] | None = None, query: Query | None = None
    ) -> Document:
        """What the service answers to a body.

        It carries a fresh Idempotency-Key, and is sent once more with the same key if the connection is lost.
        Raises what `get` raises.
        """
        return self._ask("POST", path, query, body or {})

    def patch(self, path: str, body: Mapping[str, Any]) -> Document:
        """Change what is at a path, and give what it is then. Sent once more if the connection is lost. Raises what
        `get` raises.
        """
        return self._ask("PATCH", path, None, body)

    def delete(self, path: str, query: Query | None = None) -> Document:
        """Remove what is at a path, and give what the service says of it, if anything. Sent once more if the connection
        is lost. Raises what `get` raises.
        """
        return self._ask("DELETE", path, query, None)

    def listing(self, path: str, query: Query | None = None, *, limit: int) -> Listing:
        """The first `limit` entries of a list with pages. Raises what `get` raises."""
        items: list[Document] = []
        cursor: str | None = None
        while True:
            asked = {**(query or {}), "limit": min(_PAGE, limit - len(items)), "cursor": cursor}
            page = self.get(path, asked)
            found, after = page.get("items"), page.get("next_cursor")
            if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
                raise AnswerUnreadable(f"{self._url}{path} gave no list.")
            items += found
            if after is None or len(items) >= limit:
                return Listing(items[:limit], more=after is not None or len(items) > limit)
            if not found or after == cursor:
                raise AnswerUnreadable(f"The pages of {self._url}{path} have no end.")
            cursor = str(after)

    def _ask(
        self, method: Method, path: str, query: Query | None, body: Mapping[str, Any] | None
    ) -> Document:
        target, headers = self._target(path, query), self._headers("application/json")
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
            headers["Idempotency-Key"] = secrets.token_urlsafe(24)
        try:
            status, answer = self._exchange(method, target, headers, content)
            again = False
        except ServiceUnreachable as lost:
            if not lost.maybe_done:
                raise
            status, answer = self._second(method, target, headers, content)
            again = True
        return self._read(status, answer, again=again)

    def _target(self, path: str, query: Query | None) -> str:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return self._url + path + (f"?{urlencode(given)}" if given else "")

    def _headers(self, accept: str) -> dict[str, str]:
        headers = {"Accept": accept, "User-Agent": "ikewarden", **self._trace}
        if self._service.token is not None:
            headers["Authorization"] = f"Bearer {self._service.token.reveal().decode()}"
        if self._approval is not None:
            headers["Ikewarden-Approval"] = self._approval
        return headers

    def _second(
        self, method: Method, target: str, headers: Mapping[str, str], content: bytes | None
    ) -> tuple[int, bytes]:
        try:
            return self._exchange(method, target, headers, content)
        except ServiceUnreachable as lost:
            raise ServiceUnreachable(
                lost.message, next_step=lost.next_step, maybe_done=True
            ) from None

    def _exchange(
        self, method: Method, target: str, headers: Mapping[str, str], content: bytes | None
    ) -> tuple[int, bytes]:
        """One request and its answer. Raises ServiceUnreachable, ServiceUntrusted, AnswerUnreadable."""
        try:
            response = self._pool.request(
                method, target, body=content, headers=headers, redirect=False, preload_content=False
            )
            with response:
                answer = response.read(_MAX_ANSWER + 1)
                self._link = response.headers.get("Link", "")
        except SSLError as error:
            raise self._distrust(error) from None
        except NewConnectionError as error:
            reason = _reason(error)
            raise ServiceUnreachable(f"Nothing answers at {self._url}: {reason}.") from None
        except ConnectTimeoutError:
            raise ServiceUnreachable(f"Nothing answers at {self._url} in time.") from None
        except HTTPError:  # whatever it was: the request may have arrived
            raise self._lost() from None
        if len(answer) > _MAX_ANSWER:
            raise AnswerUnreadable(f"The answer of {self._url} is too large.")
        return response.status, answer

    def _lost(self) -> ServiceUnreachable:
        message = f"The connection to {self._url} was lost before the answer."
        advice = "Look whether it was carried out before you try again."
        if self._service.certificate is not None:
            # A server that does not know a client certificate hangs up without a word.
            advice = (
                f"The service may not know the authority of {self._service.certificate}. {advice}"
            )
        return ServiceUnreachable(message, next_step=advice, maybe_done=True)

    def _read(self, status: int, answer: bytes, *, again: bool) -> Document:
        if status == 204 and not answer:
            return {}
        try:
            document = json.loads(answer)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise AnswerUnreadable(f"What answers at {self._url} is not ikewarden's API.")
        if 200 <= status < 300:
            return document
        # A first attempt that is refused did nothing. A second one may find what the first one did; a
        # 409 may mean a state that somebody changed meanwhile, a 5xx a half-done act.
        sure = 400 <= status < 500 and status != 409 and not again
        raise Refused(status, document, surely_not_done=sure)

    def _distrust(self, error: SSLError) -> IkewardenError:
        inner = next((each for each in error.args if isinstance(each, ssl.SSLError)), None)
        if not isinstance(inner, ssl.SSLCertVerificationError):
            # Not reason and library texts of OpenSSL alone: they say little to most people.
            what = (inner.reason if inner else None) or "no TLS there"
            return ServiceUntrusted(
                f"No TLS connection to {self._url} could be made ({what}).",
                next_step="Check that the URL is that of the API and not of another listener.",
            )
        ca_file = self._service.ca_file
        expected = f"Expected was a certificate from {expected_authority(ca_file)} in {ca_file}."
        if inner.verify_code in _OTHER_NAME:
            message = f"The certificate of {self._url} is for another name."
            advice = (
                "Use one of the names in [api] names, or add this one to the service's settings."
            )
        elif inner.verify_code in (_EXPIRED, _NOT_YET_VALID):
            message = f"The certificate of {self._url} is not valid now: {inner.verify_message}."
            advice = "Compare the clocks; then look at the service's log for its renewal."
        else:
            message = f"{self._url} did not prove to be the service: {inner.verify_message}."
            advice = "Give the service's root with --ca-file, or check whom you are talking to."
        return ServiceUntrusted(message, next_step=f"{expected} {advice}")


def expected_authority(ca_file: Path) -> str:
    """Name the first certificate in a CA file by its subject, for a message."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(ca_file.read_bytes()).subject.rfc4514_string()
    except (OSError, ValueError):
        return "an authority"


def _checked_url(url: str) -> str:
    try:
        parts = urllib3.util.parse_url(url)
    except LocationValueError:
        parts = urllib3.util.Url()
    if not parts.host or parts.auth or parts.query or parts.fragment:
        raise ConnectionUnusable(
            "The URL of the service is not a URL.",
            next_step="Give it as https://HOST:PORT, as `ikewarden init` printed it.",
        )
    if parts.scheme != "https":
        raise ConnectionUnusable(
            "The URL of the service does not start with https.",
            next_step="Give the URL of the API, not of the validation listener; a token is never sent without TLS.",
        )
    return url.rstrip("/")


def _tls(service: Service, passphrase: Callable[[], str] | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies chain and name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _trust(context, service.ca_file)
    if service.certificate is not None:
        _present(context, service.certificate, service.key, passphrase)
    return context


def authorities_in(ca_file: Path) -> list[bytes]:
    """The authorities that a CA file makes one trust, in DER. Raises ConnectionUnusable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _trust(context, ca_file)
    return context.get_ca_certs(binary_form=True)


def _trust(context: ssl.SSLContext, ca_file: Path) -> None:
    advice = "Give the service's root-ca.pem with --ca-file or IKEWARDEN_CA_FILE."
    try:
        context.load_verify_locations(cafile=ca_file)
    except FileNotFoundError:
        raise ConnectionUnusable(f"There is no CA file {ca_file}.", next_step=advice) from None
    except OSError as error:
        what = "holds no PEM certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConnectionUnusable(
            f"The CA file {ca_file} cannot be used: {what}.", next_step=advice
        ) from None


def _present(
    context: ssl.SSLContext,
    certificate: Path,
    key: Path | None,
    passphrase: Callable[[], str] | None,
) -> None:
    def ask() -> str:
        # Without an answer OpenSSL itself would ask, on a terminal that may not be there.
        return passphrase() if passphrase is not None else ""

    try:
        context.load_cert_chain(certificate, key, password=ask)
    except OSError as error:
        what = error.strerror if not isinstance(error, ssl.SSLError) else "they do not fit"
        raise ConnectionUnusable(
            f"The client certificate {certificate} and its key cannot be used: {what}.",
            next_step="Give a PEM certificate with --cert and its PEM key with --key.",
        ) from None


def _reason(error: NewConnectionError) -> str:
    cause = error.__cause__ or error.__context__
    text = cause.strerror if isinstance(cause, OSError) else None
    return (text or "no connection").lower()
