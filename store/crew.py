"""Works that take turns in one thread: who waits for a commit lets the next one run.

With a thread for each work, most of the time goes into waking threads and into their quarrel for the interpreter's
lock: some fifty switches for one certificate, each of which the kernel must carry out. A crew is one thread. Its works
are greenlets; one that comes to a commit (`Store.together`) is laid aside, the next begins, and when nobody can go on,
the crew commits for all of them in one transaction. That makes the batches larger, too.

A work that waits for anything else (a slow signer, a lock of the database) holds up its crew. Whoever has crews has
several, calls up another one when the first does not come back, and makes crews small while `pace` says that their
works wait (api.pool).
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Protocol, final

from greenlet import getcurrent, greenlet

_here: Final = threading.local()


class Settler(Protocol):
    """Who carries out the entries that works wait for."""

    def run_all(self, entries: Sequence[Any]) -> None:
        """Carry out the entries; returns when each is done, and raises nothing of theirs."""


@final
class Crew:
    """The works of one thread; a context in which that thread starts and settles them."""

    def __init__(self) -> None:
        self._hub = getcurrent()
        self._waiting: list[tuple[greenlet, Settler, object]] = []
        self.pace = 0.0  # seconds that each work took until it waited again, after the last commit

    def __enter__(self) -> "Crew":
        _here.crew = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del _here.crew

    @property
    def waiting(self) -> int:
        """How many works wait for `settle`."""
        return len(self._waiting)

    def start(self, work: Callable[[], object]) -> None:
        """Run a work until it ends or waits. Raises what it raises."""
        greenlet(work, parent=self._hub).switch()

    def settle(self) -> None:
        """Settle what the works wait for, and let each go on until it ends or waits again."""
        waiting, self._waiting = self._waiting, []
        shared: defaultdict[Settler, list[object]] = defaultdict(list)
        for _, settler, entry in waiting:
            shared[settler].append(entry)
        failed: dict[Settler, Exception] = {}
        for settler, entries in shared.items():
            try:
                settler.run_all(entries)
            except Exception as error:  # noqa: BLE001 - without an outcome they cannot go on, nor may they wait for ever
                failed[settler] = error
        began = time.monotonic()
        for work, settler, _ in waiting:
            if settler in failed:
                work.throw(failed[settler])
            else:
                work.switch()
        if waiting:
            self.pace = (time.monotonic() - began) / len(waiting)

    def lay_aside(self, settler: Settler, entry: object) -> None:
        """Called by a work: wait until the entry is settled."""
        self._waiting.append((getcurrent(), settler, entry))
        self._hub.switch()

    def at_work(self) -> bool:
        """Whether the caller is one of its works, and not the thread that leads them."""
        return getcurrent() is not self._hub


def crew_at_work() -> Crew | None:
    """The crew that the caller is a work of, if it is one."""
    crew: Crew | None = getattr(_here, "crew", None)
    return crew if crew is not None and crew.at_work() else None
