"""Events of SAs, made by hand, and what came of them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from fleet.monitoring import intake, shown
from fleet.monitoring.records import AlertView
from fleet.monitoring.shown import AlertQuery, EventQuery, EventView
from fleet.monitoring.values import Batch, Taken
from ike.events.event import SaEvent
from pki.actors import Actor
from pki.desk import Desk
from store.monitoring_tables import sa_counts
from store.tables import outbox
from tests.fixtures.desk import NOW, OPERATOR
from tests.fleet.crew import Member

PEER = "198.51.100.7"
CONNECTION = "gw-branch"
START = NOW - timedelta(minutes=30)


def event(kind: str = "ike_established", after: float | None = 0, **fields: Any) -> SaEvent:
    """An event so many seconds after the start."""
    made = SaEvent(
        kind,
        0,
        None if after is None else START.timestamp() + after,
        peer=PEER,
        source=PEER,
        connection=CONNECTION,
        name=CONNECTION,
        ike_id=1,
    )
    return made._replace(**fields)


def failures(count: int = 10, after: float = 0, identity: str = "CN=branch") -> list[SaEvent]:
    """Failed authentications of one identity, one each second: too many of them, and too few for a guesser."""
    return [
        event(
            "auth_failed",
            after + number,
            identity=identity,
            reason="psk",
            ike_id=int(after) + number,
        )
        for number in range(count)
    ]


def batch(
    events: Sequence[SaEvent], first: int = 0, *, until: datetime | None = None, **fields: Any
) -> Batch:
    """A batch of the stream `a`."""
    return Batch(fields.pop("stream", "a"), first, events, until=until, **fields)


def after(seconds: float) -> datetime:
    """So long after the start."""
    return START + timedelta(seconds=seconds)


def sent(member: Member, events: Sequence[SaEvent], first: int = 0, **fields: Any) -> Taken:
    """Have a gateway report these."""
    now = fields.pop("now", NOW)
    desk = fields.pop("desk", member.desk)
    return intake.take(desk, member.actor, batch(events, first, **fields), now=now)


def events_of(desk: Desk, actor: Actor = OPERATOR, **query: Any) -> list[EventView]:
    """What a search gives."""
    return shown.events(desk, actor, EventQuery(**{"limit": 500, **query}))


def alerts_of(desk: Desk, **query: Any) -> list[AlertView]:
    """What a search gives."""
    return shown.alerts(desk, OPERATOR, AlertQuery(**query))


def told(desk: Desk) -> list[tuple[str, str]]:
    """Messages about alerts that are queued: event and kind."""
    with desk.store.read() as connection:
        query = select(outbox.c.payload).where(outbox.c.topic == "alert.changed")
        return [
            (each["event"], each["kind"])
            for each in connection.scalars(query.order_by(outbox.c.id))
        ]


def counts(desk: Desk) -> dict[tuple[str, str, str], tuple[int, int]]:
    """By connection, kind and reason: for all time, and by all hours together."""
    always = func.sum(sa_counts.c.number).filter(
        sa_counts.c.hour == datetime(1970, 1, 1, tzinfo=NOW.tzinfo)
    )
    hours = func.sum(sa_counts.c.number).filter(
        sa_counts.c.hour > datetime(1970, 1, 1, tzinfo=NOW.tzinfo)
    )
    keys = (sa_counts.c.connection, sa_counts.c.kind, sa_counts.c.reason)
    with desk.store.read() as connection:
        query = select(*keys, always, hours).group_by(*keys)
        return {(r[0], r[1], r[2]): (int(r[3]), int(r[4])) for r in connection.execute(query)}
