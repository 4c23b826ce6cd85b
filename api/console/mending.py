"""What pages with forms and lists share: an error that somebody can mend, filters left empty, the link to go on."""

from typing import Any

from pydantic import ConfigDict, model_validator

from api import cursors
from api.console import again
from api.console.page import Refused, Visit
from api.console.render import link
from api.problems import status_of
from api.registry import Sent
from core.errors import IkewardenError

#: Entries of one page of a list.
PAGE = 50


class Search(Sent):
    """The filters of a list. A browser sends those that nobody filled in, too: they count as left out."""

    model_config = ConfigDict(extra="forbid", strict=False, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_blanks(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if str(value).strip()}


def refused(
    error: IkewardenError, visit: Visit[Any, Any], also: tuple[type[IkewardenError], ...] = ()
) -> Refused:
    """An error, to be shown above the form that it is about. Raises it again where nobody can mend it there: those of
    the server, but for the classes in `also`.
    """
    status = status_of(error)
    if status >= 500 and not isinstance(error, also):
        raise error
    return again.refused(error, visit.request_id)


def behind(path: str, query: Sent, position: int | str | None, count: int) -> str:
    """The address of the list's next page after `position`; empty where the page was not full."""
    if position is None or count < PAGE:
        return ""
    given = query.model_dump(mode="json", exclude_none=True, exclude={"cursor"})
    return link(path, **given, cursor=cursors.encode(path, position))
