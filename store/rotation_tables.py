"""The tables of shared secrets and their rotation. Never a value: versions, states, keyed fingerprints."""

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

from store.columns import key, metadata, text, when, whole
from store.types import BigKey


def _reference(name: str, target: str, *, null: bool = False) -> Column[int]:
    return Column(name, BigKey, ForeignKey(target), nullable=null, autoincrement=False)


def _document(name: str, *, null: bool = False) -> Column[object]:
    return Column(name, JSON(none_as_null=True), nullable=null)


# A tunnel's shared secrets of one kind (psk, ppk), and the policy of their rotation. `left_keys` and `right_keys` are
# the desired versions of each end: the first proves, all are accepted. `rotation_id` is the one under way. `binding`
# says what the connection is called and which identities it has, where it is the operator's own.
secret_slots: Final = Table(
    "secret_slots",
    metadata,
    key(),
    _reference("tunnel_id", "tunnels.id"),
    text("kind"),
    text("name"),
    text("path"),
    _document("left_keys"),
    _document("right_keys"),
    _document("policy"),
    _document("binding", null=True),
    Column("last_version", BigInteger, nullable=False),
    Column("rotation_id", BigInteger, nullable=True),
    when("due_at", null=True),
    when("created_at"),
    text("created_by"),
    UniqueConstraint("tunnel_id", "kind"),
    UniqueConstraint("name"),
    Index(None, "due_at"),
    sqlite_autoincrement=True,
)

# `state`: intended, stored, current, old, destroyed, lost. `store_version` is the version that the store gave it.
secrets: Final = Table(
    "secrets",
    metadata,
    key(),
    _reference("slot_id", "secret_slots.id"),
    Column("version", BigInteger, nullable=False),
    text("state"),
    text("source"),
    text("fingerprint", null=True),
    text("ppk_id", null=True),
    Column("store_version", BigInteger, nullable=True),
    _document("strength", null=True),
    when("created_at"),
    when("current_at", null=True),
    when("destroyed_at", null=True),
    UniqueConstraint("slot_id", "version"),
    Index(None, "fingerprint"),
    sqlite_autoincrement=True,
)

# `state` as in fleet.rotation.values.State; `back`: it is being undone. `wake_at`: when it is to be looked at; a worker
# claims it until `claimed_until`. `entered_at`: when it came into its state; `deadline_at`: when it gives up waiting.
# `left_since`, `right_since`: the version of each gateway's state that brought the present list of keys; `left_mark`,
# `right_mark`: that, or the later one that brought an order to prove it.
rotations: Final = Table(
    "rotations",
    metadata,
    key(),
    _reference("slot_id", "secret_slots.id"),
    text("state"),
    whole("back"),
    text("method"),
    text("reason"),
    Column("from_version", BigInteger, nullable=True),
    Column("to_version", BigInteger, nullable=True),
    when("created_at"),
    text("created_by"),
    when("entered_at"),
    when("deadline_at", null=True),
    when("wake_at", null=True),
    text("claimed_by", null=True),
    when("claimed_until", null=True),
    whole("tries"),
    when("confirmed_at", null=True),
    Column("left_mark", BigInteger, nullable=True),
    Column("right_mark", BigInteger, nullable=True),
    Column("left_since", BigInteger, nullable=True),
    Column("right_since", BigInteger, nullable=True),
    text("error_code", null=True),
    text("error", null=True),
    text("next_step", null=True),
    when("ended_at", null=True),
    Index(None, "wake_at"),
    Index(None, "slot_id", "id"),
    Index(None, "state"),
    sqlite_autoincrement=True,
)

# What each end last said of a slot. `authenticated`: the latest fresh IKE_AUTH, with the version it was proven by.
secret_reports: Final = Table(
    "secret_reports",
    metadata,
    _reference("slot_id", "secret_slots.id"),
    text("side"),
    _reference("gateway_id", "gateways.id"),
    _document("versions"),
    _document("held"),
    _document("foreign"),
    _document("authenticated", null=True),
    _document("abilities", null=True),
    text("error_code", null=True),
    text("error", null=True),
    when("reported_at"),
    PrimaryKeyConstraint("slot_id", "side"),
    Index(None, "gateway_id"),
)

# A one-time handing over of a secret to whoever runs an outside peer. Of the link only a digest is kept.
handovers: Final = Table(
    "handovers",
    metadata,
    key(),
    _reference("secret_id", "secrets.id"),
    text("digest"),
    when("expires_at"),
    when("created_at"),
    text("created_by"),
    when("used_at", null=True),
    text("used_from", null=True),
    UniqueConstraint("digest"),
    Index(None, "secret_id"),
    sqlite_autoincrement=True,
)
