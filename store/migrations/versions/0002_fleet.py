"""Gateways, tunnels, commands to gateways, and what gateways report."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from store.types import BigKey, UTCDateTime

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def _big(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=null)


def _time(name: str, *, null: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, UTCDateTime(), nullable=null)


def _json(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), nullable=null)


def _reference(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, BigKey, nullable=null, autoincrement=False)


def _foreign(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=f"fk_{table}_{column}")


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
    _gateways()
    _tunnels()
    _commands()
    _reports()


def _gateways() -> None:
    _numbered(
        "gateways",
        _text("name"),
        _text("profile"),
        _reference("authority_id"),
        _text("identities"),
        _text("daemon", null=True),
        _text("token_id", null=True),
        _big("version"),
        _big("commanded"),
        _time("changed_at"),
        _time("created_at"),
        _text("created_by"),
        _foreign("gateways", "authority_id", "authorities"),
        sa.UniqueConstraint("name", name="uq_gateways_name"),
    )
    _index("gateways", "changed_at")
    _keyed(
        "gateway_identities",
        ["identity"],
        _text("identity"),
        _reference("gateway_id"),
        _foreign("gateway_identities", "gateway_id", "gateways"),
    )
    _index("gateway_identities", "gateway_id")
    _keyed(
        "gateway_authorities",
        ["gateway_id", "authority_id"],
        _reference("gateway_id"),
        _reference("authority_id"),
        _big("crl_number"),
        _foreign("gateway_authorities", "gateway_id", "gateways"),
        _foreign("gateway_authorities", "authority_id", "authorities"),
    )
    _index("gateway_authorities", "authority_id", "gateway_id")


def _tunnels() -> None:
    _numbered(
        "tunnels",
        _text("name"),
        _reference("left_id"),
        _reference("right_id", null=True),
        _text("peer_name", null=True),
        _text("peer_identities", null=True),
        _reference("peer_authority_id", null=True),
        sa.Column("managed", sa.Integer(), nullable=False),
        _json("definition", null=True),
        _time("created_at"),
        _text("created_by"),
        _foreign("tunnels", "left_id", "gateways"),
        _foreign("tunnels", "right_id", "gateways"),
        _foreign("tunnels", "peer_authority_id", "authorities"),
        sa.UniqueConstraint("name", name="uq_tunnels_name"),
    )
    _index("tunnels", "left_id")
    _index("tunnels", "right_id")
    _keyed(
        "tunnel_identities",
        ["identity", "tunnel_id"],
        _text("identity"),
        _reference("tunnel_id"),
        _foreign("tunnel_identities", "tunnel_id", "tunnels"),
    )
    _index("tunnel_identities", "tunnel_id")


def _commands() -> None:
    _numbered(
        "gateway_commands",
        _reference("gateway_id"),
        _text("kind"),
        _text("state"),
        _reference("certificate_id", null=True),
        _text("fingerprint", null=True),
        _text("connection", null=True),
        _json("detail"),
        _time("created_at"),
        _time("told_at", null=True),
        _time("done_at", null=True),
        _time("reported_at", null=True),
        _text("error", null=True),
        _json("cuts", null=True),
        _foreign("gateway_commands", "gateway_id", "gateways"),
        _foreign("gateway_commands", "certificate_id", "certificates"),
        sa.UniqueConstraint(
            "gateway_id", "certificate_id", name="uq_gateway_commands_gateway_id_certificate_id"
        ),
    )
    _index("gateway_commands", "gateway_id", "state")
    _index("gateway_commands", "certificate_id")


def _reports() -> None:
    _keyed(
        "gateway_reports",
        ["gateway_id"],
        _reference("gateway_id"),
        _time("seen_at"),
        _text("agent_version", null=True),
        _text("daemon_kind", null=True),
        _text("daemon_version", null=True),
        _text("incarnation", null=True),
        _big("applied_version", null=True),
        _time("applied_at", null=True),
        _text("certificate", null=True),
        _text("proof", null=True),
        _json("inventory", null=True),
        _json("errors", null=True),
        sa.Column("drifting", sa.Integer(), nullable=True),
        _time("sas_at", null=True),
        _time("sas_received_at", null=True),
        _foreign("gateway_reports", "gateway_id", "gateways"),
    )
    _numbered(
        "gateway_sas",
        _reference("gateway_id"),
        _reference("tunnel_id", null=True),
        _text("sa_id"),
        _text("connection"),
        _text("state"),
        _text("remote_name", null=True),
        _text("local_certificate", null=True),
        _text("remote_certificate", null=True),
        _reference("certificate_id", null=True),
        _json("document"),
        _foreign("gateway_sas", "gateway_id", "gateways"),
        _foreign("gateway_sas", "tunnel_id", "tunnels"),
        _foreign("gateway_sas", "certificate_id", "certificates"),
    )
    _index("gateway_sas", "gateway_id")
    _index("gateway_sas", "tunnel_id")
    _index("gateway_sas", "remote_certificate")
    _index("gateway_sas", "remote_name")
