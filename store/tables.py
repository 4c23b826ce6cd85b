"""The tables. Every constraint has a name, because migrations and error messages need one.

Instants are `UTCDateTime`; serial numbers and digests are lower-case hex text; certificates, CRLs
and OCSP answers are DER.
"""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)

from store.columns import der as _der
from store.columns import key as _key
from store.columns import metadata
from store.columns import text as _text
from store.columns import when as _when
from store.columns import whole as _whole
from store.types import BigKey


def _authority(*, primary_key: bool = False) -> Column[int]:
    return Column("authority_id", BigKey, nullable=False, primary_key=primary_key)


def _authority_reference() -> Column[int]:
    return Column("authority_id", BigKey, ForeignKey("authorities.id"), nullable=False)


authorities: Final = Table(
    "authorities",
    metadata,
    _key(),
    _text("name"),
    _text("kind"),
    _text("status"),
    Column("parent_id", BigKey, ForeignKey("authorities.id"), nullable=True),
    _text("subject"),
    _der("certificate"),
    _text("key_uri"),
    _text("serial"),
    _whole("shards"),
    _whole("crl_hours"),
    _whole("delta_hours"),
    _whole("ocsp_hours"),
    _when("not_before"),
    _when("not_after"),
    _when("created_at"),
    _text("created_by"),
    UniqueConstraint("name"),
    sqlite_autoincrement=True,
)

ocsp_signers: Final = Table(
    "ocsp_signers",
    metadata,
    _key(),
    _authority_reference(),
    _text("key_uri"),
    _der("certificate"),
    _text("serial"),
    _when("not_before"),
    _when("not_after"),
    _when("created_at"),
    Index(None, "authority_id", "not_after"),
    sqlite_autoincrement=True,
)

certificates: Final = Table(
    "certificates",
    metadata,
    _key(),
    _authority_reference(),
    _text("serial"),
    _text("status"),
    _text("profile"),
    _text("subject"),
    _text("names"),
    _when("not_before"),
    _when("not_after"),
    _whole("shard"),
    _der("tbs", null=True),
    _der("der", null=True),
    _text("fingerprint", null=True),
    _text("spki_sha256"),
    _text("requested_by"),
    _text("credential"),
    _text("gateway", null=True),
    _text("request_id"),
    _when("created_at"),
    _when("issued_at", null=True),
    _text("renewed_from", null=True),
    # The serial number first: it is looked up alone too, and rises with time (pki/x509/serials.py).
    UniqueConstraint("serial", "authority_id"),
    # With all that reports count: what ends in a period, by profile, and whether it has a successor.
    Index(None, "status", "not_after", "serial", "profile"),
    # How many were issued in a period.
    Index(None, "issued_at"),
    # All that is needed to count certificates: the rows themselves are wide.
    Index(None, "status", "authority_id", "not_after"),
    Index(None, "gateway"),
    # With the status: SQLite would go through all that are valid to find a successor.
    Index(None, "renewed_from", "status"),
    # Also whether a one-time credential has got a certificate with a key before.
    Index(None, "spki_sha256", "credential"),
    # What lists are narrowed by, in one place: the wide rows are read for one page alone.
    Index(
        "ix_certificates_facets",
        *("id", "status", "profile", "authority_id", "not_after", "issued_at"),
    ),
    sqlite_autoincrement=True,
)

revocations: Final = Table(
    "revocations",
    metadata,
    Column(
        "certificate_id",
        BigKey,
        ForeignKey("certificates.id"),
        primary_key=True,
        autoincrement=False,
    ),
    _authority(),
    _text("serial"),
    _whole("shard"),
    _text("state"),
    _whole("reason"),
    _when("revoked_at"),
    _when("changed_at"),
    _when("invalidity_at", null=True),
    _when("not_after"),
    _der("entry"),
    # Of the key, where it is compromised: it is looked for each time that a key is to be certified.
    _text("spki_sha256", null=True),
    Index(None, "authority_id", "shard", "serial"),
    Index(None, "authority_id", "changed_at"),
    Index(None, "spki_sha256"),
)

crl_numbers: Final = Table(
    "crl_numbers",
    metadata,
    Column("authority_id", BigKey, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
)

crls: Final = Table(
    "crls",
    metadata,
    _authority(),
    _text("kind"),
    _whole("shard"),
    Column("number", BigInteger, nullable=False),
    Column("base_number", BigInteger, nullable=True),
    _when("this_update"),
    _when("next_update"),
    _whole("entries"),
    _der("der"),
    _text("sha256"),
    _when("updated_at"),
    PrimaryKeyConstraint("authority_id", "kind", "shard"),
)

ocsp_answers: Final = Table(
    "ocsp_answers",
    metadata,
    _authority(),
    _text("serial"),
    _text("hash"),
    _der("der"),
    _when("this_update"),
    _when("next_update"),
    PrimaryKeyConstraint("authority_id", "serial", "hash"),
    Index(None, "next_update"),
)

status_changes: Final = Table(
    "status_changes",
    metadata,
    _key(),
    _authority(),
    _text("serial"),
    _when("at"),
    Index(None, "at"),
    sqlite_autoincrement=True,
)

profiles: Final = Table(
    "profiles",
    metadata,
    _text("name", primary_key=True),
    Column("document", JSON, nullable=False),
    _when("created_at"),
    _text("created_by"),
)

tokens: Final = Table(
    "tokens",
    metadata,
    _text("id", primary_key=True),
    _text("name"),
    _text("hash"),
    _text("role"),
    Column("scope", JSON, nullable=False),
    _whole("uses_left", null=True),
    _text("created_by"),
    _when("created_at"),
    _when("expires_at", null=True),
    _when("revoked_at", null=True),
    _when("last_used_at", null=True),
    UniqueConstraint("hash"),
)

idempotency: Final = Table(
    "idempotency",
    metadata,
    _text("actor"),
    _text("key"),
    _text("route"),
    _text("request_sha256"),
    _text("state"),
    _whole("status", null=True),
    _text("body", null=True),
    _when("created_at"),
    _when("expires_at"),
    PrimaryKeyConstraint("actor", "key"),
    Index(None, "expires_at"),
)

audit_events: Final = Table(
    "audit_events",
    metadata,
    _key(),
    _when("at"),
    _text("actor"),
    _text("role"),
    _text("action"),
    _text("object"),
    _text("outcome"),
    Column("detail", JSON, nullable=False),
    _text("request_id"),
    Index(None, "at"),
    # With the number: the newest that fit stand together, however many events there are.
    Index(None, "object", "id"),
    Index(None, "actor", "id"),
    Index(None, "action", "id"),
    sqlite_autoincrement=True,
)

outbox: Final = Table(
    "outbox",
    metadata,
    _key(),
    _text("topic"),
    _text("key"),
    Column("payload", JSON, nullable=False),
    _when("created_at"),
    _when("available_at"),
    _whole("attempts"),
    _text("lease_owner", null=True),
    _when("lease_until", null=True),
    _text("last_error", null=True),
    _when("dead_at", null=True),
    Index(None, "dead_at", "available_at"),
    sqlite_autoincrement=True,
)

leases: Final = Table(
    "leases",
    metadata,
    _text("name", primary_key=True),
    _text("owner"),
    _when("until"),
    Column("fence", BigInteger, nullable=False),
)

job_runs: Final = Table(
    "job_runs",
    metadata,
    _key(),
    _text("job"),
    _text("owner"),
    _when("started_at"),
    _when("finished_at", null=True),
    _text("outcome", null=True),
    _text("error", null=True),
    Column("detail", JSON(none_as_null=True), nullable=True),
    Index(None, "job", "outcome", "id"),
    sqlite_autoincrement=True,
)

notices: Final = Table(
    "notices",
    metadata,
    _key(),
    _text("kind"),
    _text("object"),
    _text("stage"),
    _when("at"),
    UniqueConstraint("kind", "object", "stage"),
    sqlite_autoincrement=True,
)
