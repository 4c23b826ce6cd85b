"""From bytes to models: bodies and query strings, with every mistake named by its place."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeVar
from urllib.parse import parse_qsl

from pydantic import ValidationError

from api.cursors import MAX_DIGITS
from api.errors import BodyInvalid, MalformedRequest, MediaTypeRefused, QueryInvalid
from api.registry import JSON, Sent

Model = TypeVar("Model", bound=Sent)
Told = Callable[[ValidationError], Iterable[Mapping[str, object]]]
#: The pattern of a text of one line.
PLAIN: Final = r"^[^\x00-\x1f\x7f]*$"
_MAX_PARAMETERS = 50
_SHOWN_ERRORS = 20


def body(model: type[Model], content: bytes, media_type: str) -> Model:
    """Read a JSON body. An empty one is taken for `{}`, which most models refuse.

    Raises MediaTypeRefused, MalformedRequest (no JSON), BodyInvalid with JSON pointers (RFC 6901)
    in `errors`.
    """
    if content and media_type.partition(";")[0].strip().lower() != JSON:
        raise MediaTypeRefused("The body must be JSON.")
    try:
        return model.model_validate_json(content or b"{}")
    except ValidationError as error:
        if (
            error.errors(include_url=False, include_context=False, include_input=False)[0]["type"]
            == "json_invalid"
        ):
            raise MalformedRequest("The body is not valid JSON in UTF-8.") from None
        raise BodyInvalid(
            "The body does not fit this route.", details={"errors": list(places(error))}
        ) from None


def query(model: type[Model], text: str, told: Told | None = None) -> Model:
    """Read a query string. Raises QueryInvalid for what is unknown, repeated or of the wrong
    kind; `told` says its mistakes, `places` if left out.
    """
    try:
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=bool(text),
            errors="strict",
            max_num_fields=_MAX_PARAMETERS,
        )
    except ValueError:
        raise QueryInvalid("The query string cannot be read.") from None
    if any("\x00" in part for pair in pairs for part in pair):
        raise QueryInvalid("A query parameter has a NUL, which no record can hold.")
    given: Mapping[str, str] = dict(pairs)
    if len(given) != len(pairs):
        raise QueryInvalid("A query parameter is given more than once.")
    try:
        return model.model_validate_strings(given)
    except ValidationError as error:
        raise QueryInvalid(
            "The query parameters do not fit this route.",
            details={"errors": list((told or places)(error))},
        ) from None


# In words, where pydantic shows the pattern.
_SAID: Final = {
    f"String should match pattern '{PLAIN}'": "This is one line of text, without line ends and control characters."
}


def number(text: str) -> int:
    """The number of a record in a path. 0, which none has, for what is no number: whether the caller may ask at all is
    looked at first, and then there is no such record.
    """
    plain = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
    return int(text) if plain else 0


def places(error: ValidationError) -> Iterator[dict[str, str]]:
    """Each mistake as `{pointer, detail}` (RFC 6901), at most twenty."""
    # Never the input itself: it may be a secret, or as long as the body.
    found = error.errors(include_url=False, include_context=False, include_input=False)
    for one in found[:_SHOWN_ERRORS]:
        # the names come from the client: cut, so that the answer cannot be made long
        steps = (str(step)[:100].replace("~", "~0").replace("/", "~1") for step in one["loc"])
        detail = _SAID.get(one["msg"], one["msg"])
        yield {"pointer": "".join(f"/{step}" for step in steps), "detail": detail[:300]}
