"""Rollovers of authorities, and cross-certificates."""

from store.migration_columns import foreign, index, numbered, reference, text, time, unique

revision = "0011"
down_revision: str | None = "0010"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    numbered(
        "rollovers",
        reference("authority_id"),
        reference("successor_id"),
        text("state"),
        time("switch_at", null=True),
        time("created_at"),
        text("created_by"),
        time("published_at", null=True),
        text("published_by", null=True),
        time("switched_at", null=True),
        text("switched_by", null=True),
        time("ended_at", null=True),
        text("ended_by", null=True),
        foreign("rollovers", "authority_id", "authorities"),
        foreign("rollovers", "successor_id", "authorities"),
        unique("rollovers", "successor_id"),
    )
    index("rollovers", "authority_id")
    numbered(
        "cross_certificates",
        reference("subject_id"),
        reference("issuer_id"),
        text("serial"),
        time("created_at"),
        text("created_by"),
        foreign("cross_certificates", "subject_id", "authorities"),
        foreign("cross_certificates", "issuer_id", "authorities"),
        unique("cross_certificates", "issuer_id", "serial"),
    )
    index("cross_certificates", "subject_id")
