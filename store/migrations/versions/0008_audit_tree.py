"""A Merkle tree over the audit log, and its signed heads."""

import sqlalchemy as sa
from alembic import op

from store.migration_columns import big, blob, keyed, reference, text, time, unique, whole

revision = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    keyed(
        "audit_logs",
        ["number"],
        reference("number"),
        text("origin"),
        text("key_uri"),
        text("verifier_key"),
        time("created_at"),
        text("created_by"),
        unique("audit_logs", "origin"),
    )
    keyed(
        "audit_leaves",
        ["position"],
        reference("position"),
        big("event_id"),
        blob("hash"),
        unique("audit_leaves", "event_id"),
    )
    keyed("audit_nodes", ["level", "number"], whole("level"), big("number"), blob("hash"))
    keyed("audit_gaps", ["first"], reference("first"), big("last"), time("quiet_since"))
    op.create_table(
        "audit_heads",
        reference("log"),
        big("size"),
        blob("root"),
        text("note"),
        time("signed_at"),
        sa.ForeignKeyConstraint(["log"], ["audit_logs.number"], name="fk_audit_heads_log"),
        sa.PrimaryKeyConstraint("log", "size", name="pk_audit_heads"),
    )
