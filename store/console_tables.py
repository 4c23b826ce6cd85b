"""The tables of the console: who is signed in, and whose tries failed."""

from typing import Final

from sqlalchemy import JSON, Column, Index, Table, UniqueConstraint

from store.columns import key, metadata, text, when

# `hash` is the SHA-256 of what the cookie holds, `way` how the person proved himself ("token", "certificate", "oidc").
# `credential` is looked up anew with every request; `role` and `scope` are only of who came through OpenID Connect.
sessions: Final = Table(
    "sessions",
    metadata,
    key(),
    text("hash"),
    text("way"),
    text("credential"),
    text("name"),
    text("role", null=True),
    Column("scope", JSON, nullable=True),
    text("client"),
    when("created_at"),
    when("seen_at"),
    when("expires_at"),
    UniqueConstraint("hash"),
    Index(None, "expires_at"),
    sqlite_autoincrement=True,
)

# `source`: an IPv4 address, or the /64 of an IPv6 one.
failed_sign_ins: Final = Table(
    "failed_sign_ins",
    metadata,
    key(),
    text("source"),
    when("at"),
    Index(None, "source", "at"),
    Index(None, "at"),
    sqlite_autoincrement=True,
)
