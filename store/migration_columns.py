"""What tables are made of in migrations. Those that were shipped mean what they meant: nothing here changes."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from store.types import BigKey, UTCDateTime


def text(name: str, *, null: bool = False) -> sa.Column[str]:
    """Text of any length."""
    return sa.Column(name, sa.Text(), nullable=null)


def whole(name: str, *, null: bool = False) -> sa.Column[int]:
    """A number of 32 bits."""
    return sa.Column(name, sa.Integer(), nullable=null)


def big(name: str, *, null: bool = False) -> sa.Column[int]:
    """A number of 64 bits."""
    return sa.Column(name, sa.BigInteger(), nullable=null)


def time(name: str, *, null: bool = False) -> sa.Column[datetime]:
    """A time in UTC."""
    return sa.Column(name, UTCDateTime(), nullable=null)


def blob(name: str, *, null: bool = False) -> sa.Column[bytes]:
    """Octets."""
    return sa.Column(name, sa.LargeBinary(), nullable=null)


def json(name: str, *, null: bool = False) -> sa.Column[Any]:
    """A document."""
    return sa.Column(name, sa.JSON(), nullable=null)


def reference(name: str, *, null: bool = False) -> sa.Column[int]:
    """The number of a row of another table."""
    return sa.Column(name, BigKey, nullable=null, autoincrement=False)


def foreign(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    """That a reference is to a row which is there."""
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=f"fk_{table}_{column}")


def unique(table: str, *columns: str) -> sa.UniqueConstraint:
    """That no two rows have the same in these columns."""
    return sa.UniqueConstraint(*columns, name=f"uq_{table}_{'_'.join(columns)}")


def numbered(table: str, *columns: sa.Column[Any] | sa.Constraint) -> None:
    """A table whose rows are numbered by the database; a number is never used again."""
    op.create_table(
        table,
        sa.Column("id", BigKey, autoincrement=True, nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sqlite_autoincrement=True,
    )


def keyed(table: str, key: list[str], *columns: sa.Column[Any] | sa.Constraint) -> None:
    """A table whose rows are known by columns of their own."""
    op.create_table(table, *columns, sa.PrimaryKeyConstraint(*key, name=f"pk_{table}"))


def index(table: str, *columns: str) -> None:
    """An index."""
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))
