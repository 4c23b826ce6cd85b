"""The error tree. Each class has a stable `code`; each door turns classes into its own answers.

::

    IkewardenError
    ├── InvalidInput       what was sent can never work             (REST 422, exit 2)
    ├── NotAuthenticated   nobody, or nobody we know                (REST 401, exit 2)
    ├── NotPermitted       known, but may not                       (REST 403, exit 1)
    ├── NotFound           no such thing, or not yours to see       (REST 404, exit 1)
    ├── Conflict           true once, not any more                  (REST 409, exit 1)
    ├── TooLarge           over a stated limit                      (REST 413, exit 2)
    ├── TooFast            more in a time than one caller may       (REST 429, exit 3)
    └── Unavailable        would work later: try again              (REST 503, exit 3)

Rooms subclass these and set `code`. The message is one sentence for a person; `next_step` says what to do about
it. Neither ever holds a secret, and neither is ever parsed.
"""

from collections.abc import Mapping
from typing import ClassVar


class IkewardenError(Exception):
    """Base of every error that a user may see.

    `message` is one sentence; `next_step` tells the user what to do; `details` are short public values (field
    names, limits, lint findings) that doors may show as they are.
    """

    code: ClassVar[str] = "internal_error"
    next_step: str = ""

    def __init__(
        self, message: str, *, next_step: str = "", details: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        if next_step:
            self.next_step = next_step
        self.details: Mapping[str, object] = details or {}


def meaning(kind: type[IkewardenError]) -> str:
    """What its code means, whatever the values are: how the docstring of the class that has the code begins."""
    named = next(each for each in kind.__mro__ if "code" in vars(each))
    return " ".join((named.__doc__ or "").strip().split("\n\n")[0].split())


class InvalidInput(IkewardenError):
    """What was sent can never be accepted as it is."""

    code = "invalid_input"


class NotAuthenticated(IkewardenError):
    """The caller did not prove who it is."""

    code = "not_authenticated"


class NotPermitted(IkewardenError):
    """The caller is known and may not do this."""

    code = "not_permitted"


class NotFound(IkewardenError):
    """No such thing, or not visible to this caller."""

    code = "not_found"


class Conflict(IkewardenError):
    """The present state does not allow it."""

    code = "conflict"


class TooLarge(IkewardenError):
    """Over a stated limit."""

    code = "too_large"


class TooFast(IkewardenError):
    """More in a time than one caller may; the same call works after `details["retry_after"]` seconds."""

    code = "too_fast"


class Unavailable(IkewardenError):
    """A part we need does not answer; nothing was lost and the same call may work later."""

    code = "unavailable"
    next_step = "Try again in a few seconds."
