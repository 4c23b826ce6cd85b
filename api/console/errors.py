"""What only the console refuses."""

from core.errors import Conflict, InvalidInput, NotPermitted


class FormForeign(NotPermitted):
    """The form was not sent by a page of ours, or by one of a session before."""

    code = "form_foreign"
    next_step = "Go back, load the page again, and send the form from there."


class FormInvalid(InvalidInput):
    """A form that does not fit; each mistake is named by its field."""

    code = "form_invalid"
    next_step = "Correct the fields that are named."


class PageStale(Conflict):
    """What the page showed is not so any more; nothing was done."""

    code = "page_stale"
    next_step = "Look at it as it is now, and decide again."
