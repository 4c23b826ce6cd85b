"""`python -m bench.constant PORT WORKERS FILE`: our validation listener, answering with a constant.

The same server with the same settings as `ikewarden serve` starts it; in place of the responder stands an application
that reads the request, as any responder must, and sends the bytes of FILE with the headers that a real answer has.
What our responder does is the difference between the two.
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from api import server
from api.caching import document, etag_of
from api.server import ValidationSettings, serve_validation
from api.validation import Scope, Wire
from pki.desk import Desk


class Constant:
    """Says the same to everybody."""

    answer = b""

    def __init__(self, *_: Any, **__: Any) -> None:
        now = datetime.now(UTC)
        made = document(
            self.answer,
            media_type="application/ocsp-response",
            etag=etag_of(self.answer),
            modified=now,
            expires=now + timedelta(hours=12),
            now=now,
            refresh=timedelta(seconds=30),
        )
        self._headers, self._body = made.headers, made.body

    async def __rsgi__(self, scope: Scope, wire: Wire) -> None:
        """Answer one request."""
        if scope.method == "POST":
            await wire()
        wire.response_bytes(200, self._headers, self._body)


def _no_desk() -> Desk:
    return cast("Desk", None)


def main() -> None:
    """Serve until SIGTERM."""
    port, workers, file = sys.argv[1:]
    Constant.answer = Path(file).read_bytes()
    setattr(server, "Validation", Constant)  # noqa: B010 - the server is the product's, its application is not
    settings = ValidationSettings(host="127.0.0.1", port=int(port), workers=int(workers))
    serve_validation(settings, _no_desk, clock=lambda: datetime.now(UTC))


if __name__ == "__main__":
    main()
