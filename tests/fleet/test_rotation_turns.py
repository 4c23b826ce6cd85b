"""Who waits for whom at a gateway, on real records: a gateway that is away holds up its own rotation alone."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fleet.rotation import begin, claims, ledger, orders, shown
from fleet.rotation.claims import Worker
from fleet.rotation.orders import Order
from fleet.rotation.runner import Runner
from fleet.rotation.values import Reason, Rotation, State
from hsm.secretstore import SecretPathUnusable
from pki.desk import Desk, RotationRules
from tests.fakes import FakeSecretStore
from tests.fixtures.desk import CLOCKWORK, OPERATOR
from tests.fleet.rotating import Agent, Site, with_secrets

RULES = RotationRules(at_once=100, per_second=1000.0)


@pytest.fixture
def site(desk: Desk) -> Iterator[Site]:
    made = Site(with_secrets(desk, FakeSecretStore(), rotation=RULES))
    yield made
    made.close()


@pytest.fixture
def hub(site: Site) -> tuple[str, str]:
    """Two tunnels of a hub, whose first keys are in force."""
    names = site.slot("hub", "near"), site.slot("hub", "far")
    for name in names:
        start(site, name, Reason.FIRST)
        site.go_on(8)
    assert {site.all_of(name)[0].state for name in names} == {State.RETIRED}
    return names


def start(site: Site, name: str, reason: Reason = Reason.DEMANDED) -> int:
    slot = site.find(name)
    return site.desk.store.together(
        lambda unit: begin.begin(unit, slot.id, reason, None, "oscar", site.clock())
    )


def go(site: Site, runner: Runner, *away: str, rounds: int = 10) -> None:
    """As `go_on`, without those that are away."""
    at_work: list[Agent] = [each for name, each in site.agents.items() if name not in away]
    for _ in range(rounds):
        runner.run(site.clock)
        for agent in at_work:
            agent.work()
        site.clock.pass_time(seconds=1)


def waits_for(site: Site, number: int) -> str:
    return shown.rotation(site.desk, OPERATOR, number, now=site.clock()).waits_for or ""


def show(found: Rotation) -> tuple[State, bool]:
    return found.state, found.back


def test_a_gateway_that_is_away_holds_up_its_own_rotation_alone(
    site: Site, hub: tuple[str, str]
) -> None:
    near, far = hub
    runner = site.runner()
    one, two = start(site, far), start(site, near)
    go(site, runner, "far", rounds=5)
    assert (site.rotation(one).state, site.rotation(two).state) == (State.STAGED, State.SCHEDULED)
    assert "far" in waits_for(site, one)
    assert f"rotation {one} " in waits_for(site, two)
    site.clock.pass_time(minutes=1)
    go(site, runner, "far")
    assert (site.rotation(one).state, site.rotation(two).state) == (State.STAGED, State.RETIRED)
    go(site, runner)
    assert site.rotation(one).state is State.RETIRED


def test_who_comes_back_waits_until_no_other_changes_at_the_hub(
    site: Site, hub: tuple[str, str]
) -> None:
    near, far = hub
    runner, proves = site.runner(), site.wire.authenticate
    one = start(site, far)
    go(site, runner, "far", rounds=5)
    site.clock.pass_time(minutes=1)
    two = start(site, near)
    site.wire.authenticate = lambda name: False  # type: ignore[method-assign]  # it takes its time
    go(site, runner, "far", rounds=6)
    assert site.rotation(two).state is State.PROMOTED
    for _ in range(2):
        deadline = site.rotation(one).deadline_at
        go(site, runner, rounds=4)
        assert (site.rotation(one).state, site.rotation(two).state) == (
            State.STAGED,
            State.PROMOTED,
        )
        assert deadline is not None
        assert (site.rotation(one).deadline_at or deadline) > deadline
        assert f"for rotation {two} ({near}, promoted" in waits_for(site, one)
    site.wire.authenticate = proves  # type: ignore[method-assign]
    proves(near)
    go(site, runner, rounds=15)
    assert {site.rotation(each).state for each in (one, two)} == {State.RETIRED}


def test_of_several_that_come_back_at_once_one_goes_first(site: Site, hub: tuple[str, str]) -> None:
    near, far = hub
    runner = site.runner()
    one = start(site, far)
    go(site, runner, "far", rounds=4)
    site.clock.pass_time(minutes=1)
    two = start(site, near)
    go(site, runner, "far", "near", rounds=4)
    states = {site.rotation(each).state for each in (one, two)}
    assert states == {State.STAGED}
    site.wire.authenticate = lambda name: False  # type: ignore[method-assign]
    go(site, runner, rounds=4)
    states = {site.rotation(each).state for each in (one, two)}
    assert states == {State.STAGED, State.PROMOTED}


def test_undoing_that_waits_for_a_gateway_holds_up_no_other(
    site: Site, hub: tuple[str, str]
) -> None:
    near, far = hub
    runner = site.runner()
    one = start(site, far)
    go(site, runner, "far", rounds=4)
    orders.cancel(site.desk, OPERATOR, one, now=site.clock())
    go(site, runner, "far", rounds=2)
    assert show(site.rotation(one)) == (State.ROLLING_BACK, True)
    two = start(site, near)
    go(site, runner, "far", rounds=2)
    assert site.rotation(two).state is State.SCHEDULED
    site.clock.pass_time(minutes=1)
    go(site, runner, "far")
    assert show(site.rotation(one)) == (State.ROLLING_BACK, True)
    assert site.rotation(two).state is State.RETIRED
    site.clock.pass_time(minutes=10)
    go(site, runner, "far", rounds=1)
    stuck = shown.rotation(site.desk, OPERATOR, one, now=site.clock())
    assert (stuck.state, stuck.error_code) == (State.STUCK, "rotation_cancelled")
    assert "far" in (stuck.error or "")
    assert stuck.next_step
    go(site, runner)
    assert site.rotation(one).state is State.ROLLED_BACK


def test_first_keys_of_gateways_to_come_hold_up_no_other(site: Site, hub: tuple[str, str]) -> None:
    runner = site.runner()
    for number in range(3):
        start(site, site.slot("hub", f"planned{number}"), Reason.FIRST)
    away = [f"planned{number}" for number in range(3)]
    due = start(site, hub[0])
    for _ in range(4):
        go(site, runner, *away, rounds=6)
        site.clock.pass_time(minutes=1)
    assert site.rotation(due).state is State.RETIRED


@pytest.mark.parametrize("method", ["put", "destroy"])
def test_a_secret_whose_place_in_the_store_is_damaged_holds_up_no_other(
    site: Site, hub: tuple[str, str], method: str
) -> None:
    near, far = hub
    store, runner, path = site.secrets, site.runner(), site.find(far).path
    assert isinstance(store, FakeSecretStore)

    def fail(name: str, where: str) -> None:
        if where == path and name == method:
            raise SecretPathUnusable("It is damaged.")

    store.before = fail
    one = start(site, far)
    two = start(site, near)
    go(site, runner, rounds=20)
    assert site.rotation(one).state is (State.GENERATED if method == "put" else State.PROVEN)
    assert (site.rotation(one).error_code, site.rotation(two).state) == (
        "secret_path_unusable",
        State.RETIRED,
    )
    store.before = None
    site.clock.pass_time(minutes=2)
    go(site, runner)
    assert site.rotation(one).state is State.RETIRED


def test_an_emergency_out_of_an_undoing_that_was_stuck_holds_its_gateways(
    site: Site, hub: tuple[str, str]
) -> None:
    near, far = hub
    runner = site.runner()
    one = start(site, far)
    go(site, runner, "far", rounds=4)
    orders.cancel(site.desk, OPERATOR, one, now=site.clock())
    runner.run(site.clock)
    site.clock.pass_time(hours=2)
    runner.run(site.clock)
    assert show(site.rotation(one)) == (State.STUCK, True)
    orders.rotate(site.desk, OPERATOR, Order("hub-far", emergency=True), now=site.clock())
    two = start(site, near)
    go(site, runner, "far", rounds=4)
    assert (site.rotation(one).state, site.rotation(two).state) == (
        State.PROMOTED,
        State.SCHEDULED,
    )
    assert f"rotation {one} ({far}, promoted until" in waits_for(site, two)
    site.clock.pass_time(minutes=11)
    go(site, runner, "far")
    assert (site.rotation(one).state, site.rotation(two).state) == (State.STUCK, State.RETIRED)


def test_of_two_workers_with_a_rotation_each_at_a_hub_one_promotes(
    site: Site, hub: tuple[str, str]
) -> None:
    near, far = hub
    runner = site.runner()
    one = start(site, far)
    go(site, runner, "far", rounds=4)
    site.clock.pass_time(minutes=1)
    two = start(site, near)
    go(site, runner, "far", "near", rounds=4)
    for agent in site.agents.values():
        agent.work()
    workers = [Worker(site.desk, CLOCKWORK, name, 1) for name in ("this", "that")]
    ids = [claims.take(worker, site.clock()) for worker in workers]
    assert sorted(map(len, ids)) == [1, 1]
    with ThreadPoolExecutor(2) as pool:
        now = site.clock()
        looks = [
            pool.submit(ledger.look, worker, mine, now)
            for worker, mine in zip(workers, ids, strict=True)
        ]
        for each in looks:
            each.result()
    states = sorted(site.rotation(each).state for each in (one, two))
    assert states == [State.PROMOTED, State.STAGED]
