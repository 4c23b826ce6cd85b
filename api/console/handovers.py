"""A key handed to whoever runs an outside peer: a token for one use, shown once. Never the key itself."""

from typing import Any, Literal

from pydantic import Field

from api.console.mending import MENDABLE, again
from api.console.page import Answer, Form, Page, Screen, Visit
from api.registry import Nothing
from core.errors import InvalidInput
from fleet import tunnels
from fleet.rotation import handover
from fleet.rotation.values import Kind
from pki.actors import Action, require

_PATH = "/tunnels/{name}/handover"


class HandOverForm(Form):
    """Which secret, and for how many hours the token is good."""

    kind: Literal["psk", "ppk"] = "psk"
    hours: str = Field(default="24", max_length=5)


class HoursRefused(InvalidInput):
    """A number of hours that is none."""

    code = "hours_refused"
    next_step = "Give a whole number of hours."


def hours_of(text: str) -> int:
    """Hours as somebody typed them. Raises HoursRefused."""
    if not (text.isascii() and text.isdigit()):
        raise HoursRefused("The hours are no whole number.")
    return int(text)


def ask(visit: Visit[None, Nothing]) -> Answer:
    """What a handover is, and the form that makes one."""
    return Screen("tunnels/handover.html", _shown(visit, "24"))


def _shown(visit: Visit[Any, Any], hours: str) -> dict[str, Any]:
    tunnel = tunnels.get(visit.desk, visit.actor, visit.path["name"])
    return {"tunnel": tunnel, "made": None, "token": "", "hours": hours, "url": ""}


def create(visit: Visit[HandOverForm, Nothing]) -> Answer:
    """Make the token, and show it this once."""
    require(visit.actor, Action.SECRET_HANDOVER)  # before anything is looked at
    sent = visit.body
    shown = _shown(visit, sent.hours)
    try:
        made = handover.create(
            visit.desk,
            visit.actor,
            visit.path["name"],
            Kind(sent.kind),
            hours_of(sent.hours),
            now=visit.now,
        )
    except MENDABLE as error:
        return again(visit, error, "tunnels/handover.html", shown)
    once = {"made": made, "token": made.token.reveal().decode()}
    url = visit.desk.rules.service_url
    return Screen("tunnels/handover.html", {**shown, **once, "url": url})


PAGES: tuple[Page, ...] = (
    Page("GET", _PATH, ask, Action.TUNNEL_READ),
    Page("POST", _PATH, create, Action.SECRET_HANDOVER, form=HandOverForm, secret=True),
)
