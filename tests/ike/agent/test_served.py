"""The agent against a really served instance: enrolled, renewed, revoked, refused, with a daemon in memory."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from core.notify import Supervisor
from ike.agent.enrollment import (
    EnrollmentForOther,
    EnrollmentSpent,
    PinMismatch,
    enroll,
    read_line,
    settled,
)
from ike.agent.home import Home
from ike.agent.loop import Agent
from ike.agent.settings import AgentSettings
from ike.daemons.port import fingerprint
from tests.fixtures.served import Served
from tests.ike.agent.conftest import Place, Watch
from tests.ike.agent.miniservice import MiniService
from tests.ike.daemons.fake import FakeDaemon


class Gateway:
    """A gateway on record, with its agent's home and a daemon in memory."""

    def __init__(self, served: Served, name: str, home: Path) -> None:
        self.served, self.name, self.path = served, name, home
        self.daemon, self.watch = FakeDaemon(), Watch()
        served.client.post("/v1/gateways", {"name": name, "identities": [f"dns:{name}"]})

    def line(self) -> str:
        made = self.served.client.post(f"/v1/gateways/{self.name}/enrollment", {"hours": 1})
        return str(made["enrollment"])

    def enroll(self, line: str | None = None, *, force: bool = False) -> None:
        home = Home(self.path)
        with home.locked(make=True):
            enrollment = read_line(line or self.line())
            enroll(home, enrollment, AgentSettings("", ""), clock=self.watch.wall, force=force)

    def once(self, *, renew: bool = False) -> list[str]:
        home = Home(self.path)
        with home.locked():
            notes = Agent(home, self.daemon, settled(home), self.watch.clock).once(renew=renew)
        return [each["code"] for each in notes.errors]

    @contextmanager
    def running(self) -> Iterator[Agent]:
        """The agent at work beside the test."""
        home = Home(self.path)
        with home.locked():
            agent = Agent(home, self.daemon, settled(home), self.watch.clock)
            thread = threading.Thread(target=agent.run, args=(Supervisor({}),))
            thread.start()
            try:
                yield agent
            finally:
                agent.stop()
                thread.join(60)
                assert not thread.is_alive()

    @property
    def record(self) -> dict[str, Any]:
        return self.served.client.get(f"/v1/gateways/{self.name}")

    def certificate(self) -> x509.Certificate:
        current = Home(self.path).generations.current()
        assert current is not None
        return current.certified


def until(condition: Callable[[], object], seconds: float = 90.0) -> float:
    """Wait for a condition; gives the seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "not in time"
        time.sleep(0.02)
    return time.monotonic() - began


@pytest.fixture
def gateway(served: Served, tmp_path: Path, request: pytest.FixtureRequest) -> Gateway:
    name = f"g{abs(hash(request.node.name)) % 10**8}.example.com"
    return Gateway(served, name, tmp_path / "home")


def test_one_line_and_the_gateway_is_in_order_on_both_sides(gateway: Gateway) -> None:
    gateway.enroll()
    assert gateway.once() == []
    used = gateway.daemon.in_use()
    assert used == fingerprint(gateway.certificate())
    assert len(gateway.daemon.loaded.authorities) >= 2
    record = gateway.record
    assert used in json.dumps(record)
    assert gateway.once() == []


def test_renewals_one_after_the_other(gateway: Gateway) -> None:
    gateway.enroll()
    gateway.once()
    seen = {gateway.daemon.in_use()}
    for _ in range(5):
        assert gateway.once(renew=True) == []
        seen.add(gateway.daemon.in_use())
        assert len(gateway.daemon.certificates) == len(gateway.daemon.keys) == 1
    assert len(seen) == 6


def test_a_token_works_once(gateway: Gateway, tmp_path: Path) -> None:
    line = gateway.line()
    gateway.enroll(line)
    thief = tmp_path / "thief"
    home = Home(thief)
    with home.locked(make=True), pytest.raises(EnrollmentSpent):
        enroll(home, read_line(line), AgentSettings("", ""), clock=gateway.watch.wall)


def _changed(line: str, **members: str) -> str:
    encoded = line.removeprefix("iwe1_")
    document = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    content = json.dumps({**document, **members}).encode()
    return "iwe1_" + base64.urlsafe_b64encode(content).decode().rstrip("=")


def test_a_wrong_pin_and_another_gateways_name(gateway: Gateway) -> None:
    line = gateway.line()
    with pytest.raises(PinMismatch):
        gateway.enroll(_changed(line, p="ab" * 32))
    with pytest.raises(EnrollmentForOther):
        gateway.enroll(_changed(line, n="somebody-else.example.com"))
    gateway.enroll(line)  # it was not used up


def test_a_running_agent_hears_of_a_revocation_at_once(
    served: Served, gateway: Gateway, tmp_path: Path
) -> None:
    peer = Gateway(served, f"peer-{gateway.name}", tmp_path / "peer")
    for each in (gateway, peer):
        each.enroll()
        assert each.once() == []
    served.client.post(
        "/v1/tunnels",
        {
            "name": gateway.name.split(".")[0],
            "left": {"gateway": gateway.name},
            "right": {"gateway": peer.name},
            "managed": False,
        },
    )
    victim = peer.certificate()
    with gateway.running():
        until(lambda: gateway.daemon._events)
        gateway.daemon.establish("site", peer.name, victim)
        time.sleep(0.5)
        serial = format(victim.serial_number, "x")
        served.client.post(f"/v1/certificates/{serial}/revoke", {"reason": "keyCompromise"})
        # Long before its next question.
        until(lambda: not gateway.daemon.sas())
        crl = gateway.daemon.loaded.crls[victim.issuer]
        assert crl.get_revoked_certificate_by_serial_number(victim.serial_number) is not None

        def confirmed() -> bool:
            reach = served.client.get(f"/v1/certificates/{serial}/reach")
            states = {each["gateway"]: each["state"] for each in reach["gateways"]}
            return states.get(gateway.name) == "confirmed"

        until(confirmed)


def test_a_restarted_or_wiped_daemon_is_fed_again_at_once(gateway: Gateway) -> None:
    gateway.enroll()
    with gateway.running():
        # The first round is over, and nothing is on its way.
        until(lambda: Home(gateway.path).notes().applied_at and gateway.daemon._events)
        first = gateway.daemon.in_use()
        gateway.daemon.restart(reads_files=False)
        until(lambda: gateway.daemon.in_use() == first)
        gateway.daemon.wipe()
        until(lambda: gateway.daemon.in_use() == first)


def test_a_running_agent_renews_when_told_and_is_known_by_the_new_certificate(
    gateway: Gateway, served: Served
) -> None:
    gateway.enroll()
    with gateway.running():
        until(lambda: gateway.record["certificate"])
        for _ in range(3):
            first = gateway.daemon.in_use()
            served.client.post(f"/v1/gateways/{gateway.name}/commands", {"kind": "renew"})
            until(lambda first=first: gateway.daemon.in_use() not in (None, first))
            until(lambda: len(Home(gateway.path).generations.all()) == 1)
        serial = format(gateway.certificate().serial_number, "x")
    assert served.client.get(f"/v1/certificates/{serial}")["renewed_from"]


def test_the_service_goes_away_and_comes_back(own_served: Served, tmp_path: Path) -> None:
    gateway = Gateway(own_served, "away.example.com", tmp_path / "home")
    gateway.enroll()
    with gateway.running() as agent:
        until(gateway.daemon.in_use)
        until(lambda: agent.notes.applied_at)
        own_served.kill()
        until(lambda: agent.notes.contact_error)
        gateway.daemon.restart(reads_files=False)
        until(gateway.daemon.in_use)
        own_served.start()
        until(lambda: not agent.notes.contact_error)
        other = Gateway(own_served, "other.example.com", tmp_path / "other")
        other.enroll()
        assert other.once() == []


def test_an_expired_certificate_needs_a_new_enrollment_and_stays_in_the_daemon(
    gateway: Gateway, served: Served
) -> None:
    gateway.enroll()
    gateway.once()
    used = gateway.daemon.in_use()
    serial = format(gateway.certificate().serial_number, "x")
    served.client.post(f"/v1/certificates/{serial}/revoke", {"reason": "superseded"})
    assert "enrollment_needed" in gateway.once(renew=True)
    assert gateway.daemon.in_use() == used
    gateway.enroll(force=True)
    gateway.watch.offset = timedelta()
    assert gateway.once() == []
    assert gateway.daemon.in_use() != used


def test_a_report_that_did_not_get_through_is_sent_again_soon(
    place: Place, service: MiniService
) -> None:
    place.enroll()
    home = place.home
    path = "/v1/gateways/self/applied"
    with home.locked():
        agent = place.agent()
        thread = threading.Thread(target=agent.run, args=(Supervisor({}),))
        service.answer_with(path, 503, {"code": "overloaded", "detail": "Later."}, times=2)
        thread.start()
        try:
            until(lambda: service.applied)
        finally:
            agent.stop()
            thread.join(60)
    assert not thread.is_alive()
