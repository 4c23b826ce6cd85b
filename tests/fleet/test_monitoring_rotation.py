"""Our own rotations: they do not alarm, and one that keeps a tunnel from coming up is undone."""

from collections.abc import Iterator

import pytest

from fleet.monitoring import intake, undoing
from fleet.rotation import due
from fleet.rotation.values import Authentication, State
from ike.events.event import SaEvent
from pki.actors import Actor, Role, Scope
from pki.desk import Desk
from tests.fixtures.desk import CLOCKWORK, drain
from tests.fleet.monitoring import alerts_of, batch
from tests.fleet.rotating import Site


@pytest.fixture
def rotating(desk: Desk) -> Iterator[Site]:
    made = Site(desk)
    yield made
    made.close()


PEER = "198.51.100.7"


def failed(site: Site, first: int, count: int, source: str) -> list[SaEvent]:
    start = site.clock().timestamp() - 60
    return [
        SaEvent(
            "auth_failed",
            0,
            start + 5 * number,
            source=source,
            name="left-right",
            identity="right",
            reason="psk",
            ike_id=number,
        )
        for number in range(first, first + count)
    ]


def report(site: Site, first: int, count: int, source: str = PEER) -> None:
    """The tunnel was up with its peer, and then attempts fail."""
    now = site.clock()
    events = failed(site, first, count, source)
    up = events[0]._replace(kind="ike_established", source=PEER, reason=None, ike_id=1000)
    events = [up._replace(time=now.timestamp() - 3600), *events]
    actor = Actor("gateway left", Role.GATEWAY, scope=Scope(gateway="left"))
    intake.take(site.desk, actor, batch(events, first, until=now), now=now)


def test_a_rotation_that_breaks_the_tunnel_is_undone(rotating: Site) -> None:
    name = rotating.slot("left", "right")
    runner = rotating.runner()
    assert due.begin_due(rotating.desk, CLOCKWORK, now=rotating.clock()) == 1
    runner.run(rotating.clock)
    report(rotating, 0, 4)
    [alert] = alerts_of(rotating.desk)
    assert (alert.kind, alert.severity) == ("rotation_failed", "critical")
    drain(rotating.desk, rotating.clock())
    [rotation] = rotating.all_of(name)
    assert rotation.back or rotation.state == State.CANCELLED
    # Once more changes nothing.
    undoing.undo(rotating.desk, CLOCKWORK, "left", "left-right", now=rotating.clock())
    assert undoing.undo(rotating.desk, CLOCKWORK, "left", "other", now=rotating.clock()) == 0
    assert undoing.undo(rotating.desk, CLOCKWORK, "nope", "other", now=rotating.clock()) == 0
    rotating.go_on()
    [rotation, *_] = rotating.all_of(name)
    assert rotation.state in {State.ROLLED_BACK, State.CANCELLED}


def test_what_an_agent_saw_to_work_is_not_undone_for_lines_of_a_log(rotating: Site) -> None:
    name = rotating.slot("left", "right")
    runner = rotating.runner()
    due.begin_due(rotating.desk, CLOCKWORK, now=rotating.clock())
    runner.run(rotating.clock)
    [rotation] = rotating.all_of(name)
    left = rotating.agents["left"]
    left.work()
    assert rotation.to_version is not None
    left.authenticated[name] = Authentication(rotation.to_version)
    left.report()
    report(rotating, 0, 4)
    assert [each.kind for each in alerts_of(rotating.desk)] == ["rotation_failed"]
    drain(rotating.desk, rotating.clock())
    [rotation] = rotating.all_of(name)
    assert not rotation.back
    assert rotation.state != State.CANCELLED


def test_nobody_but_the_peer_has_a_rotation_undone(rotating: Site) -> None:
    name = rotating.slot("left", "right")
    runner = rotating.runner()
    due.begin_due(rotating.desk, CLOCKWORK, now=rotating.clock())
    runner.run(rotating.clock)
    report(rotating, 0, 8, source="203.0.113.66")
    assert [each.kind for each in alerts_of(rotating.desk)] == ["auth_failures"]
    drain(rotating.desk, rotating.clock())
    [rotation] = rotating.all_of(name)
    assert not rotation.back
    assert rotation.state != State.CANCELLED


def test_without_a_rotation_the_same_is_a_failure(rotating: Site) -> None:
    rotating.slot("left", "right")
    report(rotating, 0, 4)
    assert [each.kind for each in alerts_of(rotating.desk)] == ["auth_failures"]
