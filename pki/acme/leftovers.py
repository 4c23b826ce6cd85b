"""Forgetting what nobody needs any more: used nonces, and orders that came to nothing."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, select

from pki.acme import nonces
from store.acme_tables import acme_authorizations, acme_challenges, acme_orders

# Behind their end: a client may still look why.
_KEPT: Final = timedelta(days=7)
_CHUNK: Final = 500


def forget(connection: Connection, now: datetime) -> int:
    """Forget some; tell how many rows that were. Orders with a certificate stay: they tell who may revoke it."""
    removed = nonces.forget(connection, now)
    over = select(acme_orders.c.id).where(
        acme_orders.c.expires_at < now - _KEPT, acme_orders.c.serial.is_(None)
    )
    numbers = list(connection.scalars(over.limit(_CHUNK)))
    if not numbers:
        return removed
    theirs = acme_authorizations.c.order_id.in_(numbers)
    held = list(connection.scalars(select(acme_authorizations.c.id).where(theirs)))
    for gone in (
        delete(acme_challenges).where(acme_challenges.c.authorization_id.in_(held)),
        delete(acme_authorizations).where(theirs),
        delete(acme_orders).where(acme_orders.c.id.in_(numbers)),
    ):
        removed += connection.execute(gone).rowcount
    return removed
