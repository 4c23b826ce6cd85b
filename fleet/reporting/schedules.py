"""Which reports are due by the clock, and which were made: each once for each period."""

from datetime import datetime
from typing import Final

from sqlalchemy import select

from core.schedules import ReportSchedule
from fleet.reporting import periods
from fleet.reporting.periods import Period
from pki.actors import Action, Actor, require
from pki.desk import Desk
from pki.trail import leave
from store import outbox
from store.engine import Unit
from store.errors import Duplicate
from store.tables import notices

# A message for each address: the report is made again when it is sent.
MAIL: Final = "report.mail"
_KIND: Final = "report"


def due(desk: Desk, actor: Actor, schedule: ReportSchedule, *, now: datetime) -> Period | None:
    """The latest period that is over, if its report was not made yet. Raises RoleMayNot."""
    require(actor, Action.JOB_RUN)
    period = periods.latest(schedule.every, now)
    known = select(notices.c.id).where(
        notices.c.kind == _KIND,
        notices.c.object == schedule.name,
        notices.c.stage == period.name,
    )
    with desk.store.read() as connection:
        return None if connection.execute(known).first() else period


def done(
    desk: Desk,
    actor: Actor,
    schedule: ReportSchedule,
    period: Period,
    file: str,
    *,
    now: datetime,
) -> bool:
    """Put on record that a report was made, and queue its mail; tells whether nobody had. `file` is its name.

    Raises RoleMayNot.
    """
    require(actor, Action.JOB_RUN)

    def work(unit: Unit) -> None:
        row = {"kind": _KIND, "object": schedule.name, "stage": period.name, "at": now}
        unit.insert(notices, row)
        leave(
            unit,
            actor,
            "report.made",
            f"report:{schedule.name}",
            now=now,
            kind=schedule.kind,
            period=period.name,
            file=file,
            addresses=len(schedule.mail_to),
        )
        for address in schedule.mail_to:
            told = {"report": schedule.name, "period": period.name, "to": address}
            # A key of its own: each report to each address is sent by itself.
            key = f"{schedule.name}:{period.name}:{address}"
            outbox.put(unit, topic=MAIL, key=key, payload=told, now=now)

    try:
        desk.store.together(work)
    except Duplicate:
        return False  # another replica was quicker
    return True
