"""SA monitoring: events of daemons, what the rules know of each gateway, counts by the hour, alerts."""

import sqlalchemy as sa
from alembic import op

from store.migration_columns import big, index, json, numbered, reference, text, time, whole

revision = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None


def _gateway(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["gateway_id"], ["gateways.id"], name=f"fk_{table}_gateway_id")


def upgrade() -> None:
    _watches()
    _events()
    _counts()
    _alerts()


def _watches() -> None:
    op.create_table(
        "sa_watches",
        reference("gateway_id"),
        whole("begun"),
        time("seen_at"),
        time("minute"),
        whole("in_minute"),
        whole("counted"),
        json("streams"),
        json("state", null=True),
        _gateway("sa_watches"),
        sa.PrimaryKeyConstraint("gateway_id", name="pk_sa_watches"),
    )


def _events() -> None:
    numbered(
        "sa_events",
        reference("gateway_id"),
        big("number"),
        text("stream"),
        big("sequence"),
        time("at"),
        time("received_at"),
        text("clock", null=True),
        text("kind"),
        text("peer", null=True),
        text("connection", null=True),
        text("identity", null=True),
        text("reason", null=True),
        json("document"),
        sa.UniqueConstraint("gateway_id", "number", name="uq_sa_events_gateway_id_number"),
    )
    index("sa_events", "at", "id")
    index("sa_events", "gateway_id", "at", "id")
    index("sa_events", "peer", "at", "id")


def _counts() -> None:
    op.create_table(
        "sa_counts",
        reference("gateway_id"),
        time("hour"),
        text("connection"),
        text("kind"),
        text("reason"),
        big("number"),
        _gateway("sa_counts"),
        sa.PrimaryKeyConstraint(
            "gateway_id", "hour", "connection", "kind", "reason", name="pk_sa_counts"
        ),
    )
    index("sa_counts", "hour")


def _alerts() -> None:
    numbered(
        "sa_alerts",
        reference("gateway_id"),
        text("same"),
        text("kind"),
        text("severity"),
        whole("rank"),
        text("state"),
        text("connection", null=True),
        text("peer", null=True),
        text("identity", null=True),
        time("began", null=True),
        time("ended", null=True),
        time("opened_at"),
        time("changed_at"),
        time("ended_at", null=True),
        whole("updates"),
        whole("told"),
        time("silenced_until", null=True),
        text("silenced_by", null=True),
        text("silenced_why", null=True),
        text("cause"),
        text("next_step"),
        json("evidence"),
        json("lines"),
        _gateway("sa_alerts"),
    )
    index("sa_alerts", "gateway_id", "same", "id")
    index("sa_alerts", "gateway_id", "state")
    index("sa_alerts", "state", "rank", "id")
    index("sa_alerts", "rank", "id")
    index("sa_alerts", "silenced_until")
    index("sa_alerts", "ended_at")
