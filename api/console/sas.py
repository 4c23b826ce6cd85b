"""SAs that are up, as gateways report them, live; and one connection: its rekeys beside their bounds, its events."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import Field

from api import cursors
from api.console import rekeying
from api.console.alerts import open_alerts
from api.console.lists import ROWS, ListSearch, behind
from api.console.page import Answer, Page, Screen, Visit, text
from api.console.tones import Tone
from fleet import sas
from fleet.monitoring import intervals, shown
from fleet.monitoring.shown import AlertQuery, EventQuery
from fleet.sas import SaQuery, SaView
from pki.actors import Action

_PATH: Final = "/sas"
_CONNECTION: Final = "/sas/connection"
_CHILDREN: Final = 5
_ALERTS: Final = 100


class SaSearch(ListSearch):
    """Which SAs."""

    gateway: str | None = Field(default=None, max_length=253)
    connection: str | None = Field(default=None, max_length=255)
    peer: str | None = Field(default=None, max_length=1024)
    tunnel: str | None = Field(default=None, max_length=63)


class ConnectionQuery(ListSearch):
    """Which connection of which gateway."""

    gateway: str = Field(default="", max_length=253)
    connection: str = Field(default="", max_length=255)


@dataclass(frozen=True)
class SaRow:
    """An IKE SA as it is shown: `serial` is of the peer's certificate, `secrets` are names with versions."""

    gateway: str
    tunnel: str | None
    connection: str
    tone: Tone
    address: str
    identity: str
    serial: str | None
    certificate: str | None
    secrets: tuple[str, ...]
    since: datetime | None
    algorithms: str
    children: tuple[Mapping[str, Any], ...]
    left_out: int


def sa_row(view: SaView) -> SaRow:
    """What of an SA stands in a table. The gateway wrote the document: nothing in it is taken for granted."""
    told = view.document
    children = [each for each in told.get("children") or () if isinstance(each, dict)]
    secrets = [each for each in told.get("secrets") or () if isinstance(each, dict)]
    up = bool(told.get("established"))
    shown_children = tuple(
        {name: str(each.get(name) or "") for name in ("name", "state", "spi_in", "spi_out")}
        for each in children[:_CHILDREN]
    )
    return SaRow(
        gateway=view.gateway,
        tunnel=view.tunnel,
        connection=view.connection,
        tone=Tone("good", text("Established")) if up else Tone("busy", text("Coming up")),
        address=str(told.get("remote_address") or ""),
        identity=str(told.get("remote_id") or ""),
        serial=view.remote_serial,
        certificate=view.remote_certificate,
        secrets=tuple(f"{each.get('name')} v{each.get('version')}" for each in secrets[:_CHILDREN]),
        since=_moment(told.get("established_at")),
        algorithms=str(told.get("algorithms") or ""),
        children=shown_children,
        left_out=max(0, len(children) - _CHILDREN),
    )


def _moment(told: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(told))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def search(visit: Visit[None, SaSearch]) -> Answer:
    """The SAs that are up."""
    query = visit.query
    wanted = SaQuery(
        gateway=query.gateway,
        tunnel=query.tunnel,
        connection=query.connection,
        peer=query.peer,
        cursor=cursors.decode(_PATH, query.cursor, int),
        limit=ROWS,
    )
    found = sas.search(visit.desk, visit.actor, wanted)
    listed = {
        "sas": [sa_row(each) for each in found],
        "reported": max((each.reported_at for each in found if each.reported_at), default=None),
        "behind": behind(visit, _PATH, found, found[-1].id if found else None),
        "filtered": any((query.gateway, query.tunnel, query.connection, query.peer, query.cursor)),
    }
    return Screen("sas/list.html", listed, part="live")


def connection(visit: Visit[None, ConnectionQuery]) -> Answer:
    """A connection of a gateway: how its rekeys keep to their bounds, what happened to it."""
    query = visit.query
    known = intervals.of_connection(visit.desk, visit.actor, query.gateway, query.connection)
    cursor = cursors.decode_pair(_CONNECTION, query.cursor)
    wanted = EventQuery(
        gateway=query.gateway, connection=query.connection, cursor=cursor, limit=ROWS
    )
    events = shown.events(visit.desk, visit.actor, wanted)
    now_up = SaQuery(gateway=query.gateway, connection=query.connection, limit=ROWS)
    alerts = AlertQuery("open", gateway=query.gateway, connection=query.connection, limit=_ALERTS)
    whole = {
        "gateway": query.gateway,
        "connection": query.connection,
        "known": known,
        "layers": rekeying.layers(visit, known),
        "sas": [sa_row(each) for each in sas.search(visit.desk, visit.actor, now_up)],
        "alerts": open_alerts(visit, alerts),
        "events": events,
        "behind": behind(visit, _CONNECTION, events, events[-1].position if events else None),
    }
    return Screen("sas/connection.html", whole)


PAGES: tuple[Page, ...] = (
    Page("GET", _PATH, search, Action.SA_READ, query=SaSearch, live=True, menu="SAs"),
    Page("GET", _CONNECTION, connection, Action.SA_READ, query=ConnectionQuery),
)
