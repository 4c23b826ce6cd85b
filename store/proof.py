"""Whether the records can be written: what the last writes of this process showed, and a small one to see."""

import secrets
from datetime import datetime
from typing import Final

from sqlalchemy import insert, select, update

from core.errors import IkewardenError
from store.engine import Store
from store.errors import Duplicate
from store.tables import job_runs, leases

_NAME: Final = "proof of writing"
# As much as an issued certificate with its audit rows: less still finds room in a file that has none for that.
_BYTES: Final = 16_384


def last_write(store: Store) -> datetime | None:
    """When a job was last put on record as begun, by any process; None where none ever was. Raises as `Store.read`."""
    query = select(job_runs.c.started_at).order_by(job_runs.c.id.desc()).limit(1)
    with store.read() as connection:
        return connection.scalar(query)


def refused(store: Store) -> IkewardenError | None:
    """Why the last write of this process was refused, if it was: full, unreachable, damaged."""
    return store.refused


def prove(store: Store, now: datetime) -> None:
    """Write one row and commit it: what is rolled back need not reach a disk. Raises as `Store.write` does."""
    # New each time: a database may leave out what is the same as before.
    filling = secrets.token_hex(_BYTES)
    try:
        with store.write() as connection:
            changed = connection.execute(
                update(leases).where(leases.c.name == _NAME).values(until=now, owner=filling)
            )
            if not changed.rowcount:
                row = {"name": _NAME, "owner": filling, "until": now, "fence": 0}
                connection.execute(insert(leases).values(**row))
    except Duplicate:
        return  # another process wrote it first, at this moment
