"""Gateways, tunnels, commands to gateways, and what gateways report."""

import sqlalchemy as sa

from store.migration_columns import (
    big,
    foreign,
    index,
    json,
    keyed,
    numbered,
    reference,
    text,
    time,
)

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    _gateways()
    _tunnels()
    _commands()
    _reports()


def _gateways() -> None:
    numbered(
        "gateways",
        text("name"),
        text("profile"),
        reference("authority_id"),
        text("identities"),
        text("daemon", null=True),
        text("token_id", null=True),
        big("version"),
        big("commanded"),
        time("changed_at"),
        time("created_at"),
        text("created_by"),
        foreign("gateways", "authority_id", "authorities"),
        sa.UniqueConstraint("name", name="uq_gateways_name"),
    )
    index("gateways", "changed_at")
    keyed(
        "gateway_identities",
        ["identity"],
        text("identity"),
        reference("gateway_id"),
        foreign("gateway_identities", "gateway_id", "gateways"),
    )
    index("gateway_identities", "gateway_id")
    keyed(
        "gateway_authorities",
        ["gateway_id", "authority_id"],
        reference("gateway_id"),
        reference("authority_id"),
        big("crl_number"),
        foreign("gateway_authorities", "gateway_id", "gateways"),
        foreign("gateway_authorities", "authority_id", "authorities"),
    )
    index("gateway_authorities", "authority_id", "gateway_id")


def _tunnels() -> None:
    numbered(
        "tunnels",
        text("name"),
        reference("left_id"),
        reference("right_id", null=True),
        text("peer_name", null=True),
        text("peer_identities", null=True),
        reference("peer_authority_id", null=True),
        sa.Column("managed", sa.Integer(), nullable=False),
        json("definition", null=True),
        time("created_at"),
        text("created_by"),
        foreign("tunnels", "left_id", "gateways"),
        foreign("tunnels", "right_id", "gateways"),
        foreign("tunnels", "peer_authority_id", "authorities"),
        sa.UniqueConstraint("name", name="uq_tunnels_name"),
    )
    index("tunnels", "left_id")
    index("tunnels", "right_id")
    keyed(
        "tunnel_identities",
        ["identity", "tunnel_id"],
        text("identity"),
        reference("tunnel_id"),
        foreign("tunnel_identities", "tunnel_id", "tunnels"),
    )
    index("tunnel_identities", "tunnel_id")


def _commands() -> None:
    numbered(
        "gateway_commands",
        reference("gateway_id"),
        text("kind"),
        text("state"),
        reference("certificate_id", null=True),
        text("fingerprint", null=True),
        text("connection", null=True),
        json("detail"),
        time("created_at"),
        time("told_at", null=True),
        time("done_at", null=True),
        time("reported_at", null=True),
        text("error", null=True),
        json("cuts", null=True),
        foreign("gateway_commands", "gateway_id", "gateways"),
        foreign("gateway_commands", "certificate_id", "certificates"),
        sa.UniqueConstraint(
            "gateway_id", "certificate_id", name="uq_gateway_commands_gateway_id_certificate_id"
        ),
    )
    index("gateway_commands", "gateway_id", "state")
    index("gateway_commands", "certificate_id")


def _reports() -> None:
    keyed(
        "gateway_reports",
        ["gateway_id"],
        reference("gateway_id"),
        time("seen_at"),
        text("agent_version", null=True),
        text("daemon_kind", null=True),
        text("daemon_version", null=True),
        text("incarnation", null=True),
        big("applied_version", null=True),
        time("applied_at", null=True),
        text("certificate", null=True),
        text("proof", null=True),
        json("inventory", null=True),
        json("errors", null=True),
        sa.Column("drifting", sa.Integer(), nullable=True),
        time("sas_at", null=True),
        time("sas_received_at", null=True),
        foreign("gateway_reports", "gateway_id", "gateways"),
    )
    numbered(
        "gateway_sas",
        reference("gateway_id"),
        reference("tunnel_id", null=True),
        text("sa_id"),
        text("connection"),
        text("state"),
        text("remote_name", null=True),
        text("local_certificate", null=True),
        text("remote_certificate", null=True),
        reference("certificate_id", null=True),
        json("document"),
        foreign("gateway_sas", "gateway_id", "gateways"),
        foreign("gateway_sas", "tunnel_id", "tunnels"),
        foreign("gateway_sas", "certificate_id", "certificates"),
    )
    index("gateway_sas", "gateway_id")
    index("gateway_sas", "tunnel_id")
    index("gateway_sas", "remote_certificate")
    index("gateway_sas", "remote_name")
