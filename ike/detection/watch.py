"""The watch over negotiations: events in, alerts out; all gateways, with a small state for each tunnel. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ike.detection import clock, floods, lifecycle, liveness, retention, rotations
from ike.detection.alert import Alert
from ike.detection.bounds import Bounds, Planned
from ike.detection.conditions import Place
from ike.detection.order import GAP, WINDOW, age_seen, released
from ike.detection.reactions import MAKING, OF_TUNNELS, REACTIONS
from ike.detection.state import SLOT, Change, Gateway
from ike.events.event import SaEvent

# Each minute of a day. What is looked at each minute would take as long over years, which a wrong clock can tell of:
# beyond them only the last look counts.
_LOOKS: Final = 1_500


class Watch:
    """Rules over a stream of events.

    `bounds` by connection: what is known of its configuration. `planned`: what we do ourselves. Events of one host
    come roughly in the order of their time; they may come twice, and a few seconds late. A whole file is put in order
    by `order.in_order` first. `observe` is cheap and judges late: after `advance` or `settle` nothing is held back
    that could be judged.
    """

    def __init__(
        self, bounds: Mapping[str, Bounds] | None = None, planned: Sequence[Planned] = ()
    ) -> None:
        self._bounds = bounds or {}
        self._planned = tuple(planned)
        self._gateways: dict[str | None, Gateway] = {}
        self._changes: list[Change] | None = None

    def observe(self, event: SaEvent) -> None:
        """Take one event."""
        gateway = self._gateways.get(event.host)
        if gateway is None:
            gateway = self._gateways[event.host] = Gateway(
                event.host,
                bounds=self._bounds,
                planned=self._planned,
                changes=self._changes,
            )
        held = gateway.held
        held.append(event)
        if len(held) >= gateway.patience:
            _release(gateway, None)

    def observe_all(self, events: Iterable[SaEvent]) -> None:
        """Take many events."""
        for event in events:
            self.observe(event)

    def changes(self) -> list[Change]:
        """The list that from now on changes of SAs are added to, as they are recognised."""
        if self._changes is None:
            self._changes = []
            for gateway in self._gateways.values():
                gateway.changes = self._changes
        return self._changes

    def plan(self, planned: Sequence[Planned]) -> None:
        """From now on, this is what we do ourselves."""
        self._planned = tuple(planned)
        for gateway in self._gateways.values():
            gateway.planned = self._planned

    def learn(self, bounds: Mapping[str, Bounds]) -> None:
        """From now on, this is known of the configuration."""
        self._bounds = bounds
        for gateway in self._gateways.values():
            gateway.bounds = bounds

    def advance(self, now: float, gateways: Iterable[str | None] | None = None) -> None:
        """Time passes: `now`, for gateways (None: all) whose events up to now have been handed in.

        What should have happened by now and did not is found here. Not for a gateway that was not heard: its silence
        says nothing of its tunnels.
        """
        for name in list(self._gateways) if gateways is None else gateways:
            gateway = self._gateways.get(name)
            if gateway is not None:
                _release(gateway, now - WINDOW)
                _fire(gateway, now - WINDOW)
                gateway.heard = max(gateway.heard or now, now)

    def doubt(self, begin: float, end: float, gateways: Iterable[str | None] | None = None) -> None:
        """Of what happened between these times to gateways (None: all) perhaps not all will be told.

        For `advance` after it, what was to happen then may have.
        """
        for name in list(self._gateways) if gateways is None else gateways:
            gateway = self._gateways.get(name)
            if gateway is not None:
                there = gateway.doubted
                # Times that overlap are one: between them nothing was told.
                begun = there[0] if there is not None and there[0] < begin < there[1] else begin
                gateway.doubted = begun, end
                gateway.keep_silence(begun, end)

    def lose(self, gateway: str | None, number: int, now: float) -> None:
        """So many events of a gateway will never be told."""
        there = self._gateways.get(gateway)
        if there is None:
            there = self._gateways[gateway] = Gateway(
                gateway, bounds=self._bounds, planned=self._planned
            )
        there.sign("events_lost", Place(gateway), now, (), {"events": number})

    def settle(self) -> None:
        """The events have an end: judge what is held back, as of the last event of each gateway."""
        for gateway in self._gateways.values():
            _release(gateway, float("inf"))
            if gateway.clock is not None:
                _fire(gateway, gateway.clock)
            floods.judge(gateway, gateway.clock)
            gateway.conditions.close()

    def alerts(self) -> list[Alert]:
        """All, open and ended, oldest first."""
        found = [
            condition.alert(gateway.clock)
            for gateway in self._gateways.values()
            for condition in (*gateway.conditions.ended, *gateway.conditions.opened.values())
        ]
        return sorted(
            found, key=lambda each: (each.start is not None, each.start or 0.0, each.kind)
        )

    def forget(self, before: float) -> None:
        """Drop alerts that ended before that time: they are on record elsewhere."""
        for gateway in self._gateways.values():
            gateway.conditions.ended[:] = [
                one for one in gateway.conditions.ended if one.end is None or one.end >= before
            ]

    def gateways(self) -> list[Gateway]:
        """All that is remembered; see `records`."""
        return list(self._gateways.values())

    @classmethod
    def of(
        cls,
        gateways: Iterable[Gateway],
        bounds: Mapping[str, Bounds] | None = None,
        planned: Sequence[Planned] = (),
    ) -> "Watch":
        """A watch that goes on with what another one remembered."""
        watch = cls(bounds, planned)
        for gateway in gateways:
            gateway.bounds, gateway.planned = watch._bounds, watch._planned
            for tunnel in gateway.tunnels.values():
                gateway.index(tunnel)
            watch._gateways[gateway.name] = gateway
        return watch


def _release(gateway: Gateway, limit: float | None) -> None:
    for events, step in released(gateway, limit):
        _process(gateway, events)
        if step is not None:
            event, before, at = step
            gateway.clock = gateway.heard = at
            gateway.fired = int(at // SLOT) - 1
            gateway.unsettle()
            clock.went_back(gateway, event, before, at)
    if retention.outgrown(gateway):
        retention.sweep(gateway, gateway.clock)


def _process(gateway: Gateway, events: Sequence[SaEvent]) -> None:
    # The hot loop: what is cheap stands in it, so that an ordinary event costs three calls.
    of_tunnels, others, up = OF_TUNNELS, REACTIONS, gateway.up
    fire_at = (gateway.fired + 2) * SLOT
    for event in events:
        kind = event.kind
        fact = (event.line, kind, event.child_id, event.time)
        if fact in gateway.seen or fact in gateway.seen_before:
            continue
        gateway.seen[fact] = None
        at = event.time
        if at is not None:
            now = gateway.clock
            if now is not None and now <= at < fire_at:
                gateway.clock = at
            else:
                at = _reach(gateway, now, at)
                if at is None:
                    continue
                fire_at = (gateway.fired + 2) * SLOT
        rule = of_tunnels.get(kind)
        if rule is None:
            others.get(kind, _pass)(gateway, event, at)
            continue
        tunnel = up.get(event.ike_id)
        if tunnel is None or event.name != tunnel.name:
            tunnel = gateway.tunnel(event, kind in MAKING)
        if tunnel is not None:
            rule(gateway, tunnel, event, at)


def _pass(gateway: Gateway, event: SaEvent, at: float | None) -> None:
    """No rule hears of it."""


def _reach(gateway: Gateway, now: float | None, at: float) -> float | None:
    """As of when an event counts whose time is not simply the next; None: it comes too late."""
    if now is not None and at < now:
        if at >= now - clock.BACK:
            return now
        gateway.late += 1
        return None
    if now is not None and (at - now > GAP or clock.put_forward(now, at)):
        gateway.unsettle()
    gateway.hear(at)
    gateway.clock = at
    _fire(gateway, at)
    return at


def _fire(gateway: Gateway, now: float) -> None:
    """Look at what was due in the slots that are over at `now`."""
    slot = int(now // SLOT) - 1
    if slot <= gateway.fired:
        return
    gateway.fired = slot
    wheel = gateway.wheel
    age_seen(gateway, now)
    looks = 0
    while overdue := sorted(key for key in wheel if key <= slot):
        looks += 1
        for due in overdue:
            at = due if looks <= _LOOKS else slot
            for tunnel in wheel.pop(due):
                if tunnel.armed and int(tunnel.armed // SLOT) == due:
                    lifecycle.look(gateway, tunnel, (at + 1) * SLOT)
    if gateway.waiting:
        rotations.overdue(gateway, now)
    if gateway.away:
        liveness.overdue(gateway, (slot + 1) * SLOT)
    if gateway.conditions.opened:
        gateway.conditions.settle((slot + 1) * SLOT)
    if retention.overdue(gateway, now):
        retention.sweep(gateway, now)
