"""Migrations make the tables that the code expects."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import store as package
from store.engine import Store, open_store
from store.schema import VERSIONS, check_schema
from store.tables import metadata


def test_migrations_make_the_tables_of_the_code(store: Store) -> None:
    with store.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
