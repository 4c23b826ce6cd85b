"""What makes a look at very many fast: words by which certificates are found, hours of the fleet, indexes.

Jobs fill words and hours for what is on record already.
"""

from alembic import op
from sqlalchemy import Column, Text

from store.migration_columns import big, index, keyed, reference, text, time, whole

revision = "0016"
down_revision: str | None = "0015"
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
    keyed("sa_hours", ["hour", "kind"], time("hour"), text("kind"), big("number"))
    # How many end when.
    op.drop_index("ix_certificates_not_after", "certificates")
    index("certificates", "status", "not_after")
    # Whether there is a valid successor.
    op.drop_index("ix_certificates_renewed_from", "certificates")
    index("certificates", "renewed_from", "status")
    # The latest run of each job that ended so.
    op.drop_index("ix_job_runs_job_started_at", "job_runs")
    index("job_runs", "job", "outcome", "id")
    # What lists are narrowed by, in one place: the wide rows are read for one page alone.
    op.create_index(
        "ix_certificates_facets",
        "certificates",
        ["id", "status", "profile", "authority_id", "not_after", "issued_at"],
    )
