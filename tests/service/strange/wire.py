"""Sending requests as they are, valid HTTP or not."""

import contextlib
import http.client
import socket
import ssl
from pathlib import Path

from tests.api.serving import Reply
from tests.service.strange.spoil import Ask


class Wire:
    """One connection to each listener of a service on loopback, kept open as long as the service keeps it."""

    def __init__(self, root: Path, tls_port: int, plain_port: int) -> None:
        self._context = ssl.create_default_context(cafile=str(root))
        self._ports = {True: tls_port, False: plain_port}
        self._open: dict[bool, socket.socket] = {}

    def send(self, ask: Ask) -> Reply:
        """The answer; a service that hangs up on a request says so with 400, as far as this goes."""
        try:
            return self._sent(ask)
        except (OSError, http.client.HTTPException):
            self._close(ask.tls)
        try:  # a connection that was kept may have been closed in between
            return self._sent(ask)
        except http.client.RemoteDisconnected:
            self._close(ask.tls)
            if not ask.bent:
                raise
            return Reply(400, {}, b"")

    def _sent(self, ask: Ask) -> Reply:
        connection = self._open.get(ask.tls) or self._connect(ask.tls)
        headers = {"Host": "localhost", **ask.headers, "Content-Length": str(len(ask.body))}
        if ask.bent:
            headers["Connection"] = "close"
        lines = [f"{ask.method} {ask.path} HTTP/1.1", *(f"{a}: {b}" for a, b in headers.items())]
        head = "\r\n".join(lines).encode("latin-1", "replace")
        connection.sendall(head + b"\r\n\r\n" + ask.body)
        answer = http.client.HTTPResponse(connection, method=ask.method)
        answer.begin()
        found = {name.lower(): value for name, value in answer.getheaders()}
        reply = Reply(answer.status, found, answer.read())
        if ask.bent or answer.will_close:
            self._close(ask.tls)
        return reply

    def _connect(self, tls: bool) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self._ports[tls]), timeout=120)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            made = self._context.wrap_socket(made, server_hostname="localhost")
        self._open[tls] = made
        return made

    def _close(self, tls: bool) -> None:
        with contextlib.suppress(OSError):
            if (known := self._open.pop(tls, None)) is not None:
                known.close()
