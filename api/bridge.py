"""From ASGI to WSGI and back, for whole bodies and whole answers.

A general bridge hands body and answer over piece by piece, each with a hop between thread and loop.
Ours are small and complete, so there is one hop: the environment goes in, the answer comes out.
"""

import io
import sys
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# Where the application finds the exchange in its environment, to tell the front who called and
# which route it was.
EXCHANGE = "ikewarden.exchange"
# For log lines of the operations, written in the thread that works for the request.
REQUEST_ID: ContextVar[str] = ContextVar("ikewarden_api_request_id", default="")


@dataclass(frozen=True, slots=True)
class Hold:
    """How long an answer may wait, and what of a gateway its caller knows: its answer has changed when that has."""

    gateway_id: int
    version: int
    leaf_id: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Live:
    """The answer shall be sent as an event, and again whenever it has changed (api/live.py)."""

    seconds: float = 1.0


@dataclass(slots=True)
class Exchange:
    """One request and what became of it, for the log and the counters. The application fills in
    `actor`, `route`, `hold` and `live`.
    """

    method: str
    path: str
    client: str
    request_id: str
    peer: bytes | None = field(repr=False)
    actor: str = ""
    route: str = ""
    hold: "Hold | None" = None
    live: "Live | None" = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer; header names and values as they go on the wire."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def environment(scope: Mapping[str, Any], body: bytes, exchange: Exchange) -> dict[str, Any]:
    """Build the WSGI environment (PEP 3333) of an ASGI HTTP scope whose body was read already."""
    server = scope.get("server") or ("", None)
    client = scope.get("client") or ("", 0)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        # PEP 3333: bytes of the path shown as latin-1
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or ""),
        "REMOTE_ADDR": client[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        EXCHANGE: exchange,
    }
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if "_" in name:
            continue  # X_Request_Id would pass for X-Request-Id
        key = _OWN_KEY.get(name) or "HTTP_" + name.upper().replace("-", "_")
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    environ["CONTENT_LENGTH"] = str(len(body))
    return environ


_OWN_KEY = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}


def call(application: "WSGIApplication", environ: dict[str, Any]) -> Answer:
    """Run a WSGI application to its end. Raises what it raises."""
    REQUEST_ID.set(environ[EXCHANGE].request_id)
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], _exc_info: object = None, /
    ) -> Callable[[bytes], object]:
        started.append((status, headers))
        return _no_write

    pieces: Iterable[bytes] = application(environ, start_response)
    try:
        body = b"".join(pieces)
    finally:
        if (close := getattr(pieces, "close", None)) is not None:
            close()
    status, headers = started[-1]
    return Answer(
        int(status[:3]),
        [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        body,
    )


def _no_write(_data: bytes) -> object:
    raise NotImplementedError("write() of PEP 3333 is for applications older than iterables")
