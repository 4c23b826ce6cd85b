"""The tables of what audits found on gateways. Never a secret: rules, places, and sentences about them."""

from typing import Final

from sqlalchemy import (
    JSON,
    Column,
    ForeignKey,
    Index,
    Table,
    UniqueConstraint,
)

from store.columns import key, metadata, text, when, whole
from store.types import BigKey


def _gateway(*, alone: bool = False) -> Column[int]:
    return Column(
        "gateway_id",
        BigKey,
        ForeignKey("gateways.id"),
        nullable=False,
        primary_key=alone,
        autoincrement=False,
    )


def _document(name: str) -> Column[object]:
    return Column(name, JSON(none_as_null=True), nullable=False)


# The last audit of each gateway. `digest` is that of what it said, without its times: the same again changes `seen_at`
# alone. `started_at` is the gateway's own time. `complete`: nothing was left out for want of room. `document` is what
# else it said: policy, errors, figures.
audit_reports: Final = Table(
    "audit_reports",
    metadata,
    _gateway(alone=True),
    text("digest"),
    text("baseline"),
    whole("complete"),
    whole("errors"),
    when("started_at"),
    when("received_at"),
    when("seen_at"),
    _document("document"),
    Index(None, "baseline"),
)

# `finding` is the same for the same finding on every gateway. `state`: open, accepted, fixed; `rank` 0 is the worst.
# `seen_at` is null while the gateway's last report holds it. `times`: how often it came back. What is wide stands last,
# so that counting does not read it.
findings: Final = Table(
    "findings",
    metadata,
    key(),
    _gateway(),
    text("finding"),
    text("state"),
    whole("rank"),
    text("severity"),
    text("rule"),
    text("area"),
    whole("times"),
    when("opened_at"),
    when("changed_at"),
    when("seen_at", null=True),
    when("fixed_at", null=True),
    when("accepted_until", null=True),
    text("accepted_by", null=True),
    text("accepted_why", null=True),
    text("path"),
    whole("line", null=True),
    text("subject"),
    text("title"),
    text("evidence"),
    _document("document"),
    UniqueConstraint("gateway_id", "finding"),
    Index(None, "rank", "id"),
    Index(None, "state", "rank", "id"),
    Index(None, "rule", "rank", "id"),
    Index(None, "accepted_until"),
    Index(None, "fixed_at"),
    sqlite_autoincrement=True,
)

# Every change of a finding's state: when, by whom, why.
finding_events: Final = Table(
    "finding_events",
    metadata,
    key(),
    _gateway(),
    Column("finding_id", BigKey, ForeignKey("findings.id"), nullable=False),
    when("at"),
    text("state"),
    text("actor"),
    text("why"),
    when("until", null=True),
    Index(None, "finding_id", "id"),
    Index(None, "gateway_id"),
    sqlite_autoincrement=True,
)
