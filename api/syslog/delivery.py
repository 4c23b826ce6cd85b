"""Events on their way into the records, in the order of each gateway, each once.

They are taken in as those of an agent are, in batches that are numbered in a stream of the receiver. They wait in
memory alone: what was not taken when the process dies is lost, as nothing in syslog lets it be sent again.
"""

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from api.syslog.tally import Tally
from core.errors import IkewardenError, TooFast, Unavailable
from fleet.gateways import GatewayNotFound
from fleet.monitoring import intake
from fleet.monitoring.values import MAX_EVENTS, Batch, Taken, TooManyStreams
from ike.detection.order import WINDOW
from ike.events.event import SaEvent
from pki.actors import Actor, Role, Scope
from pki.desk import Desk

_LOG = logging.getLogger("ikewarden.syslog")
_PAUSE: Final = timedelta(seconds=1)
_LONGEST_PAUSE: Final = timedelta(seconds=30)
_FORGOTTEN: Final = timedelta(minutes=1)
_BEAT: Final = timedelta(seconds=60)
# After this much silence no line of before is on its way; the rules hold events a little less, to put them in order.
_SETTLED: Final = timedelta(seconds=WINDOW + 1)
_AT_ONCE: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Room:
    """How many events may wait: of one gateway, and of all."""

    of_one: int = 10_000
    of_all: int = 100_000


@dataclass
class _Course:
    """What waits of a gateway. `next` is the number of the first of it, None while that is not known.

    `lost` will never come, of which `gap` is left out of the numbers by the batch that is told.
    """

    events: deque[SaEvent] = field(default_factory=deque)
    next: int | None = None
    lost: int = 0
    gap: int = 0
    vouched: float = 0.0
    told: float = 0.0  # of `vouched`
    beat_at: datetime = _AT_ONCE
    settle_at: datetime | None = None  # None where nothing was delivered since
    not_before: datetime = _AT_ONCE
    failures: int = 0
    unsure: bool = False  # whether the last batch was taken
    limit: int = MAX_EVENTS


class Delivery:
    """Takes events from the listeners and gives them to the records. `add`, `lose`, `vouch` and `has_room` may be
    called while another thread delivers.
    """

    def __init__(self, desk: Desk, stream: str, tally: Tally, room: Room) -> None:
        self._desk, self._stream, self._tally, self._room = desk, stream, tally, room
        self._lock = threading.Lock()
        self._courses: dict[str, _Course] = {}
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """How many events wait."""
        return self._waiting

    def has_room(self, gateway: str) -> bool:
        """Whether more events of this gateway can wait."""
        course = self._courses.get(gateway)
        if self._waiting >= self._room.of_all:
            return False
        return course is None or len(course.events) < self._room.of_one

    def add(self, gateway: str, events: Sequence[SaEvent]) -> None:
        """Have these wait, also where there is no room: who adds has asked before."""
        with self._lock:
            self._course(gateway).events.extend(events)
            self._waiting += len(events)

    def lose(self, gateway: str, number: int) -> None:
        """So many lines of this gateway will never come: numbers are left out for them, as an agent does."""
        with self._lock:
            self._course(gateway).lost += number

    def vouch(self, gateway: str, until: float) -> None:
        """All events of this gateway up to then were added."""
        with self._lock:
            course = self._course(gateway)
            course.vouched = max(course.vouched, until)

    def _course(self, gateway: str) -> _Course:
        return self._courses.setdefault(gateway, _Course())

    def deliver(self, now: datetime) -> int:
        """Give what is due to the records; tell how many events they took. Never raises."""
        taken = 0
        for gateway, course in list(self._courses.items()):
            if not _is_ahead(course.not_before, now) and _is_due(course, now):
                taken += self._one(gateway, course, now)
        return taken

    def deliver_all(self, clock: Callable[[], datetime], stop: threading.Event) -> None:
        """Deliver as long as whole batches wait, or until `stop` is set."""
        while self.deliver(clock()) >= MAX_EVENTS and not stop.is_set():
            pass

    def _one(self, gateway: str, course: _Course, now: datetime) -> int:
        with self._lock:
            vouched = course.vouched
            events = list(islice(course.events, course.limit))
            whole = len(events) == len(course.events)
            if not course.unsure:  # else its numbers stay: it may have been taken
                course.gap = course.lost
        try:
            if course.next is None:
                course.next = self._take(gateway, Batch(self._stream, 0, ()), now).next
            first = course.next + course.gap
            until = datetime.fromtimestamp(vouched, UTC) if whole and vouched else None
            settled = not events and _is_settled(course, now)
            batch = Batch(self._stream, first, events, first, until, settled)
            taken = self._take(gateway, batch, now)
        except Exception as error:  # noqa: BLE001 - other gateways' events must be delivered
            self._failed(gateway, course, error, now)
            return 0
        if taken.repeated and not course.unsure:
            self._leave_stream(gateway)
            return 0
        self._done(course, len(events))
        self._forget_lost(course, course.gap)
        course.next = first + len(events)
        course.failures, course.unsure = 0, False
        course.limit = min(MAX_EVENTS, course.limit * 2)
        course.beat_at = now + _BEAT
        if events or settled:
            course.settle_at = now + _SETTLED if events else None
        if until is not None:
            course.told = vouched
        return len(events)

    def _take(self, gateway: str, batch: Batch, now: datetime) -> Taken:
        # The door has found out whose lines they are; the operation asks whether a gateway may report of itself.
        name = f"syslog of {gateway}"
        actor = Actor(name, Role.GATEWAY, credential="syslog", scope=Scope(gateway=gateway))
        return intake.take(self._desk, actor, batch, now=now)

    def _leave_stream(self, gateway: str) -> None:
        """Somebody else sends in it: go on in one of our own."""
        _LOG.error(
            "another receiver of the same name and port tells of a gateway",
            extra={"gateway": gateway, "stream": self._stream},
        )
        self._stream = f"{self._stream[:40]}-{secrets.token_hex(4)}"
        for course in self._courses.values():
            course.next = None

    def _done(self, course: _Course, number: int) -> None:
        with self._lock:
            for _ in range(number):
                course.events.popleft()
            self._waiting -= number

    def _forget_lost(self, course: _Course, number: int) -> None:
        with self._lock:
            course.lost -= number
            course.gap = 0

    def _refused(self, course: _Course) -> None:
        """The first one that waits is refused whatever is done, and so never told."""
        number = min(1, len(course.events))
        self._done(course, number)
        with self._lock:
            course.lost += number

    def _failed(self, gateway: str, course: _Course, error: Exception, now: datetime) -> None:
        code = error.code if isinstance(error, IkewardenError) else type(error).__name__
        if not course.failures:
            # Not the words of an error that is not ours: they may quote what a peer sent.
            reason = error.message if isinstance(error, IkewardenError) else code
            about = {"gateway": gateway, "code": code, "reason": reason}
            _LOG.warning("events from syslog are not taken", extra=about)
        course.failures += 1
        course.unsure = True
        course.next = None if isinstance(error, TooManyStreams) else course.next
        pause = min(_LONGEST_PAUSE, _PAUSE * 2 ** min(course.failures - 1, 6))
        match error:
            case GatewayNotFound():
                self._tally.count("gateway_not_found", len(course.events))
                self._done(course, len(course.events))
                self._forget_lost(course, course.lost)
                # It may be registered anew, and then knows of nothing.
                course.next, course.told, pause = None, course.vouched, _FORGOTTEN
            case TooFast():
                pause = timedelta(seconds=float(str(error.details.get("retry_after", 1))))
            case Unavailable() | TooManyStreams():
                pass
            case _ if course.limit > 1:
                # One of them may be refused: find it.
                course.limit, pause = course.limit // 2, timedelta(0)
            case _:
                self._tally.count("event_refused")
                self._refused(course)
        course.not_before = now + pause


def _is_due(course: _Course, now: datetime) -> bool:
    if course.events or course.lost or _is_settled(course, now):
        return True
    return course.vouched > course.told and not _is_ahead(course.beat_at, now)


def _is_settled(course: _Course, now: datetime) -> bool:
    return course.settle_at is not None and not _is_ahead(course.settle_at, now)


def _is_ahead(moment: datetime, now: datetime) -> bool:
    """Whether it is to come, and no further away than it can be: the clock may have been set back since."""
    return timedelta(0) < moment - now <= max(_BEAT, _FORGOTTEN)
