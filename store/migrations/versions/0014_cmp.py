"""CMP: transactions in which certificates were asked for."""

from store.migration_columns import blob, index, keyed, text, time, whole

revision = "0014"
down_revision: str | None = "0013"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    keyed(
        "cmp_transactions",
        ["name"],
        text("name"),
        text("request_sha256"),
        text("state"),
        text("kind"),
        whole("number"),
        blob("csr", null=True),
        text("authority", null=True),
        text("serial", null=True),
        time("expires_at"),
    )
    index("cmp_transactions", "state", "expires_at")
    index("cmp_transactions", "serial")
