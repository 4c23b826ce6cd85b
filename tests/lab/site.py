"""A small plain-HTTP site inside the lab, for CRLs and OCSP answers made by hand."""

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[bytes], bytes]


class Site:
    """Serves bytes by path at the lab's service address; what is not there is a 404.

    `requests` lists "GET /path" in the order of arrival.
    """

    def __init__(self, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        self.url = f"http://{host}:{port}"
        self.requests: list[str] = []
        self._pages: dict[str, Answer] = {}
        self._server = ThreadingHTTPServer((host, port), _handler(self), bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listener
        # A short poll keeps shutdown, and with it each test, quick.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def put(self, path: str, content: bytes | Answer) -> str:
        """Serve `content`, or its answer to the request's body, under `path`; returns the URL."""
        self._pages[path] = content if callable(content) else lambda _: content
        return self.url + path

    def remove(self, path: str) -> None:
        self._pages.pop(path, None)

    def answer(self, method: str, path: str, body: bytes) -> bytes | None:
        """What a request gets; None where there is nothing."""
        self.requests.append(f"{method} {path}")
        page = self._pages.get(path)
        return None if page is None else page(body)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            content = site.answer(self.command, self.path, body)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            kind = "ocsp-response" if self.command == "POST" else "pkix-crl"
            self.send_header("Content-Type", f"application/{kind}")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - the name http.server looks for

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent: `Site.requests` has it."""

    return Handler
