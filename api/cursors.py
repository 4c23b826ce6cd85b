"""Pages: an opaque cursor names the last entry seen, and a Link header leads to the next page."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import TypeVar
from urllib.parse import urlencode

from pydantic import Field

from api.errors import CursorInvalid
from api.registry import Sent

MAX_LIMIT = 500
MAX_CURSOR = 300
MAX_DIGITS = 18  # fewer than any database's numbers have
Position = TypeVar("Position", bound=int | str)
Entry = TypeVar("Entry")


class PageQuery(Sent):
    """Which part of a list: `limit` entries after the place that `cursor` names."""

    limit: int = Field(default=100, ge=1, le=MAX_LIMIT, description="How many entries at most.")
    cursor: str | None = Field(
        default=None,
        max_length=MAX_CURSOR,
        description="From `next_cursor` of the page before; leave it out for the first page.",
    )


def encode(route: str, position: int | str) -> str:
    """Make the cursor that goes on after `position` in the list of this route."""
    content = json.dumps([route, position], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def decode(route: str, cursor: str | None, kind: type[Position]) -> Position | None:
    """Read a cursor of this route; None stays None. Raises CursorInvalid for anything this route
    did not make.
    """
    if cursor is None:
        return None
    wrong = CursorInvalid("This cursor does not belong to this list.")
    try:
        content = json.loads(
            base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        )
    except (ValueError, RecursionError):
        raise wrong from None
    if not (isinstance(content, list) and len(content) == 2 and content[0] == route):
        raise wrong
    found: object = content[1]
    # Not isinstance, for which True is a number; and no database takes more than 63 bits.
    if type(found) is not kind or (isinstance(found, int) and not 0 <= found < 1 << 63):
        raise wrong
    if isinstance(found, str) and not (found.isascii() and found.isprintable()):
        raise wrong
    return found


def decode_pair(route: str, cursor: str | None) -> tuple[int, int] | None:
    """Read a cursor of a list that is in the order of two numbers, `first:second`. Raises CursorInvalid."""
    text = decode(route, cursor, str)
    if text is None:
        return None
    first, _, second = text.partition(":")
    if not all(each.isdigit() and len(each) <= MAX_DIGITS for each in (first, second)):
        raise CursorInvalid("This cursor does not belong to this list.")
    return int(first), int(second)


def next_page(
    path: str, query: PageQuery, entries: Sequence[Entry], position: int | str | None
) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    """Give the next cursor and the Link header (RFC 8288), or neither when this page was the last.

    `position` is that of the last entry. A full page may turn out to have been the last one: the
    next is then empty.
    """
    if position is None or len(entries) < query.limit:
        return None, ()
    cursor = encode(path, position)
    return cursor, next_link(path, query, cursor)


def next_link(path: str, query: PageQuery, cursor: str | None) -> tuple[tuple[str, str], ...]:
    """Give the Link header to the next page (RFC 8288); none where there is none."""
    if cursor is None:
        return ()
    given: Mapping[str, object] = query.model_dump(
        mode="json", exclude_none=True, exclude_unset=True
    )
    target = f"{path}?{urlencode({**given, 'cursor': cursor})}"
    return (("Link", f'<{target}>; rel="next"'),)
