"""From which version of each gateway's state on an authentication is a proof: what was seen before the present list of
keys came is none. Rotations that are under way keep what they have.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision: str | None = "0006"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    with op.batch_alter_table("rotations") as table:
        for name in ("left_since", "right_since"):
            table.add_column(sa.Column(name, sa.BigInteger(), nullable=True))
