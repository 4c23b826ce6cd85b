"""Reports by the clock: what the scheduler asks for, made by what the API makes them with."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from api.reporting import files, tables
from api.reporting.kinds import KINDS, TIMELESS
from api.reporting.values import Asked
from core.schedules import ReportSchedule
from fleet.reporting.periods import Period
from pki.actors import Actor, Role
from pki.desk import Desk
from scheduler.reporting import MadeReport

# Whoever writes the settings may read everything anyway; not more than an auditor does.
REPORTER: Final = Actor(name="scheduled reports", role=Role.AUDITOR)


def make(desk: Desk, schedule: ReportSchedule, period: Period, now: datetime) -> MadeReport:
    """A report of a period that is over. Raises what `files.made` raises."""
    timeless = KINDS[schedule.kind].name in TIMELESS
    # What ends in a period that is over has ended: told is what ends in the time after it.
    named = None if timeless else _named(schedule, period)
    asked = Asked(
        schedule.kind,
        format=schedule.format,
        language=schedule.language,
        signed=schedule.signed,
        period=named,
        at=period.until,
    )
    if schedule.format == "csv" and not schedule.signed:
        name = files.filename(files.begin(desk, REPORTER, asked, now=now))
        pieces: Iterable[bytes] = files.parts(desk, REPORTER, asked, now=now)
        return MadeReport(name, tables.MEDIA_TYPE, pieces)
    made = files.made(desk, REPORTER, asked, now=now)
    return MadeReport(made.filename, made.media_type, [made.content])


def _named(schedule: ReportSchedule, period: Period) -> str:
    if schedule.kind != "expiring":
        return period.name
    days = {"daily": 30, "weekly": 30, "monthly": 90}[schedule.every]
    return f"next-{days}d"
