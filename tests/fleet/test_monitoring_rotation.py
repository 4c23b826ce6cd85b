"""Our own rotations: they do not alarm, and one that keeps a tunnel from coming up is undone."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from fleet.monitoring import intake, undoing
from fleet.rotation import begin, due
from fleet.rotation.values import Authentication, Reason, Rotation, State
from ike.events.event import SaEvent
from pki.actors import Actor, Role, Scope
from pki.desk import Desk
from store import outbox
from tests.fixtures.desk import CLOCKWORK, drain
from tests.fleet.monitoring import alerts_of, batch, told
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
            start + 5 * (number - first),
            source=source,
            name="left-right",
            identity="right",
            reason="psk",
            ike_id=number,
        )
        for number in range(first, first + count)
    ]


def report(site: Site, first: int, count: int, source: str = PEER) -> None:
    """Attempts fail; of the first ones it is told, too, that the tunnel was up with its peer."""
    now = site.clock()
    events = failed(site, first, count, source)
    if not first:
        up = events[0]._replace(kind="ike_established", source=PEER, reason=None, ike_id=1000)
        events.insert(0, up._replace(time=now.timestamp() - 3600))
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
    now = rotating.clock()
    undoing.undo(rotating.desk, CLOCKWORK, "left", "left-right", now, now=now)
    assert undoing.undo(rotating.desk, CLOCKWORK, "left", "other", now, now=now) == 0
    assert undoing.undo(rotating.desk, CLOCKWORK, "nope", "other", now, now=now) == 0
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


def begun(site: Site, name: str) -> Rotation:
    """One more rotation, on its way."""
    of = site.find(name).id
    site.desk.store.together(
        lambda unit: begin.begin(unit, of, Reason.DEMANDED, None, "oscar", site.clock())
    )
    site.runner().run(site.clock)
    return site.all_of(name)[-1]


def settled(site: Site) -> str:
    """A slot with a key that works; whose rotation is long over."""
    name = site.slot("left", "right")
    due.begin_due(site.desk, CLOCKWORK, now=site.clock())
    site.go_on()
    site.clock.pass_time(hours=2)
    return name


def test_each_rotation_that_fails_is_undone_and_told_of(rotating: Site) -> None:
    name = settled(rotating)
    for first, pause in ((0, 15 * 60), (5, 30), (9, 0)):
        rotation = begun(rotating, name)
        rotating.clock.pass_time(seconds=62)
        report(rotating, first, 4)
        # No line tells of a success, so that the alert of the last one lasted until now.
        ended = [("alert.ended", "rotation_failed")] if first else []
        assert told(rotating.desk) == [*ended, ("alert.opened", "rotation_failed")]
        drain(rotating.desk, rotating.clock())
        rotating.go_on()
        assert rotating.rotation(rotation.id).state == State.ROLLED_BACK
        rotating.clock.pass_time(seconds=pause)


@pytest.mark.parametrize("pause", [20, 30 * 60], ids=["at once", "later"])
def test_what_failed_in_one_rotation_undoes_no_other(rotating: Site, pause: float) -> None:
    """The agent was cut off meanwhile, and tells late."""
    name = settled(rotating)
    first = begun(rotating, name)
    rotating.clock.pass_time(seconds=62)
    late = failed(rotating, 0, 4, PEER)
    up = late[0]._replace(kind="ike_established", reason=None, ike_id=1000)
    events = [up._replace(time=rotating.clock().timestamp() - 3600), *late]
    rotating.desk.store.together(
        lambda unit: begin.cancel(unit, first.id, "oscar", rotating.clock())
    )
    rotating.go_on()
    rotating.clock.pass_time(seconds=pause)
    second = begun(rotating, name)
    now = rotating.clock()
    actor = Actor("gateway left", Role.GATEWAY, scope=Scope(gateway="left"))
    intake.take(rotating.desk, actor, batch(events, until=now), now=now)
    assert [each.kind for each in alerts_of(rotating.desk)] == ["rotation_failed"]
    drain(rotating.desk, rotating.clock())
    second = rotating.rotation(second.id)
    assert not second.back
    assert second.state != State.CANCELLED
    # And then that one fails as well.
    rotating.clock.pass_time(seconds=62)
    report(rotating, len(events), 4)
    drain(rotating.desk, rotating.clock())
    assert rotating.rotation(second.id).back


def test_a_rotation_is_undone_though_its_peer_failed_before_it_too(rotating: Site) -> None:
    name = settled(rotating)
    report(rotating, 0, 2)
    rotating.clock.pass_time(minutes=4)
    rotation = begun(rotating, name)
    rotating.clock.pass_time(seconds=62)
    report(rotating, 3, 2)
    drain(rotating.desk, rotating.clock())
    assert rotating.rotation(rotation.id).back


def test_a_word_to_undo_that_comes_late_is_of_its_own_rotation(rotating: Site) -> None:
    name = settled(rotating)
    rotation = begun(rotating, name)
    before = rotation.created_at - timedelta(minutes=2)
    actor, now = CLOCKWORK, rotating.clock()
    assert undoing.undo(rotating.desk, actor, "left", "left-right", before, now=now) == 0
    assert undoing.undo(rotating.desk, actor, "left", "left-right", now, now=now) == 1


def test_a_word_to_undo_that_an_earlier_version_wrote(rotating: Site) -> None:
    """It does not say when it failed: that was before it was written."""
    name = settled(rotating)
    payload = {"gateway": "left", "connection": "left-right"}
    for is_late in (True, False):
        if is_late:
            before = rotating.clock()
            rotating.clock.pass_time(minutes=2)
            rotation = begun(rotating, name)
        at = before if is_late else rotating.clock()
        with rotating.desk.store.write() as connection:
            outbox.put(connection, topic="rotation.undo", key="1", payload=payload, now=at)
        drain(rotating.desk, rotating.clock())
        assert rotating.rotation(rotation.id).back is not is_late
