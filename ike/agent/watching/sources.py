"""Where events of SAs come from: the daemon's log as a file or in journald, or charon over VICI.

`feeds` says which of them, and which stand beside.
"""

import json
import os
import select
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from core.errors import IkewardenError
from ike.daemons.port import DaemonRefused, DaemonUnreachable
from ike.daemons.strongswan import happenings
from ike.daemons.strongswan.session import Endpoint, Session
from ike.events.event import SaEvent
from ike.events.reader import Reader
from ike.events.tail import Tail

Document = dict[str, Any]
Now = Callable[[], datetime]

_IDLE: Final = 0.25
_AGAIN: Final = 1.0
# What a daemon wrote before it slept is in the log by then.
_BEHIND: Final = 2.0
_READER_SECONDS: Final = 3600.0
_TAGS: Final = ("charon", "charon-systemd", "ipsec", "pluto", "racoon", "swanctl")
_BLOCK: Final = 1 << 18


class Gathered(NamedTuple):
    """Events; up to where; and until when nothing else happened, POSIX seconds, where that is known. `failing` is why
    nothing can be gathered for now, where the source tries again by itself.
    """

    events: list[SaEvent]
    position: Document | None
    until: float | None
    failing: str = ""


class Source(Protocol):
    """Something that tells of SAs."""

    def gather(self, position: Document | None, stop: threading.Event) -> Iterator[Gathered]:
        """All from a position on, until `stop` is set. Raises OSError and IkewardenError."""
        ...


class _Lines:
    """A reader of lines that are written now, by the clock and the zone of this host."""

    def __init__(self, now: Now) -> None:
        self._now = now
        self._reader = self._made()

    def _made(self) -> Reader:
        moment = self._now().astimezone()
        east = moment.utcoffset()
        self._since = moment.timestamp()
        return Reader(self._since, east.total_seconds() if east else 0.0)

    def feed(self, data: bytes) -> list[SaEvent]:
        return self._timed(self._reader.feed(data))

    def settle(self) -> list[SaEvent]:
        """What is still owed. A reader knows the year and the zone of its beginning, so it is not used for ever."""
        events = self._timed(self._reader.settle())
        if self._now().timestamp() - self._since > _READER_SECONDS:
            self._reader = self._made()
        return events

    def renew(self) -> list[SaEvent]:
        """The log has an end, and another begins."""
        events = self._timed(self._reader.close())
        self._reader = self._made()
        return events

    def _timed(self, events: list[SaEvent]) -> list[SaEvent]:
        at = self._now().timestamp()
        return [each if each.time is not None else each._replace(time=at) for each in events]


class LogFile:
    """A log that the daemon, or syslog, writes."""

    def __init__(self, path: Path, now: Now) -> None:
        self._path, self._now = path, now

    def gather(self, position: Document | None, stop: threading.Event) -> Iterator[Gathered]:
        """See the protocol. Without a position of this log: from its end."""
        mine = position if position and position.get("log") == str(self._path) else None
        tail = Tail(self._path, mine)
        lines = _Lines(self._now)
        try:
            # The lines before tell what those behind the place go on with; their events were gathered.
            lines.feed(tail.before)
            if mine is None or mine.get("settled"):
                lines.settle()
            if mine is None:
                yield Gathered([], self._place(tail, settled=True), None)
            while not stop.is_set():
                at = self._now().timestamp()
                data, fresh = tail.read()
                events = lines.renew() if fresh else []
                if data:
                    yield Gathered(events + lines.feed(data), self._place(tail), None)
                else:
                    events += lines.settle()
                    yield Gathered(events, self._place(tail, settled=True), at - _BEHIND)
                    stop.wait(_IDLE)
        finally:
            tail.close()

    def _place(self, tail: Tail, *, settled: bool = False) -> Document:
        return {"log": str(self._path), "settled": settled, **tail.place()}


class Journal:
    """What the daemons write to journald, by the program `journalctl`."""

    def __init__(self, now: Now, program: str = "journalctl") -> None:
        self._now, self._program = now, program

    def gather(self, position: Document | None, stop: threading.Event) -> Iterator[Gathered]:
        """See the protocol. Without a position in the journal: from its end."""
        cursor = str(position["journal"]) if position and position.get("journal") else ""
        if not cursor:
            cursor = self._end()
            yield Gathered([], {"journal": cursor}, None)
        where = [f"--after-cursor={cursor}"] if cursor else ["--lines=0"]
        command = [self._program, "--output=json", "--follow", "--quiet", *where]
        command += [f"--identifier={tag}" for tag in _TAGS]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            try:
                if process.stdout is not None:
                    yield from self._read(process.stdout.fileno(), cursor, stop)
            finally:
                process.terminate()

    def _end(self) -> str:
        command = [self._program, "--output=json", "--lines=1", "--quiet"]
        done = subprocess.run(command, capture_output=True, check=False, timeout=30)
        return _cursor(done.stdout) or ""

    def _read(self, descriptor: int, cursor: str, stop: threading.Event) -> Iterator[Gathered]:
        lines, rest = _Lines(self._now), b""
        while not stop.is_set():
            at = self._now().timestamp()
            if not select.select([descriptor], [], [], _IDLE)[0]:
                yield Gathered(lines.settle(), {"journal": cursor}, at - _BEHIND)
                continue
            data = os.read(descriptor, _BLOCK)
            if not data:
                raise OSError(f"{self._program} ended")
            data = rest + data
            end = data.rfind(b"\n") + 1
            whole, rest = data[:end], data[end:]
            if whole:
                cursor = _cursor(whole) or cursor
                yield Gathered(lines.feed(whole), {"journal": cursor}, None)


def _cursor(lines: bytes) -> str | None:
    """That of the last entry."""
    for line in reversed(lines.splitlines()):
        with suppress(ValueError, TypeError):
            entry = json.loads(line)
            if isinstance(entry, dict) and isinstance(entry.get("__CURSOR"), str):
                return str(entry["__CURSOR"])
    return None


class Vici:
    """What charon tells over its socket, while it and the agent live."""

    def __init__(self, socket: Path, now: Now) -> None:
        self._endpoint, self._now = Endpoint(socket), now
        self._names: tuple[str, ...] = _ALL

    def gather(self, position: Document | None, stop: threading.Event) -> Iterator[Gathered]:
        """See the protocol. What happened while nobody listened is lost."""
        known = position.get("vici") if position else None
        while not stop.is_set():
            try:
                with self._endpoint.session() as session:
                    present = session.incarnation()
                    if known not in (None, present):
                        yield self._remark("daemon_started", present)
                    elif known is None:
                        yield Gathered([], {"vici": present}, None)
                    known = present
                    yield from self._listen(session, present, stop)
            except DaemonRefused:
                if self._names == happenings.EVENTS:
                    raise
                self._names = happenings.EVENTS  # older than 6.0.3
            except DaemonUnreachable as gone:
                self._names = _ALL  # it may come back as a newer one
                yield Gathered([], {"vici": known} if known else None, None, gone.message)
                stop.wait(_AGAIN)

    def _listen(self, session: Session, present: str, stop: threading.Event) -> Iterator[Gathered]:
        for told in session.listen(self._names, idle=_IDLE):
            at = self._now().timestamp()
            events = happenings.events_of(*told, at) if told else []
            yield Gathered(events, {"vici": present}, None if told else at - _BEHIND)
            if stop.is_set():
                return

    def _remark(self, kind: str, present: str) -> Gathered:
        event = SaEvent(kind, 0, self._now().timestamp(), daemon="charon")
        return Gathered([event], {"vici": present}, None)


_ALL: Final = (*happenings.EVENTS, happenings.ALERT)
FAILURES: Final = (OSError, IkewardenError, subprocess.SubprocessError)
