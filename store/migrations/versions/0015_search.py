"""Words by which certificates are found; the search job fills them for those that are on record already."""

from alembic import op
from sqlalchemy import Column, Text

from store.migration_columns import big, index, keyed, reference, text, whole

revision = "0015"
down_revision: str | None = "0014"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    keyed(
        "certificate_words",
        ["portion", "word", "certificate_id"],
        whole("portion"),
        Column("word", Text().with_variant(Text(collation="C"), "postgresql"), nullable=False),
        reference("certificate_id"),
    )
    keyed("search_marks", ["name"], text("name"), big("reached"))
    # Also whether a one-time credential has got a certificate with a key before.
    op.drop_index("ix_certificates_spki_sha256", "certificates")
    index("certificates", "spki_sha256", "credential")
    # What lists are narrowed by, in one place: the wide rows are read for one page alone.
    op.create_index(
        "ix_certificates_facets",
        "certificates",
        ["id", "status", "profile", "authority_id", "not_after", "issued_at"],
    )
