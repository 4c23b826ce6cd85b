"""Alerts as they are on record, and as they may be shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from fleet.monitoring.values import AlertNotFound
from store.fleet_tables import gateways
from store.monitoring_tables import sa_alerts, sa_watches


@dataclass(frozen=True)
class AlertView:
    """An alert of a gateway. `began` and `ended` are by the gateway's clock; `lines` are numbers of its events.

    `heard_at`: when events of the gateway last came, or word that there are none.
    """

    id: int
    gateway_id: int
    gateway: str
    kind: str
    severity: str
    rank: int
    state: str
    connection: str | None
    peer: str | None
    identity: str | None
    began: datetime | None
    ended: datetime | None
    opened_at: datetime
    changed_at: datetime
    ended_at: datetime | None
    updates: int
    silenced_until: datetime | None
    silenced_by: str | None
    silenced_why: str | None
    cause: str
    next_step: str
    evidence: Mapping[str, Any]
    lines: tuple[int, ...]
    heard_at: datetime | None


def shown() -> Select[Any]:
    """All that a view needs."""
    columns = (gateways.c.name.label("gateway"), sa_watches.c.seen_at.label("heard_at"))
    return (
        select(sa_alerts, *columns)
        .join_from(sa_alerts, gateways, gateways.c.id == sa_alerts.c.gateway_id)
        .outerjoin(sa_watches, sa_watches.c.gateway_id == sa_alerts.c.gateway_id)
    )


def view(row: Row[Any]) -> AlertView:
    """Turn a row into a view."""
    fields = {name: getattr(row, name) for name in AlertView.__dataclass_fields__}
    return AlertView(**fields | {"lines": tuple(row.lines)})


def pick(connection: Connection, number: int) -> AlertView:
    """Find one alert inside a transaction. Raises AlertNotFound."""
    row = connection.execute(shown().where(sa_alerts.c.id == number)).one_or_none()
    if row is None:
        # 0 stands for what cannot be the number of one.
        raise AlertNotFound(f"There is no alert {number}." if number else "There is no such alert.")
    return view(row)
