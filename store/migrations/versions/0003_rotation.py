"""Shared secrets of tunnels, their rotations, what gateways report of them, and their handing over."""

import sqlalchemy as sa
from alembic import op

from store.migration_columns import (
    big,
    foreign,
    index,
    json,
    numbered,
    reference,
    text,
    time,
    unique,
    whole,
)

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    _slots()
    _rotations()
    _reports()
    _handovers()


def _slots() -> None:
    numbered(
        "secret_slots",
        reference("tunnel_id"),
        text("kind"),
        text("name"),
        text("path"),
        json("left_keys"),
        json("right_keys"),
        json("policy"),
        json("binding", null=True),
        big("last_version"),
        big("rotation_id", null=True),
        time("due_at", null=True),
        time("created_at"),
        text("created_by"),
        foreign("secret_slots", "tunnel_id", "tunnels"),
        unique("secret_slots", "tunnel_id", "kind"),
        unique("secret_slots", "name"),
    )
    index("secret_slots", "due_at")
    numbered(
        "secrets",
        reference("slot_id"),
        big("version"),
        text("state"),
        text("source"),
        text("fingerprint", null=True),
        text("ppk_id", null=True),
        big("store_version", null=True),
        json("strength", null=True),
        time("created_at"),
        time("current_at", null=True),
        time("destroyed_at", null=True),
        foreign("secrets", "slot_id", "secret_slots"),
        unique("secrets", "slot_id", "version"),
    )
    index("secrets", "fingerprint")


def _rotations() -> None:
    numbered(
        "rotations",
        reference("slot_id"),
        text("state"),
        whole("back"),
        text("method"),
        text("reason"),
        big("from_version", null=True),
        big("to_version", null=True),
        time("created_at"),
        text("created_by"),
        time("entered_at"),
        time("deadline_at", null=True),
        time("wake_at", null=True),
        text("claimed_by", null=True),
        time("claimed_until", null=True),
        whole("tries"),
        time("confirmed_at", null=True),
        sa.Column("left_mark", sa.BigInteger(), nullable=True),
        sa.Column("right_mark", sa.BigInteger(), nullable=True),
        text("error_code", null=True),
        text("error", null=True),
        text("next_step", null=True),
        time("ended_at", null=True),
        foreign("rotations", "slot_id", "secret_slots"),
    )
    index("rotations", "wake_at")
    index("rotations", "slot_id", "id")
    index("rotations", "state")


def _reports() -> None:
    op.create_table(
        "secret_reports",
        reference("slot_id"),
        text("side"),
        reference("gateway_id"),
        json("versions"),
        json("held"),
        json("foreign"),
        json("authenticated", null=True),
        json("abilities", null=True),
        text("error_code", null=True),
        text("error", null=True),
        time("reported_at"),
        foreign("secret_reports", "slot_id", "secret_slots"),
        foreign("secret_reports", "gateway_id", "gateways"),
        sa.PrimaryKeyConstraint("slot_id", "side", name="pk_secret_reports"),
    )
    index("secret_reports", "gateway_id")


def _handovers() -> None:
    numbered(
        "handovers",
        reference("secret_id"),
        text("digest"),
        time("expires_at"),
        time("created_at"),
        text("created_by"),
        time("used_at", null=True),
        text("used_from", null=True),
        foreign("handovers", "secret_id", "secrets"),
        unique("handovers", "digest"),
    )
    index("handovers", "secret_id")
