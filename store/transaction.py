"""One database transaction, and the only way in and out of it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Literal, final

from sqlalchemy import Connection

from core.errors import IkewardenError
from store.errors import StoreDamaged, StoreFull, StoreUnreachable
from store.failures import translate
from store.pool import Line, Pool

_WRITES = "ikewarden.writes"


@final
class Transaction:
    """Begins on entry; on exit commits (or for a read ends), and rolls back when the body raised.

    Driver errors come out translated (store.failures), from the body as from BEGIN and COMMIT. `hear` is told of a
    write that the database refused, with why, and of one that was committed, with None.
    """

    __slots__ = ("_before", "_begin", "_gate", "_hear", "_line", "_pool", "_write")

    def __init__(
        self,
        pool: Pool,
        begin: Sequence[str],
        *,
        write: bool,
        gate: AbstractContextManager[None] | None = None,
        hear: Callable[[IkewardenError | None], None] = lambda why: None,
    ) -> None:
        self._pool = pool
        self._begin = begin
        self._write = write
        self._gate = gate
        self._hear = hear
        self._before = 0
        self._line: Line | None = None

    def __enter__(self) -> Connection:
        if self._gate is not None:
            self._gate.__enter__()
        try:
            line = self._line = self._pool.begin(self._begin)
        except BaseException as error:
            if self._gate is not None:
                self._gate.__exit__(None, None, None)
            self._raise_ours(error)
            raise
        if self._write:
            self._before = writes(line.connection)
        return line.connection

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        line, self._line = self._line, None
        if line is None:
            raise RuntimeError("a transaction ends once")
        try:
            if error is None and self._write:
                wrote = writes(line.connection) != self._before
                line.commit()
                if wrote:
                    self._hear(None)
        except BaseException as refused:
            _roll_back(line)
            self._raise_ours(refused)
            raise
        else:
            if error is not None or not self._write:
                _roll_back(line)
        finally:
            self._pool.end(line)
            if self._gate is not None:
                self._gate.__exit__(None, None, None)
        if error is not None:
            self._raise_ours(error)
        return False

    def _raise_ours(self, error: BaseException) -> None:
        ours = translate(error)
        refusal = ours or error
        if self._write and isinstance(refusal, (StoreFull, StoreUnreachable, StoreDamaged)):
            self._hear(refusal)
        if ours is not None:
            raise ours from error

    def sound(self) -> bool:
        """Whether it could still be committed."""
        return self._line is not None and self._line.sound()


def _roll_back(line: Line) -> None:
    try:
        line.rollback()
    except Exception:  # noqa: BLE001 - whatever it was: without its connection the transaction is over too
        line.close()


def count_writes(
    connection: Connection,
    cursor: Any,
    statement: str,
    parameters: Any,
    context: Any,
    executemany: bool,
) -> None:
    """Listener for SQLAlchemy's `before_cursor_execute`: counts what may have changed something."""
    if context.compiled is None or (
        context.isinsert or context.isupdate or context.isdelete or context.isddl or context.is_text
    ):
        connection.info[_WRITES] = connection.info.get(_WRITES, 0) + 1


def writes(connection: Connection) -> int:
    """How many statements this connection has run that may have changed something."""
    count: int = connection.info.get(_WRITES, 0)
    return count
