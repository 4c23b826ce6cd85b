"""The tables of the tree over the audit log. Rows of `audit_events` are never changed for it."""

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, PrimaryKeyConstraint, Table, UniqueConstraint

from store.columns import der, metadata, text, when, whole
from store.types import BigKey

# Who signs the heads. A log's name and key never change; a new number is a new log over the same leaves, begun because
# rows of the one before were lost (pki/sequencing.py).
audit_logs: Final = Table(
    "audit_logs",
    metadata,
    Column("number", BigKey, primary_key=True, autoincrement=False),
    text("origin"),
    text("key_uri"),
    text("verifier_key"),
    when("created_at"),
    text("created_by"),
    UniqueConstraint("origin"),
)

# Positions count from 0 without a gap. No foreign key to the event: on PostgreSQL it would lock each event's row.
audit_leaves: Final = Table(
    "audit_leaves",
    metadata,
    Column("position", BigKey, primary_key=True, autoincrement=False),
    Column("event_id", BigInteger, nullable=False),
    der("hash"),
    UniqueConstraint("event_id"),
)

# Roots of complete subtrees of 256^level leaves; those of one leaf are in `audit_leaves`.
audit_nodes: Final = Table(
    "audit_nodes",
    metadata,
    whole("level"),
    Column("number", BigInteger, nullable=False),
    der("hash"),
    PrimaryKeyConstraint("level", "number"),
)

# Ids of events below the highest in the tree that had no row when it was read: rolled back, or not committed yet.
audit_gaps: Final = Table(
    "audit_gaps",
    metadata,
    Column("first", BigKey, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
    when("quiet_since"),
)

# The newest head of each log, and the last one of each day before.
audit_heads: Final = Table(
    "audit_heads",
    metadata,
    Column("log", BigKey, ForeignKey("audit_logs.number"), nullable=False),
    Column("size", BigInteger, nullable=False),
    der("root"),
    text("note"),
    when("signed_at"),
    PrimaryKeyConstraint("log", "size"),
)
