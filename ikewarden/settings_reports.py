"""Settings of reports that are made at regular times."""

from typing import Literal, Self

from pydantic import Field, model_validator

from core.schedules import ReportSchedule
from ikewarden.settings_section import Section
from ikewarden.settings_values import Mailboxes, Name, RelativePath


class ReportSettings(Section):
    """A report of each day, week (from Monday) or month that is over, in UTC. There may be several of these.

    Each is made once for each period, soon after its end, also where the service was away then; a new one begins with
    the last period that is over. Mail goes by the server of [notices]; what it does not take is sent again.
    """

    name: Name = Field(description="What it is called: in the audit log, in mail, in messages.")
    kind: Literal[
        "inventory", "expiring", "revocations", "psk-age", "sa-health", "audit", "compliance"
    ] = Field(description="What it tells.")
    every: Literal["daily", "weekly", "monthly"] = Field(description="Of which periods.")
    format: Literal["json", "csv", "html", "pdf"] = Field(
        default="pdf", description="In which form. pdf needs the extra `pdf`."
    )
    language: Literal["en", "zh"] = Field(default="en", description="The language of html and pdf.")
    signed: bool = Field(
        default=False,
        description="Whether the service signs it: within a PDF; else it is a ZIP archive with the signature beside.",
    )
    folder: RelativePath | None = Field(
        default=None,
        description="A folder that it is put into, mode 0640. The service must be able to write there.",
    )
    mail_to: Mailboxes | None = Field(
        default=None, description="The addresses that it is sent to, each by itself."
    )

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        if self.folder is None and self.mail_to is None:
            raise ValueError("needs a folder, or mail_to")
        return self

    @property
    def schedule(self) -> ReportSchedule:
        """The same as a value."""
        return ReportSchedule(
            name=self.name,
            kind=self.kind,
            every=self.every,
            format=self.format,
            language=self.language,
            signed=self.signed,
            folder=self.folder,
            mail_to=self.mail_to or (),
        )
