"""A gateway and its tunnels as they live: jitter, loss, restarts, roaming, and all that only looks like trouble."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from bench.detection.counting import Counting
from bench.detection.weather import Numbers, Weather
from ike.detection.bounds import Bounds, Lifetime, Planned
from ike.events.event import SaEvent

DAY = 86_400.0
LONG = 900.0  # an outage of more is no look-alike: it is told
STRONG = "IKE:AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384"
STRONG_CHILD = "ESP:AES_GCM_16_256/ECP_384/NO_EXT_SEQ"


@dataclass(frozen=True)
class Split:
    """What the seeds and parameters of one half are: rules are tuned on "development" and judged on "held out".

    A held-out split that a mistake of a rule was found in has become a part of development: take a new one.
    """

    name: str
    seed: int
    rekey_times: tuple[float, ...]
    jitters: tuple[float, ...]
    one_way: tuple[float, float]


DEVELOPMENT = Split(
    "development",
    20_000,
    (3600.0, 1800.0, 7200.0, 900.0, 14_400.0, 28_800.0),
    (0.06, 0.1, 0.2, 0.25),
    (0.01, 0.3),
)
HELD_OUT = Split(
    "held out", 9_540_000, (2300.0, 5400.0, 1100.0, 12_600.0), (0.07, 0.13, 0.22), (0.008, 0.22)
)


@dataclass
class Tunnel:
    """One connection; `at` is where its story has come to."""

    name: str
    peer: str
    identity: str
    rekey: float
    rand: float
    ike_rekey: float
    known: bool
    numbered: bool
    reauth: bool
    bytes_: int | None
    ike: int = 0
    child: int = 0
    at: float = 0.0
    installed: float = 0.0
    ike_due: float = 0.0
    pair: tuple[str, str] = ("", "")


@dataclass
class Story:
    """Events of one gateway, and what we told the rules."""

    split: Split
    seed: int
    host: str = "gw"
    start: float = 1_750_000_000.0
    days: float = 1.0
    events: list[SaEvent] = field(default_factory=list)
    planned: list[Planned] = field(default_factory=list)
    tunnels: list[Tunnel] = field(default_factory=list)
    number: int = 0
    echo: bool = False
    weather: Weather = field(default_factory=Weather)
    counting: Counting | None = None
    # Of what only looks like trouble, what is trouble all the same: kind, connection, from when and until when.
    truths: list[tuple[str, str, float, float]] = field(default_factory=list)
    heirs: dict[int, int] = field(default_factory=dict)  # Child SAs that took the place of others

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.echo = self.random.random() < 0.2
        self.weather = Weather.of(self.seed, self.start, self.days)

    @property
    def end(self) -> float:
        return self.start + self.days * DAY

    def next(self) -> int:
        self.number += 1
        return self.number

    def spi(self) -> str:
        return f"{self.random.getrandbits(32) or 1:08x}"

    def add(self, at: float, kind: str, tunnel: Tunnel | None = None, **fields: Any) -> None:
        """One line, as a parser would give it; its number comes later."""
        if tunnel is not None:
            fields.setdefault("name", tunnel.name)
            fields.setdefault("source", tunnel.peer)
            if tunnel.numbered:
                fields.setdefault("ike_id", tunnel.ike)
        event = SaEvent(kind, 0, at, host=self.host, daemon="charon", **fields)
        self.events.append(event)
        if self.echo and self.random.random() < 0.9:
            self.events.append(event._replace(time=at + 0.001))

    def bounds(self) -> dict[str, Bounds]:
        """Of those whose configuration is known."""
        return {
            one.name: Bounds(
                ike=None
                if one.reauth
                else Lifetime(one.ike_rekey, one.ike_rekey * 0.1, one.ike_rekey * 1.1),
                child=Lifetime(one.rekey, one.rand, one.rekey * 1.1),
                reauth_time=one.ike_rekey if one.reauth else None,
                rekey_bytes=one.bytes_,
            )
            for one in self.tunnels
            if one.known
        }

    def lines(self) -> list[SaEvent]:
        """All events in the order of a file: by time, but for a little disorder, and numbered; less what was lost."""
        draw, weather = random.Random(self.seed + 1), self.weather
        disorder = draw.choice((0.0, 0.0, 0.5, 2.0))
        events = self.events
        if self.counting is not None:
            events = self.counting.heard(events, weather, self.heirs)
        keyed = [
            (one.time + draw.random() * disorder, number, one)
            for number, one in enumerate(events)
            if one.time is not None and one.time <= self.end
        ]
        keyed.sort(key=lambda each: each[:2])
        numbers, found = Numbers(weather.restarts), []
        for line, (_, _, one) in enumerate(keyed, 1):
            renumbered = numbers.given(one)
            if not (weather.hides(one.time or 0.0) or draw.random() < weather.loss):
                found.append(renumbered._replace(line=line, time=weather.stamped(one.time or 0.0)))
        return found

    def plans(self) -> list[Planned]:
        """What we do ourselves, by the clock of the log."""
        found = []
        for one in self.planned:
            begin, end = self.weather.stamped(one.start), self.weather.stamped(one.end)
            lasts = one.end - one.start
            found.append(replace(one, start=begin, end=begin + lasts))
            if end - begin != lasts:  # the clock was set meanwhile
                found.append(replace(one, start=end - lasts, end=end))
        return found

    # --- steps of a tunnel's life

    def make(self, number: int) -> Tunnel:
        """A tunnel with a configuration of its own."""
        draw = self.random
        rekey = draw.choice(self.split.rekey_times)
        tunnel = Tunnel(
            name=f"site-{number}",
            peer=f"198.51.{number >> 8 & 255}.{number & 255}",
            identity=f"gw{number}.example",
            rekey=rekey,
            rand=rekey * draw.choice(self.split.jitters),
            ike_rekey=draw.choice((14_400.0, 28_800.0)),
            known=draw.random() < 0.5,
            numbered=draw.random() < 0.9 or (self.counting is not None and self.counting.alone),
            reauth=draw.random() < 0.2,
            bytes_=None,
            at=self.start + draw.random() * 60,
        )
        if draw.random() < 0.08:
            tunnel.bytes_ = draw.choice((10_000_000, 200_000_000))
        self.tunnels.append(tunnel)
        return tunnel

    def establish(self, tunnel: Tunnel) -> None:
        """IKE and Child SA come up at `tunnel.at`."""
        at = tunnel.at
        tunnel.ike = self.next()
        self.add(at, self.random.choice(("ike_initiate", "ike_respond")), tunnel)
        if self.random.random() < 0.2:
            self.add(at + 0.01, "invalid_ke", tunnel)
        self.add(at + 0.02, "algorithms", tunnel, algorithms=STRONG)
        self.add(at + 0.1, "ike_established", tunnel, identity=tunnel.identity)
        if self.random.random() < 0.8:
            after = tunnel.ike_rekey * (1.0 if tunnel.reauth else 0.95)
            self.add(at + 0.1, "rekey_scheduled", tunnel, seconds=after)
        tunnel.ike_due = at + tunnel.ike_rekey * (1 - 0.1 * self.random.random())
        self.install(tunnel, at + 0.11)

    def install(self, tunnel: Tunnel, at: float) -> None:
        """A new Child SA is up; gives nothing of the old one."""
        tunnel.child = self.next()
        tunnel.pair = (self.spi(), self.spi())
        tunnel.installed = tunnel.at = at
        fields: dict[str, Any] = {"child": "net", "spi_in": tunnel.pair[0]}
        fields["spi_out"] = tunnel.pair[1]
        if tunnel.numbered:
            fields["child_id"] = tunnel.child
        self.add(at, "child_established", tunnel, **fields)

    def close(
        self, tunnel: Tunnel, at: float, child: int, pair: tuple[str, str], size: int
    ) -> None:
        """The old Child SA is closed."""
        fields: dict[str, Any] = {"child": "net", "spi_in": pair[0], "spi_out": pair[1]}
        if tunnel.numbered:
            fields["child_id"] = child
        self.add(at, "child_closed", tunnel, size=size, **fields)

    def rekey(self, tunnel: Tunnel, at: float, *, lose_closing: bool = False) -> None:
        """The Child SA is replaced."""
        if not tunnel.reauth and max(tunnel.ike_due, tunnel.at + 1) < at - 1:
            tunnel.ike_due = max(tunnel.ike_due, tunnel.at + 1)
            self.next_ike(tunnel)
        old, pair, since = tunnel.child, tunnel.pair, tunnel.installed
        self.install(tunnel, at)
        self.heirs[old] = tunnel.child
        if tunnel.bytes_ is not None:
            size = int(tunnel.bytes_ * (0.9 + 0.1 * self.random.random()))
        else:
            size = int(self.random.random() * 2000 * (at - since))
        if not lose_closing:
            self.close(tunnel, at + 0.05 + 5 * self.random.random(), old, pair, size)

    def collide(self, tunnel: Tunnel, at: float) -> None:
        """Both ends rekey at once: a surplus SA that is closed soon."""
        self.add(at, "collision", tunnel)
        self.rekey(tunnel, at + 0.05)
        child, pair = tunnel.child, tunnel.pair
        self.install(tunnel, at + 0.12)
        self.heirs[child] = tunnel.child
        self.close(tunnel, at + 0.3, child, pair, 0)

    def due(self, tunnel: Tunnel) -> float:
        """When the next rekey of the Child SA comes: the earlier of both ends."""
        draw = self.random
        if tunnel.bytes_ is not None:
            return tunnel.installed + tunnel.rekey * (0.02 + 0.6 * draw.random())
        both = max(draw.random(), draw.random())
        return tunnel.installed + tunnel.rekey - tunnel.rand * both

    def next_ike(self, tunnel: Tunnel) -> None:
        """The IKE SA is rekeyed, or reauthenticated."""
        at, old = tunnel.ike_due, tunnel.ike
        tunnel.ike_due = at + tunnel.ike_rekey * (1 - 0.1 * self.random.random())
        if tunnel.reauth:
            child, pair = tunnel.child, tunnel.pair
            self.add(at, "ike_reauth", tunnel)
            tunnel.at = at + 0.02
            self.establish(tunnel)
            self.close(tunnel, at + 0.4, child, pair, 100)
            self.add(
                at + 0.5, "ike_deleted", tunnel, **({"ike_id": old} if tunnel.numbered else {})
            )
            return
        tunnel.at = at + 0.1
        tunnel.ike = self.next()
        fields: dict[str, Any] = {"old_ike_id": old} if tunnel.numbered else {}
        self.add(at, "ike_rekeyed", tunnel, **fields)
        if tunnel.numbered:
            self.add(at + 0.1, "ike_deleted", tunnel, ike_id=old)

    def outage(self, tunnel: Tunnel, at: float, seconds: float) -> None:
        """The peer is silent: repeats, given up, tried again until it is back."""
        waits = (4.0, 11.2, 24.2, 47.5, 89.5)
        first, begin = True, at
        while first or begin < at + seconds:
            if not first:
                tunnel.ike = self.next()
                self.add(begin, "ike_initiate", tunnel)
            for seq, wait in enumerate(waits, 1):
                self.add(begin + wait, "retransmit", tunnel, seq=seq)
            self.add(begin + 165.0, "giving_up", tunnel)
            begin += 165.0 + 0.1
            first = False
        tunnel.at = begin + self.random.random() * 20
        if tunnel.at - at > LONG:
            self.truths.append(("peer_unreachable", tunnel.name, at, tunnel.at))
        self.establish(tunnel)

    def restart(self, tunnel: Tunnel, at: float) -> None:
        """The gateway's own daemon begins anew; `around` tells of it."""
        if at in self.weather.planned_restarts:
            fields = {"ike_id": tunnel.ike} if tunnel.numbered else {}
            self.add(at - self.random.random(), "ike_deleted", tunnel, **fields)
        tunnel.at = at + 2 + 20 * self.random.random()
        self.establish(tunnel)

    def live(
        self, tunnel: Tunnel, until: float, rare: Callable[["Story", Tunnel, float], bool] | None
    ) -> None:
        """Rekeys up to `until`, with `rare` things between them."""
        while True:
            due = max(self.due(tunnel), tunnel.at + 1)
            stop = self.weather.next_restart(tunnel.at)
            if min(due, tunnel.ike_due) >= min(until, stop):
                if stop >= until:
                    return
                self.restart(tunnel, stop)
                continue
            if tunnel.ike_due < due:
                if tunnel.ike_due > tunnel.at + 1:
                    self.next_ike(tunnel)
                else:
                    tunnel.ike_due += 60.0
                continue
            if rare is not None and rare(self, tunnel, due):
                continue
            delta = self.split.one_way[0] + self.random.random() * self.split.one_way[1]
            chance = 0.09 if tunnel.bytes_ is not None else 2 * delta / tunnel.rand
            if self.random.random() < min(chance, 0.2) and tunnel.numbered:
                self.collide(tunnel, due)
            else:
                self.rekey(tunnel, due)
