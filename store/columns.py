"""What the tables are made of: one metadata for all of them, and their kinds of columns."""

from datetime import datetime
from typing import Final

from sqlalchemy import Column, Integer, LargeBinary, MetaData, Text

from store.types import BigKey, UTCDateTime

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)


def key() -> Column[int]:
    """A number that the database gives."""
    return Column("id", BigKey, primary_key=True, autoincrement=True)


def text(name: str, *, null: bool = False, primary_key: bool = False) -> Column[str]:
    """Text."""
    return Column(name, Text, nullable=null, primary_key=primary_key)


def whole(name: str, *, null: bool = False) -> Column[int]:
    """A whole number."""
    return Column(name, Integer, nullable=null)


def when(name: str, *, null: bool = False) -> Column[datetime]:
    """An instant in UTC."""
    return Column(name, UTCDateTime, nullable=null)


def der(name: str, *, null: bool = False) -> Column[bytes]:
    """Octets."""
    return Column(name, LargeBinary, nullable=null)
