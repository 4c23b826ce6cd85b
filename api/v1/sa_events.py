"""What happens to SAs: reported by gateways, searched by people."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from api import cursors
from api.cursors import PageQuery
from api.registry import Call, Nothing, Reply, Route, Sent, Shown
from api.v1.certificates import When, Word
from fleet.monitoring import intake, shown
from fleet.monitoring.shown import EventQuery, EventView
from fleet.monitoring.values import MAX_EVENTS, Batch
from ike.events.event import EVENTS, REMARKS, SaEvent
from pki.actors import Action

_PATH = "/v1/sa-events"
# A peer chooses its identity: whatever it is, it is kept, up to a length. What prints it must escape it.
Text = Annotated[str, Field(max_length=255)]
Long = Annotated[str, Field(max_length=1024)]
Number = Annotated[int, Field(ge=0, lt=1 << 53)]
Id = Annotated[int, Field(ge=0, lt=1 << 63)]
Spi = Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{1,32}$")]
Kind = Annotated[str, Field(pattern=f"^({'|'.join(sorted({*EVENTS, *REMARKS}))})$")]


class Happened(Sent):
    """An event, as `ikewarden sa events` prints it, with what the rules need besides."""

    event: Kind
    time: When | None = None
    line: Number | None = Field(default=None, description="Of the gateway's log; not kept.")
    peer: Text | None = None
    connection: Text | None = None
    ike_id: Id | None = None
    child: Text | None = None
    child_id: Id | None = None
    spi_in: Spi | None = None
    spi_out: Spi | None = None
    old_ike_id: Id | None = None
    new_child_id: Id | None = None
    seq: Id | None = None
    phase: Text | None = None
    thread: Text | None = None
    source: Text | None = Field(default=None, description="The peer's address, if known at all.")
    name: Text | None = Field(default=None, description="The connection, if known at all.")
    identity: Long | None = Field(default=None, description="The peer's identity, as printed.")
    reason: Text | None = None
    algorithms: Long | None = None
    size: Id | None = None
    seconds: float | None = Field(default=None, allow_inf_nan=False)
    number: Number | None = Field(default=None, description="How many, where something is counted.")
    host: Text | None = None
    daemon: Text | None = None


class Batched(Sent):
    """Events in the order in which the gateway saw them."""

    stream: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = Field(
        description="The gateway's own name for a numbering; a new one where it forgot the last number."
    )
    first: Number = Field(description="The number of the first event; the others follow.")
    oldest: Number = Field(
        default=0,
        description="Events with lower numbers are lost, if they have not come: nobody waits for them.",
    )
    until: When | None = Field(
        default=None,
        description="All that happened before is in this batch or those before it. What is missing is missed by this.",
    )
    events: list[Happened] = Field(max_length=MAX_EVENTS)


class Missing(Shown):
    """Numbers that have not come."""

    first: int
    end: int = Field(description="The one behind the last.")


class TakenShown(Shown):
    """What became of a batch."""

    stored: int
    repeated: int = Field(description="How many were here already.")
    next: int = Field(description="All numbers below have come, or are lost.")
    missing: list[Missing] = Field(description="What came without what is before it.")
    lost: int = Field(description="How many of the stream never came.")


class EventSearch(PageQuery):
    """Which events."""

    gateway: Word | None = None
    connection: Word | None = None
    peer: Word | None = Field(default=None, description="An address.")
    kind: Word | None = None
    since: When | None = None
    until: When | None = None


class EventShown(Shown):
    """An event."""

    gateway: str
    number: int = Field(description="Counts the events of the gateway. Alerts refer to it.")
    at: datetime
    received_at: datetime
    clock: str | None = Field(
        description="`none`: the gateway told no time, `ahead`: one to come; then `at` is when it was received."
    )
    event: str
    peer: str | None
    connection: str | None
    identity: str | None = Field(description="As the peer chose it: escape it where it is shown.")
    reason: str | None
    detail: dict[str, Any] = Field(description="What else is known: numbers of SAs, SPIs, …")


class EventPage(Shown):
    """Some events, the latest first."""

    items: list[EventShown]
    next_cursor: str | None


def take(call: Call[Batched, Nothing]) -> Reply:
    """Take a batch."""
    body = call.body
    batch = Batch(
        stream=body.stream,
        first=body.first,
        oldest=body.oldest,
        until=body.until,
        events=[_event(each) for each in body.events],
    )
    taken = intake.take(call.desk, call.actor, batch, now=call.now)
    missing = [Missing(first=first, end=end) for first, end in taken.missing]
    return Reply(
        TakenShown(
            stored=taken.stored,
            repeated=taken.repeated,
            next=taken.next,
            missing=missing,
            lost=taken.lost,
        )
    )


_KEPT = frozenset(Happened.model_fields) - {"event", "time", "line"}


def _event(sent: Happened) -> SaEvent:
    fields: Mapping[str, Any] = {name: getattr(sent, name) for name in _KEPT}
    time = None if sent.time is None else sent.time.timestamp()
    return SaEvent(kind=sent.event, line=0, time=time, **fields)


def search(call: Call[None, EventSearch]) -> Reply:
    """Search events."""
    query = call.query
    wanted = EventQuery(
        gateway=query.gateway,
        connection=query.connection,
        peer=query.peer,
        kind=query.kind,
        since=query.since,
        until=query.until,
        cursor=cursors.decode_pair(_PATH, query.cursor),
        limit=query.limit,
    )
    found = shown.events(call.desk, call.actor, wanted)
    last = found[-1].position if found else None
    cursor, headers = cursors.next_page(_PATH, query, found, last)
    items = [event_shown(each) for each in found]
    return Reply(EventPage(items=items, next_cursor=cursor), headers=headers)


def event_shown(view: EventView) -> EventShown:
    """An event as it is shown."""
    return EventShown(
        gateway=view.gateway,
        number=view.number,
        at=view.at,
        received_at=view.received_at,
        clock=view.clock,
        event=view.kind,
        peer=view.peer,
        connection=view.connection,
        identity=view.identity,
        reason=view.reason,
        detail=dict(view.document),
    )


ROUTES = (
    Route(
        method="POST",
        path="/v1/gateways/self/sa-events",
        view=take,
        summary="Report what happened to the SAs of the calling gateway",
        description=(
            "May be sent again, in any order, to any replica: each number of a stream counts once. A gateway that "
            "reports more than one may is told to wait (429). An empty batch with `until` says that nothing happened."
        ),
        tag="Agents",
        action=Action.GATEWAY_SELF,
        body=Batched,
        answer=TakenShown,
        example={
            "stream": "charon-1",
            "first": 0,
            "until": "2026-11-28T12:00:01Z",
            "events": [
                {
                    "event": "ike_established",
                    "time": "2026-11-28T12:00:00Z",
                    "peer": "192.0.2.2",
                    "connection": "gw1-gw2",
                    "ike_id": 17,
                }
            ],
        },
        refusals=(404, 409, 422, 429),
    ),
    Route(
        method="GET",
        path=_PATH,
        view=search,
        summary="Search what happened to the SAs of all gateways, the latest first",
        tag="Monitoring",
        action=Action.SA_READ,
        query=EventSearch,
        answer=EventPage,
        refusals=(404, 422),
    ),
)
