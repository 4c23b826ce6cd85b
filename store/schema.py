"""The versions of the tables, and how a database gets to the newest one."""

from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from store.engine import Store, open_for_migration
from store.errors import SchemaOutdated, SchemaTooNew, StoreDamaged
from store.limits import Limits

# Oldest first. Kept here so that an ordinary start need not load Alembic.
VERSIONS: Final = tuple(f"{number:04}" for number in range(1, 19))

# Any number will do, as long as nobody else in the same database takes it.
_ADVISORY_LOCK: Final = 0x1CE_3A2D
_PATIENCE: Final = Limits(
    busy=timedelta(minutes=5), statement=timedelta(hours=1), idle=timedelta(hours=1)
)


def migrate(url: str) -> None:
    """Bring the database to the newest version in one transaction; nothing to do is no error.

    Safe to run from many processes at once: one works, the others wait for it. Raises SchemaTooNew
    where a newer program was here before, and what `Store.write` raises.
    """
    store = open_for_migration(url, _PATIENCE)
    try:
        with store.write() as connection:
            if store.dialect == "postgresql":
                lock_schema(connection)
            version = _version(connection)
            _refuse_newer(version)
            if version != VERSIONS[-1]:
                upgrade(connection)
                if store.dialect == "sqlite":
                    _check_references(connection)
    finally:
        store.close()


def check_schema(store: Store) -> None:
    """Raise SchemaOutdated or SchemaTooNew where the tables are not of this program's version."""
    with store.read() as connection:
        version = _version(connection)
    _refuse_newer(version)
    if version != VERSIONS[-1]:
        raise SchemaOutdated(
            f"The database has version {version or 'none'}; this program needs {VERSIONS[-1]}."
        )


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _refuse_newer(version: str | None) -> None:
    if version is not None and version not in VERSIONS:
        raise SchemaTooNew(
            f"The database has version {version}; this program knows none above {VERSIONS[-1]}."
        )


def lock_schema(connection: Connection) -> None:
    """Be the only one who changes the tables of a PostgreSQL database, until the transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})


def upgrade(connection: Connection) -> None:
    """Bring the tables to the newest version, in the transaction of the caller."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).parent / "migrations").replace("%", "%%")
    )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _check_references(connection: Connection) -> None:
    """Foreign keys are off while tables are copied, so they are checked once at the end."""
    if connection.execute(text("PRAGMA foreign_key_check")).first() is not None:
        raise StoreDamaged("The migration would leave records that refer to nothing.")
