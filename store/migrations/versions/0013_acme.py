"""ACME: accounts, orders, authorizations, challenges, and nonces that were used."""

from store.migration_columns import (
    blob,
    foreign,
    index,
    json,
    keyed,
    numbered,
    reference,
    text,
    time,
    unique,
    whole,
)

revision = "0013"
down_revision: str | None = "0012"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    keyed("acme_nonces", ["nonce"], text("nonce"), time("expires_at"))
    index("acme_nonces", "expires_at")
    numbered(
        "acme_accounts",
        text("endpoint"),
        text("thumbprint"),
        json("jwk"),
        text("state"),
        json("contacts"),
        text("token_id", null=True),
        time("created_at"),
        unique("acme_accounts", "endpoint", "thumbprint"),
    )
    index("acme_accounts", "token_id")
    numbered(
        "acme_orders",
        reference("account_id"),
        text("identifiers"),
        text("state"),
        json("error", null=True),
        blob("csr", null=True),
        time("claimed_until", null=True),
        text("authority", null=True),
        text("serial", null=True),
        text("replaces", null=True),
        time("created_at"),
        time("expires_at"),
        foreign("acme_orders", "account_id", "acme_accounts"),
    )
    index("acme_orders", "account_id")
    index("acme_orders", "serial")
    index("acme_orders", "replaces")
    index("acme_orders", "expires_at")
    numbered(
        "acme_authorizations",
        reference("order_id"),
        reference("account_id"),
        text("identifier"),
        text("state"),
        time("expires_at"),
        foreign("acme_authorizations", "order_id", "acme_orders"),
        foreign("acme_authorizations", "account_id", "acme_accounts"),
    )
    index("acme_authorizations", "order_id")
    index("acme_authorizations", "account_id", "identifier")
    numbered(
        "acme_challenges",
        reference("authorization_id"),
        text("kind"),
        text("token"),
        text("state"),
        whole("attempts"),
        time("due_at", null=True),
        text("lease_owner", null=True),
        time("lease_until", null=True),
        json("error", null=True),
        time("validated_at", null=True),
        foreign("acme_challenges", "authorization_id", "acme_authorizations"),
    )
    index("acme_challenges", "authorization_id")
    index("acme_challenges", "state", "due_at")
