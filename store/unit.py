"""One piece of work inside a transaction that it may share with others."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final, final

from sqlalchemy import Connection, Insert, Table

from store.tables import metadata

# Parents before children, so that foreign keys hold whatever order the works asked in.
_ORDER: Final = {table: place for place, table in enumerate(metadata.sorted_tables)}


@final
class Unit:
    """What a work gets: a connection to read and update with, and inserts made at the end."""

    __slots__ = ("connection", "rows")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.rows: list[tuple[Table, Mapping[str, Any]]] = []

    def insert(self, table: Table, row: Mapping[str, Any]) -> None:
        """Insert the row just before the commit, in one statement with the rows of the other works.

        Until then no query sees it. A row that the database refuses makes the work fail with the
        error that the insert raised.
        """
        self.rows.append((table, row))


@cache
def _statement(table: Table) -> Insert:
    # inline: nobody asks for the new key, so PostgreSQL need not return it.
    return table.insert().inline()


def insert(target: Unit | Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Insert a row: at the end of the transaction for a unit, at once for a connection."""
    if isinstance(target, Unit):
        target.insert(table, row)
    else:
        target.execute(_statement(table), dict(row))


def flush(connection: Connection, units: Iterable[Unit]) -> None:
    """Make the deferred inserts of the units, one statement for each table and set of columns."""
    grouped: defaultdict[tuple[Table, tuple[str, ...]], list[Mapping[str, Any]]] = defaultdict(list)
    for unit in units:
        for table, row in unit.rows:
            grouped[table, tuple(sorted(row))].append(row)
    for table, columns in sorted(grouped, key=lambda group: _ORDER.get(group[0], len(_ORDER))):
        connection.execute(_statement(table), grouped[table, columns])
