"""Events as they are on record, and back. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ike.events.event import SaEvent
from store.text import storable

# Clocks that differ by less are well enough.
_TOLERANCE: Final = timedelta(minutes=5)
_OLDEST: Final = datetime(1970, 1, 2, tzinfo=UTC)
#: A stream has no more events than this: at two thousand a second it lasts for a year.
LARGEST: Final = 1 << 36
#: What `clock` says: the event had no time, or one to come.
NO_TIME, AHEAD = "none", "ahead"
# Columns of their own, or made from others; the rest of an event stands in its document.
_APART: Final = frozenset(
    {"kind", "line", "time", "source", "name", "peer", "connection", "identity", "reason"}
)
_KEPT: Final = tuple(name for name in SaEvent._fields if name not in _APART)


def base(ordinal: int) -> int:
    """The number of the first event of a gateway's stream, which is the `ordinal`th that it began."""
    return ordinal * LARGEST


def row_of(event: SaEvent, now: datetime) -> dict[str, Any]:
    """What an event says, as columns. A time that is missing or to come is `now`."""
    at, clock = _moment(event.time, now)
    document = {
        name: _clean(value) for name in _KEPT if (value := getattr(event, name)) is not None
    }
    if clock == AHEAD:
        document["said"] = event.time
    return {
        "at": at,
        "received_at": now,
        "clock": clock,
        "kind": event.kind,
        "peer": _clean(event.source or event.peer),
        "connection": _clean(event.name or event.connection),
        "identity": _clean(event.identity),
        "reason": _clean(event.reason),
        "document": document,
    }


def event_of(row: Mapping[str, Any], gateway: str) -> SaEvent:
    """The event for the rules, to which a gateway is one host, whatever it calls itself; `line` is its number."""
    document = row["document"]
    made = SaEvent(row["kind"], row["number"], row["at"].timestamp())
    return made._replace(
        **{name: document[name] for name in _KEPT if name in document} | {"host": gateway},
        source=row["peer"],
        peer=row["peer"],
        name=row["connection"],
        connection=row["connection"],
        identity=row["identity"],
        reason=row["reason"],
    )


def _moment(time: float | None, now: datetime) -> tuple[datetime, str | None]:
    if time is None:
        return now, NO_TIME
    if time > (now + _TOLERANCE).timestamp():
        return now, AHEAD
    return datetime.fromtimestamp(max(time, _OLDEST.timestamp()), UTC), None


def _clean(value: Any) -> Any:
    """Without what a database refuses: whoever chose an identity wants it to break something."""
    return storable(value) if isinstance(value, str) else value
