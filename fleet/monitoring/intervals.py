"""How old the SAs of a connection were when they were rekeyed, beside the bounds of its configuration."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import select

from fleet.gateways import registered
from fleet.monitoring import bounds
from ike.detection.bounds import UNKNOWN, Bounds
from pki.actors import Action, Actor, require, require_gateway
from pki.desk import Desk
from store.monitoring_tables import sa_events
from store.text import storable

#: So many events of the gateway, the latest, are looked through: a hub has as many connections as it likes.
LOOKED_AT: Final = 20_000
#: So many rekeys are told of, the latest.
MOST: Final = 1000
_MADE: Final = frozenset({"ike_established", "child_established"})
_REPLACED: Final = frozenset({"ike_rekeyed", "child_rekeyed", "ike_reauth"})
# Without numbers, an SA that was younger was not rekeyed: both ends told of the same one.
_ECHO_SECONDS: Final = 1.0

Layer = Literal["ike", "child"]


@dataclass(frozen=True)
class Interval:
    """An SA was replaced at `at`, `seconds` old. `number` is that of the event; `child` is empty of an IKE SA."""

    at: datetime
    seconds: float
    layer: Layer
    child: str
    kind: str
    number: int


@dataclass(frozen=True)
class Intervals:
    """The rekeys of a connection, the oldest first, and what is known of its configuration.

    `since` is the time of the oldest event that was looked at; None where there was none.
    """

    gateway: str
    connection: str
    found: tuple[Interval, ...]
    bounds: Bounds
    since: datetime | None


def of_connection(desk: Desk, actor: Actor, gateway: str, name: str) -> Intervals:
    """The latest rekeys of a connection of a gateway. Raises RoleMayNot, OutsideScope, GatewayNotFound."""
    require(actor, Action.SA_READ)
    require_gateway(actor, gateway)
    name = storable(name)
    columns = (
        sa_events.c.at,
        sa_events.c.number,
        sa_events.c.kind,
        sa_events.c.connection,
        sa_events.c.document,
    )
    with desk.store.read() as connection:
        number = registered(connection, gateway).id
        latest = (
            select(*columns, sa_events.c.id)
            .where(sa_events.c.gateway_id == number)
            .order_by(sa_events.c.at.desc(), sa_events.c.id.desc())
            .limit(LOOKED_AT)
            .subquery()
        )
        mine = (
            select(latest)
            .where(latest.c.connection == name, latest.c.kind.in_(_MADE | _REPLACED))
            .order_by(latest.c.at, latest.c.id)
        )
        rows = [dict(row) for row in connection.execute(mine).mappings()]
        since = connection.execute(
            select(latest.c.at).order_by(latest.c.at).limit(1)
        ).scalar_one_or_none()
        known = bounds.AtGateway(connection, number, [name]).get(name, UNKNOWN)
    found = tuple(_ages(rows))[-MOST:]
    return Intervals(gateway, name, found, known, since)


def _ages(rows: Iterable[Mapping[str, Any]]) -> Iterable[Interval]:
    """The ages of SAs at their rekey, as far as their beginning is known."""
    born: dict[tuple[object, ...], datetime] = {}
    for row in rows:
        kind, told, at = row["kind"], row["document"], row["at"]
        layer: Layer = "child" if kind.startswith("child") else "ike"
        child = str(told.get("child") or "") if layer == "child" else ""
        mark = told.get("child_id" if layer == "child" else "ike_id")
        if kind in _MADE:
            # A second statement about one that is up changes nothing.
            born.setdefault((layer, child, mark), at)
            continue
        old = told.get("old_ike_id", mark) if kind == "ike_rekeyed" else mark
        since = born.pop((layer, child, old), None)
        new = {"child_rekeyed": told.get("new_child_id"), "ike_rekeyed": mark}.get(kind)
        if new is not None or mark is None:
            born[layer, child, new] = at
        if since is None:
            continue
        seconds = (at - since).total_seconds()
        if seconds > _ECHO_SECONDS or (old is not None and old != new):
            yield Interval(at, seconds, layer, child, kind, row["number"])
