"""What is remembered of a gateway has bounds, whatever whoever has an account does; and what is alive stays."""

from collections.abc import Iterator

from ike.detection.records import restored, stored
from ike.detection.retention import MOST_IDLE, MOST_OF_ONE
from ike.detection.state import ROOM, Gateway
from ike.detection.watch import Watch
from ike.events.event import SaEvent
from tests.ike.detection.lines import PEER, START, Log

DAY = 86_400.0
MANY = 20_000


def logins(
    count: int, *, ends: bool, begin: float = 0.0, who: str = "mallory@example.com"
) -> Iterator[SaEvent]:
    """Each from another address."""
    for number in range(1, count + 1):
        at = START + begin + number / 10
        where = f"2001:db8::{number >> 16:x}:{number & 65535:x}"
        one = {"name": "branches", "source": where, "ike_id": 10_000 + number, "daemon": "charon"}
        yield SaEvent("ike_established", 10 * number, at, identity=who.format(number), **one)  # type: ignore[arg-type]
        if ends:
            yield SaEvent("ike_deleted", 10 * number + 1, at + 0.05, **one)  # type: ignore[arg-type]


def size(gateway: Gateway) -> int:
    identities = len(gateway.hosts) + len(gateway.homes)
    return len(gateway.tunnels) + len(gateway.up) + len(gateway.sources) + identities


def site(watch: Watch) -> None:
    """A tunnel whose lifetimes were learned, up for a day before."""
    log = Log().up(-30 * 3600)
    log.rekeys([step * 3300.0 - 29 * 3600 for step in range(30)])
    watch.observe_all(log.events)


def test_one_account_that_is_up_everywhere() -> None:
    watch = Watch()
    site(watch)
    watch.observe_all(logins(MANY, ends=False))
    watch.advance(START + 2 * DAY)
    (gateway,) = watch.gateways()
    assert len(gateway.up) <= MOST_OF_ONE + 1
    assert len(gateway.tunnels) <= MOST_OF_ONE + MOST_IDLE + 1
    assert gateway.tunnels[("site", PEER)].up


def test_who_is_gone_is_soon_forgotten() -> None:
    watch = Watch()
    site(watch)
    watch.observe_all(logins(MANY, ends=True, who="user{}"))
    (gateway,) = watch.gateways()
    assert len(gateway.tunnels) <= MOST_IDLE + ROOM
    assert gateway.knows("2001:db8::0:1")  # its address a while longer
    for day in (2, 3, 40):
        watch.advance(START + day * DAY)
    assert list(gateway.tunnels) == [("site", PEER)]
    assert size(gateway) == 5
    assert not gateway.knows("2001:db8::0:1")


def test_nobody_pushes_out_the_peers_of_another_connection() -> None:
    watch = Watch()
    site(watch)
    watch.observe_all([SaEvent("ike_deleted", 9, START - 9, ike_id=1, name="site", source=PEER)])
    watch.observe_all(logins(MANY, ends=True))
    watch.advance(START + 2 * DAY)
    (gateway,) = watch.gateways()
    assert gateway.tunnels[("site", PEER)].child.ages


def test_sources_that_went_quiet_are_forgotten() -> None:
    watch = Watch()
    for number in range(500):
        watch.observe(
            SaEvent("auth_failed", number, START + number, source=f"203.0.113.{number % 250}")
        )
    watch.advance(START + DAY / 2)
    (gateway,) = watch.gateways()
    assert gateway.suspects
    watch.advance(START + 3 * DAY)
    assert [*gateway.suspects, *gateway.named, *gateway.crowds] == []


def test_a_memory_of_before_has_bounds_too() -> None:
    """What was stored without them is read, and looked through at the next beat."""
    watch = Watch()
    watch.observe_all(logins(3_000, ends=True))
    watch.settle()
    (gateway,) = watch.gateways()
    gateway.swept = None
    for tunnel in gateway.tunnels.values():
        tunnel.left = None
    later = restored(stored(watch))
    (gateway,) = later.gateways()
    for day in (1, 3, 40):
        later.advance(START + day * DAY)
    assert size(gateway) == 0
