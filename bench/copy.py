"""`python -m bench.copy FROM TO`: an instance's records from SQLite into an empty PostgreSQL database.

`ikewarden init` makes an embedded instance; a benchmark on PostgreSQL wants the same instance there.
"""

import sys

from sqlalchemy import Integer, func, insert, select, text

from store.columns import metadata
from store.engine import open_store
from store.schema import migrate


def main() -> None:
    """Copy all tables and set the counters of their keys."""
    source, target = open_store(sys.argv[1]), open_store(sys.argv[2])
    migrate(sys.argv[2])
    with source.read() as reading, target.write() as writing:
        for table in metadata.sorted_tables:
            rows = [dict(row._mapping) for row in reading.execute(select(table))]
            if rows:
                writing.execute(insert(table), rows)
            if "id" in table.c and isinstance(table.c.id.type, Integer) and rows:
                highest = writing.scalar(select(func.max(table.c.id)))
                writing.execute(
                    text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :highest)"),
                    {"name": table.name, "highest": highest},
                )
    source.close()
    target.close()


if __name__ == "__main__":
    main()
