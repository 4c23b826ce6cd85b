"""All records as files, and back: one moment of them, while others write."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, inspect, text

from core.errors import Conflict
from store import unit  # noqa: F401 - knows all tables
from store.columns import metadata
from store.engine import open_for_migration, open_store, parse_url
from store.errors import StoreDamaged
from store.limits import Limits
from store.schema import VERSIONS, check_schema, lock_schema, upgrade

SQLITE_FILE: Final = "records.db"
_COUNTERS: Final = "counters.json"
_PATIENCE: Final = Limits(
    busy=timedelta(minutes=5), statement=timedelta(hours=6), idle=timedelta(hours=6)
)
_PIECE: Final = 1 << 20


class DatabaseNotEmpty(Conflict):
    """There are tables in the database already."""

    code = "database_not_empty"
    next_step = "Name an empty database, or drop what is in this one if nobody needs it."


def copy_out(url: str, directory: Path) -> str:
    """Copy the records into files in `directory`, which is empty and private; tell the version of their tables.

    SQLite gives one database file, PostgreSQL a file per table in the text format of COPY. Raises SchemaOutdated,
    SchemaTooNew, what `Store.read` raises, and OSError.
    """
    store = open_store(url, pool_size=1, limits=_PATIENCE)
    try:
        check_schema(store)
        with store.read() as connection:
            if store.dialect == "sqlite":
                _copy_sqlite(connection, directory / SQLITE_FILE)
            else:
                _copy_tables(connection, directory)
    finally:
        store.close()
    return VERSIONS[-1]


def copy_in(url: str, directory: Path, finish: Callable[[Connection], None]) -> None:
    """Fill an empty PostgreSQL database with what `copy_out` gave, and call `finish`: all in one transaction.

    Raises DatabaseNotEmpty, also for whoever comes second, and what `Store.write` raises.
    """
    store = open_for_migration(url, _PATIENCE)
    try:
        with store.write() as connection:
            lock_schema(connection)
            if inspect(connection).get_table_names():
                raise DatabaseNotEmpty("There are tables in the database already.")
            upgrade(connection)
            _fill_tables(connection, directory)
            finish(connection)
    finally:
        store.close()


def dialect_of(url: str) -> str:
    """`sqlite` or `postgresql`. Raises StoreUnreachable."""
    return parse_url(url).get_backend_name()


def check_file(path: Path) -> None:
    """Raise StoreDamaged where a SQLite file is no sound database."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        said = str(error)
    if said != "ok":
        raise StoreDamaged(f"The copy of the records is damaged: {said}.")


def _copy_sqlite(connection: Connection, target: Path) -> None:
    # All pages in one step: nobody's commit can make it begin again, and in WAL mode nobody waits for it.
    with closing(sqlite3.connect(target)) as copy:
        _driver(connection).backup(copy)


def _copy_tables(connection: Connection, directory: Path) -> None:
    counters = {}
    cursor = _driver(connection).cursor()
    for table in metadata.sorted_tables:
        columns = _columns(table)
        with (directory / table.name).open("wb") as file:
            with cursor.copy(f"COPY {_quoted(table.name)} ({columns}) TO STDOUT") as rows:
                for piece in rows:
                    file.write(piece)
        key = table.autoincrement_column
        if key is not None:
            # Not of the snapshot: a number that a transaction took since is not given again.
            last = connection.execute(_LAST, {"t": table.name, "c": key.name}).scalar()
            if last is not None:
                counters[table.name] = [key.name, last]
    (directory / _COUNTERS).write_text(json.dumps(counters))


_LAST: Final = text("SELECT pg_sequence_last_value(pg_get_serial_sequence(:t, :c)::regclass)")


def _fill_tables(connection: Connection, directory: Path) -> None:
    cursor = _driver(connection).cursor()
    for table in metadata.sorted_tables:
        columns = _columns(table)
        with (directory / table.name).open("rb") as file:
            with cursor.copy(f"COPY {_quoted(table.name)} ({columns}) FROM STDIN") as rows:
                while piece := file.read(_PIECE):
                    rows.write(piece)
    setting = text("SELECT setval(pg_get_serial_sequence(:t, :c), :n)")
    for name, (column, last) in json.loads((directory / _COUNTERS).read_text()).items():
        connection.execute(setting, {"t": name, "c": column, "n": last})


def _columns(table: Any) -> str:
    return ", ".join(_quoted(column.name) for column in table.columns)


def _quoted(name: str) -> str:
    return f'"{name}"'


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection
