"""Threads beside the agent: one for each source gathers events of SAs and keeps them, one tells them to the service."""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from core.errors import IkewardenError
from ike.agent.channel import ServerRefused, Service
from ike.agent.clock import Clock
from ike.agent.home import Home, stamp
from ike.agent.schedule import contact_seconds
from ike.agent.settings import AgentSettings
from ike.agent.watching.crush import Crush
from ike.agent.watching.feeds import Feed, feeds_of
from ike.agent.watching.sources import FAILURES, Gathered
from ike.agent.watching.spool import Batch, Document, Spool
from ike.events.event import SaEvent
from ike.events.limits import limited

PATH: Final = "/v1/gateways/self/sa-events"
_log = logging.getLogger(__name__)
_AT_ONCE: Final = 1000  # events of a batch, as the service takes them
_AGAIN_SECONDS: Final = 5.0
_BROKEN_SECONDS: Final = 60.0
_RETRY_CAP: Final = 900.0
_NOTE_SECONDS: Final = 5.0  # from telling until it is noted
_FAR: Final = (
    1 << 20
)  # bytes of a log without an event, after which the place is noted all the same
_DAEMON: Final = "daemon: "  # before the places of those sources that are not beside another
_DROPPED: Final = frozenset({"kind", "line", "time"})


@dataclass(frozen=True)
class Pace:
    """Seconds: from an event to its report, from that to the next one where nothing happens, and from then on."""

    settle: float = 0.5
    quiet: float = 6.0
    beat: float = 60.0


def begin(
    home: Home,
    settings: AgentSettings,
    clock: Clock,
    *,
    connect: Callable[[], Service],
    stop: threading.Event,
    pace: Pace | None = None,
) -> list[threading.Thread]:
    """Start them, where there is something to watch; they end after `stop` is set. Never raises."""
    feeds = feeds_of(settings, clock.wall)
    if not feeds:
        with suppress(IkewardenError):  # whatever is wrong with the home, the agent says
            if home.watch_notes():
                home.write_watch_notes({})  # of what was watched before
        return []
    try:
        spool = Spool(home.path / "watch")
    except IkewardenError as error:
        _log.error("SAs are not watched", extra={"code": error.code, "reason": error.message})
        return []
    gatherers = [Gatherer(each, spool, stop) for each in feeds]
    teller = Teller(
        gatherers,
        spool,
        clock,
        connect=connect,
        note=_Notes(home, ", ".join(each.name for each in feeds), clock).write,
        stop=stop,
        pace=pace,
    )
    threads = [*gatherers, teller]
    _log.info("SAs are watched", extra={"source": ", ".join(each.name for each in feeds)})
    for thread in threads:
        thread.start()
    return threads


class _Notes:
    """What `ikewarden agent status` shows of the watch."""

    def __init__(self, home: Home, source: str, clock: Clock) -> None:
        self._home, self._source, self._clock = home, source, clock
        self._told_at = home.watch_notes().get("told_at")

    def write(self, errors: list[str], waiting: int, *, told: bool) -> None:
        if told:
            self._told_at = stamp(self._clock.wall())
        document = {
            "source": self._source,
            "told_at": self._told_at,
            "waiting": waiting,
            "errors": errors,
        }
        with suppress(IkewardenError):  # the log has said why nothing can be written
            self._home.write_watch_notes(document)


class Gatherer(threading.Thread):
    """Keeps what a source tells. `until` is the time up to which all is kept; None while that is not known. `failing`
    is why nothing can be gathered.
    """

    def __init__(self, feed: Feed, spool: Spool, stop: threading.Event) -> None:
        super().__init__(name=f"gather {feed.name}", daemon=True)
        self._source, self._spool, self._stop_event = feed.source, spool, stop
        self.feed = feed
        self._place = feed.name if feed.beside else f"{_DAEMON}{feed.name}"
        self._told_elsewhere: list[tuple[float, frozenset[str]]] = []
        self._crush = Crush()
        self.until: float | None = None
        self.failing = ""

    def run(self) -> None:
        """Gather, and again whenever it breaks off."""
        while not self._stop_event.is_set():
            wait = _AGAIN_SECONDS
            try:
                for gathered in self._source.gather(self._begin(), self._stop_event):
                    self._keep(gathered)
            except FAILURES as error:
                self._failed(str(error))
            except Exception as error:  # noqa: BLE001 - a mistake in a parser must not end the watch
                # Not its own words: they may quote what a peer sent.
                self._failed(type(error).__name__)
                wait = _BROKEN_SECONDS
            self.until = None
            self._stop_event.wait(wait)

    def _begin(self) -> Document | None:
        """Where the source goes on. If another told of the daemon meanwhile, what that told is not told again."""
        position = self._spool.position_of(self._place)
        if self.feed.beside:
            return position
        self._told_elsewhere = [
            (float(each["at"]), frozenset(each["kinds"]))
            for each in self._spool.positions(_DAEMON, self._place)
            if each.get("at")
        ]
        # An agent of before had one place for all of them; each source knows its own.
        return position or self._spool.position_of("")

    def _is_told(self, event: SaEvent) -> bool:
        """Whether another source has told it, as far as that tells such events at all."""
        at = event.time
        return at is not None and any(
            at <= until and event.kind in kinds for until, kinds in self._told_elsewhere
        )

    def _failed(self, reason: str) -> None:
        if reason != self.failing:
            extra = {"source": self.feed.name, "reason": reason}
            _log.warning("the watch over SAs broke off", extra=extra)
        self.failing = reason

    def _keep(self, gathered: Gathered) -> None:
        new = [each for each in gathered.events if not self._is_told(each)]
        events = [document(each) for each in self._crush.thinned(new)]
        old = self._spool.position_of(self._place)
        if events or _is_far(old, gathered.position):
            self._add(events, self._with_time(gathered.position, new, old))
        if gathered.failing:
            self._failed(gathered.failing)
            self.until = None
            return
        if self.failing:
            _log.info("the watch over SAs goes on", extra={"source": self.feed.name})
        self.failing = ""
        if gathered.until is not None:
            self.until = gathered.until
            self._told_elsewhere = []  # it has caught up; from now on a clock may be set back

    def _with_time(
        self, position: Document | None, events: Sequence[SaEvent], old: Document | None
    ) -> Document | None:
        """The place, and what kinds of events it told of the daemon, up to when (POSIX seconds)."""
        if position is None or self.feed.beside:
            return position
        before = old or {}
        times = [each.time for each in events if each.time is not None]
        kinds = {each.kind for each in events} | set(before.get("kinds", ()))
        at = max(times, default=before.get("at", 0))
        return {**position, "at": at, "kinds": sorted(kinds)}

    def _add(self, events: list[Document], position: Document | None) -> None:
        """Keep, however long it takes: what is not kept is not read on."""
        failing = False
        while not self._stop_event.is_set():
            try:
                self._spool.add(events, position, self._place)
            except IkewardenError as full:
                if not failing:
                    _log.warning("events of SAs are not kept", extra={"reason": full.message})
                failing = True
                self.until = None
                self._stop_event.wait(_AGAIN_SECONDS)
            else:
                return


class Teller(threading.Thread):
    """Tells the service what is kept, as soon as it can be told, in order."""

    def __init__(
        self,
        gatherers: Sequence[Gatherer],
        spool: Spool,
        clock: Clock,
        *,
        connect: Callable[[], Service],
        note: Callable[..., None],
        stop: threading.Event,
        pace: Pace | None = None,
    ) -> None:
        super().__init__(name="tell", daemon=True)
        self._gatherers, self._spool, self._clock = gatherers, spool, clock
        self._connect, self._stop_event = connect, stop
        self._pace = pace or Pace()
        self._note = note
        self._limit = _AT_ONCE
        self._failures = 0
        self._refused = ""
        self._noted: list[str] | None = None
        self._told = False
        self._send_at = self._beat_at = self._note_at = 0.0

    def run(self) -> None:
        """Look, tell."""
        while not self._stop_event.wait(self._pace.settle):
            now = self._clock.monotonic()
            due = now >= self._beat_at and self._until() is not None
            if now >= self._send_at and (len(self._spool) or due):
                self._tell_all()
            self._keep_notes()

    def _until(self) -> float | None:
        """Up to when all is kept. Those beside tell of their own, and say nothing of what did not happen."""
        return next((each.until for each in self._gatherers if not each.feed.beside), None)

    def _keep_notes(self) -> None:
        """When something is wrong, or no more, and now and then."""
        errors = [self._refused] if self._refused else []
        errors += [f"{each.feed.name}: {each.failing}" for each in self._gatherers if each.failing]
        if lost := self._spool.lost:
            errors.append(f"{lost} events had to give way before they were told")
        now = self._clock.monotonic()
        if errors != self._noted or now >= self._note_at:
            self._noted, self._note_at = errors, now + self._pace.beat
            self._note(errors, len(self._spool), told=self._told)
            self._told = False

    def _tell_all(self) -> None:
        service: Service | None = None
        try:
            service = self._connect()
            while self._tell(service) and not self._stop_event.is_set():
                pass
        except IkewardenError as error:
            self._later(error)
        except Exception as error:  # noqa: BLE001 - the thread must live on
            _log.error("telling of SAs broke off", extra={"kind": type(error).__name__})
            self._send_at = self._clock.monotonic() + _BROKEN_SECONDS
        finally:
            if service is not None:
                with suppress(Exception):
                    service.close()

    def _tell(self, service: Service) -> bool:
        """Tell one batch; whether there is more."""
        until = self._until()  # before the events are taken: all up to then are kept
        batch = self._spool.batch(self._limit)
        whole = len(self._spool) == len(batch.events)
        try:
            service.post(PATH, _body(batch, until if whole else None))
        except ServerRefused as refused:
            if not _is_final(refused):
                raise
            self._give_up(batch, refused)
        else:
            self._spool.done(batch)
            self._limit = min(_AT_ONCE, self._limit * 2)
        if self._failures:
            _log.info("the service hears of SAs again")
        self._failures, self._refused, self._told = 0, "", True
        now = self._clock.monotonic()
        # Soon after an event the service is told that none came since: it holds events a moment, to order them.
        self._beat_at = now + (self._pace.quiet if batch.events else self._pace.beat)
        self._note_at = min(self._note_at, now + _NOTE_SECONDS)
        return len(self._spool) > 0

    def _give_up(self, batch: Batch, refused: ServerRefused) -> None:
        """Find the event that is refused, and go on without it."""
        if len(batch.events) > 1:
            self._limit = len(batch.events) // 2
            return
        _log.error("an event of an SA was refused", extra={"reason": refused.message})
        self._spool.done(batch)

    def _later(self, error: IkewardenError) -> None:
        if not self._failures:
            extra = {"code": error.code, "reason": error.message}
            _log.warning("the service does not hear of SAs", extra=extra)
        self._failures += 1
        self._refused = f"{error.message} ({error.code})"
        after = error.retry_after if isinstance(error, ServerRefused) else None
        # An older service knows nothing of it, and may be renewed some day.
        unknown = isinstance(error, ServerRefused) and error.problem == "route_not_found"
        wait = contact_seconds(self._failures, self._clock.chance, after, cap=_RETRY_CAP)
        self._send_at = self._clock.monotonic() + (_RETRY_CAP if unknown else wait)


def _is_final(refused: ServerRefused) -> bool:
    return refused.status in (400, 413, 415, 422)


def _is_far(old: Document | None, new: Document | None) -> bool:
    """Whether a place is worth being noted without an event: another file, or far behind."""
    if old is None or new is None:
        return old != new
    if {**old, **_MOVING} != {**new, **_MOVING}:
        return "journal" not in new and "counters" not in new
    return int(new.get("offset", 0)) - int(old.get("offset", 0)) > _FAR


# What changes with every line.
_MOVING: Final = {"offset": 0, "settled": False, "head": "", "known": 0, "at": 0, "kinds": 0}


def _body(batch: Batch, until: float | None) -> Document:
    body: Document = {
        "stream": batch.stream,
        "first": batch.first,
        "oldest": batch.oldest,
        "events": batch.events,
    }
    if until is not None:
        body["until"] = _time(until)
    return body


def document(event: SaEvent) -> Document:
    """An event as the service takes it: what is too long is cut, and what it would refuse is left out."""
    event = limited(event)
    shown: Document = {"event": event.kind}
    if event.time is not None:
        shown["time"] = _time(event.time)
    for name in SaEvent._fields:
        value = getattr(event, name)
        if value is not None and name not in _DROPPED:
            shown[name] = value
    return shown


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
