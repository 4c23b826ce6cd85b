"""The table of CMP (RFC 9810): transactions in which certificates were asked for."""

from typing import Final

from sqlalchemy import Index, Table

from store.columns import der, metadata, text, when, whole

# `name` tells endpoint, sender and transactionID; `request_sha256` what the transaction began with. `state` as in
# pki.cmp_transactions. `csr` is there while a person has to approve it, `authority` and `serial` from the moment on at
# which it is on record that the certificate will be signed. `expires_at`: until when the client confirms it.
cmp_transactions: Final = Table(
    "cmp_transactions",
    metadata,
    text("name", primary_key=True),
    text("request_sha256"),
    text("state"),
    text("kind"),
    whole("number"),
    der("csr", null=True),
    text("authority", null=True),
    text("serial", null=True),
    when("expires_at"),
    Index(None, "state", "expires_at"),
    Index(None, "serial"),
)
