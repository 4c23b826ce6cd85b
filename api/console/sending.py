"""What a browser sent: query strings and forms become models, and a form shows that it is of a page of ours."""

import hmac
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from pydantic import ValidationError

from api.console.errors import FormForeign, FormInvalid
from api.console.mistakes import FORM, places
from api.console.page import Form, Page
from api.errors import MalformedRequest, MediaTypeRefused

_FORM: Final = "application/x-www-form-urlencoded"
_MAX_FIELDS: Final = 200
Model = TypeVar("Model", bound=Form)


def fields(content: bytes, media_type: str) -> dict[str, str]:
    """The fields of a form as they were sent, empty ones left out; of a repeated one the values, a line each.

    Raises MediaTypeRefused, MalformedRequest.
    """
    if media_type.partition(";")[0].strip().lower() != _FORM:
        raise MediaTypeRefused("A form is sent as application/x-www-form-urlencoded.")
    try:
        pairs = parse_qsl(
            content.decode("ascii"),
            errors="strict",
            max_num_fields=_MAX_FIELDS,
            keep_blank_values=True,
        )
    except ValueError:
        raise MalformedRequest("The form cannot be read.") from None
    found: dict[str, str] = {}
    if any("\x00" in text for pair in pairs for text in pair):
        raise MalformedRequest("The form has a NUL, which nobody types and no record can hold.")
    for name, value in pairs:
        if value.strip():
            found[name] = f"{found[name]}\n{value}" if name in found else value
    return found


def check_origin(environ: Mapping[str, Any]) -> None:
    """Raise FormForeign where the browser says that another site's page sent this.

    Fetch Metadata decides where it is sent (it cannot be set by a page), else Origin (RFC 6454 §7).
    """
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None:
        if site != "same-origin":
            raise FormForeign("This form was sent by a page of another site.")
        return
    origin = environ.get("HTTP_ORIGIN")
    # With its scheme: by plain HTTP, this host name may be somebody else's.
    if origin is not None and origin != f"https://{environ.get('HTTP_HOST')}":
        raise FormForeign("This form was sent by a page of another site.")


def check_csrf(sent: str, expected: str) -> None:
    """Raise FormForeign unless the form brings what our page put into it."""
    if not expected or not hmac.compare_digest(sent.encode(), expected.encode()):
        raise FormForeign("This form is not of a page that you loaded in this session.")


def form(page: Page, given: Mapping[str, str]) -> Any:
    """Read a form. Raises FormInvalid with `errors`, as `mistakes.places` has them."""
    if page.form is None:
        return None
    try:
        return page.form.model_validate(dict(given))
    except ValidationError as error:
        raise FormInvalid(FORM, details={"errors": list(places(error))}) from None
