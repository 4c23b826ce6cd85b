"""Many rows in one statement: on PostgreSQL that costs a fraction of a statement for each row."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Column, Connection, Table, Text, bindparam, cast, column, func, select
from sqlalchemy.dialects import postgresql, sqlite

Rows = Sequence[Mapping[str, Any]]


def insert_all(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert rows that all have the same columns."""
    if rows:
        _run(connection, _insert(connection.dialect.name, table, tuple(rows[0])), rows)


def count_up(connection: Connection, table: Table, rows: Rows, counted: str) -> None:
    """Insert rows that all have the same columns; where one has the key of another, `counted` is added to that one's.

    No two of the rows have the same key.
    """
    if rows:
        _run(connection, _upsert(connection.dialect.name, table, tuple(rows[0]), counted), rows)


def _run(connection: Connection, statement: Any, rows: Rows) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(statement, {"rows": json.dumps(rows, default=datetime.isoformat)})
    else:
        connection.execute(statement, rows)


@cache
def _insert(dialect: str, table: Table, names: tuple[str, ...]) -> Any:
    if dialect == "sqlite":
        return sqlite.insert(table).inline()
    those: list[Column[Any]] = [table.c[name] for name in names]
    rows = (
        func.json_to_recordset(cast(bindparam("rows", type_=Text), postgresql.JSON))
        .table_valued(*(column(each.name, each.type) for each in those))
        .render_derived(name="given", with_types=True)
    )
    given = select(*(rows.c[name] for name in names))
    return postgresql.insert(table).from_select(list(names), given, include_defaults=False)


@cache
def _upsert(dialect: str, table: Table, names: tuple[str, ...], counted: str) -> Any:
    statement = _insert(dialect, table, names)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={counted: table.c[counted] + statement.excluded[counted]},
    )
