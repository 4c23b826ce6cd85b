"""What strangers cause by the thousand is counted instead of told one by one, so that nothing else gives way to it.

Whoever sends a gateway requests under forged addresses makes it write lines as fast as he likes. Of each kind of event
that a stranger can cause so, a few in a second are told, which is enough for every rule; of the rest only the number
is, as `counted`. Each connection that is named has a few of its own, so that a flood at one hides nothing of another;
but a name is no proof, as a connection may be open to any address. Every failed or successful authentication is always
told. Pure.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from ike.events.event import LEFT_OUT, SaEvent

#: What one packet without any secret brings about.
STRANGERS: Final = frozenset(
    {
        *("ike_respond", "proposal_mismatch", "unknown_peer", "invalid_ke"),
        *("half_open_limit", "cookie", "ike_timeout"),
    }
)
#: So many of each kind are told in each span of seconds, by the clock of the log.
MOST, SPAN = 200, 10.0
#: And before those of each connection, for so many in all: a peer may choose the name of the group it asks for.
OF_ONE, OF_ALL = 20, 1_000


class Crush:
    """Counts by kind, and by kind and connection, within a span. Not for several threads."""

    def __init__(self) -> None:
        self._span: int | None = None
        self._told: Counter[str] = Counter()
        self._named: Counter[tuple[str, str | None]] = Counter()

    def thinned(self, events: Iterable[SaEvent]) -> list[SaEvent]:
        """The events that are told, and, behind them, how many were not."""
        told: list[SaEvent] = []
        left_out: Counter[str] = Counter()
        last: SaEvent | None = None
        for each in events:
            if self._is_too_many(each):
                left_out[each.kind] += 1
                last = each
            else:
                told.append(each)
        if last is not None:
            number = left_out.total()
            told.append(
                SaEvent(
                    "counted", last.line, last.time, reason=LEFT_OUT, number=number, seconds=SPAN
                )
            )
        return told

    def _is_too_many(self, event: SaEvent) -> bool:
        if event.kind not in STRANGERS or event.time is None:
            return False
        span = int(event.time // SPAN)
        if span != self._span:
            self._span, self._told, self._named = span, Counter(), Counter()
        name = event.name or event.connection
        if name is not None and self._has_room((event.kind, name)):
            return False
        self._told[event.kind] += 1
        return self._told[event.kind] > MOST

    def _has_room(self, of_one: tuple[str, str]) -> bool:
        """Is it one of the first of its connection?"""
        of_all = (of_one[0], None)
        if self._named[of_one] >= OF_ONE or self._named[of_all] >= OF_ALL:
            return False
        self._named[of_one] += 1
        self._named[of_all] += 1
        return True
