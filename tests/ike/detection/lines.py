"""Events as a parser gives them, for the rules."""

from typing import Any

from ike.detection.alert import Alert
from ike.detection.bounds import Bounds, Planned
from ike.detection.watch import Watch
from ike.events.event import SaEvent

START = 1_760_000_000.0
PEER = "198.51.100.7"


class Log:
    """Lines of one gateway; times are seconds after START, None for a log without times."""

    def __init__(self, *, timed: bool = True) -> None:
        self.events: list[SaEvent] = []
        self.timed = timed

    def add(self, at: float, kind: str, **fields: Any) -> "Log":
        """One line about the tunnel "site" unless `fields` say otherwise."""
        fields.setdefault("name", "site")
        fields.setdefault("source", PEER)
        fields.setdefault("daemon", "charon")
        time = START + at if self.timed else None
        self.events.append(SaEvent(kind, 10 * (len(self.events) + 1), time, **fields))
        return self

    def up(self, at: float, ike: int = 1, child: int = 1, **fields: Any) -> "Log":
        """IKE and Child SA."""
        fields.setdefault("identity", "gw.example")
        self.add(at, "ike_established", ike_id=ike, **fields)
        return self.child(at, child, ike)

    def child(self, at: float, child: int, ike: int = 1, old: int | None = None) -> "Log":
        """A Child SA is up; `old` is closed."""
        self.add(
            at, "child_established", ike_id=ike, child="net", child_id=child,
            spi_in=f"c{child:07x}", spi_out=f"d{child:07x}",
        )  # fmt: skip
        if old is not None:
            self.add(at + 1, "child_closed", ike_id=ike, child="net", child_id=old, size=500)
        return self

    def rekeys(self, times: list[float], first: int = 2) -> "Log":
        """The Child SA is replaced at each of these times."""
        for number, at in enumerate(times, first):
            self.child(at, number, old=number - 1)
        return self


def alerts(
    log: Log, bounds: dict[str, Bounds] | None = None, planned: tuple[Planned, ...] = ()
) -> list[Alert]:
    """What the rules say at the end of `log`."""
    watch = Watch(bounds, planned)
    watch.observe_all(log.events)
    watch.settle()
    return watch.alerts()


def kinds(
    log: Log, bounds: dict[str, Bounds] | None = None, planned: tuple[Planned, ...] = ()
) -> list[str]:
    """Only the kinds."""
    return sorted(each.kind for each in alerts(log, bounds, planned))
