"""Events are counted by days, too; those that are counted by hours already are added up."""

import sqlalchemy as sa
from alembic import op

from store.migration_columns import big, index, reference, text, time

revision = "0010"
down_revision: str | None = "0009"
branch_labels: str | None = None
depends_on: str | None = None

# The day of an hour; the hour that stands for all time.
_WORDS = {
    "sqlite": ("hour - hour % 86400000000", "0"),
    "postgresql": ("date_trunc('day', hour, 'UTC')", "'1970-01-01 00:00:00+00'"),
}


def upgrade() -> None:
    op.create_table(
        "sa_days",
        reference("gateway_id"),
        time("day"),
        text("connection"),
        text("kind"),
        text("reason"),
        big("number"),
        sa.ForeignKeyConstraint(["gateway_id"], ["gateways.id"], name="fk_sa_days_gateway_id"),
        sa.PrimaryKeyConstraint(
            "gateway_id", "day", "connection", "kind", "reason", name="pk_sa_days"
        ),
    )
    index("sa_days", "day")
    _add_up()


def _add_up() -> None:
    day, always = _WORDS[op.get_bind().dialect.name]
    op.execute(
        "INSERT INTO sa_days (gateway_id, day, connection, kind, reason, number) "
        f"SELECT gateway_id, {day}, connection, kind, reason, sum(number) FROM sa_counts "
        f"WHERE hour <> {always} GROUP BY gateway_id, {day}, connection, kind, reason"
    )
