"""Work after the commit: messages written in the transaction that makes them necessary."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from store.tables import outbox
from store.unit import Unit, insert


def put(
    target: Unit | Connection,
    *,
    topic: str,
    key: str,
    payload: Mapping[str, Any],
    now: datetime,
    delay: timedelta = timedelta(0),
) -> None:
    """Queue a message in the acting transaction. `payload` is JSON and holds no secret."""
    insert(
        target,
        outbox,
        {
            "topic": topic,
            "key": key,
            "payload": dict(payload),
            "created_at": now,
            "available_at": now + delay,
            "attempts": 0,
        },
    )
