"""The store: transactions on SQLite and PostgreSQL, with the same meaning on both."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from json import JSONEncoder
from typing import Any, Final, Literal, TypeVar

from sqlalchemy import URL, Connection, Engine, Row, Select, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from core.errors import IkewardenError
from store import postgresql, sqlite
from store.errors import StoreUnreachable
from store.limits import Limits
from store.pool import Pool
from store.together import GroupCommit
from store.transaction import Transaction, count_writes
from store.unit import Unit
from store.writergate import WriterGate

__all__ = ["Limits", "Store", "Unit", "open_store", "parse_url"]

T = TypeVar("T")

_URL_HELP: Final = (
    "Use sqlite:////absolute/path/file.db or postgresql+psycopg://user@host/database."
)

# Each is what is executed to begin a transaction.
_READ: Final = {
    "sqlite": ("BEGIN",),
    # One snapshot for the whole transaction, as on SQLite; read only, so it never fails to
    # serialise.
    "postgresql": ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",),
}
_NONE: Final = ()  # as the driver has it: each statement is a transaction
# By whether its commit waits for the disk.
_WRITE: Final = {
    # IMMEDIATE: a transaction that reads first and writes later could otherwise find the database
    # locked when it is too late to wait.
    ("sqlite", True): ("PRAGMA synchronous = FULL", "BEGIN IMMEDIATE"),
    ("sqlite", False): ("PRAGMA synchronous = NORMAL", "BEGIN IMMEDIATE"),
    ("postgresql", True): ("BEGIN ISOLATION LEVEL READ COMMITTED",),
    ("postgresql", False): (
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off",
    ),
}

# Compact, and without NaN and Infinity, which PostgreSQL refuses and SQLite would take.
_JSON: Final = JSONEncoder(allow_nan=False, separators=(",", ":"))


class Store:
    """The records of one process. Made by `open_store`; safe to use from many threads.

    On SQLite one transaction writes at a time. On PostgreSQL several do (read committed): a work
    that reads a row in order to change it locks it (`with_for_update`, which SQLite ignores) or
    puts the condition into the UPDATE.
    """

    def __init__(
        self,
        dialect: Literal["sqlite", "postgresql"],
        readers: Pool,
        writers: Pool,
        gate: WriterGate | None,
        limits: Limits,
    ) -> None:
        self.dialect: Final = dialect
        self._readers = readers
        self._writers = writers
        self._gate = gate
        self._group = GroupCommit(self._writing, limits.batch)
        # Why the last write was refused; None after one that was committed.
        self.refused: IkewardenError | None = None

    def read(self) -> AbstractContextManager[Connection]:
        """A transaction that reads one snapshot; on SQLite no writer waits for it, nor it for one.

        Raises StoreBusy, StoreUnreachable, StoreDamaged.
        """
        return Transaction(self._readers, _READ[self.dialect], write=False)

    def look(self, query: Select[Any], values: Mapping[str, Any]) -> Sequence[Row[Any]]:
        """The rows of one query, which is a snapshot by itself: without a BEGIN and an end, each of which PostgreSQL
        would have to be told.

        Raises as `read` does.
        """
        try:
            with Transaction(self._readers, _NONE, write=False) as connection:
                return connection.execute(query, values).all()
        except StoreUnreachable:
            # The connection may have died while it was idle: with a BEGIN, another one is found.
            with self.read() as connection:
                return connection.execute(query, values).all()

    def write(self) -> AbstractContextManager[Connection]:
        """A transaction that is committed on a clean exit and rolled back when the body raises.

        Raises StoreBusy, StoreFull, StoreUnreachable, StoreDamaged; Duplicate and BrokenReference
        where a record breaks a constraint.
        """
        return self._writing()

    def together(self, work: Callable[[Unit], T], *, lasting: bool = True) -> T:
        """Run the work in a transaction shared with works of other threads; returns once committed.

        The work may be run twice (in a shared transaction that failed, then alone), perhaps in
        another thread. It sees what works before it wrote through `unit.connection`, but no
        deferred insert. A work that raises leaves nothing behind, and its caller gets what it
        raised; the other works are not affected. Raises what `write` raises.

        Not `lasting`: the commit does not wait for the disk, and a power cut may undo it, until any commit after it
        has returned that does wait. So it is for what has no effect outside before such a one: both databases keep
        their log in order. That a process dies undoes nothing.
        """
        return self._group.run(work, lasting=lasting)

    def close(self) -> None:
        """Close all connections: idle ones now, the others when their transaction ends."""
        self._readers.close()
        self._writers.close()
        if self._gate is not None:
            self._gate.close()

    def _writing(self, lasting: bool = True) -> Transaction:
        begin = _WRITE[self.dialect, lasting]
        return Transaction(self._writers, begin, write=True, gate=self._gate, hear=self._heard)

    def _heard(self, refusal: IkewardenError | None) -> None:
        self.refused = refusal


def open_store(url: str, *, pool_size: int = 8, limits: Limits | None = None) -> Store:
    """Open the records at `sqlite:////absolute/file.db` or `postgresql+psycopg://user@host/database`.

    One store per process: open it after a fork, never before. SQLite's file is made if there is
    none; the tables are not (see store.schema). At most `pool_size` transactions are open at once.
    Raises StoreUnreachable and, for a SQLite file that others may change, StoreExposed; PostgreSQL
    is first spoken to by the first transaction.
    """
    return _open(url, pool_size, limits or Limits(), foreign_keys=True)


def open_for_migration(url: str, limits: Limits) -> Store:
    """As `open_store`; on SQLite with foreign keys off, so that a table can be replaced."""
    return _open(url, 1, limits, foreign_keys=False)


def _open(url: str, pool_size: int, limits: Limits, *, foreign_keys: bool) -> Store:
    parsed = parse_url(url)
    if parsed.drivername == "sqlite":
        return _open_sqlite(parsed, pool_size, limits, foreign_keys=foreign_keys)
    return _open_postgresql(parsed, pool_size, limits)


def parse_url(url: str) -> URL:
    """The URL with one of the two driver names that we use; StoreUnreachable for any other."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        # Not the text itself: a database URL may hold a password.
        raise StoreUnreachable("The database URL cannot be read.", next_step=_URL_HELP) from None
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        return parsed.set(drivername="sqlite")
    if parsed.drivername in {"postgresql", "postgresql+psycopg"}:
        return parsed.set(drivername="postgresql+psycopg")
    raise StoreUnreachable(
        f"{parsed.drivername} is not a database that can be used.", next_step=_URL_HELP
    )


def _open_sqlite(url: URL, pool_size: int, limits: Limits, *, foreign_keys: bool) -> Store:
    path = sqlite.prepare(url)
    options = sqlite.engine_options(limits)

    def engine(*, read_only: bool) -> Engine:
        return _engine(
            url.set(database=str(path)),
            options,
            lambda connection: sqlite.set_up(
                connection, limits, read_only=read_only, foreign_keys=foreign_keys
            ),
        )

    check = sqlite.Presence(path).check
    readers = Pool(engine(read_only=True).connect, pool_size, limits, check=check)
    writers = Pool(engine(read_only=False).connect, 1, limits, check=check)
    gate = WriterGate(path.with_name(path.name + ".lock"), limits.busy)
    return Store("sqlite", readers, writers, gate, limits)


def _open_postgresql(url: URL, pool_size: int, limits: Limits) -> Store:
    try:
        engine = _engine(
            url,
            postgresql.engine_options(limits),
            lambda connection: postgresql.set_up(connection, limits),
        )
    except ModuleNotFoundError as error:
        raise StoreUnreachable(
            "The PostgreSQL driver is not installed.",
            next_step="Install ikewarden with the extra `postgres`.",
        ) from error
    pool = Pool(engine.connect, pool_size, limits)
    return Store("postgresql", pool, pool, None, limits)


def _engine(url: URL, options: dict[str, Any], set_up: Callable[[Any], None]) -> Engine:
    # AUTOCOMMIT: neither SQLAlchemy nor the driver begins a transaction behind our back
    # (store.transaction does).
    engine = create_engine(
        url,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        json_serializer=_JSON.encode,
        hide_parameters=True,  # values of a record have no place in an error message
        **options,
    )

    def prepare(connection: Any, record: object) -> None:
        set_up(connection)

    event.listen(engine, "connect", prepare)
    event.listen(engine, "before_cursor_execute", count_writes)
    return engine
