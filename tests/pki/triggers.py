"""A database that refuses one kind of write: a trigger, so that everything up to there is the real thing."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text

from store.engine import Store


@contextmanager
def refuse(store: Store, event: str, table: str, when: str = "") -> Iterator[None]:
    """While it lasts, `event` (INSERT, UPDATE, DELETE) on the table fails; `when` is a condition on NEW."""
    condition = f"WHEN ({when})" if when else ""
    if store.dialect == "sqlite":
        statements = [
            f"CREATE TRIGGER refuse BEFORE {event} ON {table} {condition} "
            "BEGIN SELECT RAISE(ABORT, 'refused by the test'); END"
        ]
        after = ["DROP TRIGGER refuse"]
    else:
        statements = [
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'refused by the test'; END $$",
            f"CREATE TRIGGER refuse BEFORE {event} ON {table} FOR EACH ROW {condition} "
            "EXECUTE FUNCTION refuse()",
        ]
        after = [f"DROP TRIGGER refuse ON {table}", "DROP FUNCTION refuse()"]
    _run(store, statements)
    try:
        yield
    finally:
        _run(store, after)


def _run(store: Store, statements: list[str]) -> None:
    with store.write() as connection:
        for statement in statements:
            connection.execute(text(statement))
