"""Attempts, of which a daemon may tell in several lines: which line is about a new one, whose, and where?

One attempt has the number of its IKE SA; without numbers it is of one identity and told by one thread of the daemon,
where lines show them, within two seconds of its first line.
"""

from typing import Final

from ike.detection.conditions import Place
from ike.detection.state import Gateway, Suspect
from ike.events.echoes import Said
from ike.events.event import SaEvent

#: Seconds, and lines where those show no times, within which they are about one attempt.
SAME, SAME_LINES = 2.0, 8
#: Attempts whose IKE SA is remembered, since others come between the lines about one.
REMEMBERED: Final = 16


def fresh(record: Suspect, category: str, event: SaEvent, at: float | None) -> bool:
    """Is `event` a new attempt, and not one more line about the last one?"""
    last = record.attempts.get(category)
    new = last is None or _is_new(record, category, event, at, last)
    if new or last is None:
        record.attempts[category] = (event.ike_id, at, event.line)
    else:
        # One more line is no new beginning: whoever tries without a pause would be one attempt for ever.
        record.attempts[category] = (event.ike_id if last[0] is None else last[0], *last[1:])
    if event.thread is not None:
        record.threads[category] = event.thread
    if event.identity is not None:
        record.whose[category] = event.identity
    elif new:
        record.whose.pop(category, None)
    return new


def _is_new(
    record: Suspect,
    category: str,
    event: SaEvent,
    at: float | None,
    last: tuple[int | None, float | None, int],
) -> bool:
    ike, then, line = last
    thread, whose = record.threads.get(category), record.whose.get(category)
    if ike is not None and event.ike_id is not None:
        # Under one IKE SA a Child SA may be tried again and again.
        said = Said(at, event.line, event.thread)
        again = category == "proposal" and not said.is_again(Said(then, line, thread))
        return ike != event.ike_id or again
    if ike is event.ike_id is None:
        if None not in (thread, event.thread) and thread != event.thread:
            return True  # another packet
        if None not in (whose, event.identity) and whose != event.identity:
            return True  # another peer, or another guess
    if at is not None and then is not None:
        return at - then >= SAME
    return event.line - line >= SAME_LINES


def source_of(event: SaEvent) -> str:
    """Whom a failure is put down to: the address, else the connection, else the identity."""
    return event.source or event.peer or event.name or event.connection or event.identity or ""


def place_of(gateway: Gateway, event: SaEvent) -> Place:
    """The connection where one is known, and the source."""
    name = event.name or event.connection
    source = event.source or event.peer
    if name is None and source is not None:
        name = gateway.sources.get(source)
    return Place(gateway.name, name, source, event.identity)
