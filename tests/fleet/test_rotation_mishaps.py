"""What people and clocks do in the middle of a rotation, on real records."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from fleet.rotation import begin, claims, handover, orders, shown, slots
from fleet.rotation.claims import Worker
from fleet.rotation.handover import HandoverNotFound
from fleet.rotation.orders import Order
from fleet.rotation.policies import PolicyChange
from fleet.rotation.runner import Runner
from fleet.rotation.values import Kind, Reason, State
from pki.desk import Desk, RotationRules
from tests.fakes import FakeSecretStore
from tests.fixtures.desk import CLOCKWORK, OPERATOR
from tests.fleet.rotating import OUTSIDE, Site, keys, with_secrets


@pytest.fixture
def site(desk: Desk) -> Iterator[Site]:
    rules = RotationRules(at_once=100, per_second=1000.0)
    made = Site(with_secrets(desk, FakeSecretStore(), rotation=rules))
    yield made
    made.close()


def start(site: Site, name: str, reason: Reason = Reason.DEMANDED) -> int:
    slot = site.find(name)
    return site.desk.store.together(
        lambda unit: begin.begin(unit, slot.id, reason, None, "oscar", site.clock())
    )


@pytest.fixture
def pair(site: Site) -> str:
    """A tunnel whose first key is in force."""
    name = site.slot("left", "right")
    start(site, name, Reason.FIRST)
    site.go_on()
    return name


def test_a_policy_changed_in_the_middle_leaves_the_key_due(site: Site, pair: str) -> None:
    number, runner = start(site, pair), site.runner()
    site.wire.authenticate = lambda name: False  # type: ignore[method-assign]  # no proof ever
    for _ in range(8):
        runner.run(site.clock)
        for agent in site.agents.values():
            agent.work()
        site.clock.pass_time(seconds=1)
    assert site.rotation(number).state is State.PROMOTED
    slots.change(site.desk, OPERATOR, pair, PolicyChange(gap=True), now=site.clock())
    site.clock.pass_time(hours=30)
    site.go_on(10, runner)
    assert site.rotation(number).state is State.ROLLED_BACK
    assert site.find(pair).due_at is not None


def test_a_key_that_is_being_undone_is_not_handed_over(site: Site) -> None:
    name = site.slot("left", OUTSIDE)
    start(site, name, Reason.FIRST)
    site.go_on(3)
    site.wire.authenticate(name)
    site.go_on(8)
    number = start(site, name)
    site.go_on(5)
    assert site.rotation(number).state is State.STAGED
    orders.cancel(site.desk, OPERATOR, number, now=site.clock())
    site.runner().run(site.clock)  # and the agent is away
    given = handover.create(site.desk, OPERATOR, "left-bank", Kind.PSK, 8, now=site.clock())
    assert given.version == 1


def test_a_token_gives_no_key_that_is_being_undone(site: Site) -> None:
    name = site.slot("left", OUTSIDE)
    start(site, name, Reason.FIRST)
    site.go_on(3)
    site.wire.authenticate(name)
    site.go_on(8)
    number, runner = start(site, name), site.runner()
    site.go_on(5, runner)
    token = handover.create(site.desk, OPERATOR, "left-bank", Kind.PSK, 100, now=site.clock()).token
    orders.cancel(site.desk, OPERATOR, number, now=site.clock())
    for _ in range(2):
        with pytest.raises(HandoverNotFound):
            handover.claim(site.desk, token, "x", request_id="r", now=site.clock())
        runner.run(site.clock)
        site.clock.pass_time(hours=2)
        runner.run(site.clock)
    assert (site.rotation(number).state, site.rotation(number).back) == (State.STUCK, True)
    orders.rotate(site.desk, OPERATOR, Order("left-bank", emergency=True), now=site.clock())
    claimed = handover.claim(site.desk, token, "x", request_id="r", now=site.clock())
    assert claimed.version == 2


@pytest.mark.parametrize("admitted", [True, False])
def test_the_claim_of_a_clock_that_was_ahead_holds_nothing_up(
    site: Site, pair: str, admitted: bool
) -> None:
    number = start(site, pair)
    worker = Worker(site.desk, CLOCKWORK, "ahead", 10)
    claims.open_gate(worker, site.clock())
    if admitted:
        assert claims.admit(worker, site.clock() + timedelta(days=2)) == [number]
    else:
        site.go_on(1)
        assert claims.take(worker, site.clock() + timedelta(days=2)) == [number]
    site.go_on(12)
    assert site.rotation(number).state is State.RETIRED


def test_a_claim_of_a_clock_that_is_a_little_ahead_is_one(site: Site, pair: str) -> None:
    start(site, pair)
    site.go_on(1)
    one, two = (Worker(site.desk, CLOCKWORK, name, 10) for name in ("one", "two"))
    assert claims.take(one, site.clock() + timedelta(seconds=5))
    claims.put_right(two, site.clock())
    assert not claims.take(two, site.clock())


def test_what_was_woken_by_a_clock_that_was_ahead_is_looked_at(site: Site, pair: str) -> None:
    number, runner = start(site, pair), site.runner()
    good = site.clock.now
    site.clock.now += timedelta(days=2)
    runner.run(site.clock)
    site.agents["left"].work()
    site.clock.now = good
    site.agents["right"].work()
    site.go_on(12, runner)
    assert site.rotation(number).state is State.RETIRED


def test_a_clock_that_was_ahead_for_a_moment_holds_nothing_up(site: Site, pair: str) -> None:
    number, runner = start(site, pair), site.runner()
    good = site.clock.now
    site.clock.now += timedelta(days=2)
    runner.run(site.clock)
    assert site.rotation(number).state is State.STAGED_FIRST
    site.clock.now = good
    site.go_on(30, runner)
    assert site.rotation(number).state is State.RETIRED


@pytest.mark.parametrize("reached", [1, 2], ids=["one-end-has-gone-back", "none-has"])
def test_an_emergency_goes_through_where_undoing_is_stuck(
    site: Site, pair: str, reached: int
) -> None:
    number, runner = start(site, pair), site.runner()
    left, right = (site.agents[name] for name in ("left", "right"))
    runner.run(site.clock)
    left.work()
    runner.run(site.clock)
    right.work()
    orders.cancel(site.desk, OPERATOR, number, now=site.clock())
    runner.run(site.clock)
    with pytest.raises(begin.RotationUnderWay, match="being undone"):
        orders.rotate(site.desk, OPERATOR, Order("left-right", emergency=True), now=site.clock())
    if reached == 1:
        left.work()
    site.clock.pass_time(hours=2)
    runner.run(site.clock)
    assert (site.rotation(number).state, site.rotation(number).back) == (State.STUCK, True)
    [shown] = orders.rotate(
        site.desk, OPERATOR, Order("left-right", emergency=True), now=site.clock()
    )
    assert (shown.id, shown.method, shown.back, shown.error) == (number, "emergency", False, None)
    runner.run(site.clock)
    left.work()
    assert left.loaded[pair] == (2,)  # the end that can be reached, at once
    site.go_on(10, runner)
    assert site.rotation(number).state is State.RETIRED
    assert site.live(pair) == [2]
    assert [each.loaded[pair] for each in (left, right)] == [(2,), (2,)]


@pytest.mark.parametrize("stuck", [True, False])
def test_an_emergency_does_not_take_over_what_is_proven(site: Site, pair: str, stuck: bool) -> None:
    number, runner = start(site, pair), site.runner()
    left, right = (site.agents[name] for name in ("left", "right"))
    while site.rotation(number).state is not State.PROVEN:
        for agent in (left, right):
            runner.run(site.clock)
            if site.rotation(number).state is not State.PROVEN:
                agent.work()
    if stuck:
        left.work()
        site.clock.pass_time(hours=3)
        runner.run(site.clock)
        assert site.rotation(number).state is State.STUCK
    order = Order("left-right", emergency=True)
    with pytest.raises(begin.RotationUnderWay, match="proven"):
        orders.rotate(site.desk, OPERATOR, order, now=site.clock())
    [plan] = orders.plan(site.desk, OPERATOR, order)
    assert "proven" in plan.plan.missing[0]
    site.go_on(3, runner)
    assert site.rotation(number).state is State.RETIRED
    [shown] = orders.rotate(site.desk, OPERATOR, order, now=site.clock())
    site.go_on(8, runner)
    assert (site.rotation(shown.id).state, site.live(pair)) == (State.RETIRED, [3])


def test_a_first_rotation_that_is_being_undone_is_not_said_to_turn(site: Site) -> None:
    name = site.slot("left", "right")
    number, runner = start(site, name, Reason.FIRST), site.runner()
    runner.run(site.clock)
    orders.cancel(site.desk, OPERATOR, number, now=site.clock())
    runner.run(site.clock)
    site.clock.pass_time(hours=2)
    runner.run(site.clock)
    assert site.rotation(number).state is State.STUCK
    with pytest.raises(begin.RotationUnderWay, match="being undone") as refusal:
        orders.rotate(site.desk, OPERATOR, Order("left-right", emergency=True), now=site.clock())
    assert "stuck" not in refusal.value.next_step


def authenticated_but_undone(site: Site, pair: str) -> tuple[int, Runner]:
    """A rotation whose ends saw an authentication under the new key, and which is undone all the same; it is stuck."""
    number, runner = start(site, pair), site.runner()
    agents = list(site.agents.values())
    while site.rotation(number).state is not State.PROMOTED:
        runner.run(site.clock)
        for agent in agents:
            agent.work()
    assert site.wire.authenticate(pair)
    orders.cancel(site.desk, OPERATOR, number, now=site.clock())
    for agent in agents:
        agent.report()
    runner.run(site.clock)
    site.clock.pass_time(hours=2)
    runner.run(site.clock)
    assert (site.rotation(number).state, site.rotation(number).back) == (State.STUCK, True)
    return number, runner


@pytest.mark.parametrize("hours", [0, 50], ids=["clocks-agree", "a-gateways-clock-is-ahead"])
def test_an_authentication_from_before_the_undoing_proves_no_emergency(
    site: Site, pair: str, hours: int
) -> None:
    site.wire.ahead = timedelta(hours=hours)
    number, runner = authenticated_but_undone(site, pair)
    orders.rotate(site.desk, OPERATOR, Order("left-right", emergency=True), now=site.clock())
    site.go_on(6, runner)
    assert keys(site.agents, pair) == {(2,)}
    assert site.rotation(number).state is State.PROMOTED
    waits = shown.rotation(site.desk, OPERATOR, number, now=site.clock()).waits_for
    assert waits is not None
    assert "fresh authentication" in waits
    assert site.wire.authenticate(pair)
    site.go_on(4, runner)
    assert site.rotation(number).state is State.RETIRED


def test_an_authentication_from_before_it_was_hastened_proves_no_emergency(
    site: Site, pair: str
) -> None:
    number, runner = start(site, pair), site.runner()
    left, right = (site.agents[name] for name in ("left", "right"))
    while site.rotation(number).confirmed_at is None:
        for agent in (left, right):
            runner.run(site.clock)
            if site.rotation(number).confirmed_at is None:
                agent.work()
    left.work()  # it starts the proof beside the SAs that are up; the other end has yet to tell of it
    order = Order("left-right", emergency=True)
    orders.rotate(site.desk, OPERATOR, order, now=site.clock())
    site.go_on(6, runner)
    assert keys(site.agents, pair) == {(2,)}
    assert site.rotation(number).state is State.PROMOTED
    assert site.wire.authenticate(pair)
    site.go_on(4, runner)
    assert site.rotation(number).state is State.RETIRED
