"""The tables of the two-person rule: who asked for what, who decided, and what one person has ended by himself."""

from typing import Final

from sqlalchemy import JSON, BigInteger, Column, Index, Table

from store.columns import key, metadata, text, when

# `sha256` is over the canonical form of act and parameters (pki/guarded.py); the parameters are kept to be looked at.
# `person` is the asker's name as names are compared. `decided_by` and what goes with it are those of the last decision.
approvals: Final = Table(
    "approvals",
    metadata,
    key(),
    text("act"),
    text("sha256"),
    Column("parameters", JSON, nullable=False),
    text("state"),
    text("asked_by"),
    text("person"),
    text("role"),
    text("credential"),
    when("asked_at"),
    when("expires_at"),
    text("decided_by", null=True),
    text("decided_credential", null=True),
    when("decided_at", null=True),
    text("reason", null=True),
    when("ended_at", null=True),
    Index(None, "state", "expires_at"),
    Index(None, "credential", "sha256"),
    sqlite_autoincrement=True,
)

# What a person has revoked or put on hold without an approval, kept for as long as it is counted.
revocation_acts: Final = Table(
    "revocation_acts",
    metadata,
    key(),
    text("person"),
    when("at"),
    Column("certificate_id", BigInteger, nullable=False),
    Index(None, "person", "at"),
    sqlite_autoincrement=True,
)
