"""Shared secrets of tunnels, their rotations, what gateways report of them, and their handing over."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from store.types import BigKey, UTCDateTime

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def _big(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=null)


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _time(name: str, *, null: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, UTCDateTime(), nullable=null)


def _json(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), nullable=null)


def _reference(name: str) -> sa.Column[int]:
    return sa.Column(name, BigKey, nullable=False, autoincrement=False)


def _foreign(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=f"fk_{table}_{column}")


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=f"uq_{table}_{'_'.join(columns)}")


def _numbered(table: str, *columns: sa.Column[Any] | sa.Constraint) -> None:
    """A table whose rows are numbered by the database; a number is never used again."""
    op.create_table(
        table,
        sa.Column("id", BigKey, autoincrement=True, nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sqlite_autoincrement=True,
    )


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def upgrade() -> None:
    _slots()
    _rotations()
    _reports()
    _handovers()


def _slots() -> None:
    _numbered(
        "secret_slots",
        _reference("tunnel_id"),
        _text("kind"),
        _text("name"),
        _text("path"),
        _json("left_keys"),
        _json("right_keys"),
        _json("policy"),
        _json("binding", null=True),
        _big("last_version"),
        _big("rotation_id", null=True),
        _time("due_at", null=True),
        _time("created_at"),
        _text("created_by"),
        _foreign("secret_slots", "tunnel_id", "tunnels"),
        _unique("secret_slots", "tunnel_id", "kind"),
        _unique("secret_slots", "name"),
    )
    _index("secret_slots", "due_at")
    _numbered(
        "secrets",
        _reference("slot_id"),
        _big("version"),
        _text("state"),
        _text("source"),
        _text("fingerprint", null=True),
        _text("ppk_id", null=True),
        _big("store_version", null=True),
        _json("strength", null=True),
        _time("created_at"),
        _time("current_at", null=True),
        _time("destroyed_at", null=True),
        _foreign("secrets", "slot_id", "secret_slots"),
        _unique("secrets", "slot_id", "version"),
    )
    _index("secrets", "fingerprint")


def _rotations() -> None:
    _numbered(
        "rotations",
        _reference("slot_id"),
        _text("state"),
        _whole("back"),
        _text("method"),
        _text("reason"),
        _big("from_version", null=True),
        _big("to_version", null=True),
        _time("created_at"),
        _text("created_by"),
        _time("entered_at"),
        _time("deadline_at", null=True),
        _time("wake_at", null=True),
        _text("claimed_by", null=True),
        _time("claimed_until", null=True),
        _whole("tries"),
        _time("confirmed_at", null=True),
        sa.Column("left_mark", sa.BigInteger(), nullable=True),
        sa.Column("right_mark", sa.BigInteger(), nullable=True),
        _text("error_code", null=True),
        _text("error", null=True),
        _text("next_step", null=True),
        _time("ended_at", null=True),
        _foreign("rotations", "slot_id", "secret_slots"),
    )
    _index("rotations", "wake_at")
    _index("rotations", "slot_id", "id")
    _index("rotations", "state")


def _reports() -> None:
    op.create_table(
        "secret_reports",
        _reference("slot_id"),
        _text("side"),
        _reference("gateway_id"),
        _json("versions"),
        _json("held"),
        _json("foreign"),
        _json("authenticated", null=True),
        _json("abilities", null=True),
        _text("error_code", null=True),
        _text("error", null=True),
        _time("reported_at"),
        _foreign("secret_reports", "slot_id", "secret_slots"),
        _foreign("secret_reports", "gateway_id", "gateways"),
        sa.PrimaryKeyConstraint("slot_id", "side", name="pk_secret_reports"),
    )
    _index("secret_reports", "gateway_id")


def _handovers() -> None:
    _numbered(
        "handovers",
        _reference("secret_id"),
        _text("digest"),
        _time("expires_at"),
        _time("created_at"),
        _text("created_by"),
        _time("used_at", null=True),
        _text("used_from", null=True),
        _foreign("handovers", "secret_id", "secrets"),
        _unique("handovers", "digest"),
    )
    _index("handovers", "secret_id")
