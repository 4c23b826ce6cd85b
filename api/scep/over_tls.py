"""SCEP over the TLS listener too: the same paths, the same answers, for devices and MDMs that want https."""

from collections.abc import Callable
from datetime import datetime

from flask import Flask, Response, request

from api.bridge import EXCHANGE, Exchange
from api.scep.door import ScepDoors
from pki.desk import Desk


def install(app: Flask, desk: Desk, clock: Callable[[], datetime]) -> None:
    """Add the paths of SCEP to the application. `clock` is read once per request."""
    doors = ScepDoors(desk, clock)

    def answer(rest: str) -> Response:
        exchange: Exchange = request.environ[EXCHANGE]
        exchange.route = str(request.url_rule)
        query = request.query_string.decode("ascii", "replace")
        made = doors.answer(
            request.method, request.path, query, request.get_data(), exchange.client
        )
        headers = {"Cache-Control": "no-store"}
        return Response(made.body, 200, headers, content_type=made.media_type)

    app.add_url_rule(
        "/scep/<path:rest>",
        endpoint="scep",
        view_func=answer,
        methods=["GET", "POST"],
        provide_automatic_options=False,
    )
