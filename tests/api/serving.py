"""The API listener in a thread of the test's process, and a client that speaks to it over a socket."""

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from api.server import ApiListener, ApiSettings, bind
from api.tls import Credential
from pki.actors import Role
from pki.desk import Desk
from tests.api.site import ClientCertificate, Site

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The problem's code; the answer must be a problem document as RFC 9457 has it."""
        assert self.headers["content-type"] == PROBLEM, self
        document = self.json
        assert document["status"] == self.status
        assert document["type"] == f"urn:ikewarden:problem:{document['code']}"
        assert document["title"]
        assert document["detail"]
        return str(document["code"])


class Listening(Protocol):
    """Something that listens for the clients of a site."""

    site: Site
    port: int


class Client:
    """A client on one kept connection; it connects again where the server hung up."""

    def __init__(
        self,
        serving: "Listening",
        *,
        token: str | None = None,
        certificate: ClientCertificate | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._token = token
        self.connection = http.client.HTTPSConnection(
            "localhost",
            serving.port,
            context=trust or serving.site.trust(certificate),
            timeout=60,
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Reply:
        """Send one request and read its answer."""
        given = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
        content = raw
        if body is not None:
            content = json.dumps(body).encode()
        if content is not None:
            given["Content-Type"] = "application/json"
        self.connection.request(method, path, body=content, headers=given | dict(headers or {}))
        answer = self.connection.getresponse()
        names = {name.lower() for name, _ in answer.getheaders()}
        found = {name: answer.getheader(name, "") for name in names}  # several are one list
        return Reply(answer.status, found, answer.read())

    def get(self, path: str, **how: Any) -> Reply:
        """GET."""
        return self.send("GET", path, **how)

    def post(self, path: str, body: object = None, **how: Any) -> Reply:
        """POST."""
        return self.send("POST", path, {} if body is None and "raw" not in how else body, **how)


class Serving:
    """A running listener."""

    def __init__(
        self,
        site: Site,
        settings: ApiSettings,
        credential: Callable[[Desk], Credential] | None = None,
        bound: socket.socket | None = None,
    ) -> None:
        self.site = site
        self.settings = settings
        bound = bound or bind("127.0.0.1", 0)
        self.port: int = bound.getsockname()[1]
        chosen = credential or (lambda _: site.credential())
        self.listener = ApiListener(settings, site.desk, chosen, clock=site.clock)
        self._thread = threading.Thread(target=self.listener.run, kwargs={"sockets": [bound]})

    def start(self) -> None:
        """Serve, and return when it does."""
        self._thread.start()
        deadline = time.monotonic() + 60
        while not self.listener.started:
            assert self._thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        """End it as a signal would."""
        self.listener.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()

    def client(
        self,
        who: Role | str | ClientCertificate | None = None,
    ) -> Client:
        """A client with the token of a role, a given token, a client certificate, or nothing."""
        if isinstance(who, Role):
            return Client(self, token=self.site.tokens[who])
        if isinstance(who, str):
            return Client(self, token=who)
        return Client(self, certificate=who)

    def raw(self) -> ssl.SSLSocket:
        """A bare TLS connection, for what no client library would send."""
        plain = socket.create_connection(("localhost", self.port), timeout=60)
        return self.site.trust().wrap_socket(plain, server_hostname="localhost")


@contextmanager
def serve(
    site: Site, settings: ApiSettings | None = None, bound: socket.socket | None = None
) -> Iterator[Serving]:
    """A listener for the duration of a block; `bound` is where, by default at any free port."""
    chosen = settings or ApiSettings(version="0.0.test", reload=0.1)
    running = Serving(site, chosen, bound=bound)
    running.start()
    try:
        yield running
    finally:
        running.stop()
