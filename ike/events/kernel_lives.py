"""The lives of the kernel's SAs as events: two directions are one SA, by addresses, protocol, reqid and mode. Pure.

The kernel knows no connections. The SAs of one reqid follow each other as those of a Child SA do, and are named so;
one without a reqid was made by hand and is named by its SPI. Both directions are waited for, for a moment; and an SA
that comes back within it, at another address, has moved and was not closed.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from ike.events.event import SaEvent
from ike.events.kernel_messages import Told

Document = dict[str, Any]
Key = tuple[str, str, str]

#: Seconds for which the other direction is waited for.
WAIT: Final = 1.0
#: So many SAs are kept in a position; of more, it is not known what became of them while the agent was away.
MOST_KEPT: Final = 128
_LARVAL: Final = "00000000"


@dataclass
class _Pair:
    """An SA. `told` that it is up; `gone_at` since when a direction is missing, `closed` once that was told."""

    protocol: str
    reqid: int
    mode: str
    local: str
    remote: str
    since: float
    spi_in: str = ""
    spi_out: str = ""
    told: bool = False
    gone_at: float | None = None
    closed: bool = False
    by: str | None = None
    carried: dict[bool, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        if self.reqid:
            return f"{self.protocol} reqid {self.reqid}"
        return f"manual {self.protocol} {self.spi_in or self.spi_out}"

    def keys(self) -> list[Key]:
        both = ((self.spi_in, self.local), (self.spi_out, self.remote))
        return [(self.protocol, spi, end) for spi, end in both if spi]

    def event(self, kind: str, at: float, **fields: Any) -> SaEvent:
        return SaEvent(
            kind,
            0,
            at,
            peer=self.remote,
            source=self.remote,
            name=self.name,
            spi_in=self.spi_in or None,
            spi_out=self.spi_out or None,
            daemon="kernel",
            **fields,
        )


class Lives:
    """Messages in, events out. `manual`: only SAs that were made by hand, and limits of bytes and packets, which
    explain an early rekeying. `local` are this host's addresses, as far as they are known.
    """

    def __init__(self, *, manual: bool = False, local: Collection[str] = ()) -> None:
        self._manual = manual
        self.local = set(local)
        self._known: dict[Key, _Pair] = {}
        self._waiting: list[_Pair] = []
        self._closing: list[_Pair] = []

    def take(self, message: Told, at: float) -> list[SaEvent]:
        """What a message of `at`, POSIX seconds, says; some of it is told by `due`."""
        if message.what == "flushed":
            for pair in list(self._known.values()):
                if message.protocol in ("", pair.protocol):
                    self._leave(pair, at)
            return []
        if message.what == "acquire" or message.spi == _LARVAL:
            return self._asked(message, at)
        if message.what == "soft":
            return self._soft(message, at)
        if self._manual and message.reqid:
            return []
        if message.what in ("new", "updated"):
            return self._appeared(message, at)
        return self._vanished(message, at)

    def due(self, now: float) -> list[SaEvent]:
        """What was waited for long enough, as of when it happened."""
        events = []
        for pair in [each for each in self._waiting if each.since <= now - WAIT]:
            self._waiting.remove(pair)
            events.append(self._up(pair))
        for pair in [each for each in self._closing if (each.gone_at or now) <= now - WAIT]:
            self._closing.remove(pair)
            events += self._close(pair)
        return events

    def adopt(self, listed: Iterable[Told], now: float) -> None:
        """These are there, and nothing is told of them."""
        for message in listed:
            if not (self._manual and message.reqid):
                self._appeared(message, now)
        for pair in self._waiting:
            pair.told = True
        self._waiting.clear()

    def compare(self, listed: Iterable[Told], now: float) -> list[SaEvent]:
        """These are there now, and others are not; messages between were lost."""
        there = [each for each in listed if not (self._manual and each.reqid)]
        present = {(each.protocol, each.spi, each.destination) for each in there}
        before = dict(self._known)
        for key, pair in before.items():
            if key not in present:
                self._leave(pair, now - WAIT)
        events = self.due(now)
        for message in there:
            if (message.protocol, message.spi, message.destination) not in before:
                events += self._appeared(message, min(message.added or now, now))
        return events

    def place(self) -> Document:
        """What is there, as JSON; see `MOST_KEPT`."""
        pairs = {id(each): each for each in self._known.values() if not each.closed}
        if len(pairs) > MOST_KEPT:
            return {"kernel": None}
        rows = [
            [p.protocol, p.reqid, p.mode, p.local, p.remote, p.spi_in, p.spi_out]
            for p in pairs.values()
        ]
        return {"kernel": rows}

    def restore(self, place: Document) -> bool:
        """Know what was there; whether it could be known."""
        rows = place.get("kernel")
        if not isinstance(rows, list):
            return False
        try:
            for protocol, reqid, mode, local, remote, spi_in, spi_out in rows:
                pair = _Pair(protocol, reqid, mode, local, remote, 0.0, spi_in, spi_out, told=True)
                self._known |= dict.fromkeys(pair.keys(), pair)
        except (TypeError, ValueError):
            self._known.clear()
            return False
        return True

    # inside

    def _asked(self, message: Told, at: float) -> list[SaEvent]:
        """Traffic needs an SA; the kernel's place for it expires where nobody makes one."""
        if self._manual or message.what not in ("acquire", "hard"):
            return []
        peer = message.destination
        reason = "unanswered" if message.what == "hard" else None
        return [SaEvent("acquire", 0, at, peer=peer, source=peer, reason=reason, daemon="kernel")]

    def _soft(self, message: Told, at: float) -> list[SaEvent]:
        if self._manual and message.reqid:
            if message.by == "time":
                return []
            inward = message.destination in self.local
            peer = message.source if inward else message.destination
            limit = SaEvent("soft_expired", 0, at, peer=peer, source=peer, daemon="kernel")
            return [limit._replace(reason=message.by)]
        pair = self._known.get((message.protocol, message.spi, message.destination))
        return [pair.event("soft_expired", at, reason=message.by)] if pair else []

    def _appeared(self, message: Told, at: float) -> list[SaEvent]:
        key = (message.protocol, message.spi, message.destination)
        pair = self._known.get(key)
        if pair is not None and pair not in self._closing:
            return []
        moved = self._moved(message, at)
        if moved is not None:
            return moved
        inward = self._inward(message)
        local, remote = message.destination, message.source
        if not inward:
            local, remote = remote, local
        pair = self._half(message, inward, local, remote)
        if pair is None:
            pair = _Pair(message.protocol, message.reqid, message.mode, local, remote, at)
            self._waiting.append(pair)
        if inward:
            pair.spi_in = message.spi
        else:
            pair.spi_out = message.spi
        self._known[key] = pair
        if pair.spi_in and pair.spi_out:
            self._waiting.remove(pair)
            return [self._up(pair)]
        return []

    def _half(self, message: Told, inward: bool, local: str, remote: str) -> _Pair | None:
        """The SA of which this is the other direction."""
        same = (message.protocol, message.reqid, message.mode, local, remote)
        for pair in self._waiting:
            if (pair.protocol, pair.reqid, pair.mode, pair.local, pair.remote) == same:
                if not (pair.spi_in if inward else pair.spi_out):
                    return pair
        return None

    def _inward(self, message: Told) -> bool:
        source, destination = message.source in self.local, message.destination in self.local
        if source != destination:
            return destination
        if message.what == "updated":
            return True  # its SPI was reserved by this host
        # A daemon makes the inbound one first.
        return not any(
            (pair.local, pair.remote) == (message.source, message.destination) and pair.spi_in
            for pair in self._waiting
        )

    def _moved(self, message: Told, at: float) -> list[SaEvent] | None:
        """It was taken away a moment ago and is back, perhaps between other addresses."""
        for pair in self._closing:
            if (pair.protocol, pair.reqid) != (message.protocol, message.reqid):
                continue
            if message.spi not in (pair.spi_in, pair.spi_out):
                continue
            inward = message.spi == pair.spi_in
            ends = (message.destination, message.source)
            before = pair.remote
            for key in pair.keys():
                self._known.pop(key, None)
            pair.local, pair.remote = ends if inward else ends[::-1]
            self._known |= dict.fromkeys(pair.keys(), pair)
            self._stay(pair)
            return [pair.event("address_changed", at)] if pair.remote != before else []
        return None

    def _vanished(self, message: Told, at: float) -> list[SaEvent]:
        key = (message.protocol, message.spi, message.destination)
        pair = self._known.get(key)
        if pair is None:
            return []
        pair.carried[message.spi == pair.spi_in] = message.carried
        if message.what == "hard":
            pair.by = message.by
        self._leave(pair, at)
        if pair.closed:
            self._forget(key, pair)
        return []

    def _leave(self, pair: _Pair, at: float) -> None:
        if pair.gone_at is None and not pair.closed:
            pair.gone_at = at
            self._closing.append(pair)

    def _stay(self, pair: _Pair) -> None:
        self._closing.remove(pair)
        pair.gone_at, pair.by = None, None
        pair.carried.clear()

    def _forget(self, key: Key, pair: _Pair) -> None:
        if self._known.get(key) is pair:
            del self._known[key]

    def _up(self, pair: _Pair) -> SaEvent:
        pair.told = True
        return pair.event("child_established", pair.since)

    def _close(self, pair: _Pair) -> list[SaEvent]:
        events = []
        if not pair.told:
            if pair in self._waiting:
                self._waiting.remove(pair)
            events.append(self._up(pair))
        pair.closed = True
        size = sum(pair.carried.values()) if len(pair.carried) == 2 else None
        at = pair.gone_at or 0.0
        events.append(pair.event("child_closed", at, reason=pair.by, size=size))
        for key in pair.keys():
            self._forget(key, pair)
        return events
