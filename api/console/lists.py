"""Lists in pages: what they are narrowed by, and where one goes on."""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import ConfigDict, Field, model_validator

from api import cursors
from api.console.page import Visit
from api.console.render import link
from api.registry import Sent

#: So many rows has a page.
ROWS: Final = 50


class Search(Sent):
    """What a page is asked for. A browser sends the fields that nobody filled in, too: they count as left out."""

    model_config = ConfigDict(extra="forbid", strict=False, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_blanks(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if str(value).strip()}


class ListSearch(Search):
    """Which part of a list."""

    cursor: str | None = Field(default=None, max_length=cursors.MAX_CURSOR)


def behind(
    visit: Visit[Any, Any], path: str, found: Sequence[Any], position: int | str | None
) -> str | None:
    """The address of what comes after `found`, the last of which has this position; None where that was the end."""
    if position is None or len(found) < ROWS:
        return None
    given = visit.query.model_dump(mode="json", exclude={"cursor"}, exclude_none=True)
    return link(path, **given, cursor=cursors.encode(path, position))
