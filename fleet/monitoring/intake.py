"""A batch of events taken in: stored, counted and looked at by the rules, in one transaction, each event once.

The rules run in that transaction and not in a job. What they remember of a gateway lies in the row that is locked while
its events are numbered, so that events, counts, memory and alerts are all there or none of them, whichever replica took
the batch and wherever it died; and gateways do not wait for each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from fleet.gateways import locked
from fleet.monitoring import alerts, counting, watching
from fleet.monitoring.sequences import Stream
from fleet.monitoring.values import (
    MAX_EVENTS,
    MAX_STREAMS,
    PER_MINUTE,
    Batch,
    EventsRefused,
    EventsTooFast,
    Taken,
    TooManyStreams,
)
from fleet.state import own_name
from ike.detection.watch import Watch
from ike.events.event import EVENTS, SaEvent
from pki.actors import Action, Actor, require
from pki.desk import Desk
from store.monitoring_tables import sa_events, sa_watches
from store.text import storable

# Clocks that differ by less are well enough.
_AHEAD = timedelta(minutes=5)
_MINUTE = timedelta(minutes=1)
# A stream is remembered at least so long after its last batch: who sends that again must not be believed twice.
_MEMORY = timedelta(days=1)
_OLDEST = datetime(1970, 1, 2, tzinfo=UTC)
_LARGEST = 1 << 53
# Columns of their own; the rest of an event stands in its document.
_APART = frozenset({"kind", "line", "time", "source", "name", "identity", "reason"})
NO_TIME, AHEAD = "none", "ahead"


def take(desk: Desk, actor: Actor, batch: Batch, *, now: datetime) -> Taken:
    """Take events of the acting gateway. May be done again, in any order, on any replica: each event counts once.

    What is from the future is taken to be of now. The answer tells what the stream waits for. Raises RoleMayNot,
    OutsideScope, GatewayNotFound, EventsRefused, EventsTooFast, TooManyStreams.
    """
    require(actor, Action.GATEWAY_SELF)
    name = own_name(actor)
    if len(batch.events) > MAX_EVENTS or not 0 <= batch.first <= _LARGEST:
        raise EventsRefused(f"A batch holds at most {MAX_EVENTS} events.")
    if not 0 <= batch.oldest <= batch.first:
        raise EventsRefused(
            "The oldest event that may still come is not behind the first of the batch."
        )
    with desk.store.write() as connection:
        # Batches of one gateway come one after the other.
        gateway = locked(connection, name)
        return _Intake(connection, gateway, now).settle(batch)


@dataclass
class _Intake:
    """One batch on its way."""

    connection: Connection
    gateway: Row[Any]
    now: datetime
    ahead: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)

    def settle(self, batch: Batch) -> Taken:
        watch = self._watch()
        streams = dict(watch.streams)
        before = self._stream(streams, batch)
        places = before.fresh(batch.first, len(batch.events))
        after = before.taken(batch.first, len(batch.events))
        row = {
            "number": watch.number + len(places),
            "seen_at": self.now,
            **self._pace(watch, len(batch.events)),
            "streams": streams | {batch.stream: after.document() | {"at": self.now.timestamp()}},
        }
        rules = watching.restored(watch.state, self.gateway.name)
        self._observe(rules, batch, places, watch.number)
        if batch.until is not None and not after.ahead:
            rules.advance(min(batch.until, self.now).timestamp())
        if self.rows:
            self.connection.execute(insert(sa_events).inline(), self.rows)
        counted = counting.count(
            self.connection,
            self.gateway.id,
            watch.counted,
            (
                (each["at"], each["connection"], each["kind"], each["reason"])
                for each in self.rows
                if each["kind"] in EVENTS
            ),
        )
        alerts.settle(self.connection, self.gateway, rules.alerts(), self.now)
        self.connection.execute(
            update(sa_watches)
            .where(sa_watches.c.gateway_id == self.gateway.id)
            .values(**row, counted=counted, state=watching.kept(rules))
        )
        return Taken(
            stored=len(places),
            repeated=len(batch.events) - len(places),
            next=after.next,
            missing=after.missing,
            lost=after.lost,
        )

    def _watch(self) -> Row[Any]:
        mine = select(sa_watches).where(sa_watches.c.gateway_id == self.gateway.id)
        found = self.connection.execute(mine).one_or_none()
        if found is not None:
            return found
        self.connection.execute(
            insert(sa_watches).values(
                gateway_id=self.gateway.id,
                number=0,
                seen_at=self.now,
                minute=self.now,
                in_minute=0,
                counted=0,
                streams={},
            )
        )
        return self.connection.execute(mine).one()

    def _stream(self, streams: dict[str, Any], batch: Batch) -> Stream:
        known = streams.get(batch.stream)
        if known is None and len(streams) >= MAX_STREAMS:
            stalest = min(streams, key=lambda name: float(streams[name]["at"]))
            if streams[stalest]["at"] > (self.now - _MEMORY).timestamp():
                raise TooManyStreams(f"The gateway has {MAX_STREAMS} streams that are in use.")
            del streams[stalest]
        return (Stream() if known is None else Stream.of(known)).without(batch.oldest)

    def _pace(self, watch: Row[Any], number: int) -> dict[str, Any]:
        passed = self.now - watch.minute
        begun = watch.minute if passed < _MINUTE else self.now
        already = watch.in_minute if passed < _MINUTE else 0
        if already + number > PER_MINUTE:
            wait = (begun + _MINUTE - self.now).total_seconds()
            raise EventsTooFast(
                f"A gateway may report {PER_MINUTE} events in a minute.",
                details={"retry_after": max(1, min(60, round(wait + 0.5)))},
            )
        return {"minute": begun, "in_minute": already + number}

    def _observe(self, rules: Watch, batch: Batch, places: Sequence[int], before: int) -> None:
        for number, place in enumerate(places, before + 1):
            event = _cleaned(batch.events[place])
            at, clock = self._time(event)
            self.rows.append(self._row(event, at, clock, number))
            self.rows[-1] |= {"stream": batch.stream, "sequence": batch.first + place}
            rules.observe(event._replace(line=number, time=at.timestamp()))
            if clock == AHEAD and not self.ahead:
                self.ahead = True
                remark = SaEvent("clock", number, at.timestamp(), reason=AHEAD, host=event.host)
                rules.observe(remark)

    def _time(self, event: SaEvent) -> tuple[datetime, str | None]:
        if event.time is None:
            return self.now, NO_TIME
        if event.time > (self.now + _AHEAD).timestamp():
            return self.now, AHEAD
        return max(datetime.fromtimestamp(event.time, UTC), _OLDEST), None

    def _row(self, event: SaEvent, at: datetime, clock: str | None, number: int) -> dict[str, Any]:
        fields = event._asdict()
        return {
            "gateway_id": self.gateway.id,
            "number": number,
            "at": at,
            "received_at": self.now,
            "clock": clock,
            "kind": event.kind,
            "peer": event.source or event.peer,
            "connection": event.name or event.connection,
            "identity": event.identity,
            "reason": event.reason,
            "document": {
                name: value
                for name, value in fields.items()
                if value is not None and name not in _APART
            }
            | ({"said": event.time} if clock == AHEAD else {}),
        }


def _cleaned(event: SaEvent) -> SaEvent:
    """Without what a database refuses: whoever chose an identity wants it to break something."""
    texts: dict[str, Any] = {
        name: storable(value)
        for name, value in event._asdict().items()
        if isinstance(value, str) and not (value.isascii() and "\x00" not in value)
    }
    return event._replace(**texts) if texts else event
