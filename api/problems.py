"""Errors as RFC 9457 problem documents: one table from class to status, for every answer of this
door.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from werkzeug.exceptions import HTTPException

from api.errors import (
    BodyTooLarge,
    HeadTooLarge,
    MalformedRequest,
    MediaTypeRefused,
    MethodNotAllowed,
    RequestTooSlow,
    RouteNotFound,
)
from core.errors import (
    Conflict,
    IkewardenError,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    TooFast,
    TooLarge,
    Unavailable,
)

MEDIA_TYPE = "application/problem+json"
# The class itself or its nearest ancestor decides.
STATUS: Mapping[type[IkewardenError], int] = {
    InvalidInput: 422,
    MalformedRequest: 400,
    MediaTypeRefused: 415,
    MethodNotAllowed: 405,
    RequestTooSlow: 408,
    NotAuthenticated: 401,
    NotPermitted: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    TooFast: 429,
    HeadTooLarge: 431,
    Unavailable: 503,
    IkewardenError: 500,
}
TITLES: Mapping[int, str] = {
    400: "Malformed request",
    401: "Not authenticated",
    403: "Not permitted",
    404: "Not found",
    405: "Method not allowed",
    408: "Request too slow",
    409: "Conflict",
    413: "Too large",
    415: "Media type refused",
    422: "Not acceptable as sent",
    429: "Too many at once",
    431: "Head too large",
    500: "Internal error",
    503: "Unavailable for now",
}
#: All that is said of what the caller can do nothing about.
WENT_WRONG = "Something went wrong on our side."
REPORT = "Tell the operator the request_id; the server's log has the reason under it."
RETRY_AFTER = 2  # seconds; a 503 of ours passes when a queue drains or a lock is let go


def status_of(error: IkewardenError | type[IkewardenError]) -> int:
    """Find the HTTP status of an error or error class."""
    kind = error if isinstance(error, type) else type(error)
    return next(STATUS[base] for base in kind.__mro__ if base in STATUS)


def problem_type(code: str) -> str:
    """Name a kind of problem for its `type` member (RFC 9457 §3.1.1); nothing is found behind the
    name.
    """
    return f"urn:ikewarden:problem:{code}"


def problem(error: IkewardenError, *, request_id: str) -> dict[str, Any]:
    """Build the members of the problem document for an error that may be shown.

    Beside the members of RFC 9457 §3.1: `code` (stable, for programs), `next_step`, `request_id`,
    `errors` (a list of `{pointer, detail}`, RFC 6901) and `details` (short public values) where the
    error has them. An error of status 500 is told apart by its code only.
    """
    status = status_of(error)
    shown = status < 500 or isinstance(error, Unavailable)
    document: dict[str, Any] = {
        "type": problem_type(error.code),
        "title": TITLES[status],
        "status": status,
        "detail": error.message if shown else WENT_WRONG,
        "code": error.code,
        "next_step": error.next_step if shown else REPORT,
        "request_id": request_id,
    }
    if shown and error.details:
        details = dict(error.details)
        if isinstance(places := details.pop("errors", None), Sequence):
            document["errors"] = places
        if details:
            document["details"] = details
    return document


def internal(request_id: str) -> dict[str, Any]:
    """Build the problem document for an error nobody foresaw: it shows only the request id."""
    return problem(IkewardenError(WENT_WRONG), request_id=request_id)


def problem_body(error: IkewardenError, *, request_id: str) -> bytes:
    """Encode the problem document of an error."""
    return encode(problem(error, request_id=request_id))


def without_words(error: IkewardenError, *, request_id: str) -> dict[str, Any]:
    """Make the problem document that may be kept: nothing in it is of the request, where a secret may have stood in the
    place of a name. Of the details the numbers stay, such as that of an approval.
    """
    document = problem(error, request_id=request_id)
    document.pop("errors", None)
    details = document.pop("details", {})
    document["detail"] = "It was refused before; what exactly was wrong with it is not kept."
    document["next_step"] = type(error).next_step
    if numbers := {name: value for name, value in details.items() if isinstance(value, int)}:
        document["details"] = numbers
    return document


def encode(document: Mapping[str, Any]) -> bytes:
    """Encode a problem document as JSON in UTF-8."""
    return json.dumps(document, ensure_ascii=False, default=str, separators=(",", ":")).encode()


def problem_headers(error: IkewardenError, *, token_given: bool = False) -> list[tuple[str, str]]:
    """List the headers that belong to the answer for an error, its media type first."""
    headers = [("Content-Type", MEDIA_TYPE)]
    status = status_of(error)
    if status == 401:
        # RFC 9110 §15.5.2 wants a challenge; RFC 6750 §3.1 names the reason only where a token was
        # sent.
        reason = ', error="invalid_token"' if token_given else ""
        headers.append(("WWW-Authenticate", f'Bearer realm="ikewarden"{reason}'))
    if status == 503 or "retry_after" in error.details:
        headers.append(("Retry-After", str(error.details.get("retry_after", RETRY_AFTER))))
    return headers


def from_werkzeug(error: HTTPException) -> IkewardenError:
    """Translate what Flask or werkzeug refused before a view was reached."""
    match error.code:
        case 404:
            return RouteNotFound("There is nothing at this path.")
        case 405:
            return MethodNotAllowed("This path does not know that method.")
        case 413:
            return BodyTooLarge("The body is too large.")
        case status if status is not None and 400 <= status < 500:
            return MalformedRequest("The request could not be read.")
        case _:
            return IkewardenError(WENT_WRONG)
