"""A batch of events taken in: stored, counted and looked at by the rules, in one transaction, each event once.

The rules run in that transaction and not in a job. What they remember of a gateway lies in a row that is locked while
its events are taken, so that events, counts, memory and alerts are all there or none of them, whichever replica took
the batch and wherever it died; and gateways do not wait for each other. The rules see the events of a stream in its
order: what came without what is before it is stored, and judged when that has come or is given up.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from fleet.gateways import locked
from fleet.monitoring import alerts, bounds, counting, pace, planned, watching
from fleet.monitoring.rows import AHEAD, LARGEST, base, event_of, row_of
from fleet.monitoring.sequences import Stream
from fleet.monitoring.values import FAILURES, MAX_EVENTS, MAX_STREAMS, Batch, EventsRefused, Taken
from fleet.monitoring.values import TooManyStreams as TooMany
from fleet.state import own_name
from ike.detection.state import Change
from ike.detection.watch import Watch
from ike.events.echoes import Echoes
from ike.events.event import EVENTS, LOST, SaEvent
from pki.actors import Action, Actor, require
from pki.desk import Desk
from store.many import insert_all
from store.monitoring_tables import sa_events, sa_watches

_LOG = logging.getLogger(__name__)
# A stream is remembered at least so long after its last batch: who sends that again must not be believed twice. Agents
# do it after 15 minutes at the latest.
_MEMORY: Final = timedelta(hours=1)
# Counted as the rules recognise them: daemons tell of one change in several lines, and of none in some.
_RECOGNISED: Final = frozenset(
    {"ike_rekeyed", "child_established", "child_rekeyed", "child_closed"}
)
# So long the rules wait for events that others came without.
PATIENCE: Final = timedelta(minutes=5)


def take(desk: Desk, actor: Actor, batch: Batch, *, now: datetime) -> Taken:
    """Take events of the acting gateway. May be done again, in any order, on any replica: each event counts once.

    What is from the future is taken to be of now. The answer tells what the stream waits for. Raises RoleMayNot,
    OutsideScope, GatewayNotFound, EventsRefused, EventsTooFast, TooManyStreams.
    """
    require(actor, Action.GATEWAY_SELF)
    name = own_name(actor)
    if len(batch.events) > MAX_EVENTS:
        raise EventsRefused(f"A batch holds at most {MAX_EVENTS} events.")
    if not 0 <= batch.oldest <= batch.first <= LARGEST - MAX_EVENTS:
        raise EventsRefused("No stream has such numbers; `oldest` is not behind `first`.")
    with desk.store.write() as connection:
        # Batches of one gateway come one after the other.
        gateway = locked(connection, name)
        return _Intake(connection, gateway, now).settle(batch)


@dataclass
class _Intake:
    """One batch on its way. `base` is the number of the stream's first event."""

    connection: Connection
    gateway: Row[Any]
    now: datetime
    base: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    def settle(self, batch: Batch) -> Taken:
        watch = self._watch()
        values = pace.counted(watch, len(batch.events), self.now)
        streams = dict(watch.streams)
        known = self._stream(streams, batch.stream, watch.begun)
        waiting = known.without(batch.oldest)
        places = waiting.fresh(batch.first, len(batch.events))
        after = self._patient(waiting.taken(batch.first, len(batch.events)), streams[batch.stream])
        for place in places:
            self.rows.append(self._row(batch, place))
        insert_all(self.connection, sa_events, self.rows)
        ours = planned.at_gateway(self.connection, self.gateway.id, self.now)
        names = {row["connection"] for row in self.rows if row["connection"] is not None}
        known_of = bounds.AtGateway(self.connection, self.gateway.id, names)
        rules = watching.restored(watch.memory, self.gateway.name, known_of, ours)
        # What happened while no agent listened, as over VICI, is lost.
        rules.doubt(watch.seen_at.timestamp(), self.now.timestamp())
        lost = after.lost - known.lost
        if lost:
            rules.lose(self.gateway.name, lost, self.now.timestamp())
        changes = rules.changes()
        self._judge(rules, known, after, batch)
        streams[batch.stream] |= after.document() | {"at": self.now.timestamp()}
        self.connection.execute(
            update(sa_watches)
            .where(sa_watches.c.gateway_id == self.gateway.id)
            .values(
                **values,
                seen_at=self.now,
                begun=max(watch.begun, streams[batch.stream]["ordinal"] + 1),
                streams=streams,
                counted=self._count(watch.counted, lost, changes),
                memory=watching.kept(rules, self.gateway.name),
            )
        )
        repeated = len(batch.events) - len(places)
        return Taken(len(places), repeated, after.next, after.missing, after.lost)

    def _watch(self) -> Row[Any]:
        mine = select(sa_watches).where(sa_watches.c.gateway_id == self.gateway.id)
        found = self.connection.execute(mine).one_or_none()
        if found is not None:
            return found
        first = {"begun": 0, "seen_at": self.now, "streams": {}, "counted": 0}
        values = {"gateway_id": self.gateway.id, "minute": self.now, "in_minute": 0, **first}
        self.connection.execute(insert(sa_watches).values(**values))
        return self.connection.execute(mine).one()

    def _stream(self, streams: dict[str, Any], name: str, begun: int) -> Stream:
        """The stream as far as it is known, begun if it is not."""
        if name not in streams:
            if len(streams) >= MAX_STREAMS:
                stalest = min(streams, key=lambda each: float(streams[each]["at"]))
                if streams[stalest]["at"] > (self.now - _MEMORY).timestamp():
                    raise TooMany(f"The gateway has {MAX_STREAMS} streams that are in use.")
                del streams[stalest]
            streams[name] = {"ordinal": begun, "since": None, **Stream().document()}
        streams[name] = dict(streams[name])
        self.base = base(streams[name]["ordinal"])
        return Stream.of(streams[name])

    def _patient(self, stream: Stream, document: dict[str, Any]) -> Stream:
        """The stream, without what was waited for too long; `document` keeps since when."""
        if not stream.ahead or document["next"] != stream.next:
            document["since"] = None
        if not stream.ahead:
            return stream
        if document["since"] is None:
            document["since"] = self.now.timestamp()
        if document["since"] > (self.now - PATIENCE).timestamp():
            return stream
        document["since"] = None
        return stream.without(stream.ahead[-1][0])

    def _row(self, batch: Batch, place: int) -> dict[str, Any]:
        sequence = batch.first + place
        return {
            "gateway_id": self.gateway.id,
            "number": self.base + sequence,
            "stream": batch.stream,
            "sequence": sequence,
            **row_of(batch.events[place], self.now),
        }

    def _judge(self, rules: Watch, known: Stream, after: Stream, batch: Batch) -> None:
        """Let the rules see what follows without a gap now, in its order."""
        newest, moved = None, False
        following = list(self._following(known, after))
        for row in following:
            event = event_of(row, self.gateway.name)
            rules.observe(event)
            newest = event.time if newest is None or event.time is None else max(newest, event.time)
            if row["clock"] == AHEAD and not moved:
                moved = True
                rules.observe(
                    SaEvent("clock", event.line, event.time, reason=AHEAD, host=event.host)
                )
        if batch.until is not None and not after.ahead:
            # Who hears one event after the other says late, or not at all, that nothing else happened: the events
            # themselves tell how late it is.
            until = min(batch.until, self.now).timestamp()
            newest = until if newest is None else max(newest, until)
        if newest is not None:
            rules.advance(newest)
        if batch.settled and not after.ahead:
            rules.settle()
        told = following or newest is not None or batch.settled or after.lost > known.lost
        if not told:
            return  # nothing is new: what the clock ended is not to be opened for that
        alerts.settle(self.connection, self.gateway, rules.alerts(), self.now)
        # They are on record.
        rules.forget(inf)

    def _following(self, known: Stream, after: Stream) -> Iterable[Mapping[str, Any]]:
        if after.next == known.next:
            return []
        if not known.ahead and not after.ahead:
            return self.rows
        numbers = sa_events.c.number
        query = (
            select(sa_events)
            .where(sa_events.c.gateway_id == self.gateway.id)
            .where(numbers >= self.base + known.next, numbers < self.base + after.next)
            .order_by(numbers)
        )
        return [dict(row) for row in self.connection.execute(query).mappings()]

    def _count(self, counted: int, lost: int, changes: Iterable[Change]) -> int:
        echoes = Echoes()
        told = [
            (
                counting.Told(each["at"], each["connection"], each["kind"], each["reason"])
                if each["kind"] in EVENTS
                else counting.Told(
                    each["at"], None, counting.COUNTED, each["reason"], each["document"]["number"]
                )
            )
            for each in self.rows
            if (_is_fact(each) and not self._is_echo(each, echoes)) or _is_count(each)
        ]
        for kind, at, name in changes:
            when = self.now if at is None else datetime.fromtimestamp(at, UTC)
            told.append(counting.Told(when, name, kind, None))
        if lost:
            told.append(counting.Told(self.now, None, counting.COUNTED, LOST, lost))
            about = {"gateway": self.gateway.name, "lost": lost}
            _LOG.warning("events of a gateway were lost on their way", extra=about)
        return counting.count(self.connection, self.gateway.id, counted, told)

    def _is_echo(self, row: Mapping[str, Any], echoes: Echoes) -> bool:
        """Whether it is one more sentence about the failure that a row before it told of."""
        if row["kind"] not in FAILURES:
            return False
        return echoes.has(event_of(row, self.gateway.name), row["connection"])


def _is_fact(row: Mapping[str, Any]) -> bool:
    """Whether an event counts by itself. Several lines may tell of one SA: those are counted as the rules see them."""
    kind, document = row["kind"], row["document"]
    return kind in EVENTS and kind not in _RECOGNISED and document.get("phase") is None


def _is_count(row: Mapping[str, Any]) -> bool:
    """Whether the daemon counted something of which there are no events."""
    return bool(row["kind"] == counting.COUNTED and row["document"].get("number"))
