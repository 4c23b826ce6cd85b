"""Figures that are counted by a job, and an index by which it need not read whole rows."""

from alembic import op

from store.migration_columns import index, json, keyed, text, time

revision = "0017"
down_revision: str | None = "0016"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    keyed("figures", ["name"], text("name"), time("at"), json("document"))
    # In place of the one before, and not beside it: each issuance writes all indexes.
    op.drop_index("ix_certificates_status_created_at", "certificates")
    index("certificates", "status", "authority_id", "not_after")
