"""What strangers cause by the thousand is counted instead of told one by one, so that nothing else gives way to it.

Whoever sends a gateway requests under forged addresses makes it write lines as fast as he likes. Of each kind of event
that a stranger can cause so, a few in a second are told, which is enough for every rule; of the rest only the number
is, as `counted`. What names a connection, and every failed or successful authentication, is always told. Pure.
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


class Crush:
    """Counts by kind within a span. Not for several threads."""

    def __init__(self) -> None:
        self._span: int | None = None
        self._told: Counter[str] = Counter()

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
        if event.name is not None or event.connection is not None:
            return False
        span = int(event.time // SPAN)
        if span != self._span:
            self._span, self._told = span, Counter()
        self._told[event.kind] += 1
        return self._told[event.kind] > MOST
