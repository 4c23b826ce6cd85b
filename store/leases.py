"""Leases: who of several processes may do a thing, until when.

The fence is the number of the holder's turn. It rises whenever a lease begins anew, so whoever is
handed a fence can tell an old holder, who does not know yet that its time is over, from the
present one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, insert, select, update

from store.engine import Store
from store.errors import Duplicate
from store.tables import leases

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
# No lease is longer.
_LONGEST: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Lease:
    """A lease that was held when it was given out."""

    name: str
    owner: str
    until: datetime
    fence: int


def take(store: Store, name: str, owner: str, ttl: timedelta, now: datetime) -> Lease | None:
    """The lease until `now + ttl`, or None while somebody else holds it.

    Its present holder gets it prolonged, with the same fence; anyone gets it once it has ended.
    """
    taken = Lease(name, owner, now + ttl, 1)
    try:
        with store.write() as connection:
            held = connection.execute(
                select(leases).where(leases.c.name == name).with_for_update()
            ).one_or_none()
            if held is None:
                connection.execute(insert(leases).values(**taken.__dict__))
                return taken
            live = held.until > now
            if live and held.owner != owner:
                return None
            taken = replace(taken, fence=held.fence if live else held.fence + 1)
            connection.execute(
                update(leases)
                .where(leases.c.name == name)
                .values(owner=owner, until=taken.until, fence=taken.fence)
            )
            return taken
    except Duplicate:
        return None  # somebody else was the first ever to take it, a moment ago


def renew(store: Store, lease: Lease, ttl: timedelta, now: datetime) -> Lease | None:
    """The lease prolonged until `now + ttl`, or None where somebody else has had it since."""
    renewed = replace(lease, until=now + ttl)
    with store.write() as connection:
        changed = connection.execute(
            update(leases).where(_still(lease)).values(until=renewed.until)
        )
    return renewed if changed.rowcount else None


def release(store: Store, lease: Lease) -> None:
    """Let anyone take the lease at once; nothing where somebody else has had it since."""
    with store.write() as connection:
        connection.execute(update(leases).where(_still(lease)).values(owner="", until=_LONG_AGO))


def release_of(store: Store, is_dead: Callable[[str], bool]) -> int:
    """Let anyone take what is held by those of whom `is_dead` says so; tells how many leases that were."""
    with store.read() as connection:
        held = connection.execute(select(leases).where(leases.c.owner != "")).all()
    gone = [Lease(row.name, row.owner, row.until, row.fence) for row in held if is_dead(row.owner)]
    for lease in gone:
        release(store, lease)
    return len(gone)


def put_right(store: Store, now: datetime) -> int:
    """End the leases that were taken by a clock that was far ahead and is right again; tells how many these were."""
    wrong = leases.c.until > now + _LONGEST
    with store.read() as connection:
        if connection.execute(select(leases.c.name).where(wrong).limit(1)).first() is None:
            return 0
    with store.write() as connection:
        return connection.execute(update(leases).where(wrong).values(until=now)).rowcount


def _still(lease: Lease) -> ColumnElement[bool]:
    return and_(
        leases.c.name == lease.name,
        leases.c.owner == lease.owner,
        leases.c.fence == lease.fence,
    )
