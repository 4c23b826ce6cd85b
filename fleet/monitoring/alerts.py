"""What the rules say of a gateway, compared with what is on record: alerts opened, followed and ended, each once.

A gateway has a limited number of open alerts, so that a flood of them cannot fill the records. Where it is reached, the
worse takes the place of the lesser, and what is critical is never left out: how many of those there can be is bounded
by the rules. That alerts are left out is an alert of its own.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, select, update

from fleet.bumps import chunks
from fleet.monitoring.records import AlertView
from fleet.monitoring.values import LIMITED, LIMITED_ADVICE, SEVERITIES, AlertState
from ike.detection.alert import Alert
from store import outbox
from store.engine import Unit
from store.monitoring_tables import sa_alerts

# Its handler tells people.
TOPIC: Final = "alert.changed"
# Its handler undoes a rotation of ours that keeps a tunnel from coming up.
UNDO: Final = "rotation.undo"
OPENED, ENDED = "alert.opened", "alert.ended"
# More open ones of a gateway say little that is new.
MOST_OPEN: Final = 1_000
_LOG = logging.getLogger(__name__)
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
    rows: dict[str, Row[Any]] = field(default_factory=dict)  # the last of each condition
    room: int = 0
    left_out: Counter[str] = field(default_factory=Counter)  # by kind
    _lesser: list[str] | None = None

    def settle(self, said: Sequence[Alert]) -> None:
        going_on = {_same(alert) for alert in said}
        self.rows = self._latest({*going_on, _LIMITED})
        limited = self.rows.pop(_LIMITED, None)
        for there in self._open_ones():
            if there.same not in going_on:
                # The rules were begun anew and know nothing of it.
                self.rows[there.same] = self._end(there, {"ended": self.now})
        newcomers = []
        for alert in sorted(said, key=_order):
            row = self.rows.get(_same(alert))
            if _takes_room(row, alert):
                newcomers.append(alert)
            elif row is not None:
                self.rows[row.same] = self._follow(row, alert)
        self.room = MOST_OPEN - len(self._open_ones())
        for alert in sorted(newcomers, key=_rank):
            self._admit(alert)
        self._tell_limit(limited)

    def _open_ones(self) -> list[Row[Any]]:
        return [row for row in self.rows.values() if row.state == AlertState.OPEN]

    def _admit(self, alert: Alert) -> None:
        """Open an alert, or open it again, if there is room for it or it is worse than another one."""
        same = _same(alert)
        row = self.rows.get(same)
        if row is not None and not _takes_room(row, alert):
            self.rows[same] = self._follow(row, alert)
            return
        if self.room <= 0 and not self._displace(alert) and _rank(alert) > 0:
            self.left_out[alert.kind] += 1
            return
        if row is None or _is_another(row, alert):
            self.rows[same] = self._open(alert, same, row)
        else:
            self.rows[same] = self._follow(row, alert)
        self.room -= 1

    def _displace(self, alert: Alert) -> bool:
        """End the least of the open alerts, of those the latest, if it is less than this one."""
        if self._lesser is None:
            by_rank = sorted(self._open_ones(), key=lambda row: (row.rank, row.id))
            self._lesser = [row.same for row in by_rank]
        if not self._lesser or self.rows[self._lesser[-1]].rank <= _rank(alert):
            return False
        row = self.rows[self._lesser.pop()]
        self.left_out[row.kind] += 1
        told = {"evidence": {**row.evidence, "left_out": True}, "ended": self.now}
        self.rows[row.same] = self._end(row, told)
        self.room += 1
        return True

    def _tell_limit(self, row: Row[Any] | None) -> None:
        """One alert tells that others are left out, and how many."""
        is_open = row is not None and row.state == AlertState.OPEN
        number = self.left_out.total()
        if number == 0:
            if row is not None and is_open:
                self._end(row, {"ended": self.now})
            return
        evidence = {"left_out": number, "limit": MOST_OPEN, "kinds": dict(self.left_out)}
        began = row.began if row is not None and is_open else self.now
        notice = _notice(began or self.now, evidence)
        if row is not None and is_open:
            changed = row.evidence != evidence
            self._follow(row, notice)
        else:
            changed = True
            self._open(notice, _LIMITED, row)
        if changed:
            about = {"gateway": self.gateway.name, "left_out": number, "limit": MOST_OPEN}
            _LOG.warning("alerts of a gateway are left out", extra=about)

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
        self._have_undone(row, alert)
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
        if again:
            self._have_undone(row, alert)
            row = self._tell_again(row)
        return row

    def _tell_again(self, row: Row[Any]) -> Row[Any]:
        """Tell people that it is there again; under a silence, when that ends."""
        if row.silenced_until is not None and row.silenced_until > self.now:
            return self._change(row, {"told": 0})
        return tell(self.connection, row, self.gateway.name, self.now)

    def _have_undone(self, row: Row[Any], alert: Alert) -> None:
        """Have the rotation undone that failed when this became certain; told late, that may not be the present one."""
        if alert.kind != "rotation_failed" or alert.end is not None:
            return
        at = _moment(alert.raised) or self.now
        payload = {"gateway": self.gateway.name, "connection": alert.connection, "at": _text(at)}
        key = f"{row.id:018}:{_text(at)}"
        outbox.put(self.connection, topic=UNDO, key=key, payload=payload, now=self.now)

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


def _takes_room(row: Row[Any] | None, alert: Alert) -> bool:
    """Whether it is to be opened, or opened again."""
    if row is None or _is_another(row, alert):
        return True
    return alert.end is None and row.state == AlertState.ENDED


def _notice(began: datetime, evidence: Mapping[str, Any]) -> Alert:
    return Alert(
        LIMITED,
        "high",
        None,
        None,
        began.timestamp(),
        None,
        evidence,
        (),
        *LIMITED_ADVICE,
    )


def tell(target: Connection | Unit, row: Row[Any], gateway: str, now: datetime) -> Row[Any]:
    """Tell people that an alert is there, in the acting transaction."""
    connection = target.connection if isinstance(target, Unit) else target
    this = sa_alerts.c.id == row.id
    connection.execute(update(sa_alerts).where(this).values(told=1))
    _put(target, OPENED, row, gateway, now)
    return connection.execute(select(sa_alerts).where(this)).one()


def end_unheard(unit: Unit, found: AlertView, now: datetime) -> None:
    """End the alert of a gateway of which nothing is heard, in the acting transaction, and tell those who were told of
    it. It is opened again where the gateway is heard of and the rules still say it.
    """
    this = sa_alerts.c.id == found.id
    values = {
        "state": str(AlertState.ENDED),
        "evidence": {**found.evidence, "unheard": True},
        "ended": found.heard_at,
        "ended_at": now,
        "changed_at": now,
    }
    unit.connection.execute(update(sa_alerts).where(this).values(**values))
    row = unit.connection.execute(select(sa_alerts).where(this)).one()
    if row.told:
        _put(unit, ENDED, row, found.gateway, now)


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


# That others are left out.
_LIMITED: Final = _same(_notice(datetime(1970, 1, 1, tzinfo=UTC), {}))


def _rank(alert: Alert) -> int:
    """0 for the worst."""
    return SEVERITIES.index(alert.severity) if alert.severity in SEVERITIES else len(SEVERITIES) - 1


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
        # The only sender so far, or none where there are several.
        "peer": alert.peer,
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
