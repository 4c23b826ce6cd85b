"""The two-person rule: requests for approval, and what one person has revoked by himself lately."""

from store.migration_columns import big, index, json, numbered, text, time

revision = "0009"
down_revision: str | None = "0008"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    numbered(
        "approvals",
        text("act"),
        text("sha256"),
        json("parameters"),
        text("state"),
        text("asked_by"),
        text("person"),
        text("role"),
        text("credential"),
        time("asked_at"),
        time("expires_at"),
        text("decided_by", null=True),
        text("decided_credential", null=True),
        time("decided_at", null=True),
        text("reason", null=True),
        time("ended_at", null=True),
    )
    index("approvals", "state", "expires_at")
    index("approvals", "credential", "sha256")
    numbered(
        "revocation_acts",
        text("person"),
        time("at"),
        big("certificate_id"),
    )
    index("revocation_acts", "person", "at")
