"""What can go wrong in the door itself, before an operation is reached."""

from core.errors import InvalidInput, NotFound, TooLarge, Unavailable


class MalformedRequest(InvalidInput):
    """The request is not HTTP or JSON as it should be."""

    code = "malformed_request"
    next_step = "Send a request as the API reference at /docs shows."


class BodyInvalid(InvalidInput):
    """The body is JSON and does not fit the route's model; `errors` names each place."""

    code = "body_invalid"
    next_step = "Correct the fields named in `errors`."


class QueryInvalid(InvalidInput):
    """A query parameter is unknown or has a bad value; `errors` names each."""

    code = "query_invalid"
    next_step = "Correct the parameters named in `errors`."


class CursorInvalid(InvalidInput):
    """The cursor was not given out by this route."""

    code = "cursor_invalid"
    next_step = "Start again without `cursor`, and follow the Link header from page to page."


class MediaTypeRefused(InvalidInput):
    """The body is not JSON."""

    code = "media_type_refused"
    next_step = "Send the body as JSON with Content-Type: application/json."


class RouteNotFound(NotFound):
    """No route has this path."""

    code = "route_not_found"
    next_step = "See /docs for the routes there are."


class MethodNotAllowed(InvalidInput):
    """The path exists with other methods; the Allow header names them."""

    code = "method_not_allowed"
    next_step = "Use one of the methods in the Allow header."


class BodyTooLarge(TooLarge):
    """The body is over the listener's limit."""

    code = "body_too_large"
    next_step = "Send less at once: limit_bytes is the most."


class HeadTooLarge(TooLarge):
    """Request line and headers are over the listener's limit."""

    code = "head_too_large"
    next_step = "Send fewer or shorter headers."


class RequestTooSlow(InvalidInput):
    """The client did not send its whole request in time."""

    code = "request_too_slow"
    next_step = "Send the whole request at once."


class Overloaded(Unavailable):
    """More work is waiting than can be done soon; nothing of this request was begun."""

    code = "overloaded"


class Stopping(Unavailable):
    """The process is ending and takes no new work."""

    code = "stopping"


class MetricsUnreadable(Unavailable):
    """The counters of the other processes could not be read."""

    code = "metrics_unreadable"
