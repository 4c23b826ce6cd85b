"""A gateway's report of its audit, taken in: what is new is opened, what is gone is fixed, the rest stays as it is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from fleet.bumps import chunks
from fleet.findings import changes
from fleet.findings.changes import Change
from fleet.findings.values import AuditReport, ReportedFinding, State
from fleet.gateways import locked
from fleet.state import own_name
from pki.actors import Action, Actor, require
from pki.desk import Desk
from store.engine import Unit
from store.finding_tables import audit_reports, finding_events, findings
from store.text import storable

# A report that was begun before the one on record, and comes within this time after it, was only late. One that comes
# later is of a gateway whose clock was set back.
_LATE = timedelta(hours=1)
# So many fixed ones are kept of a gateway, and so many that are not; a broken one could report others each time.
_KEPT = 5_000
NEW, BACK, WORSE = "new", "came back", "is worse than before"
GONE = "not found any more"


def file(desk: Desk, actor: Actor, report: AuditReport, *, now: datetime) -> None:
    """Put what an audit of the acting gateway found on record. May be done again.

    The same report again only says that all is still so; an older one than that on record changes nothing. What a
    report does not hold is fixed, unless the report is incomplete or could not look there. Raises RoleMayNot,
    OutsideScope, GatewayNotFound.
    """
    require(actor, Action.GATEWAY_SELF)
    name = own_name(actor)
    digest = report.digest

    def work(unit: Unit) -> None:
        connection = unit.connection
        # Reports of one gateway come one after the other.
        gateway = locked(connection, name)
        mine = audit_reports.c.gateway_id == gateway.id
        before = connection.execute(select(audit_reports).where(mine)).one_or_none()
        if before is not None and _is_late(before, report, now):
            return
        # A clock that is ahead must not make the reports to come older than this one.
        row: dict[str, Any] = {"seen_at": now, "started_at": min(report.started, now)}
        if before is not None and before.digest == digest:
            connection.execute(update(audit_reports).where(mine).values(**row))
            return
        row |= {
            "digest": digest,
            "baseline": storable(report.baseline),
            "complete": int(report.complete),
            "errors": len(report.errors),
            "received_at": now,
            "document": {
                "policy": dict(report.policy or {}),
                "errors": [dict(each) for each in report.errors],
                "figures": dict(report.figures or {}),
            },
        }
        if before is None:
            connection.execute(insert(audit_reports).values(gateway_id=gateway.id, **row))
        else:
            connection.execute(update(audit_reports).where(mine).values(**row))
        seen_at = now if before is None else before.seen_at
        _Filing(unit, actor, gateway.id, name, seen_at, now).settle(report)

    desk.store.together(work)


def _is_late(before: Row[Any], report: AuditReport, now: datetime) -> bool:
    begun: datetime = before.started_at
    came: datetime = before.seen_at
    return report.started < begun and now - came < _LATE


@dataclass
class _Filing:
    """One report's changes, collected by kind so that each kind is one statement. `seen_at`: of the report before."""

    unit: Unit
    actor: Actor
    gateway_id: int
    gateway: str
    seen_at: datetime
    now: datetime
    told: list[dict[str, Any]] = field(default_factory=list)
    fixed: list[dict[str, Any]] = field(default_factory=list)
    missed: list[dict[str, Any]] = field(default_factory=list)
    opened: list[Change] = field(default_factory=list)
    gone: list[Change] = field(default_factory=list)

    def settle(self, report: AuditReport) -> None:
        connection = self.unit.connection
        reported = {each.finding: each for each in report.findings}
        known = self._known()
        # One that leaves out, each time, others than before would be believed for ever.
        crowded = sum(each.state != State.FIXED for each in known.values()) > _KEPT
        for row in known.values():
            now_said = reported.get(row.finding)
            if now_said is not None:
                self._note_there(row, now_said)
            elif row.state != State.FIXED:
                hidden = report.hides(row.path, row.area) and not crowded
                self._note_missing(row, hidden=hidden)
        for statement, rows in ((_TOLD, self.told), (_FIXED, self.fixed), (_MISSED, self.missed)):
            if rows:
                connection.execute(statement, rows)
        new = self._insert(each for key, each in reported.items() if key not in known)
        if self.opened or new:
            # Told with what they are now.
            known = self._known()
            self.opened = [Change(known[c.row.finding], c.state, c.why) for c in self.opened]
            self.opened += [Change(known[key], State.OPEN, NEW) for key in new]
        changes.write(self.unit, self.actor, self.gateway_id, [*self.opened, *self.gone], self.now)
        if self.opened or self.gone:
            self._leave()
        changes.alert(self.unit, self.gateway, self.opened, self.now)
        self._forget()

    def _known(self) -> dict[str, Row[Any]]:
        query = select(*_NARROW).where(findings.c.gateway_id == self.gateway_id)
        return {row.finding: row for row in self.unit.connection.execute(query)}

    def _note_there(self, row: Row[Any], said: ReportedFinding) -> None:
        worse = said.severity.rank < row.rank and row.state != State.FIXED
        again = row.state == State.FIXED
        state = State.OPEN if again or worse else State(row.state)
        values = {
            **_texts(said),
            "state": state,
            "times": row.times + int(again),
            "seen_at": None,
            "opened_at": self.now if again else row.opened_at,
            "changed_at": self.now if again or worse else row.changed_at,
            "fixed_at": None,
            "accepted_until": row.accepted_until if state is State.ACCEPTED else None,
            "accepted_by": row.accepted_by if state is State.ACCEPTED else None,
            "accepted_why": row.accepted_why if state is State.ACCEPTED else None,
        }
        if any(getattr(row, name) != value for name, value in values.items()):
            self.told.append({"of": row.id, **{f"new_{n}": v for n, v in values.items()}})
        if again or worse:
            self.opened.append(Change(row, State.OPEN, BACK if again else WORSE))

    def _note_missing(self, row: Row[Any], *, hidden: bool) -> None:
        seen_at = row.seen_at or self.seen_at
        if hidden:
            self.missed.append({"of": row.id, "new_seen_at": seen_at})
            return
        self.fixed.append({"of": row.id, "new_seen_at": seen_at, "new_at": self.now})
        self.gone.append(Change(row, State.FIXED, GONE))

    def _insert(self, new: Iterable[ReportedFinding]) -> list[str]:
        rows = [
            {
                **_texts(each),
                "gateway_id": self.gateway_id,
                "finding": each.finding,
                "state": State.OPEN,
                "times": 0,
                "opened_at": self.now,
                "changed_at": self.now,
            }
            for each in new
        ]
        if rows:
            self.unit.connection.execute(findings.insert(), rows)
        return [row["finding"] for row in rows]

    def _leave(self) -> None:
        changes.trail(
            self.unit,
            self.actor,
            "gateway.findings",
            self.gateway,
            self.now,
            new=sum(each.why == NEW for each in self.opened),
            back=sum(each.why == BACK for each in self.opened),
            worse=sum(each.why == WORSE for each in self.opened),
            fixed=len(self.gone),
        )

    def _forget(self) -> None:
        """Let go of the oldest fixed ones where they are too many."""
        if not self.gone:
            return
        query = (
            select(findings.c.id)
            .where(findings.c.gateway_id == self.gateway_id, findings.c.state == State.FIXED)
            .order_by(findings.c.fixed_at.desc(), findings.c.id.desc())
            .offset(_KEPT)
        )
        forget(self.unit.connection, list(self.unit.connection.scalars(query)))


def forget(connection: Connection, ids: Sequence[int]) -> None:
    """Take findings off the records, with their history."""
    for some in chunks(ids):
        connection.execute(delete(finding_events).where(finding_events.c.finding_id.in_(some)))
        connection.execute(delete(findings).where(findings.c.id.in_(some)))


def _texts(said: ReportedFinding) -> dict[str, Any]:
    """What a report says of a finding, as columns."""
    return {
        "rank": said.severity.rank,
        "severity": str(said.severity),
        "rule": storable(said.rule),
        "area": storable(said.area),
        "path": storable(said.path),
        "line": said.line,
        "subject": storable(said.subject),
        "title": storable(said.title),
        "evidence": storable(said.evidence),
        "document": _document(said),
    }


def _document(said: ReportedFinding) -> Mapping[str, Any]:
    return {
        "why": storable(said.why),
        "fix": storable(said.fix),
        "references": [storable(each) for each in said.references],
    }


_TOLD_FIELDS = (
    *("rank", "severity", "rule", "area", "path", "line", "subject", "title", "evidence"),
    *("document", "state", "times", "seen_at", "opened_at", "changed_at", "fixed_at"),
    *("accepted_until", "accepted_by", "accepted_why"),
)
_NARROW = (findings.c.id, findings.c.finding, *(findings.c[name] for name in _TOLD_FIELDS))
_THIS = findings.c.id == bindparam("of")
_TOLD = (
    update(findings).where(_THIS).values({each: bindparam(f"new_{each}") for each in _TOLD_FIELDS})
)
_MISSED = update(findings).where(_THIS).values(seen_at=bindparam("new_seen_at"))
_FIXED = (
    update(findings)
    .where(_THIS)
    .values(
        state=str(State.FIXED),
        seen_at=bindparam("new_seen_at"),
        fixed_at=bindparam("new_at"),
        changed_at=bindparam("new_at"),
        accepted_until=None,
        accepted_by=None,
        accepted_why=None,
    )
)
