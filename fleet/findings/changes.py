"""Changes of findings' states, put on record: history, audit log, and alerts for what is bad and new."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from fleet.findings.values import State
from fleet.gateways import about
from ike.audit.values import Severity
from pki.actors import Actor
from pki.trail import leave
from store import outbox
from store.engine import Unit
from store.finding_tables import finding_events

# Its handler tells people.
OPENED = "findings.opened"
_LOUD = Severity.HIGH.rank
# Of more than these an alert tells the number: it is to be read, not to be searched.
_TOLD = 20
# Of one finding that comes and goes these are kept; it is looked after whenever it has come back so often.
MOST_EVENTS = 200
_OFTEN = 50


@dataclass(frozen=True)
class Change:
    """A finding that came into another state. `row` has the columns of the table."""

    row: Any
    state: State
    why: str
    until: datetime | None = None


def write(
    unit: Unit, actor: Actor, gateway_id: int, changes: Sequence[Change], now: datetime
) -> None:
    """Keep the history of these findings, all of one gateway."""
    rows = [
        {
            "gateway_id": gateway_id,
            "finding_id": each.row.id,
            "at": now,
            "state": each.state,
            "actor": actor.name,
            "why": each.why,
            "until": each.until,
        }
        for each in changes
    ]
    if rows:
        unit.connection.execute(finding_events.insert(), rows)
    for each in changes:
        if each.row.times and each.row.times % _OFTEN == 0:
            _forget(unit.connection, each.row.id)


def _forget(connection: Connection, finding_id: int) -> None:
    """Let go of the oldest changes of a finding that comes and goes for ever."""
    mine = finding_events.c.finding_id == finding_id
    latest = select(finding_events.c.id).where(mine).order_by(finding_events.c.id.desc())
    oldest = connection.execute(latest.offset(MOST_EVENTS).limit(1)).scalar_one_or_none()
    if oldest is not None:
        connection.execute(delete(finding_events).where(mine, finding_events.c.id <= oldest))


def trail(
    unit: Unit, actor: Actor, action: str, gateway: str, now: datetime, **detail: Any
) -> None:
    """Leave an audit row about a gateway's findings."""
    leave(unit, actor, action, about(gateway), now=now, **detail)


def alert(unit: Unit, gateway: str, opened: Iterable[Change], now: datetime) -> None:
    """Tell people of those that are critical or high: one message for all of them."""
    loud = sorted(
        (each for each in opened if each.row.rank <= _LOUD),
        key=lambda each: (each.row.rank, each.row.id),
    )
    if not loud:
        return
    payload = {
        "gateway": gateway,
        **{
            str(severity): sum(each.row.rank == severity.rank for each in loud)
            for severity in (Severity.CRITICAL, Severity.HIGH)
        },
        "findings": [
            {
                "id": each.row.id,
                "rule": each.row.rule,
                "severity": each.row.severity,
                "path": each.row.path,
                "title": each.row.title,
                "evidence": each.row.evidence,
                "reason": each.why,
            }
            for each in loud[:_TOLD]
        ],
        "more": max(0, len(loud) - _TOLD),
    }
    # A key of its own: messages of one key are told as one, and each of these tells of others.
    key = f"{gateway}:{loud[0].row.id}:{now.isoformat()}"
    outbox.put(unit, topic=OPENED, key=key, payload=payload, now=now)
