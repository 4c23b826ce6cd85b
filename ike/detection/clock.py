"""`clock`: the gateway's time cannot be trusted.

Condition: the daemon says so; or its time goes back by two minutes or more while the log goes on; or certificates of
three peers are out of date within 10 minutes, or one is not yet valid twice.
Looks alike and is let pass: newest-first files (they are sorted before), two sinks with a second between them, lines
that are delivered late, one expired certificate, the hour by which local time is put back in a Sunday's night.
"""

from datetime import UTC, datetime
from typing import Final

from ike.detection.attempts import source_of
from ike.detection.conditions import Place
from ike.detection.state import Gateway
from ike.events.event import SaEvent

BACK: Final = 120.0
_WITHIN: Final = 600.0
_PEERS: Final = 3
_EARLY: Final = ("not_yet_valid", "not yet valid", "early", "future")
_LATE: Final = ("expired", "validity", "lifetime")
#: Daylight saving time begins and ends in these months all over the world, early on a Sunday, by an hour.
_MONTHS: Final = frozenset({3, 4, 9, 10, 11})
_SUNDAY: Final = 6
_MORNING: Final = 4  # o'clock
_HOUR: Final = 3600.0


def remarked(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    """`clock`."""
    gateway.sign("clock", Place(gateway.name), at, [event.line], {"said": "daemon"})


def went_back(gateway: Gateway, event: SaEvent, before: float, at: float) -> None:
    """Lines that follow are older."""
    if before - at <= _HOUR and _at_changing(before) and _at_changing(at):
        return
    gateway.sign(
        "clock", Place(gateway.name), at, [event.line], {"went_back_seconds": round(before - at)}
    )


def put_forward(before: float, at: float) -> bool:
    """Was local time put forward by an hour between these lines?"""
    return at - before >= _HOUR and _at_changing(before) and _at_changing(at)


def _at_changing(at: float) -> bool:
    # A log of local time without a zone is read as if it were UTC.
    shown = datetime.fromtimestamp(at, UTC)
    return shown.hour < _MORNING and shown.weekday() == _SUNDAY and shown.month in _MONTHS


def out_of_date(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    """A certificate was rejected: for its dates?"""
    early = event.reason in _EARLY
    if not early and event.reason not in _LATE:
        return
    expired = gateway.expired
    source = source_of(event)
    seen_early = early and source in expired
    expired.pop(source, None)
    expired[source] = (at, event.line)
    for key, (then, _) in list(expired.items()):
        if at is not None and then is not None and then < at - _WITHIN:
            del expired[key]
    if len(expired) > 64:
        del expired[next(iter(expired))]
    if len(expired) < _PEERS and not seen_early:
        return
    gateway.sign(
        "clock",
        Place(gateway.name),
        at,
        [line for _, line in expired.values()],
        {"peers_out_of_date": len(expired)},
        since=next(iter(expired.values()))[0],
        variant="certificates",
    )
