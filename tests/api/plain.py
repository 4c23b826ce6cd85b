"""The validation listener in processes of its own, and how to speak to it."""

import http.client
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.x509 import ocsp
from cryptography.x509.ocsp import OCSPCertStatus, OCSPResponse

from api.server import ValidationSettings, serve_validation
from pki import ocsp_signers, publication
from pki.desk import Desk
from pki.holdings import Holdings
from store.engine import open_store
from tests.api.serving import Reply
from tests.api.site import CLOCKWORK, Site
from tests.fixtures.ports import free_ports


@dataclass(frozen=True)
class Listener:
    """A running validation listener."""

    site: Site
    port: int
    ahead: Any  # seconds by which its clock is, shared with its processes

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    def ask(self, request: bytes, authority: str = "issuing") -> OCSPResponse:
        """Ask by POST."""
        reply = self.send(
            "POST", f"/ocsp/{authority}", request, {"Content-Type": "application/ocsp-request"}
        )
        assert reply.status == 200, reply
        assert reply.headers["content-type"] == "application/ocsp-response"
        return ocsp.load_der_ocsp_response(reply.body)

    def until(self, request: bytes, status: OCSPCertStatus) -> None:
        """Ask until the status is this one."""
        until(lambda: self.ask(request).certificate_status is status)


def until(done: Callable[[], bool]) -> None:
    """Long before what is cached ends by itself."""
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def listening(site: Site) -> Iterator[Listener]:
    """Two processes that answer for the site, for the duration of a block."""
    now = site.clock()
    for name in ("root", "issuing"):
        ocsp_signers.ensure(site.desk, CLOCKWORK, name, now=now)
        publication.publish_full(site.desk, CLOCKWORK, name, now=now)

    def desk() -> Desk:
        return replace(site.desk, store=open_store(site.url), holdings=Holdings())

    def run() -> None:
        os.setsid()
        serve_validation(
            ValidationSettings("127.0.0.1", port, workers=2, body_seconds=2),
            desk,
            clock=lambda: datetime.now(UTC) + timedelta(seconds=ahead.value),
        )

    ahead = multiprocessing.get_context("fork").Value("d", 0.0)
    [port] = free_ports(1)
    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    running = Listener(site, port, ahead)
    deadline = time.monotonic() + 60
    while True:
        try:
            assert running.send("GET", "/healthz").status == 200
            break
        except ConnectionError:
            assert time.monotonic() < deadline
            assert process.is_alive()
            time.sleep(0.05)
    yield running
    process.terminate()
    process.join(60)
    assert process.exitcode == 0
