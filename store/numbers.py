"""Numbers that were given out and must never mean something else, also after an older copy of the records is in use."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, case, literal, update

from store.fleet_tables import gateways
from store.tables import crl_numbers

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def go_on(connection: Connection, skipped: int, now: datetime) -> None:
    """Have the numbers of revocation lists and of gateways' desired states go on where none was given before.

    They go on by `skipped` at least, and at the milliseconds since 1970 at least. Nobody knows what was given since the
    copy was made, and one copy may be put back more than once: then the lost numbers of the last time are above what
    `skipped` leads to. None of these numbers is ever given once a millisecond, so those of later begin above all.
    """
    least = (now - _EPOCH) // _MILLISECOND
    lists, states = crl_numbers.c.number, gateways.c.version
    connection.execute(update(crl_numbers).values(number=_further(lists, skipped, least)))
    connection.execute(
        update(gateways).values(version=_further(states, skipped, least), changed_at=now)
    )


def _further(number: Column[int], skipped: int, least: int) -> Any:
    return case((number + skipped > least, number + skipped), else_=literal(least))
