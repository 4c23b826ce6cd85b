"""Nonces (RFC 8555 §6.5): each says itself when it was given out, and that it was given out here; used ones are on
record until they would have ended anyway.

Every worker and replica knows the key, so none refuses what another one gave out.
"""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete

from pki.acme.jws import encoded, plain
from pki.acme.refusals import NonceRefused, RequestMalformed
from pki.desk import Desk
from store.acme_tables import acme_nonces
from store.engine import Unit
from store.errors import Duplicate

_PURPOSE: Final = "acme nonces"
LIFETIME: Final = timedelta(hours=1)
# The clocks of replicas may differ by less.
_SKEW: Final = timedelta(minutes=5)
_TIME, _RANDOM, _MAC = 8, 12, 16


def new(desk: Desk, *, now: datetime) -> str:
    """A nonce that was never given out before."""
    told = int(now.timestamp() * 1000).to_bytes(_TIME, "big") + desk.entropy(_RANDOM)
    return encoded(told + _mac(desk, told))


def check(desk: Desk, nonce: object, *, now: datetime) -> str:
    """Make sure that a nonce was given out here, not long ago. Whether it was used, `use` finds out.

    Raises NonceRefused.
    """
    refused = NonceRefused("This nonce is not good any more.")
    if not isinstance(nonce, str):
        raise refused
    try:
        octets = plain(nonce)
    except RequestMalformed:
        raise refused from None
    told, mac = octets[:-_MAC], octets[-_MAC:]
    if len(octets) != _TIME + _RANDOM + _MAC or not hmac.compare_digest(mac, _mac(desk, told)):
        raise refused
    given = datetime.fromtimestamp(int.from_bytes(told[:_TIME], "big") / 1000, UTC)
    if not now - LIFETIME < given < now + _SKEW:
        raise refused
    return nonce


def use(desk: Desk, nonce: str, *, now: datetime) -> None:
    """Use a nonce that was checked: once, whoever else tries at this moment. Raises NonceRefused."""
    row = {"nonce": nonce, "expires_at": now + LIFETIME + _SKEW}

    def work(unit: Unit) -> None:
        unit.insert(acme_nonces, row)

    try:
        desk.store.together(work)
    except Duplicate:
        raise NonceRefused("This nonce was used.") from None


def forget(connection: Connection, now: datetime) -> int:
    """Forget used ones that have ended; tell how many."""
    return connection.execute(delete(acme_nonces).where(acme_nonces.c.expires_at < now)).rowcount


def _mac(desk: Desk, told: bytes) -> bytes:
    key = desk.derive(_PURPOSE).reveal()
    return hmac.new(key, told, hashlib.sha256).digest()[:_MAC]
