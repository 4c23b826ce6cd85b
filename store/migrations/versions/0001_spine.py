"""Authorities, certificates, revocations and what the service needs to run."""

import sqlalchemy as sa

from store.migration_columns import big, blob, index, json, keyed, numbered, text, time, whole
from store.types import BigKey

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None


def _authority() -> sa.Column[int]:
    return sa.Column("authority_id", BigKey, nullable=False, autoincrement=False)


def upgrade() -> None:
    _authorities()
    _certificates()
    _publication()
    _access()
    _running()


def _authorities() -> None:
    numbered(
        "authorities",
        text("name"),
        text("kind"),
        text("status"),
        sa.Column("parent_id", BigKey, nullable=True),
        text("subject"),
        blob("certificate"),
        text("key_uri"),
        text("serial"),
        whole("shards"),
        whole("crl_hours"),
        whole("delta_hours"),
        whole("ocsp_hours"),
        time("not_before"),
        time("not_after"),
        time("created_at"),
        text("created_by"),
        sa.ForeignKeyConstraint(["parent_id"], ["authorities.id"], name="fk_authorities_parent_id"),
        sa.UniqueConstraint("name", name="uq_authorities_name"),
    )
    numbered(
        "ocsp_signers",
        _authority(),
        text("key_uri"),
        blob("certificate"),
        text("serial"),
        time("not_before"),
        time("not_after"),
        time("created_at"),
        sa.ForeignKeyConstraint(
            ["authority_id"], ["authorities.id"], name="fk_ocsp_signers_authority_id"
        ),
    )
    index("ocsp_signers", "authority_id", "not_after")


def _certificates() -> None:
    numbered(
        "certificates",
        _authority(),
        text("serial"),
        text("status"),
        text("profile"),
        text("subject"),
        text("names"),
        time("not_before"),
        time("not_after"),
        whole("shard"),
        blob("tbs", null=True),
        blob("der", null=True),
        text("fingerprint", null=True),
        text("spki_sha256"),
        text("requested_by"),
        text("credential"),
        text("gateway", null=True),
        text("request_id"),
        time("created_at"),
        time("issued_at", null=True),
        text("renewed_from", null=True),
        sa.ForeignKeyConstraint(
            ["authority_id"], ["authorities.id"], name="fk_certificates_authority_id"
        ),
        sa.UniqueConstraint("serial", "authority_id", name="uq_certificates_serial_authority_id"),
    )
    index("certificates", "not_after")
    index("certificates", "status", "created_at")
    index("certificates", "gateway")
    index("certificates", "renewed_from")
    keyed(
        "revocations",
        ["certificate_id"],
        sa.Column("certificate_id", BigKey, autoincrement=False, nullable=False),
        _authority(),
        text("serial"),
        whole("shard"),
        text("state"),
        whole("reason"),
        time("revoked_at"),
        time("changed_at"),
        time("invalidity_at", null=True),
        time("not_after"),
        blob("entry"),
        sa.ForeignKeyConstraint(
            ["certificate_id"], ["certificates.id"], name="fk_revocations_certificate_id"
        ),
    )
    index("revocations", "authority_id", "shard", "serial")
    index("revocations", "authority_id", "changed_at")


def _publication() -> None:
    keyed("crl_numbers", ["authority_id"], _authority(), big("number"))
    keyed(
        "crls",
        ["authority_id", "kind", "shard"],
        _authority(),
        text("kind"),
        whole("shard"),
        big("number"),
        big("base_number", null=True),
        time("this_update"),
        time("next_update"),
        whole("entries"),
        blob("der"),
        text("sha256"),
        time("updated_at"),
    )
    keyed(
        "ocsp_answers",
        ["authority_id", "serial", "hash"],
        _authority(),
        text("serial"),
        text("hash"),
        blob("der"),
        time("this_update"),
        time("next_update"),
    )
    index("ocsp_answers", "next_update")
    numbered("status_changes", _authority(), text("serial"), time("at"))
    index("status_changes", "at")


def _access() -> None:
    keyed(
        "profiles",
        ["name"],
        text("name"),
        json("document"),
        time("created_at"),
        text("created_by"),
    )
    keyed(
        "tokens",
        ["id"],
        text("id"),
        text("name"),
        text("hash"),
        text("role"),
        json("scope"),
        whole("uses_left", null=True),
        text("created_by"),
        time("created_at"),
        time("expires_at", null=True),
        time("revoked_at", null=True),
        time("last_used_at", null=True),
        sa.UniqueConstraint("hash", name="uq_tokens_hash"),
    )
    keyed(
        "idempotency",
        ["actor", "key"],
        text("actor"),
        text("key"),
        text("route"),
        text("request_sha256"),
        text("state"),
        whole("status", null=True),
        text("body", null=True),
        time("created_at"),
        time("expires_at"),
    )
    index("idempotency", "expires_at")
    numbered(
        "audit_events",
        time("at"),
        text("actor"),
        text("role"),
        text("action"),
        text("object"),
        text("outcome"),
        json("detail"),
        text("request_id"),
    )
    index("audit_events", "at")
    index("audit_events", "object")
    index("audit_events", "actor")


def _running() -> None:
    numbered(
        "outbox",
        text("topic"),
        text("key"),
        json("payload"),
        time("created_at"),
        time("available_at"),
        whole("attempts"),
        text("lease_owner", null=True),
        time("lease_until", null=True),
        text("last_error", null=True),
        time("dead_at", null=True),
    )
    index("outbox", "dead_at", "available_at")
    keyed("leases", ["name"], text("name"), text("owner"), time("until"), big("fence"))
    numbered(
        "job_runs",
        text("job"),
        text("owner"),
        time("started_at"),
        time("finished_at", null=True),
        text("outcome", null=True),
        text("error", null=True),
        json("detail", null=True),
    )
    index("job_runs", "job", "started_at")
    numbered(
        "notices",
        text("kind"),
        text("object"),
        text("stage"),
        time("at"),
        sa.UniqueConstraint("kind", "object", "stage", name="uq_notices_kind_object_stage"),
    )
