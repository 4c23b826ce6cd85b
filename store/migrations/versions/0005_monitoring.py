"""SA monitoring: events of daemons, what the rules know of each gateway, counts by the hour, alerts."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from store.types import BigKey, UTCDateTime

revision = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _large(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _time(name: str, *, null: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, UTCDateTime(), nullable=null)


def _json(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), nullable=null)


def _reference(name: str) -> sa.Column[int]:
    return sa.Column(name, BigKey, nullable=False, autoincrement=False)


def _gateway(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["gateway_id"], ["gateways.id"], name=f"fk_{table}_gateway_id"
    )


def _numbered(table: str, *columns: sa.Column[Any] | sa.Constraint) -> None:
    """A table whose rows are numbered by the database; a number is never used again."""
    op.create_table(
        table,
        sa.Column("id", BigKey, autoincrement=True, nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sqlite_autoincrement=True,
    )


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def upgrade() -> None:
    _watches()
    _events()
    _counts()
    _alerts()


def _watches() -> None:
    op.create_table(
        "sa_watches",
        _reference("gateway_id"),
        _whole("begun"),
        _time("seen_at"),
        _time("minute"),
        _whole("in_minute"),
        _whole("counted"),
        _json("streams"),
        _json("state", null=True),
        _gateway("sa_watches"),
        sa.PrimaryKeyConstraint("gateway_id", name="pk_sa_watches"),
    )


def _events() -> None:
    _numbered(
        "sa_events",
        _reference("gateway_id"),
        _large("number"),
        _text("stream"),
        _large("sequence"),
        _time("at"),
        _time("received_at"),
        _text("clock", null=True),
        _text("kind"),
        _text("peer", null=True),
        _text("connection", null=True),
        _text("identity", null=True),
        _text("reason", null=True),
        _json("document"),
        sa.UniqueConstraint("gateway_id", "number", name="uq_sa_events_gateway_id_number"),
    )
    _index("sa_events", "at", "id")
    _index("sa_events", "gateway_id", "at", "id")
    _index("sa_events", "peer", "at", "id")


def _counts() -> None:
    op.create_table(
        "sa_counts",
        _reference("gateway_id"),
        _time("hour"),
        _text("connection"),
        _text("kind"),
        _text("reason"),
        _large("number"),
        _gateway("sa_counts"),
        sa.PrimaryKeyConstraint(
            "gateway_id", "hour", "connection", "kind", "reason", name="pk_sa_counts"
        ),
    )
    _index("sa_counts", "hour")


def _alerts() -> None:
    _numbered(
        "sa_alerts",
        _reference("gateway_id"),
        _text("same"),
        _text("kind"),
        _text("severity"),
        _whole("rank"),
        _text("state"),
        _text("connection", null=True),
        _text("peer", null=True),
        _text("identity", null=True),
        _time("began", null=True),
        _time("ended", null=True),
        _time("opened_at"),
        _time("changed_at"),
        _time("ended_at", null=True),
        _whole("updates"),
        _whole("told"),
        _time("silenced_until", null=True),
        _text("silenced_by", null=True),
        _text("silenced_why", null=True),
        _text("cause"),
        _text("next_step"),
        _json("evidence"),
        _json("lines"),
        _gateway("sa_alerts"),
    )
    _index("sa_alerts", "gateway_id", "same", "id")
    _index("sa_alerts", "gateway_id", "state")
    _index("sa_alerts", "state", "rank", "id")
    _index("sa_alerts", "rank", "id")
    _index("sa_alerts", "silenced_until")
    _index("sa_alerts", "ended_at")
