"""The one place where errors of the database drivers become ours."""

import re
import sqlite3
from functools import cache
from typing import Final

from sqlalchemy import PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy.exc import DBAPIError

from core.errors import IkewardenError
from store.columns import metadata
from store.errors import (
    BrokenReference,
    Duplicate,
    StoreBusy,
    StoreDamaged,
    StoreDeadlock,
    StoreFull,
    StoreUnreachable,
)

_BUSY: Final = "The database was busy for too long."
_FULL: Final = "There is no room left for the records."
_UNREACHABLE: Final = "The database does not answer."
_DAMAGED: Final = "The database file is damaged."
_DUPLICATE: Final = "A record with this identity exists already."
_BROKEN: Final = "The record refers to one that does not exist."

_UNIQUE_FAILED: Final = re.compile(r"UNIQUE constraint failed: (.+)")


def translate(error: BaseException) -> IkewardenError | None:
    """Our error for a driver's or SQLAlchemy's; None where no caller could act on it."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return _from_sqlite(cause)
    if cause is not None and type(cause).__module__.partition(".")[0] == "psycopg":
        return _from_postgresql(cause)
    return None


def _from_sqlite(error: sqlite3.Error) -> IkewardenError | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    found: IkewardenError | None
    match code & 0xFF:  # https://www.sqlite.org/rescode.html: the primary code is the low byte
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
            found = StoreBusy(_BUSY)
        case sqlite3.SQLITE_FULL:
            found = StoreFull(_FULL)
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            found = StoreDamaged(_DAMAGED)
        case (
            sqlite3.SQLITE_IOERR
            | sqlite3.SQLITE_CANTOPEN
            | sqlite3.SQLITE_READONLY
            | sqlite3.SQLITE_PERM
        ):
            found = StoreUnreachable("The database file cannot be opened, read or written.")
        case sqlite3.SQLITE_CONSTRAINT:
            found = _from_sqlite_constraint(code, str(error))
        case _:
            found = None
    return found


def _from_sqlite_constraint(code: int, text: str) -> IkewardenError | None:
    if code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
        return BrokenReference(_BROKEN)
    unique = _UNIQUE_FAILED.match(text)
    if unique is None:
        return None
    return Duplicate(_DUPLICATE, constraint=_unique_constraints().get(unique[1], ""))


@cache
def _unique_constraints() -> dict[str, str]:
    """Names of unique constraints and primary keys by the column list in SQLite's message."""
    return {
        ", ".join(f"{table.name}.{column.name}" for column in constraint.columns): str(
            constraint.name
        )
        for table in metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint | PrimaryKeyConstraint)
    }


def _from_postgresql(error: BaseException) -> IkewardenError | None:
    state = getattr(error, "sqlstate", None)
    if state is None:
        # psycopg gives no SQLSTATE where the server never answered.
        unanswered = any(kind.__name__ == "OperationalError" for kind in type(error).__mro__)
        return StoreUnreachable(_UNREACHABLE) if unanswered else None
    found: IkewardenError | None
    # https://www.postgresql.org/docs/15/errcodes-appendix.html
    if state == "23505":  # unique_violation
        name = getattr(getattr(error, "diag", None), "constraint_name", None)
        found = Duplicate(_DUPLICATE, constraint=name or "")
    elif state == "23503":  # foreign_key_violation
        found = BrokenReference(_BROKEN)
    elif state == "53100":  # disk_full
        found = StoreFull(_FULL)
    elif state == "40P01":  # deadlock_detected
        found = StoreDeadlock(_BUSY)
    elif state in _BUSY_STATES:
        found = StoreBusy(_BUSY)
    elif state in _DAMAGED_STATES:
        found = StoreDamaged("The database's data is damaged.")
    elif state in _UNREACHABLE_STATES or state[:2] in {"08", "28", "58"}:
        found = StoreUnreachable(_UNREACHABLE)
    else:
        found = None
    return found


_BUSY_STATES: Final = frozenset(
    {
        "55P03",  # lock_not_available: lock_timeout
        "57014",  # query_canceled: statement_timeout
        "40001",  # serialization_failure
        "53200",  # out_of_memory
        "53300",  # too_many_connections
        "53400",  # configuration_limit_exceeded
    }
)
_DAMAGED_STATES: Final = frozenset({"XX001", "XX002"})  # data_corrupted, index_corrupted
_UNREACHABLE_STATES: Final = frozenset(
    {
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now
        "57P04",  # database_dropped
        "57P05",  # idle_session_timeout
        "25P03",  # idle_in_transaction_session_timeout
        "25006",  # read_only_sql_transaction: we were sent to a standby
        "3D000",  # invalid_catalog_name: no such database
    }
)
