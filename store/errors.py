"""What can go wrong with the records, in our own words.

`StoreBusy`, `StoreFull`, `StoreUnreachable` and `StoreDamaged` mean that the transaction did not
happen, with one exception that no client of a database can rule out: when the connection breaks
while COMMIT is under way, it may have happened. Whoever tries again must therefore be able to
notice its own earlier success.
"""

from core.errors import Conflict, Unavailable


class StoreBusy(Unavailable):
    """Another transaction held what this one needs for longer than the limit."""

    code = "store_busy"


class StoreDeadlock(StoreBusy):
    """PostgreSQL ended this transaction, because it and others waited for each other. Begun anew, it goes through."""


class StoreFull(Unavailable):
    """There is no room left for the records."""

    code = "store_full"
    next_step = "Make room on the database's disk, then try again."


class StoreUnreachable(Unavailable):
    """The database does not answer or cannot be opened."""

    code = "store_unreachable"
    next_step = "Check that the database runs and that this service may connect to it."


class StoreDamaged(Unavailable):
    """The database file is not a sound database."""

    code = "store_damaged"
    next_step = "Stop the service, keep a copy of the file, and restore the last backup."


class StoreExposed(Unavailable):
    """Other users of this machine could read or change the database file."""

    code = "store_exposed"
    next_step = "Take the rights of others away: chmod go-rwx FILE, and go-w for its directory."


class SchemaOutdated(Unavailable):
    """The database has not been migrated to the version that this program needs."""

    code = "schema_outdated"
    next_step = "Back up the database, run `ikewarden migrate`, and start again."


class SchemaTooNew(Unavailable):
    """The database was migrated by a newer version of this program."""

    code = "schema_too_new"
    next_step = "Run the version of the program that migrated the database, or a newer one."


class Duplicate(Conflict):
    """A record with the same unique value is there already.

    `constraint` is the name in `store.tables` of the unique constraint or primary key that refused
    it, the same on both databases; empty where the database did not say.
    """

    code = "duplicate"

    def __init__(self, message: str, *, constraint: str = "") -> None:
        super().__init__(message)
        self.constraint = constraint


class BrokenReference(Conflict):
    """The record refers to one that does not exist, or is referred to by another."""

    code = "broken_reference"
