"""A document posted to a receiver of notices, in a time that has an end."""

import contextlib
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import quote, urlsplit

from core import spans
from core.deadline import SILENT, deadline, trusting

#: What a receiver that is away, or does not speak HTTP, raises.
FAILURES: Final = (OSError, HTTPException, ValueError)
# RFC 3986 §3.3 and §3.4: what stands in a path and a query as it is; a % may begin an escape.
_PLAIN: Final = "%/:@!$&'()*+,;=?-._~"


def post(
    url: str, body: bytes, headers: Mapping[str, str], context: ssl.SSLContext | None = None
) -> int:
    """Post JSON, and tell the status of the answer; where that leads elsewhere, it is not followed.

    An https receiver is believed by `context`, else by the roots of this system. Raises FAILURES, also when everything
    together takes longer than the deadline.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection = HTTPConnection(host, parts.port, timeout=SILENT)
    if parts.scheme == "https":
        connection = HTTPSConnection(
            host, parts.port, timeout=SILENT, context=context or trusting(None)
        )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with (
        spans.span("POST", "client") as span,
        contextlib.closing(connection),
        deadline(lambda: connection.sock),
    ):
        sent = {"Content-Type": "application/json", **spans.traceparent(), **headers}
        connection.request("POST", quote(target, safe=_PLAIN), body, sent)
        status = connection.getresponse().status
        span.note(http__response__status_code=status)
        return status
