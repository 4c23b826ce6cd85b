"""Migrations make the tables that the code expects."""

import re
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import alembic.command
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

import store as package
from store.engine import Limits, Store, open_for_migration, open_store
from store.errors import SchemaOutdated, SchemaTooNew
from store.schema import VERSIONS, check_schema, migrate
from store.tables import metadata, tokens

_ROOT = Path(__file__).parents[2]


def test_migrations_make_the_tables_of_the_code(store: Store) -> None:
    with store.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []


def test_names_of_all_constraints_match(store: Store, tmp_path: Path) -> None:
    # compare_metadata does not look at the names of primary and foreign keys, nor at AUTOINCREMENT.
    if store.dialect == "postgresql":
        with store.read() as connection:
            found = inspect(connection)
            for table in metadata.sorted_tables:
                primary = found.get_pk_constraint(table.name)
                assert primary["name"] == table.primary_key.name
                assert primary["constrained_columns"] == table.primary_key.columns.keys()
                assert {key["name"] for key in found.get_foreign_keys(table.name)} == {
                    str(key.name) for key in table.foreign_key_constraints
                }
        return
    engine = create_engine(f"sqlite:///{tmp_path}/reference.db")
    metadata.create_all(engine)
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    with engine.connect() as reference, store.read() as connection:
        wanted = {row[0]: _parts(row[1]) for row in reference.execute(text(query))}
        made = {row[0]: _parts(row[1]) for row in connection.execute(text(query))}
    engine.dispose()
    del made["alembic_version"]
    assert made == wanted


def _parts(statement: str) -> list[str]:
    """A CREATE TABLE with the clauses in a fixed order."""
    body = statement[statement.index("(") + 1 : statement.rindex(")")]
    # A column that was added later stands on the line of the last one.
    return sorted(" ".join(part.split()) for part in re.split(r",(?![^()]*\))", body))


def test_version_list_names_every_migration() -> None:
    config = Config()
    config.set_main_option(
        "script_location", str(Path(str(package.__file__)).parent / "migrations")
    )
    revisions = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(revisions)) == VERSIONS


def test_migrating_again_changes_nothing(store: Store, store_url: str) -> None:
    migrate(store_url)
    check_schema(store)


@pytest.mark.parametrize("older", VERSIONS[:-1])
def test_records_of_each_older_version_are_kept(empty_url: str, older: str) -> None:
    old = open_for_migration(empty_url, Limits())
    config = Config()
    config.set_main_option(
        "script_location", str(Path(str(package.__file__)).parent / "migrations")
    )
    row = {
        "id": "t",
        "name": "n",
        "hash": "h",
        "role": "admin",
        "scope": {},
        "created_by": "x",
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    with old.write() as connection:
        # Alembic leaves a transaction alone that has begun.
        connection.execute(text("SELECT 1"))
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, older)
    with old.write() as connection:
        connection.execute(tokens.insert().values(**row))
    with pytest.raises(SchemaOutdated):
        check_schema(old)
    migrate(empty_url)
    check_schema(old)
    with old.write() as connection:
        assert connection.execute(text("SELECT name FROM tokens")).scalars().all() == ["n"]
        connection.execute(text("DELETE FROM tokens"))
    old.close()


def test_database_of_a_newer_program_is_refused(store: Store, store_url: str) -> None:
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaTooNew, match="9999"):
        check_schema(store)
    with pytest.raises(SchemaTooNew):
        migrate(store_url)


def test_empty_database_is_outdated(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(SchemaOutdated) as caught:
        check_schema(store)
    assert caught.value.code == "schema_outdated"
    store.close()


def test_migrations_at_the_same_time_wait_for_each_other(empty_url: str) -> None:
    program = f"from store.schema import migrate; migrate({empty_url!r})"
    processes = [
        subprocess.Popen([sys.executable, "-c", program], cwd=_ROOT, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    assert [process.communicate(timeout=300)[1] for process in processes] == [b""] * 4
    assert [process.returncode for process in processes] == [0] * 4
    store = open_store(empty_url)
    check_schema(store)
    store.close()


def test_failed_migration_leaves_nothing(tmp_path: Path) -> None:
    # A table in the way, as a half-done migration would leave it, makes the first version fail.
    path = tmp_path / "records.db"
    store = open_store(f"sqlite:///{path}")
    with store.write() as connection:
        connection.execute(text("CREATE TABLE notices (id INTEGER)"))
    store.close()
    with pytest.raises(Exception, match="notices"):
        migrate(f"sqlite:///{path}")
    with sqlite3.connect(path) as plain:
        tables = plain.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    plain.close()
    assert tables == [("notices",)]
