"""The console: who is signed in, and whose tries failed."""

from store.migration_columns import index, json, numbered, text, time, unique

revision = "0015"
down_revision: str | None = "0014"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    numbered(
        "sessions",
        text("hash"),
        text("way"),
        text("credential"),
        text("name"),
        text("role", null=True),
        json("scope", null=True),
        text("client"),
        time("created_at"),
        time("seen_at"),
        time("expires_at"),
        unique("sessions", "hash"),
    )
    index("sessions", "expires_at")
    numbered("failed_sign_ins", text("source"), time("at"))
    index("failed_sign_ins", "source", "at")
    index("failed_sign_ins", "at")
