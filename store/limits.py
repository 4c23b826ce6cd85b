"""How long and how much: the numbers of the store that an operator may want to change."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Limits:
    """Waiting times and sizes of a store.

    `busy` is how long a transaction waits for another one, or for a free connection; `statement`
    (PostgreSQL) how long one statement may run; `idle` (PostgreSQL) how long a transaction may
    stay open without a statement; `connect` (PostgreSQL) how long opening a connection may take;
    `batch` how many works `together` puts into one transaction.
    """

    busy: timedelta = timedelta(seconds=5)
    statement: timedelta = timedelta(seconds=30)
    idle: timedelta = timedelta(seconds=60)
    connect: timedelta = timedelta(seconds=5)
    batch: int = 64


def milliseconds(span: timedelta) -> int:
    """The span in whole milliseconds, at least one (0 means *for ever* to both databases)."""
    return max(1, span // timedelta(milliseconds=1))
