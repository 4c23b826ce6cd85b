"""Indexes from which reports count certificates and their successors, and audit events are found by what they are."""

from alembic import op

from store.migration_columns import index

revision = "0018"
down_revision: str | None = "0017"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    # In place of the one before, and not beside it: each issuance writes all indexes.
    op.drop_index("ix_certificates_status_not_after", "certificates")
    index("certificates", "status", "not_after", "serial", "profile")
    index("certificates", "issued_at")
    # With the number: the newest of somebody stand together, however many events there are.
    op.drop_index("ix_audit_events_actor", "audit_events")
    index("audit_events", "actor", "id")
    op.drop_index("ix_audit_events_object", "audit_events")
    index("audit_events", "object", "id")
    index("audit_events", "action", "id")
