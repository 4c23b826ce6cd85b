"""The way to the service: TLS verified by the pinned root alone, problems as errors, answers bounded and whole.

One instance is one connection and is used by one thread; it speaks with one credential for its life. After a renewal
the caller makes a new one.
"""

import json
import math
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlencode

import urllib3
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from urllib3.exceptions import (
    HTTPError,
    LocationParseError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from core.errors import IkewardenError, InvalidInput, Unavailable
from core.secret import Secret
from ike.daemons.port import Credential, CredentialMismatch

Document = dict[str, Any]

LARGEST_ANSWER: Final = 16 * 2**20
_CONNECT_SECONDS: Final = 10
_READ_SECONDS: Final = 60
_CHUNK: Final = 64 * 1024
_LONGEST_RETRY: Final = 3600
_BUSY: Final = (429, 503)
# Who stands before a terminal waits as long as the service says, but not for ever.
_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 10.0
_LAST_YEAR: Final = 9000  # times after it cannot be reckoned with
# X509_V_ERR_*, as OpenSSL numbers them
_EXPIRED, _NOT_YET_VALID = 10, 9
_OTHER_NAME: Final = (62, 64)
# A server that vanished without a word is noticed within half a minute, also while nothing is said for minutes.
_SOCKET_OPTIONS: Final = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (
            ("TCP_KEEPIDLE", 15),
            ("TCP_KEEPINTVL", 5),
            ("TCP_KEEPCNT", 3),
            ("TCP_USER_TIMEOUT", 30_000),
        )
        if hasattr(socket, name)
    ),
]


class ServerUnreachable(Unavailable):
    """The service does not answer the agent, or broke off before the answer was there.

    `maybe_done`: the request was sent, so that the service may have carried it out.
    """

    code = "server_unreachable"
    next_step = "Nothing was changed here; the agent tries again by itself."

    def __init__(self, message: str, *, maybe_done: bool = False) -> None:
        super().__init__(message)
        self.maybe_done = maybe_done


class ServerUntrusted(Unavailable):
    """Whoever answers did not prove to be the service; nothing was sent."""

    code = "server_untrusted"


class AnswerBroken(Unavailable):
    """An answer that is cut off, too large, or not what the service answers; nothing was changed for it."""

    code = "answer_broken"
    next_step = "Nothing was changed here; the agent tries again by itself."


class ServiceUrlUnusable(InvalidInput):
    """The URL of the service is none."""

    code = "service_url_unusable"
    next_step = "It is https://HOST:PORT, and stands in agent.toml and in the enrollment."


class ServerRefused(IkewardenError):
    """The service said no to the agent. `problem` is the code of its RFC 9457 document."""

    code = "server_refused"

    def __init__(self, status: int, document: Document, *, retry_after: float | None) -> None:
        self.status = status
        self.problem = str(document.get("code") or f"http_{status}")
        detail = str(document.get("detail") or f"It answered with status {status}.")
        super().__init__(
            f"The service refused: {detail} ({self.problem})",
            next_step=str(document.get("next_step") or ""),
            details={"status": status, "problem": self.problem},
        )
        self.retry_after = retry_after

    @property
    def later(self) -> bool:
        """Whether the same request may work later."""
        return self.status >= 500 or self.status in (408, 425, 429)


@dataclass(frozen=True)
class Answer:
    """What came: status, headers by lower-case name, the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self, url: str) -> Document:
        """The body as a JSON object. Raises AnswerBroken."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise AnswerBroken(f"What answers at {url} is not ikewarden's API, or was cut off.")
        return document


class Service:
    """Requests to one service, one at a time.

    `root` None: whoever answers is believed, which only the fetching of a pinned root may use. `skew` is the
    service's clock minus ours in seconds, as its last answer told; 0 where the answer allows it. A service that says
    that it is busy is asked `tries` times in all.
    """

    def __init__(
        self,
        url: str,
        root: x509.Certificate | None,
        *,
        clock: Callable[[], datetime],
        credential: Credential | None = None,
        token: Secret | None = None,
        tries: int = 1,
    ) -> None:
        if root is None and (credential is not None or token is not None):
            raise ValueError("nothing secret goes over an unverified connection")
        self.url = _checked(url)
        self.skew: float | None = None
        self._clock = clock
        self._token = token
        self._tries = tries
        self._context = _context(root, credential)
        self._pool = urllib3.PoolManager(
            ssl_context=self._context,
            retries=False,
            maxsize=1,
            socket_options=_SOCKET_OPTIONS,
        )

    def close(self) -> None:
        """Hang up."""
        self._pool.clear()

    def get(
        self, path: str, query: Mapping[str, str] | None = None, *, limit: int = LARGEST_ANSWER
    ) -> Document:
        """The document at a path. Raises ServerUnreachable, ServerUntrusted, AnswerBroken, ServerRefused."""
        answer = self.ask("GET", path, query=query, limit=limit)
        return self._refused(answer).document(self.url)

    def post(self, path: str, body: Document, *, key: str | None = None) -> Document:
        """What the service answers to a body; {} for 204. `key`: the Idempotency-Key. Raises what `get` raises."""
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        content = json.dumps(body).encode()
        answer = self._refused(self.ask("POST", path, headers=headers, content=content))
        return {} if answer.status == 204 else answer.document(self.url)

    def fetch(self, path: str, *, limit: int, etag: str | None = None) -> bytes | None:
        """The octets at a path; None where they still have this ETag. Raises what `get` raises."""
        headers = {"If-None-Match": f'"{etag}"'} if etag else {}
        answer = self.ask("GET", path, headers=headers, limit=limit, accept="*/*")
        return None if answer.status == 304 else self._refused(answer).body

    def state(self, etag: str | None, wait: int) -> tuple[Document, str] | None:
        """The desired state with its ETag; None where `wait` seconds passed and it is still the one of `etag`.

        Raises what `get` raises.
        """
        headers = {"If-None-Match": etag} if etag else {}
        query = {"wait": str(wait)} if etag and wait else {}
        answer = self.ask(
            "GET",
            "/v1/gateways/self/state",
            query=query,
            headers=headers,
            seconds=_READ_SECONDS + wait,
        )
        if answer.status == 304:
            return None
        document = self._refused(answer).document(self.url)
        return document, answer.headers.get("etag", "")

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        limit: int = LARGEST_ANSWER,
        seconds: float = _READ_SECONDS,
        accept: str = "application/json",
    ) -> Answer:
        """One request and its answer, whatever its status. Raises ServerUnreachable, ServerUntrusted, AnswerBroken."""
        target = self.url + path + (f"?{urlencode(query)}" if query else "")
        sent = {"Accept": accept, "User-Agent": "ikewarden-agent", **(headers or {})}
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token.reveal().decode()}"
        for _ in range(self._tries - 1):
            answer = self._ask(method, target, sent, content, limit, seconds)
            if answer.status not in _BUSY:
                return answer
            told = _retry_after(answer.headers, self._clock())
            threading.Event().wait(_PAUSE if told is None else min(told, _LONGEST_PAUSE))
        return self._ask(method, target, sent, content, limit, seconds)

    def _ask(
        self,
        method: str,
        target: str,
        sent: Mapping[str, str],
        content: bytes | None,
        limit: int,
        seconds: float,
    ) -> Answer:
        began = time.monotonic()
        timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=seconds)
        ends = time.monotonic() + seconds
        self._context.ends = ends
        try:
            response = self._pool.request(
                method,
                target,
                body=content,
                headers=sent,
                redirect=False,
                preload_content=False,
                timeout=timeout,
            )
            with response:
                body = _read(response, limit, ends)
        except SSLError as error:
            raise self._distrust(error) from None
        except NewConnectionError as error:
            raise ServerUnreachable(f"Nothing answers at {self.url}: {_reason(error)}.") from None
        except (ProtocolError, ReadTimeoutError) as error:
            raise self._lost(error, seconds) from None
        except (HTTPError, OSError):
            raise ServerUnreachable(f"Nothing answers at {self.url} in time.") from None
        if len(body) > limit:
            raise AnswerBroken(f"An answer of {self.url} is larger than {limit} bytes.")
        known = {name.lower(): value for name, value in response.headers.items()}
        self._note_time(known.get("date"), time.monotonic() - began)
        return Answer(response.status, known, body)

    def _lost(self, error: HTTPError, seconds: float) -> ServerUnreachable:
        message = f"The connection to {self.url} was lost before the whole answer was there."
        if isinstance(error, ReadTimeoutError):
            message = f"{self.url} did not answer in time, {seconds:.0f} seconds."
        return ServerUnreachable(message, maybe_done=True)

    def _note_time(self, date: str | None, took: float) -> None:
        # RFC 9110 §6.6.1: the service's clock, to the second, read between question and answer; of a request that was
        # held for minutes many servers tell when it came. What is no more than that is no skew.
        moment = _moment(date or "")
        if moment is not None and moment.tzinfo is not None:
            least = (moment - self._clock()).total_seconds()
            self.skew = max(least, min(least + took + 1.0, 0.0))

    def _refused(self, answer: Answer) -> Answer:
        if 200 <= answer.status < 300:
            return answer
        try:
            document = answer.document(self.url)
        except AnswerBroken:
            document = {}
        raise ServerRefused(
            answer.status, document, retry_after=_retry_after(answer.headers, self._clock())
        )

    def _distrust(self, error: SSLError) -> IkewardenError:
        inner = next((each for each in error.args if isinstance(each, ssl.SSLError)), None)
        if not isinstance(inner, ssl.SSLCertVerificationError):
            what = (inner.reason if inner else None) or "no TLS there"
            if "ALERT" in what:
                return ServerUntrusted(
                    f"{self.url} ended the TLS handshake ({what}).",
                    next_step="It does not know the authority of this gateway's certificate: enroll again.",
                )
            return ServerUntrusted(
                f"No TLS connection to {self.url} could be made ({what}).",
                next_step="Check that the URL is that of the API and not of another listener.",
            )
        if inner.verify_code in _OTHER_NAME:
            return ServerUntrusted(
                f"The certificate of {self.url} is for another name.",
                next_step="Add the name to [api] names in the service's settings, or change the URL.",
            )
        if inner.verify_code in (_EXPIRED, _NOT_YET_VALID):
            return ServerUntrusted(
                f"The certificate of {self.url} is not valid now ({inner.verify_message}); this gateway's clock "
                f"says {self._clock():%Y-%m-%d %H:%M}Z.",
                next_step="Compare the clocks first.",
            )
        return ServerUntrusted(
            f"{self.url} did not prove to be the service by the pinned root: {inner.verify_message}.",
            next_step="Check whom you are talking to; if the service has a new root, enroll again.",
        )


def _read(response: urllib3.BaseHTTPResponse, limit: int, deadline: float) -> bytes:
    """The body up to one octet over the limit, so that the caller sees that it is too large."""
    parts, length = [], 0
    while length <= limit and (part := response.read(min(_CHUNK, limit + 1 - length))):
        parts.append(part)
        length += len(part)
        if time.monotonic() > deadline:
            raise ProtocolError("too slow")
    return b"".join(parts)


def _checked(url: str) -> str:
    try:
        parts = urllib3.util.parse_url(url)
    except LocationParseError:
        parts = urllib3.util.Url()
    if parts.scheme != "https" or not parts.host or parts.auth or parts.query or parts.fragment:
        raise ServiceUrlUnusable("The URL of the service is no https URL.")
    return url.rstrip("/")


class _Context(ssl.SSLContext):
    """Its connections wait until `ends` on the clock that does not jump, however many octets come before that."""

    ends = math.inf


class _Socket(ssl.SSLSocket):
    def recv_into(self, *given: Any, **named: Any) -> int:
        # A limit of time for each read alone is none: a server could send an octet now and then, for ever.
        left = self.context.ends - time.monotonic()  # type: ignore[attr-defined]
        if left <= 0:
            raise TimeoutError
        before = self.gettimeout()
        self.settimeout(left if before is None else min(before, left))
        return super().recv_into(*given, **named)


def _context(root: x509.Certificate | None, credential: Credential | None) -> _Context:
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)  # verifies chain and name
    context.sslsocket_class = _Socket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if root is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=root.public_bytes(Encoding.PEM).decode())
    if credential is not None:
        _present(context, credential)
    return context


def _present(context: ssl.SSLContext, credential: Credential) -> None:
    # `ssl` reads keys from files only; a memory file has no place in any directory.
    chain = (credential.certificate, *credential.chain)
    pems = (each.public_bytes(Encoding.PEM) for each in chain)
    content = memoryview(b"".join((credential.pem.reveal(), b"\n", *pems)))
    descriptor = os.memfd_create("ikewarden-agent", os.MFD_CLOEXEC)
    try:
        while content:
            content = content[os.write(descriptor, content) :]
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=_no_password)
    except ssl.SSLError:
        raise CredentialMismatch(
            "This gateway's private key and certificate cannot be used together."
        ) from None
    finally:
        os.close(descriptor)


def _no_password() -> str:  # OpenSSL would ask at the terminal
    raise ValueError("the key is encrypted")


def _reason(error: NewConnectionError) -> str:
    cause = error.__cause__ or error.__context__
    text = cause.strerror if isinstance(cause, OSError) else None
    return (text or "no connection").lower()


def _moment(value: str) -> datetime | None:
    """An HTTP date; None where it is none that a clock can show."""
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return moment if moment.year <= _LAST_YEAR else None


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds of Retry-After (RFC 9110 §10.2.3), an hour at most."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(min(int(value[:9]), _LONGEST_RETRY))
    moment = _moment(value)
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), _LONGEST_RETRY)
