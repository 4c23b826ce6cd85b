"""charon's file log, read while it grows."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from tests.lab.errors import LabError

_LINE = re.compile(
    r"(?P<time>\w{3} [ \d]\d [\d:]{8}) (?P<thread>\d+)\[(?P<group>\w+)\]"
    r"(?: <(?P<sa>[^>]*)>)? (?P<message>.*)"
)


@dataclass(frozen=True)
class LogLine:
    """One line; `group` is charon's (IKE, CFG, ...), `sa` is "connection|number" or ""."""

    time: str
    thread: int
    group: str
    sa: str
    message: str


@dataclass(frozen=True)
class DaemonLog:
    """One daemon's log file; take a mark (byte offset) before an act, read what came `since`."""

    path: Path

    def mark(self) -> int:
        """The place where the log ends now."""
        return self.path.stat().st_size if self.path.exists() else 0

    def text(self, since: int = 0) -> str:
        """The whole lines after a mark."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as file:
            file.seek(since)
            data = file.read()
        return data[: data.rfind(b"\n") + 1].decode(errors="replace")

    def lines(self, since: int = 0) -> list[LogLine]:
        """The lines after a mark that are log messages."""
        found = (_LINE.fullmatch(line) for line in self.text(since).splitlines())
        return [
            LogLine(
                time=match["time"],
                thread=int(match["thread"]),
                group=match["group"],
                sa=match["sa"] or "",
                message=match["message"].strip(),
            )
            for match in found
            if match
        ]

    def words(self, pattern: str = "", since: int = 0) -> list[str]:
        """The messages after a mark that have the pattern (a regular expression), oldest first."""
        wanted = re.compile(pattern)
        return [line.message for line in self.lines(since) if wanted.search(line.message)]

    def wait_for(self, pattern: str, *, since: int = 0, timeout: float = 60.0) -> str:
        """The first message after a mark that has the pattern; raises LabError if none comes."""
        deadline = time.monotonic() + timeout
        while True:
            found = self.words(pattern, since)
            if found:
                return found[0]
            if time.monotonic() > deadline:
                tail = "\n  ".join(self.text(since).splitlines()[-25:])
                raise LabError(
                    f"no {pattern!r} in {self.path} within {timeout} s; it ends:\n  {tail}"
                )
            time.sleep(0.02)
