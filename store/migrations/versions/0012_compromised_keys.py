"""Keys that were revoked as compromised are found at once, and certificates by their keys."""

from alembic import op

from store.migration_columns import index, text

revision = "0012"
down_revision: str | None = "0011"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.add_column("revocations", text("spki_sha256", null=True))
    # 1 is keyCompromise (RFC 5280 §5.3.1).
    op.execute(
        "UPDATE revocations SET spki_sha256 = "
        "(SELECT spki_sha256 FROM certificates WHERE certificates.id = revocations.certificate_id) "
        "WHERE reason = 1 AND state = 'revoked'"
    )
    index("revocations", "spki_sha256")
    index("certificates", "spki_sha256")
