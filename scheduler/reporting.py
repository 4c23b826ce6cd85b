"""Reports by the clock: put into folders, and sent. Who makes them is given: the scheduler knows no forms."""

import contextlib
import hashlib
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Final

from core.errors import IkewardenError, Unavailable
from core.receivers import Mail
from core.schedules import ReportSchedule
from fleet.reporting import periods, schedules
from fleet.reporting.periods import Period
from pki.desk import Desk
from scheduler import mail
from scheduler.jobs import SCHEDULER, Job, SomeFailed
from store.outbox import Message

_LOG: Final = logging.getLogger("ikewarden.scheduler")
JOB: Final = "reports"
_EVERY: Final = 60.0
_MODE: Final = 0o640
_DEAD_SECONDS: Final = 3600.0
# More than most mail servers take.
_MOST_BYTES: Final = 10 * 2**20


@dataclass(frozen=True)
class MadeReport:
    """A report: what its file is called, what it is, and its bytes piece by piece."""

    filename: str
    media_type: str
    pieces: Iterable[bytes]


Make = Callable[[Desk, ReportSchedule, Period, datetime], MadeReport]


class ReportNotWritten(Unavailable):
    """A report could not be put into its folder."""

    code = "report_not_written"
    next_step = (
        "See that the folder of the report ([[reports]] folder) is there, has room, and can be written by the "
        "service; it is tried again within a minute."
    )


def job(make: Make) -> Job:
    """The job that makes what is due."""

    def run(desk: Desk, now: datetime) -> Mapping[str, int]:
        made, failures = 0, []
        for schedule in desk.rules.reports:
            try:
                made += _make_due(desk, schedule, make, now)
            except IkewardenError as error:
                failures.append((schedule.name, error))
            except Exception as error:  # noqa: BLE001 - a page that cannot be set holds up no other report
                _LOG.error("unforeseen", exc_info=error, extra={"report": schedule.name})
                failures.append((schedule.name, IkewardenError("Something went wrong.")))
        if failures:
            name, first = failures[0]
            raise SomeFailed(
                f"{len(failures)} of {len(desk.rules.reports)} reports failed, first {name}: {first.message}",
                next_step=first.next_step,
            ) from first
        return {"made": made}

    return Job(JOB, run, every=_EVERY)


def handlers(desk: Desk, make: Make) -> dict[str, Callable[[Sequence[Message], datetime], None]]:
    """What the outbox does with reports that are to be sent."""

    # The last one, for the other addresses of the same run: to make it takes longer than to send it.
    kept: dict[tuple[ReportSchedule, Period, datetime], tuple[MadeReport, bytes | None]] = {}

    def send(messages: Sequence[Message], now: datetime) -> None:
        told = messages[0].payload
        named = [each for each in desk.rules.reports if each.name == told["report"]]
        receiver, to = desk.rules.mail, str(told["to"])
        if not named or receiver is None or to not in named[0].mail_to:
            return  # it was taken out of the settings
        period = periods.parse(str(told["period"]), now)
        this = (named[0], period, now)
        if this not in kept:
            kept.clear()
            made = make(desk, named[0], period, now)
            kept[this] = made, _bounded(made.pieces)
        mail.send(receiver, _mail(receiver, to, this, *kept[this]))

    return {schedules.MAIL: send}


def _make_due(desk: Desk, schedule: ReportSchedule, make: Make, now: datetime) -> int:
    period = schedules.due(desk, SCHEDULER, schedule, now=now)
    if period is None:
        return 0
    made = make(desk, schedule, period, now)
    if schedule.folder is not None:
        _tidy(schedule)
        # Before it is on record: who dies in between writes the same again.
        _write(schedule.folder / _filename(schedule, made), made.pieces)
    name = _filename(schedule, made)
    return int(schedules.done(desk, SCHEDULER, schedule, period, name, now=now))


def _filename(schedule: ReportSchedule, made: MadeReport) -> str:
    """With the schedule's name before it: two of one kind stand side by side."""
    return f"{schedule.name}-{made.filename}"


def _tidy(schedule: ReportSchedule) -> None:
    """Remove what was begun by a process that died."""
    assert schedule.folder is not None  # noqa: S101 - for the type checker: looked at before
    half = re.compile(rf"\.{re.escape(schedule.name)}-ikewarden-.*\.[0-9a-f]{{12}}")
    with contextlib.suppress(OSError):
        for each in schedule.folder.iterdir():
            # None is written for so long: what is younger may be another replica's.
            if half.fullmatch(each.name) and time.time() - each.lstat().st_mtime > _DEAD_SECONDS:
                each.unlink()


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    """Put a file there whole, or not at all. Raises ReportNotWritten."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, _MODE)  # whatever the umask
                file.writelines(pieces)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise ReportNotWritten(f"{path} cannot be written: {error.strerror}.") from None


def _mail(
    receiver: Mail,
    to: str,
    this: tuple[ReportSchedule, Period, datetime],
    report: MadeReport,
    content: bytes | None,
) -> EmailMessage:
    """A mail with the report. The same one has the same Message-ID, so that a mail that came twice can be told."""
    schedule, period, now = this
    made = EmailMessage(policy=SMTP)
    made["From"] = receiver.sender
    made["To"] = to
    made["Subject"] = f"[ikewarden] {schedule.kind} {period.name} ({schedule.name})"
    made["Date"] = format_datetime(now)
    told = hashlib.sha256(f"{schedule.name}\0{period.name}\0{to}".encode()).hexdigest()[:32]
    made["Message-ID"] = f"<report.{told}@{receiver.sender.rpartition('@')[2]}>"
    # RFC 3834 §5: nobody's absence is to answer it.
    made["Auto-Submitted"] = "auto-generated"
    # Not every kind tells of the period that is over: `expiring` looks ahead from its end.
    about = f"The report {schedule.kind} as of {period.until:%Y-%m-%d %H:%M}Z"
    if content is None:
        fetched = f"ikewarden report {schedule.kind} --format {schedule.format} --out FILE"
        made.set_content(f"{about} is too large for a mail. Fetch it with\n\n  {fetched}\n")
        return made
    name = _filename(schedule, report)
    digest = hashlib.sha256(content).hexdigest()
    made.set_content(f"{about} is attached: {name}\nSHA-256: {digest}\n")
    kind, _, subtype = report.media_type.partition(";")[0].partition("/")
    made.add_attachment(content, maintype=kind, subtype=subtype, filename=name)
    return made


def _bounded(pieces: Iterable[bytes]) -> bytes | None:
    """All pieces, unless they are too much for a mail."""
    found, size = [], 0
    for piece in pieces:
        found.append(piece)
        size += len(piece)
        if size > _MOST_BYTES:
            return None
    return b"".join(found)
