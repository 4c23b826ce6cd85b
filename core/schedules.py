"""Reports that are made at regular times, as settings describe them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class ReportSchedule:
    """A report of each day, week or month that is over: put into a folder, sent to addresses, or both."""

    name: str
    kind: str
    every: Literal["daily", "weekly", "monthly"]
    format: Literal["json", "csv", "html", "pdf"] = "pdf"
    language: Literal["en", "zh"] = "en"
    signed: bool = False
    folder: Path | None = None
    mail_to: tuple[str, ...] = ()
