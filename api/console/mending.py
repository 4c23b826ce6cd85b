"""Errors that somebody can mend: shown on the page where they were made, with what was typed."""

from collections.abc import Mapping
from typing import Any, Final

from api.console.mistakes import mistake
from api.console.page import Refused, Screen, Visit
from api.problems import TITLES, problem, status_of
from core.errors import Conflict, IkewardenError, InvalidInput, NotFound, NotPermitted, Unavailable

#: What whoever filled in a form can mend.
MENDABLE: Final = (InvalidInput, Conflict)
#: The same, and what he may try again later, or have somebody help with, where he typed too much to lose it.
WORTH_KEEPING: Final = (*MENDABLE, NotFound, NotPermitted, Unavailable)


def shown(error: IkewardenError, request_id: str) -> Refused:
    """An error as a page shows it."""
    document = problem(error, request_id=request_id)
    return Refused(
        status=document["status"],
        title=TITLES[document["status"]],
        message=document["detail"],
        next_step=document["next_step"],
        code=document["code"],
        request_id=request_id,
        errors=tuple(mistake(each) for each in document.get("errors", ())),
        details=document.get("details", {}),
    )


def refused(
    error: IkewardenError, visit: Visit[Any, Any], also: tuple[type[IkewardenError], ...] = ()
) -> Refused:
    """An error, to be shown above the form that it is about. Raises it again where nobody can mend it there: those of
    the server, but for the classes in `also`.
    """
    if status_of(error) >= 500 and not isinstance(error, also):
        raise error
    return shown(error, visit.request_id)


def again(
    visit: Visit[Any, Any], error: IkewardenError, template: str, facts: Mapping[str, Any]
) -> Screen:
    """The page of a form once more, with what is wrong at its top; `facts` has what was typed."""
    return Screen(
        template, {**facts, "error": shown(error, visit.request_id)}, status=status_of(error)
    )
