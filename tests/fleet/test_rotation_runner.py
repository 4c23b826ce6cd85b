"""Rotations on real records: each once, put on record as one, undone on failure, alone whatever dies."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from core.errors import IkewardenError
from core.secret import Secret
from fleet import tunnels
from fleet.rotation import begin, claims, due, intake, ledger, shown, turns
from fleet.rotation.begin import NothingToConfirm, RotationTooLate, RotationUnderWay
from fleet.rotation.intake import Filing, SecretReport, Secrets
from fleet.rotation.runner import Runner
from fleet.rotation.values import Method, Policy, Reason, State
from hsm.fingerprint import Fingerprints
from pki import history
from pki.desk import Desk, RotationRules
from scheduler import clock
from scheduler.jobs import JOBS
from store.fleet_tables import gateways
from store.rotation_tables import rotations, secret_reports, secret_slots, secrets
from store.tables import audit_events, outbox
from tests.fakes import FakeSecretStore
from tests.fixtures.desk import CLOCKWORK, NOW, OPERATOR, drain
from tests.fleet.rotating import OUTSIDE, SINGLE, Clock, Site, keys, with_secrets

FAST = RotationRules(at_once=100, per_second=1000.0)


@pytest.fixture
def site(desk: Desk) -> Iterator[Site]:
    made = Site(with_secrets(desk, FakeSecretStore(), rotation=FAST))
    yield made
    made.close()


def store_of(site: Site) -> FakeSecretStore:
    assert isinstance(site.desk.secrets, FakeSecretStore)
    return site.desk.secrets


def start(
    site: Site, name: str, reason: Reason = Reason.DEMANDED, method: Method | None = None
) -> int:
    slot = site.find(name)
    return site.desk.store.together(
        lambda unit: begin.begin(unit, slot.id, reason, method, "oscar", site.clock())
    )


def cancel(site: Site, number: int) -> None:
    site.desk.store.together(lambda unit: begin.cancel(unit, number, "oscar", site.clock()))


def confirm(site: Site, number: int) -> None:
    site.desk.store.together(lambda unit: begin.confirm(unit, number, site.clock()))


@pytest.fixture
def pair(site: Site) -> str:
    """A tunnel between two gateways, with its first key at both ends."""
    name = site.slot("left", "right")
    start(site, name, Reason.FIRST)
    site.go_on()
    assert [each.state for each in site.all_of(name)] == [State.RETIRED]
    return name


def test_a_first_key_and_then_a_second(site: Site, pair: str) -> None:
    start(site, pair)
    site.go_on()
    first, second = site.all_of(pair)
    assert (first.method, second.method) == (Method.FIRST, Method.OVERLAP)
    assert second.state is State.RETIRED
    assert keys(site.agents, pair) == {(2,)}
    slot = site.find(pair)
    assert (slot.left_keys, slot.right_keys, slot.rotation_id) == ((2,), (2,), None)
    assert slot.due_at is not None
    assert NOW + timedelta(days=80) < slot.due_at < NOW + timedelta(days=91)
    assert site.live(pair) == [2]
    with site.desk.store.read() as connection:
        rows = connection.execute(select(secrets).order_by(secrets.c.version)).all()
        trail = connection.scalars(
            select(audit_events.c.action)
            .where(audit_events.c.action.like("rotation.%"))
            .order_by(audit_events.c.id)
        ).all()
    assert [(row.state, row.store_version) for row in rows] == [("destroyed", 1), ("current", 2)]
    assert rows[0].fingerprint != rows[1].fingerprint
    wanted = "generated stored staged_first staged promoted proven retired".split()
    assert list(trail)[-7:] == [f"rotation.{each}" for each in wanted]


def test_ends_that_know_one_key_go_first(site: Site) -> None:
    site.gateway("right", SINGLE)
    name = site.slot("left", "right", Policy(gap=True))
    start(site, name, Reason.FIRST)
    site.go_on()
    number = start(site, name)
    assert site.rotation(number).method is Method.COORDINATED
    runner, seen = site.runner(), []
    for _ in range(12):
        runner.run(site.clock)
        slot = site.find(name)
        seen.append((slot.left_keys, slot.right_keys))
        for agent in site.agents.values():
            agent.work()
    order = list(dict.fromkeys(seen))
    assert order == [
        ((1, 2), (1,)),
        ((1, 2), (1, 2)),
        ((1, 2), (2, 1)),
        ((2, 1), (2, 1)),
        ((2,), (2,)),
    ]
    assert site.rotation(number).state is State.RETIRED


def test_an_outside_peer_is_confirmed_by_hand(site: Site) -> None:
    name = site.slot("left", OUTSIDE)
    start(site, name, Reason.FIRST)
    site.go_on()
    number = start(site, name)
    assert site.rotation(number).method is Method.MANUAL
    with pytest.raises(NothingToConfirm):
        confirm(site, number)
    site.go_on(5)
    site.clock.pass_time(days=30)
    site.go_on(2)
    assert site.rotation(number).state is State.STAGED
    confirm(site, number)
    confirm(site, number)
    site.go_on(5)
    assert site.rotation(number).state is State.RETIRED
    assert site.find(name).right_keys == (2,)


def test_one_at_a_time(site: Site, pair: str) -> None:
    number = start(site, pair)
    with pytest.raises(RotationUnderWay):
        start(site, pair)
    assert start(site, pair, Reason.EMERGENCY) == number
    site.go_on(1)
    assert site.rotation(number).state is State.PROMOTED
    with pytest.raises(RotationTooLate, match=f"Rotation {number} is an emergency"):
        cancel(site, number)
    site.go_on(6)
    found = site.rotation(number)
    assert (found.state, found.method) == (State.RETIRED, Method.EMERGENCY)
    with pytest.raises(RotationTooLate):
        cancel(site, number)


@pytest.mark.parametrize("rounds", range(6))
def test_cancelled_anywhere_it_leaves_the_old_key_alone(site: Site, pair: str, rounds: int) -> None:
    number = start(site, pair)
    runner = site.runner()
    for _ in range(rounds):
        runner.run(site.clock)
        for agent in site.agents.values():
            agent.work()
    try:
        cancel(site, number)
    except RotationTooLate:
        assert site.rotation(number).state in {State.PROVEN, State.RETIRED}
        return
    cancel(site, number)
    site.go_on(8, runner)
    assert site.rotation(number).state in {State.ROLLED_BACK, State.CANCELLED}
    assert keys(site.agents, pair) == {(1,)}
    assert site.live(pair) == [1]
    start(site, pair)
    site.go_on(12, runner)
    assert keys(site.agents, pair) == {(site.find(pair).last_version,)}


def test_silence_undoes_it_and_people_are_told(site: Site, pair: str) -> None:
    number = start(site, pair)
    runner = site.runner()
    runner.run(site.clock)
    site.clock.pass_time(minutes=11)
    runner.run(site.clock)
    assert site.rotation(number).state is State.ROLLING_BACK
    site.go_on(3, runner)
    found = site.rotation(number)
    assert (found.state, found.error_code) == (State.ROLLED_BACK, "end_silent")
    assert "left" in found.error
    with site.desk.store.read() as connection:
        (payload,) = connection.scalars(
            select(outbox.c.payload).where(outbox.c.topic == ledger.FAILED)
        )
    assert payload["secret"] == pair
    assert payload["next_step"]
    assert drain(site.desk, site.clock()) >= 1


def test_an_end_that_refuses_undoes_it_at_once(site: Site, pair: str) -> None:
    number = start(site, pair)
    site.agents["right"].error_code = "daemon_refused"
    site.go_on(6)
    found = site.rotation(number)
    assert (found.state, found.error_code) == (State.ROLLED_BACK, "daemon_refused")
    site.agents["right"].error_code = ""
    site.go_on(2)
    assert keys(site.agents, pair) == {(1,)}


def test_an_end_that_is_away_while_the_old_key_is_withdrawn_holds_it_up(
    site: Site, pair: str
) -> None:
    number = start(site, pair)
    runner = site.runner()
    while site.rotation(number).state is not State.PROVEN:
        runner.run(site.clock)
        for agent in site.agents.values():
            if site.rotation(number).state is not State.PROVEN:
                agent.work()
    site.agents["left"].work()
    site.clock.pass_time(minutes=11)
    runner.run(site.clock)
    found = site.rotation(number)
    assert (found.state, found.error_code) == (State.STUCK, "end_silent")
    assert site.live(pair) == [1, 2]
    site.clock.pass_time(days=7)
    site.go_on(3, runner)
    assert site.rotation(number).state is State.RETIRED
    assert site.live(pair) == [2]


def test_a_sealed_store_only_holds_it_up(site: Site, pair: str) -> None:
    store, runner = store_of(site), site.runner()
    store.fail()
    number = start(site, pair)
    for _ in range(8):
        site.go_on(1, runner)
        site.clock.pass_time(hours=1)
    found = site.rotation(number)
    assert (found.state, found.error_code) == (State.GENERATED, "secret_store_unavailable")
    with site.desk.store.read() as connection:
        told = connection.scalars(select(func.count()).where(outbox.c.topic == ledger.FAILED)).one()
    assert told == 1
    store.heal()
    site.go_on(12, runner)
    assert site.rotation(number).state is State.RETIRED
    assert site.live(pair) == [2]


def test_a_value_that_cannot_be_destroyed_is_tried_for_ever(site: Site, pair: str) -> None:
    store, runner = store_of(site), site.runner()
    number = start(site, pair)

    def refuse(method: str, path: str) -> None:
        if method == "destroy":
            raise IkewardenError("It will not.")

    store.before = refuse
    site.go_on(12, runner)
    for _ in range(30):
        site.go_on(1, runner)
        site.clock.pass_time(minutes=5)
    assert site.rotation(number).state is State.PROVEN
    store.before = None
    site.go_on(3, runner)
    assert site.rotation(number).state is State.RETIRED


def test_a_worker_that_dies_after_its_put_leaves_nothing_behind(site: Site, pair: str) -> None:
    number = start(site, pair)

    dying = Runner(site.desk, CLOCKWORK, "dying")
    claims.open_gate(dying._worker, site.clock())
    ids = claims.admit(dying._worker, site.clock())
    with site.desk.store.read() as connection:
        cases = ledger.cases(connection, claims.rows(connection, ids))
        work = {case.rotation.id: case.course(FAST, NOW).pending for case in cases}
        jobs = ledger.jobs(connection, work, cases)
    for each in dying._work(jobs):
        each.result()  # which it never puts on record
    dying.close()
    assert store_of(site).puts == 3  # the fingerprint's key, the first value, this one
    site.runner("two").run(site.clock)
    assert site.rotation(number).state is State.GENERATED  # still claimed by the dead one
    site.clock.pass_time(seconds=31)
    site.go_on()
    assert site.rotation(number).state is State.RETIRED
    assert store_of(site).puts == 3


def test_somebody_elses_version_is_left_alone(site: Site, pair: str) -> None:
    path = site.find(pair).path
    site.secrets.put(path, Secret(b"another's"), after=1, tags={"who": "else"})
    start(site, pair)
    site.go_on()
    assert site.all_of(pair)[-1].state is State.RETIRED
    assert site.live(pair) == [2, 3]
    with site.desk.store.read() as connection:
        rows = connection.scalars(
            select(audit_events.c.detail)
            .where(audit_events.c.action == "rotation.stored")
            .order_by(audit_events.c.id)
        ).all()
    assert [row["intruded"] for row in rows] == [False, True]


def test_a_tunnel_removed_in_the_middle_leaves_no_value(site: Site, pair: str) -> None:
    path = site.find(pair).path
    start(site, pair)
    site.go_on(3)
    tunnels.remove(site.desk, OPERATOR, "left-right", now=site.clock())
    site.runner().run(site.clock)
    drain(site.desk, site.clock())
    site.clock.pass_time(minutes=6)
    drain(site.desk, site.clock())
    assert {each.state for each in site.secrets.versions(path)} == {"destroyed"}
    with site.desk.store.read() as connection:
        for table in (rotations, secret_slots, secrets):
            assert connection.execute(select(func.count()).select_from(table)).scalar() == 0


def test_one_that_waits_its_turn_says_for_which(site: Site, desk: Desk) -> None:
    first, second = site.slot("hub", "spoke1"), site.slot("hub", "spoke2")
    one = start(site, first, Reason.FIRST)
    site.runner().run(site.clock)
    two = start(site, second, Reason.FIRST)
    site.runner().run(site.clock)
    state = site.rotation(one).state
    told = shown.rotation(site.desk, OPERATOR, two, now=site.clock()).waits_for
    assert told is not None
    assert told.startswith(f"Waits for rotation {one} ({first}, {state}")
    assert told.endswith(" at the latest) at its gateways.")
    site.go_on(6)
    assert site.rotation(two).state is not State.SCHEDULED


def test_no_gateway_has_two_at_once_and_no_second_more_than_it_may(site: Site, desk: Desk) -> None:
    names = [site.slot("hub", f"spoke{number}") for number in range(4)]
    names += [site.slot(f"a{number}", f"b{number}") for number in range(8)]
    slow = replace(FAST, per_second=4.0, at_once=6)
    site.desk = with_secrets(desk, store_of(site), rotation=slow)
    for name in names:
        start(site, name, Reason.FIRST)
    Fingerprints(store_of(site)).of(Secret(b"any"))
    runner = site.runner()
    gateway_ids = {end for name in names for end in site.find(name).gateway_ids}
    for _ in range(40):
        before = store_of(site).puts
        runner.run(site.clock)
        assert store_of(site).puts - before <= 4
        with site.desk.store.read() as connection:
            busy = turns.under_way(connection, slow, NOW)
            held = turns.held(connection, gateway_ids, slow, NOW)
        assert max(held.values(), default=0) <= 1
        assert busy <= 6
        for agent in site.agents.values():
            agent.work()
        site.clock.pass_time(seconds=0.5)
    for name in names:
        assert [each.state for each in site.all_of(name)] == [State.RETIRED], name


def test_reports_of_many_gateways_are_filed_together_each_for_its_own_end(
    site: Site, desk: Desk
) -> None:
    one, two = site.slot("hub", "a"), site.slot("hub", "b")
    site.go_on(1)
    number = start(site, one, Reason.FIRST)
    with desk.store.write() as connection:
        later = site.clock() + timedelta(hours=1)
        connection.execute(update(rotations).values(wake_at=later))
        ids = {row.name: row.id for row in connection.execute(select(gateways))}

    def told(*names: str) -> Secrets:
        return Secrets(
            SINGLE, tuple(SecretReport(each, (1,), (1,), (), None, "", "") for each in names)
        )

    def file(*filings: Filing) -> dict[tuple[str, str], datetime]:
        with desk.store.write() as connection:
            intake.file(connection, filings, now=site.clock())
            query = select(secret_slots.c.name, secret_reports).join_from(
                secret_reports, secret_slots
            )
            rows = connection.execute(query).all()
        return {(row.name, row.side): row.reported_at for row in rows}

    first = file(
        Filing(ids["hub"], 1, False, told(one, two)),
        Filing(ids["a"], 1, False, told(one, two)),  # one of them is none of its own
        Filing(ids["b"], 1, False, told(two)),
    )
    assert set(first) == {(one, "left"), (one, "right"), (two, "left"), (two, "right")}
    # Nothing new, and the hub does not speak of one of them any more.
    second = file(Filing(ids["hub"], 1, False, told(two)), Filing(ids["a"], 1, False, told(one)))
    assert {each for each in first if second[each] > first[each]} == {(one, "right"), (two, "left")}
    with desk.store.read() as connection:
        row = connection.execute(select(rotations).where(rotations.c.id == number)).one()
    assert row.wake_at == row.entered_at  # woken, by what was news


def test_what_is_due_is_begun_once(site: Site) -> None:
    names = [site.slot(f"a{number}", f"b{number}") for number in range(6)]
    frozen = site.slot("c", "d", Policy(frozen=True))
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(due.begin_due(site.desk, CLOCKWORK, now=NOW)))
        for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sum(found) == len(names)
    for name in names:
        (only,) = site.all_of(name)
        assert only.reason is Reason.SCHEDULED
        assert site.find(name).rotation_id == only.id
    assert site.all_of(frozen) == []
    assert due.begin_due(site.desk, CLOCKWORK, now=NOW) == 0


def test_a_scheduled_one_that_fails_is_tried_again_the_next_day(site: Site, pair: str) -> None:
    with site.desk.store.write() as connection:
        connection.execute(update(secret_slots).values(due_at=NOW))
    assert due.begin_due(site.desk, CLOCKWORK, now=site.clock()) == 1
    site.agents["left"].error_code = "daemon_refused"
    site.go_on(6)
    assert site.all_of(pair)[-1].state is State.ROLLED_BACK
    at = site.find(pair).due_at
    assert at is not None
    assert timedelta(hours=23) < at - site.clock.now < timedelta(hours=25)


class Watch(Clock):
    """The real time."""

    def __call__(self) -> datetime:
        return clock.read_clock()


def test_the_running_scheduler_rotates_what_is_due_within_seconds(desk: Desk) -> None:
    site = Site(with_secrets(desk, FakeSecretStore(), rotation=FAST), clock=Watch())
    name = site.slot("left", "right")
    stop = threading.Event()
    intervals = {job.name: 0 for job in JOBS if job.name != "rotations_due"}
    thread = threading.Thread(
        target=clock.serve,
        args=(site.desk,),
        kwargs={"intervals": intervals, "outbox_seconds": 3600.0, "stop": stop},
    )
    thread.start()
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if [each.state for each in site.all_of(name)] == [State.RETIRED]:
                break
            for agent in site.agents.values():
                agent.work()
    finally:
        stop.set()
        thread.join(60)
    (found,) = site.all_of(name)
    assert found.state is State.RETIRED
    states = {each.job: each.outcome for each in history.job_states(site.desk, CLOCKWORK)}
    assert (states["rotations"], states["rotations_due"]) == ("ok", "ok")
