"""Events on their way to the service, on disk, numbered, beside the place in the log up to which they were gathered.

Events and the place of their source are written in one line, so that whenever the agent dies both are there or neither:
what was not written is gathered again, and what was is not. The service counts each number of a stream once, so that
what was told and not noted as told may be told again.
"""

import json
import logging
import os
import secrets
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.errors import IkewardenError
from ike.agent.folder import DIRECTORY_MODE, FILE_MODE, told
from ike.atomic import write_atomically

Document = dict[str, Any]
_log = logging.getLogger(__name__)

NAME: Final = "events.jsonl"
#: So many events are kept while the service is away; then the oldest give way.
MOST: Final = 50_000
_COMPACT: Final = 1 << 20  # bytes from which on the file is written anew, once most of it is told
_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Batch:
    """Events of the stream from number `first` on. Of those before `oldest` nothing will come any more."""

    stream: str
    first: int
    oldest: int
    events: list[Document]


class Spool:
    """The events of one gateway. May be used by several threads. Begun anew where there is none, or none that can be
    understood. `add` raises HomeNotWritable, and then has changed nothing.
    """

    def __init__(self, folder: Path, *, most: int = MOST) -> None:
        self._path, self._most = folder / NAME, most
        self._lock = threading.Lock()
        self._events: deque[Document] = deque()
        self._first = 0  # the number of the first event that is here
        self._positions: dict[str, Document | None] = {}
        self._stream = secrets.token_hex(8)
        self._written = self._least = 0  # bytes of the file, now and when it was written anew
        self._lost = 0
        with told(folder):
            folder.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        self._load()

    def position_of(self, source: str) -> Document | None:
        """Up to where events were gathered from a source."""
        with self._lock:
            return self._positions.get(source)

    def positions(self, beginning: str, but: str) -> list[Document]:
        """The places of all sources whose names begin so, but of one."""
        with self._lock:
            return [
                place
                for source, place in self._positions.items()
                if source.startswith(beginning) and source != but and place is not None
            ]

    def add(self, events: list[Document], position: Document | None, source: str = "") -> None:
        """Keep events, durably, and the place up to which they were gathered from a source."""
        line = _line(events, position, source)
        with self._lock:
            self._append(line)
            self._events.extend(events)
            self._positions[source] = position
            self._make_room()
            self._compact()

    @property
    def lost(self) -> int:
        """How many events gave way in this process before they were told."""
        with self._lock:
            return self._lost

    def batch(self, limit: int) -> Batch:
        """The next events to be told, at most so many."""
        with self._lock:
            events = [self._events[n] for n in range(min(limit, len(self._events)))]
            return Batch(self._stream, self._first, self._first, events)

    def done(self, batch: Batch) -> None:
        """These were told, or are given up."""
        with self._lock:
            end = batch.first + len(batch.events)
            while self._events and self._first < end:
                self._events.popleft()
                self._first += 1
            self._compact()

    def __len__(self) -> int:
        with self._lock:
            return len(self._events)

    # inside

    def _load(self) -> None:
        with told(self._path):
            descriptor = os.open(self._path, _OPEN, FILE_MODE)
            with os.fdopen(descriptor, "rb+") as file:
                head = file.readline()
                if not self._begun(head):
                    self._rewrite()
                    return
                whole = len(head)
                for line in file:
                    if not self._known(line):
                        break  # half a line, of an agent that died
                    whole += len(line)
                file.truncate(whole)
                self._written = whole
        self._make_room()

    def _make_room(self) -> None:
        """The oldest give way; the first time that is worth a line of the log."""
        if len(self._events) <= self._most:
            return
        if not self._lost:
            _log.warning("events of SAs give way before they are told", extra={"most": self._most})
        while len(self._events) > self._most:
            self._events.popleft()
            self._first += 1
            self._lost += 1

    def _begun(self, line: bytes) -> bool:
        with suppress(ValueError, TypeError, KeyError):
            head = json.loads(line)
            self._stream, self._first = str(head["stream"]), int(head["first"])
            return line.endswith(b"\n")
        return False

    def _known(self, line: bytes) -> bool:
        with suppress(ValueError, TypeError, KeyError):
            entry = json.loads(line)
            events, position = list(entry["e"]), entry["p"]
            if line.endswith(b"\n"):
                self._events.extend(events)
                self._positions[str(entry.get("of", ""))] = position
                return True
        return False

    def _append(self, line: bytes) -> None:
        with told(self._path):
            descriptor = os.open(self._path, _OPEN, FILE_MODE)
            try:
                try:
                    _write_all(descriptor, line)
                    os.fdatasync(descriptor)
                except OSError:
                    os.ftruncate(descriptor, self._written)
                    raise
            finally:
                os.close(descriptor)
        self._written += len(line)

    def _compact(self) -> None:
        """Write the file anew where it holds much that was told; if that fails now, another time."""
        if self._written < max(_COMPACT, 2 * self._least):
            return
        with suppress(IkewardenError):  # what was told and is still there is told again: no harm
            self._rewrite()

    def _rewrite(self) -> None:
        head = json.dumps({"stream": self._stream, "first": self._first}).encode() + b"\n"
        places = {"": None, **self._positions} if self._events else self._positions
        lines = [
            _line([] if source else list(self._events), position, source)
            for source, position in places.items()
        ]
        content = b"".join([head, *lines])
        with told(self._path):
            write_atomically(self._path, content)
        self._written = self._least = len(content)


def _line(events: list[Document], position: Document | None, source: str) -> bytes:
    of = {"of": source} if source else {}
    return json.dumps({"e": events, "p": position, **of}).encode() + b"\n"


def _write_all(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
