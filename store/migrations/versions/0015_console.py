"""The console: who is signed in, and whose tries failed; and what makes a look at very many fast: words by which
certificates are found, hours of the fleet, indexes.

Jobs fill words and hours for what is on record already.
"""

from alembic import op
from sqlalchemy import Column, Text

from store.migration_columns import (
    big,
    index,
    json,
    keyed,
    numbered,
    reference,
    text,
    time,
    unique,
    whole,
)

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
    index("certificates", "not_after", "status")
    # The latest run of each job that ended so.
    op.drop_index("ix_job_runs_job_started_at", "job_runs")
    index("job_runs", "job", "outcome", "id")
    # What lists are narrowed by, in one place: the wide rows are read for one page alone.
    op.create_index(
        "ix_certificates_facets",
        "certificates",
        ["id", "status", "profile", "authority_id", "not_after", "issued_at"],
    )
