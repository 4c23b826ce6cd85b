"""One piece of work inside a transaction that it may share with others."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, final

from sqlalchemy import Connection, Insert, Table, Update

from core.errors import IkewardenError
from store import (  # noqa: F401 - all tables must be known before they are sorted
    acme_tables,
    approval_tables,
    audit_tables,
    cmp_tables,
    console_tables,
    figures_tables,
    finding_tables,
    fleet_tables,
    monitoring_tables,
    rollover_tables,
    rotation_tables,
    search_tables,
    tables,
)
from store.columns import metadata

# Parents before children, so that foreign keys hold whatever order the works asked in.
_ORDER: Final = {table: place for place, table in enumerate(metadata.sorted_tables)}


@final
class Unit:
    """What a work gets: a connection to read and update with, and inserts made at the end."""

    __slots__ = ("changes", "connection", "rows")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.rows: list[tuple[Table, Mapping[str, Any]]] = []
        self.changes: list[tuple[Update, Mapping[str, Any], IkewardenError]] = []

    def insert(self, table: Table, row: Mapping[str, Any]) -> None:
        """Insert the row just before the commit, in one statement with the rows of the other works.

        Until then no query sees it. A row that the database refuses makes the work fail with the
        error that the insert raised.
        """
        self.rows.append((table, row))

    def change(
        self, statement: Update, values: Mapping[str, Any], *, otherwise: IkewardenError
    ) -> None:
        """Change exactly one row just before the commit, in one statement with the changes of the other works.

        `statement` is made once, with `bindparam`s for `values`, which can be compared and begin with what finds the
        row. If it finds no row, or several, the work fails with `otherwise`.
        """
        self.changes.append((statement, values, otherwise))


@cache
def _statement(table: Table) -> Insert:
    # inline: nobody asks for the new key, so PostgreSQL need not return it.
    return table.insert().inline()


def _change(connection: Connection, units: Sequence[Unit]) -> None:
    alike: defaultdict[Update, list[Mapping[str, Any]]] = defaultdict(list)
    errors: dict[Update, IkewardenError] = {}
    for unit in units:
        for statement, values, otherwise in unit.changes:
            alike[statement].append(values)
            errors[statement] = otherwise
    for statement, rows in alike.items():
        # In the same order in every process: on PostgreSQL two that lock the same rows crosswise wait for each other.
        rows.sort(key=lambda row: tuple(row.values()))
        if connection.execute(statement, rows).rowcount != len(rows):
            raise errors[statement]


def insert(target: Unit | Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Insert a row: at the end of the transaction for a unit, at once for a connection."""
    if isinstance(target, Unit):
        target.insert(table, row)
    else:
        target.execute(_statement(table), dict(row))


def flush(connection: Connection, units: Sequence[Unit]) -> None:
    """Make the deferred changes and inserts of the units: one statement for all that are alike.

    Raises the `otherwise` of a change when one of its kind did not find its row; whose it was is only known when
    there is but one unit.
    """
    _change(connection, units)
    grouped: defaultdict[tuple[Table, tuple[str, ...]], list[Mapping[str, Any]]] = defaultdict(list)
    for unit in units:
        for table, row in unit.rows:
            grouped[table, tuple(sorted(row))].append(row)
    for table, columns in sorted(grouped, key=lambda group: _ORDER.get(group[0], len(_ORDER))):
        connection.execute(_statement(table), grouped[table, columns])
