"""A document asked for from another server, in a time and of a size that have an end."""

import contextlib
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from core.deadline import SILENT, deadline, trusting

#: What a server that is away, or does not speak HTTP, raises.
FAILURES: Final = (OSError, HTTPException, ValueError)
_MOST: Final = 1024 * 1024


def fetch(
    url: str, body: bytes | None, headers: Mapping[str, str], ca_file: Path | None = None
) -> tuple[int, bytes]:
    """Get JSON, or with a body post a form: the status, and what came. Where that leads elsewhere, it is not followed.

    An https server is believed by `ca_file`, else by the roots of this system. Raises FAILURES, also for more than a
    mebibyte and when everything together takes longer than the deadline.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection = HTTPConnection(host, parts.port, timeout=SILENT)
    if parts.scheme == "https":
        connection = HTTPSConnection(host, parts.port, timeout=SILENT, context=trusting(ca_file))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = {"Accept": "application/json", **headers}
    if body is not None:
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    with contextlib.closing(connection), deadline(lambda: connection.sock):
        connection.request("GET" if body is None else "POST", target, body, sent)
        answer = connection.getresponse()
        content = answer.read(_MOST + 1)
        if len(content) > _MOST:
            raise ValueError("the answer is too long")
        return answer.status, content
