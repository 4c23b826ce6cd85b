"""Lists in pages: where one goes on."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from api import cursors
from api.console.page import Visit
from api.console.render import link
from api.registry import Sent

#: So many rows has a page.
ROWS = 50


class ListQuery(Sent):
    """Where a list goes on."""

    cursor: str | None = Field(default=None, max_length=cursors.MAX_CURSOR)


def behind(
    visit: Visit[Any, Any], path: str, found: Sequence[Any], position: int | str | None
) -> str | None:
    """The address of what comes after `found`, the last of which has this position; None where that was the end."""
    if position is None or len(found) < ROWS:
        return None
    given = visit.query.model_dump(mode="json", exclude={"cursor"}, exclude_none=True)
    return link(path, **given, cursor=cursors.encode(path, position))
