"""What the rules say of a gateway, compared with what is on record: alerts opened, followed and ended, each once."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select, update

from fleet.bumps import chunks
from fleet.monitoring.values import SEVERITIES, AlertState
from ike.detection.alert import Alert
from store import outbox
from store.engine import Unit
from store.monitoring_tables import sa_alerts

# Its handler tells people.
TOPIC: Final = "alert.changed"
# Its handler undoes a rotation of ours that keeps a tunnel from coming up.
UNDO: Final = "rotation.undo"
OPENED, ENDED = "alert.opened", "alert.ended"
# More open ones of a gateway say nothing new.
MOST_OPEN: Final = 1_000
_LAST: Final = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
_SILENCE: Final = ("silenced_until", "silenced_by", "silenced_why")


def settle(connection: Connection, gateway: Row[Any], said: Sequence[Alert], now: datetime) -> None:
    """Put on record what the rules say. `said` are all that are open, and those that ended since the last time, or
    longer ago. The gateway is locked.
    """
    _Settling(connection, gateway, now).settle(said)


@dataclass
class _Settling:
    connection: Connection
    gateway: Row[Any]
    now: datetime

    def settle(self, said: Sequence[Alert]) -> None:
        latest = self._latest({_same(alert) for alert in said})
        is_open = {row.same: row for row in latest.values() if row.state == AlertState.OPEN}
        room = MOST_OPEN - len(is_open)
        going_on: set[str] = set()
        for alert in sorted(said, key=_order):
            same = _same(alert)
            row = latest.get(same)
            if row is None or _is_another(row, alert):
                if room <= 0:
                    continue
                room -= 1
                latest[same] = self._open(alert, same, row)
            else:
                latest[same] = self._follow(row, alert)
            going_on.add(same)
        for same, row in is_open.items():
            if same not in going_on:
                # The rules were begun anew and know nothing of it.
                self._end(row, {"ended": self.now})

    def _latest(self, keys: set[str]) -> dict[str, Row[Any]]:
        """The last alert of each of these conditions, and all that are open."""
        mine = sa_alerts.c.gateway_id == self.gateway.id
        last = select(func.max(sa_alerts.c.id)).group_by(sa_alerts.c.same)
        queries = [
            select(sa_alerts).where(
                sa_alerts.c.id.in_(last.where(mine, sa_alerts.c.same.in_(some)))
            )
            for some in chunks(sorted(keys))
        ]
        queries.append(select(sa_alerts).where(mine, sa_alerts.c.state == AlertState.OPEN))
        return {row.same: row for query in queries for row in self.connection.execute(query)}

    def _open(self, alert: Alert, same: str, before: Row[Any] | None) -> Row[Any]:
        silence = {name: None for name in _SILENCE}
        # A silence is for the condition, and goes on where that comes back.
        if before is not None and before.silenced_until and before.silenced_until > self.now:
            silence = {name: getattr(before, name) for name in _SILENCE}
        values = {
            "gateway_id": self.gateway.id,
            "same": same,
            "kind": alert.kind,
            "state": str(AlertState.OPEN),
            "connection": alert.connection,
            "peer": alert.peer,
            "opened_at": self.now,
            "changed_at": self.now,
            "told": 0,
            **silence,
            **_said(alert),
            "ended": None,
        }
        number = self.connection.execute(insert(sa_alerts).values(**values)).inserted_primary_key
        if number is None:
            raise RuntimeError("the database gives a number to each alert")
        row = self._row(number[0])
        if alert.kind == "rotation_failed" and alert.end is None:
            payload = {"gateway": self.gateway.name, "connection": alert.connection}
            key = f"{self.gateway.id}:{same}"
            outbox.put(self.connection, topic=UNDO, key=key, payload=payload, now=self.now)
        if silence["silenced_until"] is None:
            row = tell(self.connection, row, self.gateway.name, self.now)
        return row if alert.end is None else self._end(row, {"ended": _moment(alert.end)})

    def _follow(self, row: Row[Any], alert: Alert) -> Row[Any]:
        values = _said(alert)
        if all(getattr(row, name) == value for name, value in values.items()):
            return row
        if alert.end is not None and row.state == AlertState.OPEN:
            return self._end(row, values)
        again = alert.end is None and row.state == AlertState.ENDED
        if again:
            values |= {"state": str(AlertState.OPEN), "ended_at": None}
        row = self._change(row, values)
        if again and row.told:
            row = tell(self.connection, row, self.gateway.name, self.now)
        return row

    def _end(self, row: Row[Any], values: Mapping[str, Any]) -> Row[Any]:
        row = self._change(row, {**values, "state": str(AlertState.ENDED), "ended_at": self.now})
        if row.told:
            _put(self.connection, ENDED, row, self.gateway.name, self.now)
        return row

    def _change(self, row: Row[Any], values: Mapping[str, Any]) -> Row[Any]:
        this = sa_alerts.c.id == row.id
        changed = {**values, "changed_at": self.now}
        self.connection.execute(update(sa_alerts).where(this).values(**changed))
        return self._row(row.id)

    def _row(self, number: int) -> Row[Any]:
        return self.connection.execute(select(sa_alerts).where(sa_alerts.c.id == number)).one()


def tell(target: Connection | Unit, row: Row[Any], gateway: str, now: datetime) -> Row[Any]:
    """Tell people that an alert is there, in the acting transaction."""
    connection = target.connection if isinstance(target, Unit) else target
    this = sa_alerts.c.id == row.id
    connection.execute(update(sa_alerts).where(this).values(told=1))
    _put(target, OPENED, row, gateway, now)
    return connection.execute(select(sa_alerts).where(this)).one()


def _put(target: Connection | Unit, event: str, row: Row[Any], gateway: str, now: datetime) -> None:
    payload = {
        "event": event,
        "alert": row.id,
        "gateway": gateway,
        **{name: getattr(row, name) for name in _TOLD},
        **{name: _text(getattr(row, name)) for name in ("began", "ended", "changed_at")},
    }
    # A key of its own: messages of one key are told as one. In the order of their keys they are sent.
    key = f"{row.id:018}:{now.isoformat()}:{int(event == ENDED)}"
    outbox.put(target, topic=TOPIC, key=key, payload=payload, now=now)


_TOLD: Final = (
    *("kind", "severity", "state", "connection", "peer", "identity", "evidence", "lines"),
    *("cause", "next_step"),
)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _same(alert: Alert) -> str:
    """What makes it the same condition of a gateway."""
    kind, _, connection, peer = alert.key
    said = json.dumps([kind, connection, peer])
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def _order(alert: Alert) -> tuple[float, float]:
    """Ended ones before those that last: the condition may have come back."""
    return (_LAST if alert.end is None else alert.end, alert.start or 0.0)


def _is_another(row: Row[Any], alert: Alert) -> bool:
    """Whether the condition had ended before this began."""
    if row.state != AlertState.ENDED or alert.start is None:
        return False
    began = _moment(alert.start)
    return began is not None and row.ended is not None and began > row.ended


def _said(alert: Alert) -> dict[str, Any]:
    """What may change while it lasts, as columns."""
    known = alert.severity if alert.severity in SEVERITIES else SEVERITIES[-1]
    return {
        "severity": known,
        "rank": SEVERITIES.index(known),
        "identity": alert.identity,
        "began": _moment(alert.start),
        "ended": _moment(alert.end),
        "updates": alert.updates,
        "cause": alert.cause,
        "next_step": alert.next_step,
        "evidence": json.loads(json.dumps(dict(alert.evidence))),
        "lines": list(alert.lines),
    }


def _moment(posix: float | None) -> datetime | None:
    return None if posix is None else datetime.fromtimestamp(posix, UTC)
