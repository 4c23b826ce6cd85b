"""The audit log: who did what to which object, written in the transaction of the act."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from store.tables import audit_events
from store.unit import Unit, insert


@dataclass(frozen=True)
class AuditEvent:
    """One act. `id` rises with time and is the cursor of `page`."""

    id: int
    at: datetime
    actor: str
    role: str
    action: str
    object: str
    outcome: str
    detail: Mapping[str, Any]
    request_id: str


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
            "actor": _storable(actor),
            "role": role,
            "action": action,
            "object": _storable(object),
            "outcome": outcome,
            "detail": dict(detail),
            "request_id": _storable(request_id),
        },
    )


def _storable(text: str) -> str:
    """Text that both databases take: PostgreSQL has no NUL, and neither has unpaired surrogates."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
