"""Who may write to a SQLite file next: one thread of one process, first come first served.

SQLite itself lets a writer that finds the file locked sleep and look again. Of two busy processes one then gets most
of the turns, and single writes of the other wait for hundreds of milliseconds. A lock on a file beside the database
makes the processes queue. It only orders them: what keeps the records sound is still SQLite's own lock, and a program
that does not know of the file cannot do harm.
"""

import fcntl
import os
import threading
import time
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Final, final

from store.errors import StoreBusy

_BUSY: Final = "The database was busy for too long."


@final
class WriterGate:
    """A context that at most one thread, of all processes with the same file, is in.

    Raises StoreBusy when the turn does not come in time.
    """

    def __init__(self, path: Path, wait: timedelta) -> None:
        self._lock = threading.Lock()
        self._file = _FileLock(path)
        self._wait = wait.total_seconds()
        self._holder: int | None = None

    def __enter__(self) -> None:
        if self._holder == threading.get_ident():
            raise RuntimeError("a write inside a write of the same thread would wait for itself")
        end = time.monotonic() + self._wait
        if not self._lock.acquire(timeout=self._wait):
            raise StoreBusy(_BUSY)
        granted = False
        try:
            granted = self._file.acquire(end)
        finally:
            if granted:
                self._holder = threading.get_ident()
            else:
                self._lock.release()
        if not granted:
            raise StoreBusy(_BUSY)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._holder = None
        self._file.release()
        self._lock.release()

    def close(self) -> None:
        """Let go of the lock file, once nobody of this process is inside."""
        with self._lock:
            self._file.close()


@final
class _FileLock:
    """An exclusive `flock` that can be waited for with a limit; for one thread at a time.

    The system call that waits knows no limit, so a thread of ours waits in it. When the caller gives up, that thread
    stays in the queue, and the next caller takes its place over. A file system without `flock` is no error: writers
    are then not put in order.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(path, flags, 0o600)
        self._changed = threading.Condition()
        self._requests: SimpleQueue[bool] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._queued = False  # our thread waits for the lock, or holds it for somebody
        self._wanted = False
        self._granted = False
        self._closed = False

    def acquire(self, end: float) -> bool:
        """Take the lock; False where `time.monotonic()` reached `end` first."""
        with self._changed:
            if not self._queued:
                if self._take(fcntl.LOCK_EX | fcntl.LOCK_NB):
                    return True
                self._queued = True
                self._request()
            self._wanted = True
            granted = self._changed.wait_for(lambda: self._granted, end - time.monotonic())
            self._wanted = False
            if granted:
                self._granted = self._queued = False
            return granted

    def release(self) -> None:
        """Give the lock back."""
        self._take(fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file, once the thread is out of the queue."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            if self._thread is None:
                os.close(self._file)
            else:
                self._requests.put(False)

    def _take(self, operation: int) -> bool:
        if self._closed:
            return True  # the number may be another file's by now
        try:
            fcntl.flock(self._file, operation)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def _request(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._wait, name="store-writer-gate", daemon=True
            )
            self._thread.start()
        self._requests.put(True)

    def _wait(self) -> None:
        while self._requests.get():
            self._take(fcntl.LOCK_EX)  # sleeps here, perhaps for long
            with self._changed:
                if self._wanted:
                    self._granted = True
                    self._changed.notify()
                else:
                    self._take(fcntl.LOCK_UN)
                    self._queued = False
        os.close(self._file)
