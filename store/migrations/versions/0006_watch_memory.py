"""What the rules remember of a gateway is kept as bytes. What they remembered as JSON is let go: they begin anew."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    with op.batch_alter_table("sa_watches") as table:
        table.drop_column("state")
        table.add_column(sa.Column("memory", sa.LargeBinary(), nullable=True))
