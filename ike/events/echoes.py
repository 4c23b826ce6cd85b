"""Lines that say one fact again: a daemon tells of a failure in several sentences. Pure."""

from typing import Final, NamedTuple

from ike.events.event import SaEvent

SECONDS: Final = 1.0
LINES: Final = 6  # where the log shows no times
_MOST: Final = 50_000


class Said(NamedTuple):
    """When, on which line and by which thread of the daemon something was said."""

    time: float | None
    line: int
    thread: str | None

    @classmethod
    def of(cls, event: SaEvent) -> "Said":
        """As an event shows it."""
        return cls(event.time, event.line, event.thread)

    def is_again(self, before: "Said") -> bool:
        """Whether it is one more sentence about the same message: that is handled at once, and by one thread."""
        if None not in (self.thread, before.thread) and self.thread != before.thread:
            return False
        if self.time is not None and before.time is not None:
            return abs(self.time - before.time) < SECONDS
        return abs(self.line - before.line) <= LINES


class Echoes:
    """What was said last about each SA, of each kind."""

    def __init__(self) -> None:
        self._said: dict[tuple[object, ...], Said] = {}

    def has(self, event: SaEvent, place: object) -> bool:
        """Whether an event at `place`, a connection, says again what another one said a moment ago."""
        whose = event.ike_id if event.ike_id is not None else event.peer
        about = (place, event.kind, whose, event.child_id, event.seq)
        before, said = self._said.get(about), Said.of(event)
        if before is None and len(self._said) > _MOST:
            self._said.clear()
        self._said[about] = said
        return before is not None and said.is_again(before)
