"""Forgetting what nobody needs any more: used nonces, and orders that came to nothing."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, exists, or_, select

from pki.acme import nonces
from store.acme_tables import acme_authorizations, acme_challenges, acme_orders
from store.tables import authorities, certificates

# Behind their end: a client may still look why.
_KEPT: Final = timedelta(days=7)
_CHUNK: Final = 500


def forget(connection: Connection, now: datetime) -> int:
    """Forget some; tell how many rows that were. Orders with a certificate stay: they tell who may revoke it."""
    removed = nonces.forget(connection, now)
    given_up = exists().where(
        certificates.c.serial == acme_orders.c.serial,
        certificates.c.authority_id == authorities.c.id,
        authorities.c.name == acme_orders.c.authority,
        certificates.c.status == "abandoned",
    )
    nothing = or_(acme_orders.c.serial.is_(None), given_up)
    over = select(acme_orders.c.id).where(acme_orders.c.expires_at < now - _KEPT, nothing)
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
