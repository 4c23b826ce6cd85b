"""Authorities, certificates, revocations and what the service needs to run."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from store.types import BigKey, UTCDateTime

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def _int(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=null)


def _big(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=null)


def _time(name: str, *, null: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, UTCDateTime(), nullable=null)


def _blob(name: str, *, null: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=null)


def _json(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), nullable=null)


def _authority() -> sa.Column[int]:
    return sa.Column("authority_id", BigKey, nullable=False, autoincrement=False)


def _numbered(table: str, *columns: sa.Column[Any] | sa.Constraint) -> None:
    """A table whose rows are numbered by the database; a number is never used again."""
    op.create_table(
        table,
        sa.Column("id", BigKey, autoincrement=True, nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sqlite_autoincrement=True,
    )


def _keyed(table: str, key: list[str], *columns: sa.Column[Any] | sa.Constraint) -> None:
    op.create_table(table, *columns, sa.PrimaryKeyConstraint(*key, name=f"pk_{table}"))


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def upgrade() -> None:
    _authorities()
    _certificates()
    _publication()
    _access()
    _running()


def _authorities() -> None:
    _numbered(
        "authorities",
        _text("name"),
        _text("kind"),
        _text("status"),
        sa.Column("parent_id", BigKey, nullable=True),
        _text("subject"),
        _blob("certificate"),
        _text("key_uri"),
        _text("serial"),
        _int("shards"),
        _int("crl_hours"),
        _int("delta_hours"),
        _int("ocsp_hours"),
        _time("not_before"),
        _time("not_after"),
        _time("created_at"),
        _text("created_by"),
        sa.ForeignKeyConstraint(["parent_id"], ["authorities.id"], name="fk_authorities_parent_id"),
        sa.UniqueConstraint("name", name="uq_authorities_name"),
    )
    _numbered(
        "ocsp_signers",
        _authority(),
        _text("key_uri"),
        _blob("certificate"),
        _text("serial"),
        _time("not_before"),
        _time("not_after"),
        _time("created_at"),
        sa.ForeignKeyConstraint(
            ["authority_id"], ["authorities.id"], name="fk_ocsp_signers_authority_id"
        ),
    )
    _index("ocsp_signers", "authority_id", "not_after")


def _certificates() -> None:
    _numbered(
        "certificates",
        _authority(),
        _text("serial"),
        _text("status"),
        _text("profile"),
        _text("subject"),
        _text("names"),
        _time("not_before"),
        _time("not_after"),
        _int("shard"),
        _blob("tbs", null=True),
        _blob("der", null=True),
        _text("fingerprint", null=True),
        _text("spki_sha256"),
        _text("requested_by"),
        _text("credential"),
        _text("gateway", null=True),
        _text("request_id"),
        _time("created_at"),
        _time("issued_at", null=True),
        _text("renewed_from", null=True),
        sa.ForeignKeyConstraint(
            ["authority_id"], ["authorities.id"], name="fk_certificates_authority_id"
        ),
        sa.UniqueConstraint("serial", "authority_id", name="uq_certificates_serial_authority_id"),
    )
    _index("certificates", "not_after")
    _index("certificates", "status", "created_at")
    _index("certificates", "gateway")
    _index("certificates", "renewed_from")
    _keyed(
        "revocations",
        ["certificate_id"],
        sa.Column("certificate_id", BigKey, autoincrement=False, nullable=False),
        _authority(),
        _text("serial"),
        _int("shard"),
        _text("state"),
        _int("reason"),
        _time("revoked_at"),
        _time("changed_at"),
        _time("invalidity_at", null=True),
        _time("not_after"),
        _blob("entry"),
        sa.ForeignKeyConstraint(
            ["certificate_id"], ["certificates.id"], name="fk_revocations_certificate_id"
        ),
    )
    _index("revocations", "authority_id", "shard", "serial")
    _index("revocations", "authority_id", "changed_at")


def _publication() -> None:
    _keyed("crl_numbers", ["authority_id"], _authority(), _big("number"))
    _keyed(
        "crls",
        ["authority_id", "kind", "shard"],
        _authority(),
        _text("kind"),
        _int("shard"),
        _big("number"),
        _big("base_number", null=True),
        _time("this_update"),
        _time("next_update"),
        _int("entries"),
        _blob("der"),
        _text("sha256"),
        _time("updated_at"),
    )
    _keyed(
        "ocsp_answers",
        ["authority_id", "serial", "hash"],
        _authority(),
        _text("serial"),
        _text("hash"),
        _blob("der"),
        _time("this_update"),
        _time("next_update"),
    )
    _index("ocsp_answers", "next_update")
    _numbered("status_changes", _authority(), _text("serial"), _time("at"))
    _index("status_changes", "at")


def _access() -> None:
    _keyed(
        "profiles",
        ["name"],
        _text("name"),
        _json("document"),
        _time("created_at"),
        _text("created_by"),
    )
    _keyed(
        "tokens",
        ["id"],
        _text("id"),
        _text("name"),
        _text("hash"),
        _text("role"),
        _json("scope"),
        _int("uses_left", null=True),
        _text("created_by"),
        _time("created_at"),
        _time("expires_at", null=True),
        _time("revoked_at", null=True),
        _time("last_used_at", null=True),
        sa.UniqueConstraint("hash", name="uq_tokens_hash"),
    )
    _keyed(
        "idempotency",
        ["actor", "key"],
        _text("actor"),
        _text("key"),
        _text("route"),
        _text("request_sha256"),
        _text("state"),
        _int("status", null=True),
        _text("body", null=True),
        _time("created_at"),
        _time("expires_at"),
    )
    _index("idempotency", "expires_at")
    _numbered(
        "audit_events",
        _time("at"),
        _text("actor"),
        _text("role"),
        _text("action"),
        _text("object"),
        _text("outcome"),
        _json("detail"),
        _text("request_id"),
    )
    _index("audit_events", "at")
    _index("audit_events", "object")
    _index("audit_events", "actor")


def _running() -> None:
    _numbered(
        "outbox",
        _text("topic"),
        _text("key"),
        _json("payload"),
        _time("created_at"),
        _time("available_at"),
        _int("attempts"),
        _text("lease_owner", null=True),
        _time("lease_until", null=True),
        _text("last_error", null=True),
        _time("dead_at", null=True),
    )
    _index("outbox", "dead_at", "available_at")
    _keyed("leases", ["name"], _text("name"), _text("owner"), _time("until"), _big("fence"))
    _numbered(
        "job_runs",
        _text("job"),
        _text("owner"),
        _time("started_at"),
        _time("finished_at", null=True),
        _text("outcome", null=True),
        _text("error", null=True),
        _json("detail", null=True),
    )
    _index("job_runs", "job", "started_at")
    _numbered(
        "notices",
        _text("kind"),
        _text("object"),
        _text("stage"),
        _time("at"),
        sa.UniqueConstraint("kind", "object", "stage", name="uq_notices_kind_object_stage"),
    )
