"""Run by Alembic with the connection that store.schema prepared, inside its transaction and lock.

A new version is a file of its own in `versions/`, written by hand and named in
`store.schema.VERSIONS`. A test compares what all of them together make with store.tables, on both
databases.
"""

from alembic import context

from store import (  # noqa: F401 - they fill the metadata
    acme_tables,
    audit_tables,
    cmp_tables,
    console_tables,
    figures_tables,
    finding_tables,
    fleet_tables,
    monitoring_tables,
    rotation_tables,
    tables,
)
from store.columns import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite changes a table by copying it.
    render_as_batch=True,
)
context.run_migrations()
