"""The tables of ACME (RFC 8555): accounts, orders, authorizations, challenges, and nonces that were used."""

from typing import Final

from sqlalchemy import JSON, Column, ForeignKey, Index, Table, UniqueConstraint

from store.columns import der, key, metadata, text, when, whole
from store.types import BigKey


def _of(table: str, name: str) -> Column[int]:
    return Column(name, BigKey, ForeignKey(f"{table}.id"), nullable=False, autoincrement=False)


def _document(name: str, *, null: bool = False) -> Column[object]:
    return Column(name, JSON(none_as_null=True), nullable=null)


acme_nonces: Final = Table(
    "acme_nonces",
    metadata,
    text("nonce", primary_key=True),
    when("expires_at"),
    Index(None, "expires_at"),
)

# `token_id`: the enroller's token that it was bound with; what that may ask for, the account may.
acme_accounts: Final = Table(
    "acme_accounts",
    metadata,
    key(),
    text("endpoint"),
    text("thumbprint"),
    _document("jwk"),
    text("state"),
    _document("contacts"),
    text("token_id", null=True),
    when("created_at"),
    UniqueConstraint("endpoint", "thumbprint"),
    Index(None, "token_id"),
    sqlite_autoincrement=True,
)

# `state` as in pki.acme.states. `csr` is there from finalizing on; until `claimed_until` somebody is at it. `authority`
# and `serial` name the certificate from the moment on at which it is on record that it will be signed.
acme_orders: Final = Table(
    "acme_orders",
    metadata,
    key(),
    _of("acme_accounts", "account_id"),
    text("identifiers"),
    text("state"),
    _document("error", null=True),
    der("csr", null=True),
    when("claimed_until", null=True),
    text("authority", null=True),
    text("serial", null=True),
    text("replaces", null=True),
    when("created_at"),
    when("expires_at"),
    Index(None, "account_id"),
    Index(None, "serial"),
    Index(None, "replaces"),
    Index(None, "expires_at"),
    sqlite_autoincrement=True,
)

acme_authorizations: Final = Table(
    "acme_authorizations",
    metadata,
    key(),
    _of("acme_orders", "order_id"),
    _of("acme_accounts", "account_id"),
    text("identifier"),
    text("state"),
    when("expires_at"),
    Index(None, "order_id"),
    Index(None, "account_id", "identifier"),
    sqlite_autoincrement=True,
)

# `due_at`: when it is to be looked at next; `lease_until`: until when `lease_owner` does.
acme_challenges: Final = Table(
    "acme_challenges",
    metadata,
    key(),
    _of("acme_authorizations", "authorization_id"),
    text("kind"),
    text("token"),
    text("state"),
    whole("attempts"),
    when("due_at", null=True),
    text("lease_owner", null=True),
    when("lease_until", null=True),
    _document("error", null=True),
    when("validated_at", null=True),
    Index(None, "authorization_id"),
    Index(None, "state", "due_at"),
    sqlite_autoincrement=True,
)
