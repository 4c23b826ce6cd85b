"""What the events of a log come to: for each connection its SAs over time, its rekeys and its failures. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from ike.events.echoes import LINES, SECONDS, Echoes
from ike.events.event import EVENTS, SaEvent

#: What counts as a failure of a connection.
FAILURES: Final = (
    *("auth_failed", "cert_invalid", "cert_revoked", "proposal_mismatch", "ts_unacceptable"),
    *("unknown_peer", "child_rekey_failed", "ike_timeout", "giving_up", "dpd_timeout"),
)
_REFUSALS: Final = frozenset({"ts_unacceptable", "proposal_mismatch"})
_HANDOVER: Final = 3.0  # seconds between the end of an SA and the line of its heir
_RECENT: Final = 24  # SAs of a connection among which it is looked for
_LIVES: Final = 400  # SAs of a connection that are listed
_POINTS: Final = 600
_STRANGERS: Final = 10_000  # peers without a connection that are told apart
_PEERS: Final = 1_000


@dataclass(slots=True, eq=False)
class Life:
    """One SA from its making to its end, as far as the log shows them."""

    kind: str  # "ike" or "child"
    number: int | None
    child: str | None
    made: str  # "established" or "rekeyed"
    start: float | None
    line: int
    spi_in: str | None = None
    spi_out: str | None = None
    end: float | None = None
    ended: bool = False
    lineage: int = 0  # IKE SAs that followed each other by rekeying, and their Child SAs, share it

    def is_of(self, event: SaEvent) -> bool:
        """Whether a Child SA's event speaks of this one."""
        if event.child_id is not None and self.number is not None:
            return event.child_id == self.number
        return event.spi_in is not None and event.spi_in == self.spi_in


@dataclass(slots=True)
class Intervals:
    """Seconds between rekeys. Of many, every second is kept, then every fourth: memory stays flat."""

    count: int = 0
    shortest: float = 0.0
    longest: float = 0.0
    points: list[tuple[float, float]] = field(default_factory=list)
    _stride: int = 1

    def add(self, time: float, seconds: float) -> None:
        """Note that what was made `seconds` before `time` was replaced then."""
        self.shortest = min(self.shortest, seconds) if self.count else seconds
        self.longest = max(self.longest, seconds)
        if self.count % self._stride == 0:
            self.points.append((time, seconds))
        self.count += 1
        if len(self.points) > _POINTS:
            self.points = self.points[::2]
            self._stride *= 2

    def quantile(self, part: float) -> float:
        """The value below which `part` (0 to 1) of those kept lie; 0 where there are none."""
        ordered = sorted(seconds for _, seconds in self.points)
        return ordered[min(int(part * len(ordered)), len(ordered) - 1)] if ordered else 0.0


@dataclass(slots=True)
class Connection:
    """One connection of one gateway, or one peer that no connection is known of (`name` None)."""

    gateway: str | None
    name: str | None
    peers: dict[str, None] = field(default_factory=dict)
    first: float | None = None
    last: float | None = None
    counts: Counter[str] = field(default_factory=Counter)
    ike: Intervals = field(default_factory=Intervals)
    child: Intervals = field(default_factory=Intervals)
    lives: list[Life] = field(default_factory=list)
    alive: list[Life] = field(default_factory=list)  # of those, the ones that have not ended
    unlisted: int = 0  # SAs that are counted and not listed
    childless: dict[int | None, None] = field(default_factory=dict)  # IKE SAs that got no Child SA

    @property
    def peer(self) -> str | None:
        """The peer seen first."""
        return next(iter(self.peers), None)

    @property
    def failures(self) -> int:
        """All kinds of them together."""
        return sum(self.counts[kind] for kind in FAILURES)

    @property
    def is_up(self) -> bool:
        """Whether traffic could pass at the end of the log: by a Child SA, or by an IKE SA where the log tells of no
        Child SAs at all, and of none that was refused.
        """
        if self.counts["child_established"]:
            return any(life.kind == "child" for life in self.alive)
        return any(life.number not in self.childless for life in self.alive)

    def open(self, kind: str) -> list[Life]:
        """The SAs that have not ended, the newest first."""
        return [life for life in reversed(self.alive) if life.kind == kind]

    def add(self, life: Life) -> None:
        """List one more SA; of very many the oldest that ended gives way."""
        self.lives.append(life)
        self.alive.append(life)
        if len(self.alive) > _LIVES:
            self.end(self.alive[0], life.start)  # a log that shows no ends
        if len(self.lives) > _LIVES:
            oldest = next((i for i, each in enumerate(self.lives) if each.ended), 0)
            del self.lives[oldest]
            self.unlisted += 1

    def end(self, life: Life, time: float | None) -> None:
        """The SA has ended."""
        if not life.ended:
            life.ended, life.end = True, time
            self.alive.remove(life)
            if life.kind == "ike":
                self.childless.pop(life.number, None)

    def refuse_child(self, event: SaEvent) -> None:
        """An IKE SA got no Child SA, unless it is its own proposals that did not fit: those come before it is up."""
        up = [life.number for life in self.open("ike")]
        number = up[0] if event.ike_id is None and len(up) == 1 else event.ike_id
        if event.kind == "ts_unacceptable" or number in up:
            self.childless[number] = None
            if len(self.childless) > _LIVES:
                del self.childless[next(iter(self.childless))]


class Summary:
    """Connections from events, fed one by one in the order of time.

    `gateway` is who wrote the log where its lines do not say.
    """

    def __init__(self, gateway: str | None = None) -> None:
        self._gateway = gateway
        self._named: dict[tuple[str | None, str], Connection] = {}
        self._strangers: dict[tuple[str | None, str | None], Connection] = {}
        self._echoes = Echoes()
        self._cookies: dict[tuple[str | None, str | None], tuple[bool, float | None, int]] = {}
        self._lineages = 0
        self.events = 0
        self.first: float | None = None
        self.last: float | None = None

    def observe(self, event: SaEvent) -> None:
        """Take one event or remark into account."""
        if event.time is not None:
            self.first = event.time if self.first is None else min(self.first, event.time)
            self.last = event.time if self.last is None else max(self.last, event.time)
        self.events += event.kind in EVENTS
        if event.kind == "daemon_started":
            self._restart(event)
        act = _ACTS.get(event.kind)
        if event.phase is not None or (act is None and event.kind not in _COUNTED):
            return
        connection = self._connection_of(event)
        if event.kind in _REFUSALS:
            connection.refuse_child(event)
        if event.time is not None:
            connection.first = event.time if connection.first is None else connection.first
            connection.last = event.time
        if act is not None:
            act(self, connection, event)
        elif event.kind == "cookie" and self._is_same_cookie(event):
            pass
        elif not self._is_echo(connection, event):
            connection.counts[event.kind] += 1

    def connections(self) -> list[Connection]:
        """What is known now: by gateway and name, then those without one by peer.

        What a peer did before its connection was known is told with the connection, where it has only one.
        """
        by_peer: dict[tuple[str | None, str], list[Connection]] = {}
        for each in self._named.values():
            for peer in each.peers:
                by_peer.setdefault((each.gateway, peer), []).append(each)
        apart = []
        for stranger in self._strangers.values():
            known = by_peer.get((stranger.gateway, stranger.peer or ""), [])
            if len(known) == 1 and not stranger.lives:
                known[0].counts.update(stranger.counts)
                stranger.counts.clear()
            elif stranger.counts or stranger.lives:
                apart.append(stranger)
        named = sorted(self._named.values(), key=lambda each: (each.gateway or "", each.name or ""))
        return named + sorted(apart, key=lambda each: (each.gateway or "", each.peer or ""))

    # who it is about

    def _connection_of(self, event: SaEvent) -> Connection:
        gateway = event.host or self._gateway
        name = event.name or event.connection  # a line may show no more than its Child SA
        peer = event.source or event.peer
        if name is not None:
            known = self._named.get((gateway, name))
            if known is None:
                known = self._named[gateway, name] = Connection(gateway, name)
        else:
            known = self._stranger(gateway, peer)
        if peer is not None and len(known.peers) < _PEERS:
            known.peers[peer] = None
        return known

    def _stranger(self, gateway: str | None, peer: str | None) -> Connection:
        if (gateway, peer) not in self._strangers and len(self._strangers) >= _STRANGERS:
            peer = None  # all others together
        return self._strangers.setdefault((gateway, peer), Connection(gateway, None))

    def _is_echo(self, connection: Connection, event: SaEvent) -> bool:
        """Whether a fact was said a moment ago; a daemon says it in several ways."""
        said = self._echoes.has(event, id(connection))
        return said and event.kind not in ("retransmit", "half_open_limit", "cookie")

    def _is_same_cookie(self, event: SaEvent) -> bool:
        """Whether it is of the message before: only one of the sentence and the payload list shows the peer."""
        about = (event.host, event.source or event.peer)
        shows = event.peer is not None
        before = self._cookies.pop(about, None)
        if before is not None and before[0] != shows:
            then, line = before[1:]
            if then is None or event.time is None:
                near = abs(event.line - line) <= LINES
            else:
                near = abs(event.time - then) < SECONDS
            if near:
                return True
        if len(self._cookies) > _STRANGERS:
            self._cookies.clear()
        self._cookies[about] = (shows, event.time, event.line)
        return False

    # SAs

    def _restart(self, event: SaEvent) -> None:
        """A daemon that starts has no SAs; one that was killed did not say so."""
        gateway = event.host or self._gateway
        for connection in self._named.values():
            if connection.gateway == gateway:
                connection.childless.clear()
                for life in list(connection.alive):
                    connection.end(life, event.time)

    def _ike_established(self, connection: Connection, event: SaEvent) -> None:
        if any(life.number == event.ike_id for life in connection.open("ike")):
            return
        connection.counts["ike_established"] += 1
        self._lineages += 1
        connection.add(_life("ike", event, "established", self._lineages))

    def _ike_rekeyed(self, connection: Connection, event: SaEvent) -> None:
        fresh = [life for life in connection.open("ike") if life.number == event.ike_id]
        if fresh and fresh[0].made == "rekeyed":
            return
        replaced = next(
            (
                life
                for life in connection.open("ike")
                if life.number != event.ike_id and event.old_ike_id in (None, life.number)
            ),
            None,
        )
        connection.counts["ike_rekeys"] += 1
        lineage = replaced.lineage if replaced else self._next_lineage()
        if replaced is not None:
            _note(connection.ike, event.time, replaced.start)
            connection.end(replaced, event.time)
        if fresh:
            fresh[0].made, fresh[0].lineage = "rekeyed", lineage
        else:
            connection.add(_life("ike", event, "rekeyed", lineage))

    def _ike_ended(self, connection: Connection, event: SaEvent) -> None:
        open_ones = list(connection.open("ike"))
        # A message about an exchange, or one without a number, need not speak of an SA that is up.
        anyone = event.ike_id is None and event.kind == "ike_deleted"
        ended = [life for life in open_ones if anyone or event.ike_id == life.number][:1]
        for life in ended:
            connection.counts["ike_deleted"] += event.kind == "ike_deleted"
            connection.end(life, event.time)
            heirs = any(each.lineage == life.lineage for each in connection.open("ike"))
            for child in connection.open("child"):
                if child.lineage == life.lineage and not heirs:
                    connection.end(child, event.time)
        if event.kind not in ("ike_deleted", "duplicate_replaced"):
            connection.counts[event.kind] += not self._is_echo(connection, event)

    def _child_established(self, connection: Connection, event: SaEvent) -> None:
        open_ones = list(connection.open("child"))
        if any(life.is_of(event) for life in open_ones):
            return
        lineage = self._lineage_of(connection, event)
        replaced = _predecessor(connection, event, lineage)
        made = "rekeyed" if replaced is not None or event.reason == "rekey" else "established"
        connection.counts["child_rekeys" if made == "rekeyed" else "child_established"] += 1
        if replaced is not None:
            _note(connection.child, event.time, replaced.start)
            connection.end(replaced, event.time)
        connection.add(_life("child", event, made, lineage))

    def _child_rekeyed(self, connection: Connection, event: SaEvent) -> None:
        """The line may say again what the new SA's own line has said."""
        old = next((life for life in connection.open("child") if life.is_of(event)), None)
        new = event.new_child_id
        if new is not None and any(life.number == new for life in connection.lives[-8:]):
            if old is not None:
                connection.end(old, event.time)
            return
        if old is None:
            ended = (life for life in connection.lives[-8:] if life.kind == "child" and life.ended)
            if any(life.number == event.child_id for life in ended):
                return  # it gave way to its heir already
        connection.counts["child_rekeys"] += 1
        if old is not None:
            _note(connection.child, event.time, old.start)
            connection.end(old, event.time)
        if new is not None or old is not None:
            lineage = old.lineage if old else self._lineage_of(connection, event)
            heir = event._replace(child_id=new, child=event.child or (old.child if old else None))
            connection.add(_life("child", heir, "rekeyed", lineage))

    def _child_closed(self, connection: Connection, event: SaEvent) -> None:
        for life in connection.open("child"):
            if life.is_of(event):
                connection.counts["child_closed"] += 1
                connection.end(life, event.time)
                return

    def _lineage_of(self, connection: Connection, event: SaEvent) -> int:
        for life in connection.open("ike"):
            if event.ike_id in (None, life.number):
                return life.lineage
        # The log begins after its IKE SA was made: one lineage for all of that number.
        for life in reversed(connection.lives):
            if event.ike_id is not None and life.kind == "ike" and life.number == event.ike_id:
                return life.lineage
        return -1 - (event.ike_id or 0)

    def _next_lineage(self) -> int:
        self._lineages += 1
        return self._lineages


_ACTS: Final = {
    "ike_established": Summary._ike_established,
    "ike_rekeyed": Summary._ike_rekeyed,
    "ike_deleted": Summary._ike_ended,
    **dict.fromkeys(
        ("ike_timeout", "giving_up", "dpd_timeout", "duplicate_replaced"), Summary._ike_ended
    ),
    "child_established": Summary._child_established,
    "child_rekeyed": Summary._child_rekeyed,
    "child_closed": Summary._child_closed,
}
_COUNTED: Final = frozenset(
    {
        *FAILURES,
        *("ike_initiate", "ike_respond", "ike_reauth", "retransmit", "crl_fetch_failed"),
        *("invalid_ke", "half_open_limit", "cookie"),
    }
) - set(_ACTS)


def summarized(events: Iterable[SaEvent], gateway: str | None = None) -> Summary:
    """The summary of events that are there."""
    summary = Summary(gateway)
    for event in events:
        summary.observe(event)
    return summary


def _life(kind: str, event: SaEvent, made: str, lineage: int) -> Life:
    number = event.ike_id if kind == "ike" else event.child_id
    child = event.child if kind == "child" else None
    return Life(
        kind,
        number,
        child,
        made,
        event.time,
        event.line,
        spi_in=event.spi_in,
        spi_out=event.spi_out,
        lineage=lineage,
    )


def _predecessor(connection: Connection, event: SaEvent, lineage: int) -> Life | None:
    """The Child SA that a new one replaces. One that we did not rekey ourselves is closed a moment before."""

    def fits(life: Life) -> bool:
        return life.kind == "child" and life.child == event.child and life.lineage == lineage

    for life in reversed(connection.alive):
        if fits(life):
            return life
    if event.reason == "rekey":
        for life in reversed(connection.lives[-_RECENT:]):
            if fits(life) and _is_near(life.end, event.time):
                return life
    return None


def _is_near(one: float | None, other: float | None) -> bool:
    return one is None or other is None or abs(one - other) <= _HANDOVER


def _note(intervals: Intervals, now: float | None, start: float | None) -> None:
    if now is not None and start is not None and now >= start:
        intervals.add(now, now - start)
