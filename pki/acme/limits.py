"""How much an hour may bring: new accounts of an endpoint, orders and failed proofs of an account (RFC 8555 §6.6).

Who registers, and who orders, is counted one after the other.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Executable, func, select

from pki.acme.refusals import LimitReached
from pki.acme.states import State
from pki.endpoints import AcmeDoor
from store import turns
from store.acme_tables import acme_accounts, acme_authorizations, acme_challenges, acme_orders

_HOUR: Final = timedelta(hours=1)


def check_accounts(connection: Connection, endpoint: str, door: AcmeDoor, now: datetime) -> None:
    """Make sure that one more account may be registered in this transaction. Raises LimitReached."""
    turns.hold(connection, f"acme accounts of {endpoint}")
    recent = select(func.count(), func.min(acme_accounts.c.created_at)).where(
        acme_accounts.c.endpoint == endpoint, acme_accounts.c.created_at > now - _HOUR
    )
    words = "Too many accounts were registered here within an hour."
    _check(connection, recent, door.accounts_per_hour, words, now)


def check_orders(connection: Connection, account: int, door: AcmeDoor, now: datetime) -> None:
    """Make sure that an account may order once more in this transaction; no other order of it is made meanwhile.

    Raises LimitReached.
    """
    turns.hold(connection, f"acme orders of {account}")
    recent = select(func.count(), func.min(acme_orders.c.created_at)).where(
        acme_orders.c.account_id == account, acme_orders.c.created_at > now - _HOUR
    )
    words = "This account ordered too much within an hour."
    _check(connection, recent, door.orders_per_hour, words, now)


def check_failures(connection: Connection, account: int, door: AcmeDoor, now: datetime) -> None:
    """Make sure that not too many proofs of an account failed to look for another one. Raises LimitReached."""
    words = "Too many proofs of this account failed within an hour."
    _check(connection, _failures(account, now), door.failures_per_hour, words, now)


def is_spent(connection: Connection, account: int, door: AcmeDoor, now: datetime) -> bool:
    """Whether too many proofs of an account failed to look for those that it asked for before they did."""
    return int(connection.execute(_failures(account, now)).one()[0]) >= door.failures_per_hour


def _failures(account: int, now: datetime) -> Executable:
    return (
        select(func.count(), func.min(acme_challenges.c.validated_at))
        .join_from(acme_challenges, acme_authorizations)
        .where(
            acme_authorizations.c.account_id == account,
            acme_challenges.c.state == State.INVALID,
            acme_challenges.c.validated_at > now - _HOUR,
        )
    )


def _check(
    connection: Connection, counted: Executable, most: int, words: str, now: datetime
) -> None:
    number, oldest = connection.execute(counted).one()
    if number >= most:
        seconds = max(1, int((oldest + _HOUR - now).total_seconds()) + 1)
        raise LimitReached(words, details={"retry_after": seconds})
