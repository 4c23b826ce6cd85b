"""What audits find on gateways: the last report of each, findings with their states, and how these changed."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from store.types import BigKey, UTCDateTime

revision = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def _whole(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=null)


def _time(name: str, *, null: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, UTCDateTime(), nullable=null)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), nullable=False)


def _reference(name: str) -> sa.Column[int]:
    return sa.Column(name, BigKey, nullable=False, autoincrement=False)


def _foreign(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=f"fk_{table}_{column}")


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
    _reports()
    _findings()
    _events()


def _reports() -> None:
    op.create_table(
        "audit_reports",
        _reference("gateway_id"),
        _text("digest"),
        _text("baseline"),
        _whole("complete"),
        _whole("errors"),
        _time("started_at"),
        _time("received_at"),
        _time("seen_at"),
        _json("document"),
        _foreign("audit_reports", "gateway_id", "gateways"),
        sa.PrimaryKeyConstraint("gateway_id", name="pk_audit_reports"),
    )
    _index("audit_reports", "baseline")


def _findings() -> None:
    _numbered(
        "findings",
        _reference("gateway_id"),
        _text("finding"),
        _text("state"),
        _whole("rank"),
        _text("severity"),
        _text("rule"),
        _text("area"),
        _whole("times"),
        _time("opened_at"),
        _time("changed_at"),
        _time("seen_at", null=True),
        _time("fixed_at", null=True),
        _time("accepted_until", null=True),
        _text("accepted_by", null=True),
        _text("accepted_why", null=True),
        _text("path"),
        _whole("line", null=True),
        _text("subject"),
        _text("title"),
        _text("evidence"),
        _json("document"),
        _foreign("findings", "gateway_id", "gateways"),
        sa.UniqueConstraint("gateway_id", "finding", name="uq_findings_gateway_id_finding"),
    )
    _index("findings", "rank", "id")
    _index("findings", "state", "rank", "id")
    _index("findings", "rule", "rank", "id")
    _index("findings", "accepted_until")
    _index("findings", "fixed_at")


def _events() -> None:
    _numbered(
        "finding_events",
        _reference("gateway_id"),
        _reference("finding_id"),
        _time("at"),
        _text("state"),
        _text("actor"),
        _text("why"),
        _time("until", null=True),
        _foreign("finding_events", "gateway_id", "gateways"),
        _foreign("finding_events", "finding_id", "findings"),
    )
    _index("finding_events", "finding_id", "id")
    _index("finding_events", "gateway_id")
