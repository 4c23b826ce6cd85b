"""What is remembered of a gateway: its tunnels, their SAs, the sources that trouble it. Small, and storable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ike.detection.addresses import settle
from ike.detection.alert import PERSONAL
from ike.detection.bounds import UNKNOWN, Bounds, Planned
from ike.detection.conditions import QUIET, Conditions, Place
from ike.detection.crowds import Attempt, Crowd, Flood
from ike.detection.lives import Chain, Pace
from ike.detection.signs import Sign
from ike.events.event import SaEvent

Fact = tuple[int, str, int | None, float | None]
#: Seconds of one slot of the timer wheel.
SLOT: Final = 30.0
#: Seconds of silence that are remembered, and how many.
_SILENCE, _MOST_SILENCES = 300.0, 32
#: Sources and identities that are remembered; strangers are many, and forged addresses more.
MOST_SUSPECTS: Final = 4_096
#: Connections that never came up, as anybody can name them: conditions of a kind that they have, and crowds.
MOST_UNPROVEN: Final = 64
_MOST_CALLED: Final = 10_000
#: Entries of a gateway's memory that come before it is worth a sweep; see `retention`.
ROOM: Final = 8_192


class Change(NamedTuple):
    """A change of an SA as the rules recognise it, however many lines told of it. `kind` is that of an event."""

    kind: str
    at: float | None
    connection: str | None


@dataclass(slots=True)
class Trouble:
    """What only a tunnel with trouble has."""

    flaps: list[tuple[float | None, int, float]] = field(default_factory=list)
    deaths: list[Sign] = field(default_factory=list)
    repeats: list[tuple[float | None, int, int, int]] = field(default_factory=list)
    pattern: int = 0  # of rekeys, the newest in bit 0: 1 is a collision
    collisions: list[Sign] = field(default_factory=list)
    lingered: float | None = None  # since when the surplus SA was up that stayed last


@dataclass(slots=True)
class Away:
    """A peer that did not answer: since when, whose identity it was, and which tries of ours were given up since."""

    since: float | None
    lines: list[int]
    identity: str | None
    last: float | None
    tries: int = 0
    told: bool = False


@dataclass(slots=True)
class Tunnel:
    """One connection with one peer. `up`: established IKE SAs by number, with (since, line, identity)."""

    name: str | None
    source: str | None
    up: dict[int | None, tuple[float | None, int, str | None]] = field(default_factory=dict)
    chains: dict[tuple[str | None, int | str | None], Chain] = field(default_factory=dict)
    child: Pace = field(default_factory=Pace)
    ike: Pace = field(default_factory=Pace)
    timed: bool = False  # of a daemon that rekeys by the clock, with traffic or without
    excuse: float = 0.0  # until when a short life is explained
    excused: float = 0.0  # since when
    spared: list[float] = field(default_factory=list)  # short lives of the last hour that were
    ended: tuple[float, ...] = ()  # and those of IKE SAs that were deleted
    loads: tuple[float, ...] = ()  # when its connection was loaded, of a day
    armed: float = 0.0
    scheduled: float | None = None
    reauth_at: float | None = None
    ended_at: float | None = None  # when the end of an IKE SA was told by its number
    levels: tuple[int, int, int, int] | None = (
        None  # cipher and group, of IKE and of ESP: the least
    )
    policy: tuple[int, int, int, int] | None = None  # and of the policy before, for what is new
    trouble: Trouble | None = None
    left: float | None = None  # since when it has no SA
    # The Child SA that was closed last: whose chain, since when it was up, on which line, when it was closed.
    closed: tuple[tuple[str | None, int | str | None], float | None, int, float] | None = None
    closed_spared: tuple[float, ...] = ()  # and of it, as in its chain

    def forget_ages(self) -> None:
        """Nobody knows how old its SAs are, and whether they are still there."""
        for ike, (_, line, identity) in self.up.items():
            self.up[ike] = (None, line, identity)
        for chain in self.chains.values():
            chain.since = None
            chain.living = dict.fromkeys(chain.living)
            chain.refused = None

    def doubt(self, *, newest: bool = False) -> None:
        """A line was lost: of all IKE SAs, but for the `newest`, nobody knows whether they are still there."""
        for ike, (_, line, identity) in list(self.up.items())[: None if newest else -1]:
            self.up[ike] = (None, line, identity)

    def pardon(self, at: float, seconds: float) -> None:
        """What happened at `at` explains a short life or two within `seconds`."""
        self.excuse = max(self.excuse, at + seconds)
        self.excused = at

    def troubled(self) -> Trouble:
        """Its record of trouble, made where it has none."""
        if self.trouble is None:
            self.trouble = Trouble()
        return self.trouble


@dataclass(slots=True)
class Suspect:
    """One source of failures, or one identity that fails."""

    signs: dict[str, list[Sign]] = field(default_factory=dict)
    attempts: dict[str, tuple[int | None, float | None, int]] = field(default_factory=dict)
    threads: dict[str, str] = field(default_factory=dict)  # that told of them
    whose: dict[str, str] = field(default_factory=dict)  # the identities of the last ones
    identities: dict[str, float | None] = field(default_factory=dict)
    tried: dict[str, float] = field(default_factory=dict)  # the same of a day; see `slow`
    certificate: tuple[int | None, float | None, int] | None = None
    rejected: list[int] = field(default_factory=list)  # the last IKE SAs whose certificate was
    moves: list[tuple[float | None, int, str]] = field(default_factory=list)
    thrown: float | None = None


@dataclass(slots=True)
class Spread:
    """One identity at several addresses side by side: where lately, and at how many it is normal."""

    addresses: list[str] = field(default_factory=list)
    usual: int = 1  # the most at once, until a day ago
    lately: int = 1  # and since
    turned: float = 0.0  # when that day began


@dataclass(slots=True)
class Gateway:
    """One writer of events. `clock` is its newest processed time, `newest` its newest seen one."""

    name: str | None
    clock: float | None = None
    newest: float | None = None
    heard: float | None = None  # up to when nothing is missing
    silences: list[tuple[float, float]] = field(default_factory=list)  # long ones: (end, seconds)
    doubted: tuple[float, float] | None = None  # the last time of which perhaps not all was told
    newest_line: int = -1
    late: int = 0
    fired: int = -1  # the slot of the timer wheel that was looked at last
    held: list[SaEvent] = field(default_factory=list)
    patience: int = 0  # how many events are held before the old ones of them are let go
    seen: dict[Fact, None] = field(default_factory=dict)
    seen_before: dict[Fact, None] = field(default_factory=dict)
    seen_since: float | None = None
    tunnels: dict[tuple[str | None, str | None], Tunnel] = field(default_factory=dict)
    names: dict[str, str | None] = field(default_factory=dict)  # the last address of a name
    sources: dict[str, str | None] = field(default_factory=dict)  # and the last name of an address
    suspects: dict[str, Suspect] = field(default_factory=dict)
    callers: dict[str, Suspect] = field(default_factory=dict)  # that anybody can forge
    crowds: dict[str, Crowd] = field(default_factory=dict)
    called: dict[str, list[str]] = field(default_factory=dict)  # names by the addresses we asked
    failed: list[int] = field(default_factory=list)  # the IKE SAs that failed to authenticate last
    away: dict[tuple[str | None, str | None], Away] = field(default_factory=dict)  # as `tunnels`
    named: dict[str, Suspect] = field(default_factory=dict)
    hosts: dict[str, str] = field(default_factory=dict)
    earlier: dict[str, str] = field(default_factory=dict)  # as `hosts`: in another network before
    # Where an identity came up last: name and address of the tunnel.
    homes: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    served: dict[str, str] = field(default_factory=dict)  # a connection's only identity; "": many
    met: dict[str, float] = field(default_factory=dict)  # as `hosts`: when it came up first
    spread: dict[str, Spread] = field(default_factory=dict)  # as `hosts`: of whom there are many
    # Addresses of `sources` where no tunnel is left, since then.
    gone: dict[str, float | None] = field(default_factory=dict)
    swept: float | None = None  # when it was last looked through for what can go
    room: int = ROOM  # how many entries it may have before that is worth it
    begun: int = 0  # how many Child SAs began since then
    waiting: dict[str, tuple[float, int, Place]] = field(default_factory=dict)
    weak: dict[str, int] = field(default_factory=dict)
    strangers: dict[str, Sign] = field(default_factory=dict)
    nameless: list[tuple[float, int, int]] = field(
        default_factory=list
    )  # refused requests: how many
    offers: dict[str, tuple[str, int]] = field(default_factory=dict)
    unchecked: dict[str, tuple[float | None, int, str]] = field(default_factory=dict)
    soft: list[tuple[float | None, int, str]] = field(default_factory=list)
    expired: dict[str, Sign] = field(default_factory=dict)
    spis: dict[str, tuple[str | None, str | None, str | None, float | None]] = field(
        default_factory=dict
    )
    flood: Flood = field(default_factory=Flood)
    closes: bool = False  # its log shows that Child SAs are closed
    # When a peer of a connection was last found to be up where nobody told that it came up.
    found: dict[str, float] = field(default_factory=dict)
    conditions: Conditions = field(default_factory=Conditions)
    # What is told from elsewhere, and what is made again from the rest, is not stored.
    bounds: Mapping[str, Bounds] = field(default_factory=dict)
    planned: Sequence[Planned] = ()
    up: dict[int | None, Tunnel] = field(default_factory=dict)
    wheel: dict[int, list[Tunnel]] = field(default_factory=dict)
    changes: list[Change] | None = None  # where somebody counts them

    # --- what is where

    def tunnel(self, event: SaEvent, make: bool) -> Tunnel | None:
        """The tunnel that `event` is about: by the number of its IKE SA, else by name and address."""
        ike = event.ike_id
        name = event.name or event.connection
        if ike is not None:
            tunnel = self.up.get(ike)
            if tunnel is not None and (name is None or name == tunnel.name):
                return tunnel
        source = event.source or event.peer
        tunnel = self.tunnels.get((name, source))
        if tunnel is None and source is None and name is not None:
            tunnel = self.tunnels.get((name, self.names.get(name)))
        if tunnel is None and name is None and source is not None:
            tunnel = self.tunnels.get((self.sources.get(source), source))
        if tunnel is None and event.kind == "dpd_timeout" and {ike, name, source} == {None}:
            # Only an SA that is up can die so, and there may be only one.
            return next(iter(self.up.values())) if len(self.up) == 1 else None
        if tunnel is None and make and (name is not None or source is not None):
            tunnel = Tunnel(name, source)
            self.tunnels[(name, source)] = tunnel
            if event.kind != "ike_established" and name is not None and self.clock is not None:
                self.found[name] = self.clock
            self.seen_at(tunnel)
        return tunnel

    def index(self, tunnel: Tunnel) -> None:
        """Make the indices of a restored tunnel."""
        for ike in tunnel.up:
            if ike is not None:
                self.up[ike] = tunnel
        if tunnel.armed:
            self.wheel.setdefault(int(tunnel.armed // SLOT), []).append(tunnel)

    def last_of(self, event: SaEvent) -> Tunnel | None:
        """The tunnel that `event` is about, even if it speaks of a new address.

        What is remembered of an address may be of an earlier stay there: an SA that moves is one that is up.
        """
        tunnel = self.tunnel(event, False)
        name = event.name or event.connection
        if (tunnel is None or not (tunnel.up or tunnel.chains)) and name is not None:
            return self.tunnels.get((name, self.names.get(name)), tunnel)
        return tunnel

    def went(self, tunnel: Tunnel, since: float) -> bool:
        """May its peer have gone to another address after `since`, by a line that was lost?"""
        if tunnel.name is None:
            return False
        hosts = (self.hosts.get(f"{tunnel.name} {one[2]}") for one in tunnel.up.values())
        elsewhere = any(host not in (None, tunnel.source) for host in hosts)
        return elsewhere or self.found.get(tunnel.name, since) > since

    def seen_at(self, tunnel: Tunnel) -> None:
        """It is the last one of its name and address."""
        if tunnel.name is not None:
            self.names[tunnel.name] = tunnel.source
        if tunnel.source is not None:
            self.sources[tunnel.source] = tunnel.name

    def forget(self, tunnel: Tunnel) -> None:
        """Nothing is left of it, but that a peer was at its address."""
        self.tunnels.pop((tunnel.name, tunnel.source), None)
        if tunnel.name is not None and self.names.get(tunnel.name) == tunnel.source:
            del self.names[tunnel.name]

    def move(self, tunnel: Tunnel, source: str | None) -> None:
        """Its peer has another address now."""
        if source is None or source == tunnel.source:
            return
        if self.tunnels.get((tunnel.name, tunnel.source)) is tunnel:
            del self.tunnels[(tunnel.name, tunnel.source)]
        for key in {f"{tunnel.name} {one[2]}" for one in tunnel.up.values()}:
            if self.hosts.get(key) == tunnel.source:
                settle(key, source, self.hosts, self.earlier)
        tunnel.source = source
        self.tunnels[(tunnel.name, source)] = tunnel
        for _, _, identity in tunnel.up.values():
            if identity is not None:
                self.homes[identity] = (tunnel.name, source)
        self.seen_at(tunnel)

    def raise_ike(
        self, tunnel: Tunnel, ike: int | None, at: float | None, line: int, identity: str | None
    ) -> None:
        """An IKE SA is up; a number that another tunnel held is no longer its own (the daemon began anew)."""
        if ike is not None:
            other = self.up.get(ike)
            if other is not None and other is not tunnel:
                self.drop_ike(other, ike)
            self.up[ike] = tunnel
        self.seen_at(tunnel)
        tunnel.up[ike] = (at, line, identity)
        self.away.pop((tunnel.name, tunnel.source), None)
        if identity is None:
            return
        if identity in self.homes:
            self.away.pop(self.homes.pop(identity), None)
        self.homes[identity] = (tunnel.name, tunnel.source)
        if tunnel.name is not None and self.served.setdefault(tunnel.name, identity) != identity:
            self.served[tunnel.name] = ""

    def drop_ike(self, tunnel: Tunnel, ike: int | None) -> None:
        """An IKE SA is gone, and its Child SAs with it."""
        tunnel.up.pop(ike, None)
        if ike is not None and self.up.get(ike) is tunnel:
            del self.up[ike]
        for key in [key for key in tunnel.chains if key[1] == ike]:
            self.drop_chain(tunnel, key)
        tunnel.left = self.clock

    def drop_chain(self, tunnel: Tunnel, key: tuple[str | None, int | str | None]) -> None:
        """A Child SA is gone."""
        chain = tunnel.chains.pop(key)
        tunnel.left = self.clock
        if chain.spi_in is not None:
            self.spis.pop(chain.spi_in, None)

    def forget_all(self) -> None:
        """The daemon began anew: nothing is up."""
        for tunnel in self.tunnels.values():
            if tunnel.up or tunnel.chains:
                tunnel.left = self.clock
            tunnel.up.clear()
            tunnel.chains.clear()
            tunnel.scheduled = None
        self.up.clear()
        self.away.clear()
        self.spis.clear()
        self.failed.clear()

    def unsettle(self) -> None:
        """The clock jumped: nobody knows how old anything is."""
        for tunnel in self.tunnels.values():
            tunnel.forget_ages()
            tunnel.child.short.clear()
            tunnel.ike.short.clear()
            tunnel.excuse = 0.0
            tunnel.reauth_at = None
            tunnel.ended_at = None
            tunnel.trouble = None
        for records in (self.suspects, self.named, self.strangers, self.waiting, self.expired):
            records.clear()
        self.callers.clear()
        self.crowds.clear()
        self.away.clear()
        self.seen.clear()
        self.seen_before.clear()
        self.soft.clear()
        self.nameless.clear()
        self.silences.clear()
        self.flood = Flood()

    def suspect(self, source: str) -> Suspect:
        """The record of a source; the longest known is dropped where there are too many."""
        return _kept(self.suspects, source)

    def identity(self, name: str) -> Suspect:
        """The record of an identity that fails."""
        return _kept(self.named, name)

    def hear(self, at: float) -> None:
        """There is an event at `at`: for how long was nothing known before it?"""
        known = max(self.clock or at, self.heard or 0.0)
        self.keep_silence(known, at)

    def keep_silence(self, begin: float, end: float) -> None:
        """Of the time between nothing is known."""
        length = end - begin
        if length > _SILENCE:
            # What ended earlier and was shorter hides nothing that this one does not.
            self.silences[:] = [one for one in self.silences if one[1] > length]
            self.silences.append((end, length))
            del self.silences[:-_MOST_SILENCES]

    def was_silent(self, seconds: float, since: float) -> bool:
        """Was there a silence of at least so long after `since`? The log may have a hole there."""
        return any(end > since and length >= seconds for end, length in self.silences)

    def longest_silence(self, since: float) -> float:
        """How long was the longest silence after `since`? 0 where it was short."""
        return max((length for end, length in self.silences if end > since), default=0.0)

    # --- bounds, plans, timers, signs

    def bounds_of(self, tunnel: Tunnel) -> Bounds:
        """What the configuration says of it."""
        if not self.bounds or tunnel.name is None:
            return UNKNOWN
        return self.bounds.get(tunnel.name, UNKNOWN)

    def plans(self, at: float | None, connection: str | None) -> set[str]:
        """The purposes of what we do there and then ourselves."""
        if at is None:
            return set()
        return {one.purpose for one in self.planned if one.covers(at, self.name, connection)}

    def change(self, kind: str, tunnel: Tunnel, at: float | None) -> None:
        """An SA of the tunnel came up, was replaced or ended."""
        if self.changes is not None:
            self.changes.append(Change(kind, at, tunnel.name))

    def planned_since(self, at: float, connection: str | None) -> float | None:
        """Since when we are doing something there ourselves at `at`."""
        begun = [one.start for one in self.planned if one.covers(at, self.name, connection)]
        return min(begun, default=None)

    def arm(self, tunnel: Tunnel, due: float) -> None:
        """Look at it at `due`, or a little later."""
        if not tunnel.armed or due < tunnel.armed:
            tunnel.armed = due
            self.wheel.setdefault(int(due // SLOT), []).append(tunnel)

    def place(self, tunnel: Tunnel, identity: str | None = None) -> Place:
        """As alerts name it."""
        return Place(self.name, tunnel.name, tunnel.source, identity)

    def sign(
        self,
        kind: str,
        place: Place,
        at: float | None,
        lines: Sequence[int],
        evidence: Mapping[str, object],
        since: float | None = None,
        variant: str = "",
        slow: bool = False,
    ) -> None:
        """A sign of `kind`, unless we said that we work there (maintenance)."""
        if self.planned and "maintenance" in self.plans(at, place.connection):
            return
        told = self._bounded(kind, place)
        if told is not place:
            crowd = self.crowd(f"signs of {kind}", at, QUIET.get(kind, 3600.0), told.connection)
            crowd.join(Attempt(at, lines[-1] if lines else 0, told.sender))
            before = evidence.get("attempts")  # until it was told
            if isinstance(before, int):
                crowd.attempts = max(crowd.attempts, before)
            evidence = {**evidence, **crowd.shown()}
        self.conditions.sign(kind, told, at, lines, evidence, since, variant, slow)

    # --- strangers

    def call(self, address: str, name: str | None) -> None:
        """We ask for an IKE SA there: its address is from our configuration."""
        there = self.called.get(address)
        if there is None:
            if len(self.called) >= _MOST_CALLED:
                del self.called[next(iter(self.called))]
            there = self.called[address] = []
        if name is not None and name not in there:
            there.append(name)
            del there[:-16]

    def knows(self, address: str | None) -> bool:
        """Is it the address of a peer that authenticated there, or that we asked ourselves?"""
        return address is not None and (address in self.sources or address in self.called)

    def is_strange(self, place: Place) -> bool:
        """Is nothing known but who sent it, which anybody can forge?"""
        return place.connection is None and place.peer is not None and not self.knows(place.peer)

    def caller(self, place: Place, source: str) -> Suspect:
        """The record of a source of what anybody can send: forged ones do not push out those of peers."""
        return _kept(self.callers if self.is_strange(place) else self.suspects, source)

    def common(self, place: Place) -> Place:
        """The place of a condition: that of all strangers, if it is a stranger's."""
        if not self.is_strange(place):
            return place
        return Place(self.name, None, None, place.identity, place.peer)

    def crowd(
        self, kind: str, at: float | None, span: float, connection: str | None = None
    ) -> Crowd:
        """Those who do `kind` at a connection; begun anew after `span` seconds without any."""
        key = f"{connection or ''}\n{kind}"
        there = self.crowds.get(key)
        if there is None and connection is not None and not self._is_proven(connection):
            unproven = sum(1 for each in self.crowds if each.rpartition("\n")[0] not in self.names)
            if unproven >= MOST_UNPROVEN:
                key = f"\n{kind}"
                there = self.crowds.get(key)
        if there is None or (at is not None and there.last is not None and at - there.last > span):
            there = self.crowds[key] = Crowd()
        return there

    def _is_proven(self, connection: str) -> bool:
        return not connection or connection in self.names or connection in self.bounds

    def _bounded(self, kind: str, place: Place) -> Place:
        """Where a sign is told: connections that never came up may be without end."""
        if place.connection is None or self._is_proven(place.connection):
            if kind in PERSONAL and place.connection and self.conditions.is_full(kind, place):
                sender = place.peer or place.identity or ""
                return Place(self.name, place.connection, sender=sender)
            return self.common(place)
        if self.conditions.is_open(kind, place):
            return place
        there = sum(
            1
            for each, _, name, _ in self.conditions.opened
            if each == kind and name is not None and name not in self.names
        )
        if there < MOST_UNPROVEN:
            return place
        return Place(self.name, None, None, None, place.peer or place.sender or place.connection)


def _kept(records: dict[str, Suspect], key: str) -> Suspect:
    there = records.get(key)
    if there is None:
        if len(records) >= MOST_SUSPECTS:
            del records[next(iter(records))]
        there = records[key] = Suspect()
    return there
