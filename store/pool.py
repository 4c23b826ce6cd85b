"""Open database connections, each used by one thread at a time.

SQLAlchemy's own pool resets and wraps a connection at every use; holding the `Connection` objects
themselves makes a short read transaction about twice as cheap.
"""

import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, final

from sqlalchemy import Connection

from store.errors import StoreBusy, StoreUnreachable
from store.limits import Limits

# libpq's PQTRANS_IDLE and PQTRANS_INTRANS; a failed transaction and a lost connection are neither.
_IDLE: Final = 0
_OPEN: Final = 2


@final
class Line:
    """One open connection, SQLAlchemy's and the driver's view of it."""

    __slots__ = ("connection", "raw")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.raw: Any = connection.connection.dbapi_connection

    def begin(self, statements: Sequence[str]) -> None:
        """Begin a transaction with the driver, so that SQLAlchemy never begins one its own way. None where there are
        no statements.
        """
        for statement in statements:
            self.raw.execute(statement)

    def commit(self) -> None:
        """Commit; RuntimeError where no sound transaction is left, so that no loss goes unseen."""
        if not self.sound():
            raise RuntimeError(
                "the transaction was already over, or an error inside it was ignored"
            )
        if self.connection.in_transaction():
            self.connection.commit()
        else:
            self.raw.commit()

    def rollback(self) -> None:
        """Roll back whatever is left of the transaction."""
        # SQLAlchemy first, also where it has nothing to roll back: after a COMMIT that failed it would refuse the next
        # transaction.
        self.connection.rollback()
        if not self.idle():
            self.raw.rollback()

    def sound(self) -> bool:
        """Whether a transaction is open that can still be committed."""
        return self._state() == _OPEN

    def idle(self) -> bool:
        """Whether no transaction is open, not even a failed one."""
        return self._state() == _IDLE

    def _state(self) -> int:
        if isinstance(self.raw, sqlite3.Connection):
            return _OPEN if self.raw.in_transaction else _IDLE
        return int(self.raw.pgconn.transaction_status)

    def dead(self) -> bool:
        """Whether the server is gone from the other end."""
        return bool(
            self.connection.closed
            or self.connection.invalidated
            or getattr(self.raw, "closed", False)
        )

    def close(self) -> None:
        """Close the connection for good."""
        if not self.connection.closed:
            self.connection.invalidate()
            self.connection.close()


@final
class Pool:
    """At most `size` open connections; the one used last is used next."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        size: int,
        limits: Limits,
        *,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`check` is called before each transaction, and raises when there must be none."""
        self._connect = connect
        self._check = check
        self._wait = limits.busy.total_seconds()
        self._places = threading.Semaphore(size)
        self._idle: deque[Line] = deque()
        self._process = os.getpid()
        self._closed = False

    def begin(self, statements: Sequence[str]) -> Line:
        """A connection with a transaction begun by the statements.

        Raises StoreBusy when none is free in time, and what the driver raises when there is no
        connection to be had. A connection that turns out to have died while idle is replaced once:
        nothing was done on it yet.
        """
        if os.getpid() != self._process:
            raise RuntimeError("a store does not survive a fork: open one in each process")
        if self._closed:
            raise RuntimeError("the store is closed")
        self._check()
        if not self._places.acquire(timeout=self._wait):
            raise StoreBusy("All database connections were in use for too long.")
        try:
            return self._begin(statements)
        except BaseException:
            self._places.release()
            raise

    def _begin(self, statements: Sequence[str]) -> Line:
        while True:
            try:
                line = self._idle.pop()
            except IndexError:
                break
            if self._try(line, statements):
                return line
        line = Line(self._connect())
        if not self._try(line, statements):
            raise StoreUnreachable("The database closed a fresh connection.")
        return line

    def _try(self, line: Line, statements: Sequence[str]) -> bool:
        """Begin; False where the connection turned out to be dead."""
        try:
            line.begin(statements)
        except Exception:
            dead = line.dead()
            self._put_back(line)
            if dead:
                return False
            raise
        except BaseException:
            line.close()
            raise
        return True

    def end(self, line: Line) -> None:
        """Take back a connection whose transaction is over."""
        try:
            self._put_back(line)
        finally:
            self._places.release()

    def _put_back(self, line: Line) -> None:
        if self._closed or line.dead() or not line.idle():
            line.close()
        else:
            self._idle.append(line)

    def close(self) -> None:
        """Close the idle connections now and the others when they come back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()
