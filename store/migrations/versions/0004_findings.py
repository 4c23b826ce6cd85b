"""What audits find on gateways: the last report of each, findings with their states, and how these changed."""

import sqlalchemy as sa
from alembic import op

from store.migration_columns import foreign, index, json, numbered, reference, text, time, whole

revision = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    _reports()
    _findings()
    _events()


def _reports() -> None:
    op.create_table(
        "audit_reports",
        reference("gateway_id"),
        text("digest"),
        text("baseline"),
        whole("complete"),
        whole("errors"),
        time("started_at"),
        time("received_at"),
        time("seen_at"),
        json("document"),
        foreign("audit_reports", "gateway_id", "gateways"),
        sa.PrimaryKeyConstraint("gateway_id", name="pk_audit_reports"),
    )
    index("audit_reports", "baseline")


def _findings() -> None:
    numbered(
        "findings",
        reference("gateway_id"),
        text("finding"),
        text("state"),
        whole("rank"),
        text("severity"),
        text("rule"),
        text("area"),
        whole("times"),
        time("opened_at"),
        time("changed_at"),
        time("seen_at", null=True),
        time("fixed_at", null=True),
        time("accepted_until", null=True),
        text("accepted_by", null=True),
        text("accepted_why", null=True),
        text("path"),
        whole("line", null=True),
        text("subject"),
        text("title"),
        text("evidence"),
        json("document"),
        foreign("findings", "gateway_id", "gateways"),
        sa.UniqueConstraint("gateway_id", "finding", name="uq_findings_gateway_id_finding"),
    )
    index("findings", "rank", "id")
    index("findings", "state", "rank", "id")
    index("findings", "rule", "rank", "id")
    index("findings", "accepted_until")
    index("findings", "fixed_at")


def _events() -> None:
    numbered(
        "finding_events",
        reference("gateway_id"),
        reference("finding_id"),
        time("at"),
        text("state"),
        text("actor"),
        text("why"),
        time("until", null=True),
        foreign("finding_events", "gateway_id", "gateways"),
        foreign("finding_events", "finding_id", "findings"),
    )
    index("finding_events", "finding_id", "id")
    index("finding_events", "gateway_id")
