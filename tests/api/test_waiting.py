"""Waiting for the state of a gateway: woken by what concerns it, refused who may not know, answered at a stop."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from api.server import ApiSettings
from fleet import state as states
from fleet.changes import Changes
from pki import revocation
from pki.actors import Actor, Role, Scope
from store.fleet_tables import gateways
from tests.api.serving import Reply, Serving, serve
from tests.api.site import CLOCKWORK, CONSOLE, Site
from tests.api.test_fleet import Fleet, Gateway

# A look takes a tenth of a second, but the machine may be busy; who waits would do so for longer.
SOON, LONG = 60.0, 300


@pytest.fixture
def fleet(serving: Serving) -> Iterator[Fleet]:
    made = Fleet(serving)
    yield made
    for client in made.clients:
        client.connection.close()


class Waiter:
    """A gateway that waits, in a thread."""

    def __init__(self, gateway: Gateway, *, wait: int = LONG) -> None:
        self.gateway = gateway
        self.etag = gateway.state().headers["etag"]
        self.reply: Reply | None = None
        self.took = 0.0
        self._wait = wait
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        began = time.monotonic()
        self.reply = self.gateway.state(etag=self.etag, wait=self._wait)
        self.took = time.monotonic() - began

    def settle(self, serving: Serving, count: int = 1) -> None:
        """Wait until the server has it waiting."""
        until(lambda: serving.listener._waiting.count >= count)

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def answer(self, within: float = SOON) -> Reply:
        self._thread.join(within)
        assert self.done, "still waiting"
        assert self.reply is not None
        return self.reply


def until(ready: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_without_a_known_state_nobody_waits(fleet: Fleet) -> None:
    mine = fleet.gateway()
    assert mine.state(wait=LONG).status == 200
    assert mine.state(etag='"0-0"', wait=LONG).status == 200


def test_a_wait_ends_with_304_when_its_time_is_over(fleet: Fleet) -> None:
    waiter = Waiter(fleet.gateway(), wait=1)
    reply = waiter.answer()
    assert (reply.status, reply.body, reply.headers["etag"]) == (304, b"", waiter.etag)
    assert waiter.took >= 0.9


@pytest.mark.parametrize("wait", [-1, 301, "x"])
def test_nobody_waits_too_long(fleet: Fleet, wait: int) -> None:
    assert fleet.gateway().state(etag='"1-1"', wait=wait).code == "query_invalid"


def test_what_concerns_a_gateway_wakes_it_and_nobody_else(fleet: Fleet) -> None:
    mine, other = fleet.gateway(), fleet.gateway()
    changes: list[Callable[[], object]] = [
        lambda: fleet.operator.post(f"/v1/gateways/{mine.name}/commands", {"kind": "renew"}),
        lambda: fleet.tunnel(mine.name, {"name": "p", "identities": ["dns:p.example"]}),
        lambda: fleet.site.client_certificate(mine.name),
    ]
    bystander = Waiter(other)
    bystander.settle(fleet.serving)
    for change in changes:
        waiter = Waiter(mine)
        waiter.settle(fleet.serving, 2)
        change()
        reply = waiter.answer()
        assert reply.status == 200
        assert reply.headers["etag"] != waiter.etag
    assert not bystander.done
    fleet.operator.post(f"/v1/gateways/{other.name}/commands", {"kind": "renew"})
    assert bystander.answer().json["renew"] is True


def test_changes_of_other_processes_wake_too(fleet: Fleet, site: Site) -> None:
    mine = fleet.gateway()
    waiter = Waiter(mine)
    waiter.settle(fleet.serving)
    bump = (
        update(gateways)
        .where(gateways.c.name == mine.name)
        .values(version=gateways.c.version + 1, changed_at=site.clock())
    )
    with site.desk.store.write() as connection:
        connection.execute(bump)
    assert waiter.answer().status == 200


def test_a_change_with_an_older_time_is_seen_too(site: Site, fleet: Fleet) -> None:
    # Another transaction committed before, or another machine's clock is behind.
    mine, other = fleet.gateway(), fleet.gateway()
    changes = Changes(site.desk, CLOCKWORK)
    now = site.clock()
    changes.look(now)
    for gateway, at in ((mine, now), (other, now - timedelta(seconds=3))):
        with site.desk.store.write() as connection:
            connection.execute(
                update(gateways)
                .where(gateways.c.name == gateway.name)
                .values(version=gateways.c.version + 1, changed_at=at)
            )
            number = connection.execute(
                select(gateways.c.id, gateways.c.version).where(gateways.c.name == gateway.name)
            ).one()
        found = {(each.gateway_id, each.version) for each in changes.look(now)}
        assert (number.id, number.version) in found
    long_ago = now - timedelta(hours=1)
    with site.desk.store.write() as connection:
        connection.execute(
            update(gateways)
            .where(gateways.c.name == mine.name)
            .values(version=gateways.c.version + 1, changed_at=long_ago)
        )
        row = connection.execute(
            select(gateways.c.id, gateways.c.version).where(gateways.c.name == mine.name)
        ).one()
    later = now + timedelta(seconds=11)
    assert (row.id, row.version) in {(e.gateway_id, e.version) for e in changes.look(later)}


def test_what_is_long_known_is_not_read_again(site: Site, fleet: Fleet) -> None:
    fleet.gateway()
    changes = Changes(site.desk, CLOCKWORK)
    now = site.clock()
    assert changes.look(now) != []
    assert changes.look(now + timedelta(seconds=5)) != [], "it may have missed some"
    assert changes.look(now + timedelta(seconds=6)) == []
    fleet.gateway()
    found = changes.look(now + timedelta(seconds=6.1))
    assert {each.version for each in found if each.version} == {1}


def test_a_certificate_revoked_meanwhile_gets_the_refusal(fleet: Fleet) -> None:
    mine = fleet.gateway()
    waiter = Waiter(mine)
    waiter.settle(fleet.serving)
    site = fleet.site
    revocation.revoke(site.desk, CONSOLE, mine.serial, "superseded", now=site.clock())
    fleet.operator.post(f"/v1/gateways/{mine.name}/commands", {"kind": "renew"})
    reply = waiter.answer()
    assert (reply.status, reply.code) == (401, "client_certificate_revoked")


def test_a_client_that_hangs_up_frees_its_place(fleet: Fleet) -> None:
    mine = fleet.gateway()
    etag = mine.state().headers["etag"]
    mine.client.connection.request(
        "GET", "/v1/gateways/self/state?wait=60", headers={"If-None-Match": etag}
    )
    until(lambda: fleet.serving.listener._waiting.count == 1)
    mine.client.connection.close()
    until(lambda: fleet.serving.listener._waiting.count == 0)


def test_those_who_wait_hold_no_thread(site: Site) -> None:
    with serve(site, ApiSettings(version="0", reload=60, threads=1)) as serving:
        fleet = Fleet(serving)
        waiters = [Waiter(fleet.gateway()) for _ in range(4)]
        waiters[-1].settle(serving, 4)
        assert fleet.operator.get("/v1/whoami").status == 200
        for waiter in waiters:
            name = waiter.gateway.name
            fleet.operator.post(f"/v1/gateways/{name}/commands", {"kind": "renew"})
        assert [waiter.answer().status for waiter in waiters] == [200] * 4
        for client in fleet.clients:
            client.connection.close()


def test_a_stop_answers_all_at_once(site: Site) -> None:
    serving = Serving(site, ApiSettings(version="0", reload=60))
    serving.start()
    fleet = Fleet(serving)
    waiters = [Waiter(fleet.gateway()) for _ in range(3)]
    waiters[-1].settle(serving, 3)
    serving.stop()
    assert [waiter.answer().status for waiter in waiters] == [304] * 3
    for client in fleet.clients:
        client.connection.close()


def test_whoever_waits_is_seen(fleet: Fleet, site: Site) -> None:
    mine = fleet.gateway()
    mine.state()
    shown = fleet.operator.get(f"/v1/gateways/{mine.name}").json
    assert shown["last_seen_at"] is not None
    with site.desk.store.read() as connection:
        number = connection.execute(
            select(gateways.c.id).where(gateways.c.name == mine.name)
        ).scalar_one()
    later = site.clock() + timedelta(minutes=1)
    Changes(site.desk, CLOCKWORK).seen([number, 10**9], later)
    after = fleet.operator.get(f"/v1/gateways/{mine.name}").json["last_seen_at"]
    assert after > shown["last_seen_at"]


def test_first_requests_of_one_gateway_at_once(fleet: Fleet, site: Site) -> None:
    mine = fleet.gateway()
    actor = Actor(mine.name, Role.GATEWAY, scope=Scope(gateway=mine.name))
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            states.current(site.desk, actor, frozenset(), now=site.clock())
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
