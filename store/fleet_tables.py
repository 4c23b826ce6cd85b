"""The tables of the fleet: gateways and tunnels as wished, and what gateways reported."""

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

from store import tables
from store.columns import key, metadata, text, when, whole
from store.types import BigKey

_AUTHORITY: Final = tables.authorities.c.id
_CERTIFICATE: Final = tables.certificates.c.id


def _gateway(name: str = "gateway_id", *, null: bool = False, alone: bool = False) -> Column[int]:
    return Column(
        name,
        BigKey,
        ForeignKey("gateways.id"),
        nullable=null,
        primary_key=alone,
        autoincrement=False,
    )


def _document(name: str, *, null: bool = False) -> Column[object]:
    return Column(name, JSON(none_as_null=True), nullable=null)


# `version` counts the changes of a gateway's desired state; `changed_at` is when it last did, so that a watcher need
# not look at all of them; `commanded` is the version that brought the latest command. `authority_id` certifies the
# gateway, `token_id` is its last enrollment token.
gateways: Final = Table(
    "gateways",
    metadata,
    key(),
    text("name"),
    text("profile"),
    Column("authority_id", BigKey, ForeignKey(_AUTHORITY), nullable=False),
    text("identities"),
    text("daemon", null=True),
    text("token_id", null=True),
    Column("version", BigInteger, nullable=False),
    Column("commanded", BigInteger, nullable=False),
    when("changed_at"),
    when("created_at"),
    text("created_by"),
    UniqueConstraint("name"),
    Index(None, "changed_at"),
    sqlite_autoincrement=True,
)

# An identity belongs to one gateway.
gateway_identities: Final = Table(
    "gateway_identities",
    metadata,
    text("identity", primary_key=True),
    _gateway(),
    Index(None, "gateway_id"),
)

# The CA set of each gateway: its own authority, those of its peers, and all above them. `crl_number` is the latest list
# that the gateway was woken for.
gateway_authorities: Final = Table(
    "gateway_authorities",
    metadata,
    _gateway(),
    Column("authority_id", BigKey, ForeignKey(_AUTHORITY), nullable=False),
    Column("crl_number", BigInteger, nullable=False),
    PrimaryKeyConstraint("gateway_id", "authority_id"),
    Index(None, "authority_id", "gateway_id"),
)

# One end is always a gateway of ours (left); the other one too (`right_id`), or an outside peer.
tunnels: Final = Table(
    "tunnels",
    metadata,
    key(),
    text("name"),
    _gateway("left_id"),
    _gateway("right_id", null=True),
    text("peer_name", null=True),
    text("peer_identities", null=True),
    Column("peer_authority_id", BigKey, ForeignKey(_AUTHORITY), nullable=True),
    whole("managed"),
    _document("definition", null=True),
    when("created_at"),
    text("created_by"),
    UniqueConstraint("name"),
    Index(None, "left_id"),
    Index(None, "right_id"),
    sqlite_autoincrement=True,
)

tunnel_identities: Final = Table(
    "tunnel_identities",
    metadata,
    text("identity"),
    Column("tunnel_id", BigKey, ForeignKey("tunnels.id"), nullable=False),
    PrimaryKeyConstraint("identity", "tunnel_id"),
    Index(None, "tunnel_id"),
)

# `certificate_id` and `fingerprint` are those of the certificate that a `cut` is about. A certificate is cut once at a
# gateway: the command is opened again where it comes back.
gateway_commands: Final = Table(
    "gateway_commands",
    metadata,
    key(),
    _gateway(),
    text("kind"),
    text("state"),
    Column("certificate_id", BigKey, ForeignKey(_CERTIFICATE), nullable=True),
    text("fingerprint", null=True),
    text("connection", null=True),
    _document("detail"),
    when("created_at"),
    when("told_at", null=True),
    when("done_at", null=True),
    when("reported_at", null=True),
    text("error", null=True),
    _document("cuts", null=True),
    UniqueConstraint("gateway_id", "certificate_id"),
    Index(None, "gateway_id", "state"),
    Index(None, "certificate_id"),
    sqlite_autoincrement=True,
)

gateway_reports: Final = Table(
    "gateway_reports",
    metadata,
    _gateway(alone=True),
    when("seen_at"),
    text("agent_version", null=True),
    text("daemon_kind", null=True),
    text("daemon_version", null=True),
    text("incarnation", null=True),
    Column("applied_version", BigInteger, nullable=True),
    when("applied_at", null=True),
    text("certificate", null=True),
    text("proof", null=True),
    _document("inventory", null=True),
    _document("errors", null=True),
    whole("drifting", null=True),
    when("sas_at", null=True),
    when("sas_received_at", null=True),
)

# `remote_name` is the peer's identity in the spelling of GeneralName, where it has one; `certificate_id` the
# certificate that authenticated the peer, where it is known and ours.
gateway_sas: Final = Table(
    "gateway_sas",
    metadata,
    key(),
    _gateway(),
    Column("tunnel_id", BigKey, ForeignKey("tunnels.id"), nullable=True),
    text("sa_id"),
    text("connection"),
    text("state"),
    text("remote_name", null=True),
    text("local_certificate", null=True),
    text("remote_certificate", null=True),
    Column("certificate_id", BigKey, ForeignKey(_CERTIFICATE), nullable=True),
    _document("document"),
    Index(None, "gateway_id"),
    Index(None, "tunnel_id"),
    Index(None, "remote_certificate"),
    Index(None, "remote_name"),
    sqlite_autoincrement=True,
)
