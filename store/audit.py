"""The audit log: who did what to which object, written in the transaction of the act."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, select

from store.tables import audit_events
from store.text import storable
from store.unit import Unit, insert


@dataclass(frozen=True)
class AuditEvent:
    """One act. `id` is the cursor of `page`."""

    id: int
    at: datetime
    actor: str
    role: str
    action: str
    object: str
    outcome: str
    detail: Mapping[str, Any]
    request_id: str


_EVENTS: Final = select(audit_events).order_by(audit_events.c.id.desc())


def record(  # noqa: PLR0913 - one argument for each column, named by every caller
    target: Unit | Connection,
    *,
    at: datetime,
    actor: str,
    role: str,
    action: str,
    object: str,
    outcome: str,
    detail: Mapping[str, Any],
    request_id: str,
) -> None:
    """Write an act down in the acting transaction. `detail` is JSON and holds no secret."""
    insert(
        target,
        audit_events,
        {
            "at": at,
            "actor": storable(actor),
            "role": role,
            "action": action,
            "object": storable(object),
            "outcome": outcome,
            "detail": dict(detail),
            "request_id": storable(request_id),
        },
    )


def page(
    connection: Connection,
    *,
    after: int | None,
    limit: int,
    action: str | None = None,
    actor: str | None = None,
    object: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[AuditEvent]:
    """Events, newest first: those that come after the one with id `after`, at most `limit`.

    `since` is part of the span of time, `until` is not.
    """
    columns = audit_events.c
    query = _EVENTS.limit(limit)
    if after is not None:
        query = query.where(columns.id < after)
    for column, value in (
        (columns.action, action),
        (columns.actor, actor),
        (columns.object, object),
    ):
        if value is not None:
            query = query.where(column == storable(value))
    if since is not None:
        query = query.where(columns.at >= since)
    if until is not None:
        query = query.where(columns.at < until)
    return [AuditEvent(**row) for row in connection.execute(query).mappings()]
