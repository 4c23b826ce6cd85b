"""Figures that were counted a while ago, kept for all processes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from store.figures_tables import figures


def keep(connection: Connection, name: str, document: Mapping[str, Any], now: datetime) -> None:
    """Put figures in place of those that there were under this name. One at a time does so: its job has a lease."""
    connection.execute(delete(figures).where(figures.c.name == name))
    connection.execute(insert(figures).values(name=name, at=now, document=dict(document)))


def kept(connection: Connection, name: str) -> tuple[datetime, Mapping[str, Any]] | None:
    """Figures and when they were counted; None where that was never done."""
    query = select(figures.c.at, figures.c.document).where(figures.c.name == name)
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.at, row.document)
