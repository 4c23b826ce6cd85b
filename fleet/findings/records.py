"""Findings as they are on record, and as they may be shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, func, select

from fleet.findings.values import FindingNotFound, State
from store.finding_tables import audit_reports, findings
from store.fleet_tables import gateways

# What makes an accepted finding an open one.
OPEN_AGAIN: Final[Mapping[str, Any]] = {
    "state": str(State.OPEN),
    "accepted_until": None,
    "accepted_by": None,
    "accepted_why": None,
}


@dataclass(frozen=True)
class FindingView:
    """A finding of a gateway. `times`: how often it came back. `seen_at`: when a report last held it."""

    id: int
    gateway_id: int
    gateway: str
    finding: str
    rule: str
    area: str
    severity: str
    rank: int
    state: str
    path: str
    line: int | None
    subject: str
    title: str
    evidence: str
    why: str
    fix: str
    references: tuple[str, ...]
    times: int
    opened_at: datetime
    changed_at: datetime
    seen_at: datetime
    fixed_at: datetime | None
    accepted_until: datetime | None
    accepted_by: str | None
    accepted_why: str | None


def shown() -> Select[Any]:
    """All that a view needs."""
    return (
        select(
            *(column for column in findings.columns if column.name != "seen_at"),
            func.coalesce(findings.c.seen_at, audit_reports.c.seen_at).label("seen_at"),
            gateways.c.name.label("gateway"),
        )
        .join_from(findings, gateways, gateways.c.id == findings.c.gateway_id)
        .join(audit_reports, audit_reports.c.gateway_id == findings.c.gateway_id)
    )


def view(row: Row[Any]) -> FindingView:
    """Turn a row into a view."""
    fields = dict(row._mapping)
    said = fields.pop("document")
    return FindingView(
        **fields, why=said["why"], fix=said["fix"], references=tuple(said["references"])
    )


def pick(connection: Connection, number: int) -> FindingView:
    """Find one finding inside a transaction. Raises FindingNotFound."""
    row = connection.execute(shown().where(findings.c.id == number)).one_or_none()
    if row is None:
        raise FindingNotFound(f"There is no finding {number}.")
    return view(row)
