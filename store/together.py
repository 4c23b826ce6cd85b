"""Group commit: works of many threads in one transaction, so that they share one wait for the disk.

The first thread that comes leads: it takes what is queued, runs it in one transaction and hands
each thread its outcome. Whoever came meanwhile is led by the first of them. Nobody waits for
company: a batch is what piled up while the one before was being written.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar, cast, final

from sqlalchemy import Connection

from core import spans
from core.crew import crew_at_work
from core.errors import Unavailable
from store.errors import StoreBusy, StoreDamaged, StoreDeadlock, StoreFull, StoreUnreachable
from store.failures import translate
from store.transaction import Transaction, writes
from store.unit import Unit, flush

T = TypeVar("T")

_OPERATIONAL: Final = (StoreBusy, StoreFull, StoreUnreachable, StoreDamaged)
# Batches lock rows in the order of their works, so two processes can meet crosswise. A work that is alone can too, but
# not time and again.
_DEADLOCKS: Final = 3


@final
class _Entry:
    """One caller's work and what became of it."""

    __slots__ = ("done", "error", "gone", "lasting", "result", "wake", "work")

    def __init__(self, work: Callable[[Unit], Any], lasting: bool) -> None:
        self.work = work
        self.lasting = lasting
        self.done = False
        self.gone = False
        self.result: Any = None
        self.error: BaseException | None = None
        # A bare lock is the cheapest thing to sleep on: held until somebody has news for this
        # caller.
        self.wake = threading.Lock()
        self.wake.acquire()

    def finish(self, result: Any, error: BaseException | None) -> None:
        self.result, self.error, self.done = result, error, True

    def outcome(self) -> Any:
        if self.error is None:
            return self.result
        try:
            raise self.error
        finally:
            self.error = None  # breaks the circle error → traceback → frame → entry → error


@final
class GroupCommit:
    """Runs works in shared transactions; `begin` makes a writing one, whose commit waits for the disk if it is told
    True.
    """

    def __init__(self, begin: Callable[[bool], Transaction], size: int) -> None:
        self._begin = begin
        self._size = size
        self._mutex = threading.Lock()
        self._queue: deque[_Entry] = deque()
        self._leader: _Entry | None = None
        self._batch: list[_Entry] = []

    def run(self, work: Callable[[Unit], T], *, lasting: bool = True) -> T:
        """See `Store.together`."""
        entry = _Entry(spans.below(work), lasting)
        crew = crew_at_work()
        if crew is None:
            self.run_all([entry])
        else:
            crew.lay_aside(self, entry)
        return cast(T, entry.outcome())

    def run_all(self, entries: Sequence[_Entry]) -> None:
        """Run entries of this thread with those of other threads, until each is done (see core.crew)."""
        try:
            with self._mutex:
                self._queue.extend(entries)
                if self._leader is None:
                    self._leader = self._queue[0]
            # In the order of the queue, whose first leads: so a thread never sleeps on one entry while it is to lead
            # as another.
            for entry in entries:
                while not entry.done:
                    if self._leader is entry:
                        self._lead(entry)
                    else:
                        entry.wake.acquire()
        except BaseException:
            for entry in entries:
                entry.gone = True
            for entry in entries:
                self._hand_over(entry)
            raise

    def _lead(self, entry: _Entry) -> None:
        with self._mutex:
            count = min(self._size, len(self._queue))
            self._batch = [self._queue.popleft() for _ in range(count)]
            behind = list(self._queue)
        refusal = self._settle(self._batch)
        if refusal is not None:
            self._refuse(behind, refusal)
        self._hand_over(entry)

    def _refuse(self, entries: list[_Entry], error: Unavailable) -> None:
        """No transaction could be begun: those who waited all that time would only wait as long again, one batch after
        the other, with all their threads.
        """
        with self._mutex:
            refused = set(entries)
            left = [entry for entry in self._queue if entry not in refused]
            self._batch += [entry for entry in self._queue if entry in refused]
            self._queue = deque(left)
        for entry in self._batch:
            if not entry.done:
                entry.finish(None, _copy(error))

    def _hand_over(self, entry: _Entry) -> None:
        """Give up the lead, and the place in the queue of one who is gone."""
        with self._mutex:
            if entry.gone and entry in self._queue:
                self._queue.remove(entry)
            if self._leader is entry:
                batch, self._batch = self._batch, []
                # Unfinished ones are left only by a leader that was interrupted: the next one runs
                # them.
                unfinished = [other for other in batch if not (other.done or other.gone)]
                self._queue.extendleft(reversed(unfinished))
                self._leader = self._queue[0] if self._queue else None
                for other in (self._leader, *batch):
                    if other is not None and (other.done or other is self._leader):
                        _wake(other)

    def _settle(self, batch: list[_Entry], deadlocks: int = 0) -> Unavailable | None:
        """Run the works in one transaction, or each alone where one spoils it for the others.

        Gives the error where no transaction could be begun. `deadlocks`: so many times it was ended for that already.
        """
        transaction = self._begin(any(entry.lasting for entry in batch))
        begun = False
        try:
            with transaction as connection:
                begun = True
                attempts = [_attempt(entry, transaction, connection) for entry in batch]
                flush(connection, [attempt.unit for attempt in attempts])
        except _OPERATIONAL as error:
            if isinstance(error, StoreDeadlock) and deadlocks < _DEADLOCKS:
                self._settle_apart(batch, deadlocks + 1)
                return None
            for entry in batch:
                entry.finish(None, _copy(error))
            return None if begun else error
        except KeyboardInterrupt:
            raise  # meant for this thread, whichever work it hit
        except BaseException as error:  # noqa: BLE001 - handed to the caller whose work raised it
            if len(batch) == 1:
                batch[0].finish(None, error)
            else:
                self._settle_apart(batch)
        else:
            for entry, attempt in zip(batch, attempts, strict=True):
                entry.finish(attempt.result, attempt.refusal)
        return None

    def _settle_apart(self, batch: list[_Entry], deadlocks: int = 0) -> None:
        for place, entry in enumerate(batch):
            self._settle([entry], deadlocks)
            if isinstance(entry.error, _OPERATIONAL) and not isinstance(entry.error, StoreDeadlock):
                # The others would only wait as long for the same.
                for other in batch[place + 1 :]:
                    other.finish(None, _copy(entry.error))
                return


class _Attempt(NamedTuple):
    """What a work did in a transaction that is not committed yet."""

    unit: Unit
    result: Any
    refusal: BaseException | None


def _attempt(entry: _Entry, transaction: Transaction, connection: Connection) -> _Attempt:
    unit, before = Unit(connection), writes(connection)
    try:
        return _Attempt(unit, entry.work(unit), None)
    except Exception as error:
        if not transaction.sound() or writes(connection) != before:
            raise
        # It was refused before it changed anything: no reason to disturb the others.
        return _Attempt(Unit(connection), None, translate(error) or error)


def _wake(entry: _Entry) -> None:
    if entry.wake.locked():
        entry.wake.release()


def _copy(error: Unavailable) -> Unavailable:
    """A fresh exception for each thread: a shared one would collect all their tracebacks."""
    copy = type(error)(error.message, next_step=error.next_step)
    copy.__cause__ = error.__cause__
    return copy
