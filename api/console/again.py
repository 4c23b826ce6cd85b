"""A page that is shown again, with what is wrong, because somebody can mend it."""

from collections.abc import Mapping
from typing import Any

from api.console.page import Refused, Screen, Visit
from api.problems import TITLES, problem, status_of
from core.errors import Conflict, IkewardenError, InvalidInput

#: What whoever filled in a form can mend.
MENDABLE = (InvalidInput, Conflict)


def refused(error: IkewardenError, request_id: str) -> Refused:
    """An error as a page shows it."""
    document = problem(error, request_id=request_id)
    return Refused(
        status=document["status"],
        title=TITLES[document["status"]],
        message=document["detail"],
        next_step=document["next_step"],
        code=document["code"],
        request_id=request_id,
        errors=tuple(document.get("errors", ())),
        details=document.get("details", {}),
    )


def again(
    visit: Visit[Any, Any], error: IkewardenError, template: str, shown: Mapping[str, Any]
) -> Screen:
    """The page of a form once more, with what is wrong at its top; `shown` has what was typed."""
    return Screen(
        template, {**shown, "error": refused(error, visit.request_id)}, status=status_of(error)
    )
