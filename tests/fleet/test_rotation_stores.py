"""A store of secrets that answers late, or not at all, and workers that stall or die while it does."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from core.secret import Secret
from fleet.rotation import begin, claims, custody, ledger, orders, slots
from fleet.rotation.claims import Worker
from fleet.rotation.orders import Order
from fleet.rotation.slots import SlotRequest
from fleet.rotation.values import Reason, State
from hsm.seal import Seal
from hsm.secretfiles import SecretFiles
from hsm.secretstore import SecretStoreUnavailable
from pki.desk import Desk, RotationRules
from store.rotation_tables import secrets
from tests.fakes import FakeSecretStore
from tests.fixtures.desk import CLOCKWORK, OPERATOR, drain
from tests.fleet.rotating import Clock, Site, with_secrets
from tests.hsm.conftest import CHEAP, PASSPHRASE


class Died(BaseException):
    """A worker is no more."""


class SlowStore(FakeSecretStore):
    """A store whose destructions may lose their answer, and which can hold up the next write."""

    def __init__(self) -> None:
        super().__init__()
        self.loss: BaseException | None = None
        self.then: Callable[[], object] | None = None
        self.held: threading.Event | None = None
        self.reached = threading.Event()

    def put(self, path: str, value: Secret, *, after: int, tags: Mapping[str, str]) -> int:
        held, self.held = self.held, None
        if held is not None:
            self.reached.set()
            assert held.wait(60)
        return super().put(path, value, after=after, tags=tags)

    def destroy(self, path: str, number: int) -> None:
        super().destroy(path, number)
        then, self.then = self.then, None
        if then is not None:
            then()
        loss, self.loss = self.loss, None
        if loss is not None:
            raise loss


@pytest.fixture
def site(desk: Desk) -> Iterator[Site]:
    rules = RotationRules(at_once=100, per_second=1000.0)
    made = Site(with_secrets(desk, SlowStore(), rotation=rules))
    yield made
    made.close()


@pytest.fixture
def vault(site: Site) -> SlowStore:
    assert isinstance(site.secrets, SlowStore)
    return site.secrets


@pytest.fixture
def seal(tmp_path: Path) -> Seal:
    return Seal.create(tmp_path / "keys", PASSPHRASE, cost=CHEAP)


def start(site: Site, name: str, reason: Reason = Reason.DEMANDED) -> int:
    slot = site.find(name)
    return site.desk.store.together(
        lambda unit: begin.begin(unit, slot.id, reason, None, "oscar", site.clock())
    )


def cancel(site: Site, number: int) -> None:
    orders.cancel(site.desk, OPERATOR, number, now=site.clock())


def hasten(site: Site) -> int:
    order = Order("left-right", emergency=True)
    return orders.rotate(site.desk, OPERATOR, order, now=site.clock())[0].id


def stopped(clock: Clock, until: threading.Event) -> Callable[[], datetime]:
    """The same clock, stopped until the event: a worker that waits has looked at it before the others see it move.

    It would claim again what it has claimed already, had it not come round to waiting by then.
    """
    then = clock()
    return lambda: clock() if until.is_set() else then


def numbers(site: Site, name: str) -> list[tuple[int, str, int | None]]:
    """The versions on record, with their numbers in the store."""
    of = secrets.c.slot_id == site.find(name).id
    with site.desk.store.read() as connection:
        rows = connection.execute(select(secrets).where(of).order_by(secrets.c.version)).all()
    return [(row.version, row.state, row.store_version) for row in rows]


@pytest.fixture
def pair(site: Site) -> str:
    """A tunnel whose first key is in force."""
    name = site.slot("left", "right")
    start(site, name, Reason.FIRST)
    site.go_on()
    return name


@pytest.mark.parametrize(
    "loss", [SecretStoreUnavailable("No answer."), Died()], ids=["no-answer", "killed"]
)
def test_what_may_be_destroyed_already_is_never_turned_to(
    site: Site, pair: str, vault: SlowStore, loss: BaseException
) -> None:
    number, runner = start(site, pair), site.runner()
    left, right = (site.agents[name] for name in ("left", "right"))
    for agent in (left, right):
        runner.run(site.clock)
        agent.work()
    cancel(site, number)
    runner.run(site.clock)
    left.work()
    right.work()
    vault.loss = loss
    if isinstance(loss, Died):
        with pytest.raises(Died):
            runner.run(site.clock)
    else:
        runner.run(site.clock)
    assert (site.rotation(number).state, site.live(pair)) == (State.ROLLING_BACK, [1])
    right.error_code, right.loaded = "daemon_unreachable", {}
    right.report()
    with pytest.raises(begin.RotationUnderWay, match="being undone"):
        hasten(site)
    site.clock.pass_time(hours=2)
    other = site.runner("two")
    other.run(site.clock)
    assert site.rotation(number).state is State.ROLLED_BACK
    right.error_code = ""
    emergency = hasten(site)
    site.go_on(8, other)
    assert (site.rotation(emergency).state, site.live(pair)) == (State.RETIRED, [3])


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_late_write_leaves_no_value_that_nobody_knows(
    site: Site, pair: str, vault: SlowStore, cancelled: bool
) -> None:
    number, vault.held = start(site, pair), threading.Event()
    go_on, slow = vault.held, site.runner("slow")
    stalled = threading.Thread(target=lambda: slow.run(stopped(site.clock, go_on)))
    stalled.start()
    assert vault.reached.wait(30)
    if cancelled:
        cancel(site, number)
    site.clock.pass_time(seconds=31)
    quick = site.runner("quick")
    site.go_on(12, quick)
    if not cancelled:
        start(site, pair)
        site.go_on(12, quick)
    before = numbers(site, pair)
    go_on.set()
    stalled.join(30)
    drain(site.desk, site.clock())
    assert numbers(site, pair) == before
    assert site.live(pair) == [each for _, state, each in before if state == "current"]


def test_a_value_made_while_another_worker_undoes_it_blindly_is_destroyed(
    site: Site, pair: str, vault: SlowStore
) -> None:
    number, slow = start(site, pair), Worker(site.desk, CLOCKWORK, "slow", 10)
    ids = claims.take(slow, site.clock()) + claims.admit(slow, site.clock())
    (job,) = ledger.look(slow, ids, site.clock()).jobs
    cancel(site, number)
    site.clock.pass_time(seconds=31)
    # The slow one makes its value between the destruction of the number that would have been the value's and the
    # record of it, and is no more.
    vault.then = lambda: custody.do(site.desk, job, lambda each: ledger.waits(site.desk, each))
    site.runner().run(site.clock)
    assert site.rotation(number).state is State.ROLLED_BACK
    assert site.live(pair) == [1, 3]
    site.clock.pass_time(minutes=6)
    drain(site.desk, site.clock())
    assert site.live(pair) == [1]


def test_a_late_answer_does_not_put_a_version_back(site: Site, pair: str, vault: SlowStore) -> None:
    number, vault.held = start(site, pair), threading.Event()
    go_on, slow, quick = vault.held, site.runner("slow"), site.runner("quick")
    stalled = threading.Thread(target=lambda: slow.run(stopped(site.clock, go_on)))
    stalled.start()
    assert vault.reached.wait(30)
    site.clock.pass_time(seconds=31)
    while site.rotation(number).state is not State.PROVEN:
        for agent in site.agents.values():
            quick.run(site.clock)
            if site.rotation(number).state is not State.PROVEN:
                agent.work()
    assert numbers(site, pair)[1] == (2, "current", 2)
    go_on.set()
    stalled.join(30)
    assert numbers(site, pair)[1] == (2, "current", 2)


def test_what_is_removed_twice_spares_the_new_owner_of_its_numbers(
    site: Site, pair: str, vault: SlowStore
) -> None:
    path = site.find(pair).path
    slots.remove(site.desk, OPERATOR, pair, now=site.clock())
    drain(site.desk, site.clock())
    for agent in site.agents.values():
        agent.held.clear()
        agent.loaded.clear()
        agent.authenticated.clear()
        agent.work()
    vault.forget(path)  # somebody tidies up
    slots.create(site.desk, OPERATOR, "left-right", SlotRequest(), now=site.clock())
    site.go_on()
    assert numbers(site, pair) == [(1, "current", 1)]
    site.clock.pass_time(minutes=6)
    drain(site.desk, site.clock())
    assert site.live(pair) == [1]


def test_a_damaged_file_holds_up_no_other_secret(desk: Desk, tmp_path: Path, seal: Seal) -> None:
    rules = RotationRules(at_once=100, per_second=1000.0)
    clock = Clock()
    made = with_secrets(desk, SecretFiles(tmp_path / "secrets", seal, clock), rotation=rules)
    site = Site(made, clock=clock)
    names = [site.slot(f"a{number}", f"b{number}") for number in range(12)]
    for name in names:
        start(site, name, Reason.FIRST)
    site.go_on()
    name = hashlib.sha256(site.find(names[0]).path.encode()).hexdigest()
    (tmp_path / "secrets" / name[:2] / f"{name[2:]}.json").write_bytes(b"{")
    damaged, *well = [start(site, name) for name in names]
    site.runner().run(site.clock)
    found = site.rotation(damaged)
    assert (found.state, found.error_code) == (State.GENERATED, "secret_path_unusable")
    assert {(site.rotation(each).state, site.rotation(each).error_code) for each in well} == {
        (State.STAGED_FIRST, "")
    }
    site.close()
