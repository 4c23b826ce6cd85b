"""HTTP caching of what verifiers fetch (RFC 9111), and conditional requests (RFC 9110 §13)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

Headers = list[tuple[str, str]]
# Times in headers have whole seconds, and clocks of caches differ.
_MARGIN = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Document:
    """Something to be fetched: content with its validators, and headers that are right until `fresh_until`."""

    body: bytes
    etag: str
    modified: datetime
    headers: Headers
    not_modified: Headers
    fresh_until: datetime


def etag_of(body: bytes) -> str:
    """Make a strong entity tag of the content."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def document(
    body: bytes,
    *,
    media_type: str,
    etag: str,
    modified: datetime,
    expires: datetime,
    now: datetime,
    refresh: timedelta,
) -> Document:
    """Make a document that caches may keep until `expires`.

    The headers are made for `refresh` at once, so max-age is that much shorter than the time that is left: a cache
    lets go a little early instead of a little late (RFC 5019 §6.2: n lies before nextUpdate).
    """
    left = max(timedelta(0), expires - now - _MARGIN)
    refresh = min(refresh, left / 10)
    age = int((left - refresh).total_seconds())
    validators = [
        ("etag", etag),
        ("last-modified", http_date(modified)),
        ("expires", http_date(now + timedelta(seconds=age))),
        ("cache-control", f"max-age={age}, public, no-transform, must-revalidate"),
    ]
    content = [("content-type", media_type), ("x-content-type-options", "nosniff")]
    return Document(
        body=body,
        etag=etag,
        modified=modified,
        headers=[*content, *validators],
        not_modified=validators,
        fresh_until=now + refresh,
    )


def is_not_modified(document: Document, header: Callable[[str], str | None]) -> bool:
    """Tell whether the client has this very content; `header` finds a request header by lower-case name."""
    # RFC 9110 §13.2.2: If-Modified-Since counts only where there is no If-None-Match.
    given = header("if-none-match")
    if given is not None:
        tags = {tag.strip().removeprefix("W/") for tag in given.split(",")}
        return "*" in tags or document.etag in tags
    since = header("if-modified-since")
    if since is None:
        return False
    try:
        known = parsedate_to_datetime(since)
    except ValueError:
        return False  # RFC 9110 §13.1.3: what is not a date is ignored
    if known.tzinfo is None:
        known = known.replace(tzinfo=UTC)
    return document.modified.replace(microsecond=0) <= known


def http_date(when: datetime) -> str:
    """Write an instant as HTTP does."""
    return format_datetime(when.astimezone(UTC), usegmt=True)
