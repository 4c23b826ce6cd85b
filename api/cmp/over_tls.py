"""CMP over the TLS listener too (RFC 9811 §3.1): the same paths, the same answers, for devices that reach only that."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from flask import Flask, Response, request

from api.bridge import EXCHANGE, Exchange
from api.cmp.door import MEDIA_TYPE, CmpDoors
from pki.desk import Desk

_ROOT: Final = "/.well-known/cmp"
_RULES: Final = (
    _ROOT,
    f"{_ROOT}/<operation>",
    f"{_ROOT}/p/<name>",
    f"{_ROOT}/p/<name>/<operation>",
)


def install(app: Flask, desk: Desk, clock: Callable[[], datetime]) -> None:
    """Add the paths of CMP to the application. `clock` is read once per request."""
    doors = CmpDoors(desk, clock)

    def answer(**parts: str) -> Response:
        exchange: Exchange = request.environ[EXCHANGE]
        exchange.route = str(request.url_rule)
        media_type = request.content_type or ""
        body = doors.answer(
            request.method, request.path, media_type, request.get_data(), exchange.client
        )
        return Response(body, 200, {"Cache-Control": "no-store"}, content_type=MEDIA_TYPE)

    for rule in _RULES:
        app.add_url_rule(
            rule,
            endpoint=f"cmp {rule}",
            view_func=answer,
            methods=["GET", "POST"],
            provide_automatic_options=False,
        )
