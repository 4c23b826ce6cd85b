"""How many certificates one person has ended by himself within an hour, counted so that none slips by."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, insert, select

from pki.guarded import person
from store import turns
from store.approval_tables import revocation_acts
from store.engine import Unit

SPAN = timedelta(hours=1)


def hold(unit: Unit, name: str) -> None:
    """Let others who end certificates in this person's name wait until the transaction is over (`turns.hold`)."""
    turns.hold(unit.connection, "revocations of " + person(name))


def count(unit: Unit, name: str, now: datetime) -> int:
    """How many the person has ended in the hour before, also in this transaction. Exact while `hold` holds."""
    acts = revocation_acts.c
    query = select(func.count()).where(acts.person == person(name), acts.at > now - SPAN)
    return int(unit.connection.execute(query).scalar_one())


def add(unit: Unit, name: str, certificates: Iterable[int], now: datetime) -> None:
    """Count these certificates (ids) too. At once and not with the others of the batch, which must see them."""
    rows = [{"person": person(name), "at": now, "certificate_id": each} for each in certificates]
    if rows:
        unit.connection.execute(insert(revocation_acts), rows)


def forget(connection: Connection, now: datetime) -> int:
    """Remove what is not counted any more; tell how many."""
    gone = connection.execute(delete(revocation_acts).where(revocation_acts.c.at <= now - SPAN))
    return gone.rowcount
