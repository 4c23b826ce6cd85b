"""What is asked for, what is made, and what can go wrong with it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from core.errors import InvalidInput, TooLarge, Unavailable
from fleet.reporting.periods import Period
from pki.actors import Actor
from pki.desk import Desk

FORMATS: Final = ("json", "csv", "html", "pdf")
Format = Literal["json", "csv", "html", "pdf"]
Language = Literal["en", "zh"]


class PdfMissing(Unavailable):
    """Reports as PDF need WeasyPrint and Pango, and they are not installed where the service runs."""

    code = "report_pdf_missing"
    next_step = (
        "Install the extra `pdf` (`pip install '.[server,pdf]'` in the clone) and Pango of the system "
        "(Debian: libpango-1.0-0 libpangoft2-1.0-0 fonts-noto-cjk) where the service runs, or ask for another format."
    )


class PdfBusy(Unavailable):
    """As many reports as may be are being set on paper by this process at this moment."""

    code = "report_pdf_busy"
    next_step = "Try again when it is done, in a minute, or ask for HTML, which needs no time."


class PeriodUnwanted(InvalidInput):
    """A period for a report that tells how things are, or beside `since` and `until`."""

    code = "report_period_unwanted"
    next_step = "Leave the period out; `at` says as of which moment the report is made."


class ReportTooLarge(TooLarge):
    """More lines than are held at a time, as a signature over all of them wants it."""

    code = "report_too_large"
    next_step = "Ask for a shorter period, or for the table without a signature: it has no limit."


@dataclass(frozen=True)
class Asked:
    """What of, and how it is written. `at`: as of which moment; by default the end of the period, or now where that is
    not over. `rows`, `gateways`, `findings`, `connections`: how much is told one by one.
    """

    kind: str
    format: Format = "json"
    language: Language = "en"
    period: str | None = None
    at: datetime | None = None
    signed: bool = False
    baseline: str | None = None
    gateway: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    rows: int | None = None
    gateways: int | None = None
    findings: int | None = None
    connections: int | None = None


@dataclass(frozen=True)
class Making:
    """A report on its way: for whom, of which period, as of when."""

    desk: Desk
    actor: Actor
    asked: Asked
    period: Period | None
    at: datetime

    @property
    def span(self) -> Period:
        """The period of a kind that always has one."""
        if self.period is None:
            raise LookupError(f"{self.asked.kind} has no period")
        return self.period


@dataclass(frozen=True)
class ReportFile:
    """A report: its bytes, what they are, what the file is called, and further headers of HTTP."""

    content: bytes
    media_type: str
    filename: str
    headers: tuple[tuple[str, str], ...] = field(default=())
