"""A gateway whose key is in a token: against a served instance, with a token of SoftHSM2 and a daemon in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from core.secret import Secret
from ike.agent.clock import Clock
from ike.agent.credential import renew_channel
from ike.agent.enrollment import EnrollmentForOther, enroll, read_line, settled
from ike.agent.home import Home
from ike.agent.loop import Agent
from ike.agent.settings import AgentSettings
from ike.agent.status import status
from ike.daemons.port import KeyInToken, TokenKey
from ike.tokens.errors import PinRefused, TokenKeyUnsupported
from ike.tokens.process import Answer, Work, ask
from ike.tokens.uri import TokenUri
from tests.fixtures.served import Served
from tests.fixtures.softhsm import MODULE, SoftToken
from tests.ike.agent.conftest import Watch
from tests.ike.agent.fate import Fate, Killed, Mortal
from tests.ike.daemons.fake import FakeDaemon


class Gateway:
    """A gateway on record, its token, its agent's home, and a daemon in memory."""

    def __init__(self, served: Served, token: SoftToken, home: Path, name: str) -> None:
        self.served, self.token, self.path, self.name = served, token, home, name
        self.daemon, self.watch = FakeDaemon(), Watch()
        self.settings = AgentSettings("", "", key=token.uri)
        served.client.post("/v1/gateways", {"name": name, "identities": [f"dns:{name}"]})

    @property
    def home(self) -> Home:
        return Home(self.path)

    def line(self, key: str = "token") -> str:
        path = f"/v1/gateways/{self.name}/enrollment"
        return str(self.served.client.post(path, {"hours": 1, "key": key})["enrollment"])

    def enroll(self, line: str | None = None, *, fate: Fate | None = None, **more: Any) -> None:
        with self._at_work(fate) as (home, _):
            wanted = read_line(line or self.line())
            enroll(home, wanted, self.settings, clock=self.watch.wall, **more)

    def once(self, *, renew: bool = False, fate: Fate | None = None) -> list[str]:
        with self._at_work(fate) as (home, daemon):
            agent = Agent(home, daemon, settled(home), Clock(self.watch.wall))
            return [each["code"] for each in agent.once(renew=renew).errors]

    @contextmanager
    def _at_work(self, fate: Fate | None) -> Iterator[tuple[Home, Any]]:
        fate = fate or Fate()
        home = Home(self.path, fate.step)
        home.tokens = Mortal(home.tokens, fate)  # type: ignore[assignment]
        with home.locked(make=True):
            yield home, Mortal(self.daemon, fate)

    def set(self, **changes: Any) -> None:
        home = self.home
        with home.locked():
            home.write_settings(replace(home.settings(), **changes))

    def in_order(self) -> None:
        """One generation, in use, its key in the token and nothing else there; one channel."""
        (only,) = self.home.generations.all()
        assert only.stage == "current"
        assert isinstance(only.key, TokenKey)
        assert self.daemon.in_use() == only.credential.fingerprint
        assert self.token.labels() == [only.key.uri.object]
        assert [each.stage for each in self.home.channel.all()] == ["current"]
        secret = [path for path in self.path.rglob("*.pem") if b"PRIVATE" in path.read_bytes()]
        assert [path.relative_to(self.path).parts[0] for path in secret] == ["channel"]

    def certificates(self, profile: str) -> list[dict[str, Any]]:
        path = f"/v1/certificates?gateway={self.name}&profile={profile}&status=valid"
        return list(self.served.client.get(path)["items"])


_NUMBER = iter(range(10_000))


@pytest.fixture
def gateway(served: Served, token: SoftToken, tmp_path: Path) -> Gateway:
    return Gateway(served, token, tmp_path / "home", f"token{next(_NUMBER)}.example.com")


@pytest.fixture
def enrolled(gateway: Gateway) -> Gateway:
    gateway.enroll()
    assert gateway.once() == []
    return gateway


@pytest.mark.parametrize("kind", ["ec-p256", "ec-p384", "rsa-3072"])
def test_one_line_and_the_key_is_in_the_token(gateway: Gateway, kind: str) -> None:
    gateway.settings = replace(gateway.settings, key_type=kind)
    gateway.enroll()
    assert gateway.once() == []
    gateway.in_order()
    assert len(gateway.certificates("gateway")) == 1
    (channel,) = gateway.certificates("gateway-channel")
    assert [name.rpartition("/")[0] for name in channel["names"]] == [
        "uri:https://channel.ikewarden.invalid"
    ]
    assert channel["subject"] == ""
    told = status(gateway.home, gateway.watch.wall())
    assert told["certificate"]["key"] == kind
    assert told["certificate"]["key_in"].startswith("pkcs11:token=gateway%20token;")
    assert told["channel"]["serial"] == channel["serial"]
    record = gateway.served.client.get(f"/v1/gateways/{gateway.name}")
    assert record["certificate"]["serial"] == told["certificate"]["serial"]


def test_renewals_make_a_new_key_and_destroy_the_old(enrolled: Gateway) -> None:
    seen = set()
    for _ in range(3):
        (only,) = enrolled.home.generations.all()
        seen.add(only.serial)
        assert enrolled.once(renew=True) == []
        enrolled.in_order()
    assert len(seen) == 3
    assert len(enrolled.certificates("gateway-channel")) == 1


def test_the_channel_is_renewed_and_the_key_in_the_token_stays(enrolled: Gateway) -> None:
    (before,) = enrolled.home.channel.all()
    (mine,) = enrolled.home.generations.all()
    due = before.certified.not_valid_after_utc - timedelta(days=29)
    # Only this clock is ahead, and of no answer yet does the agent know the service's.
    with enrolled._at_work(None) as (home, daemon):
        ahead = Watch(due - enrolled.watch.wall())
        agent = Agent(home, daemon, settled(home), Clock(ahead.wall))
        here = agent._round_of(agent.connect())
        renew_channel(here)
        assert here.renewed
    assert enrolled.once() == []
    enrolled.in_order()
    (after,) = enrolled.home.channel.all()
    assert after.serial != before.serial
    assert enrolled.home.generations.all()[0].serial == mine.serial


def test_the_channel_alone_gets_no_certificate_for_another_key(enrolled: Gateway) -> None:
    """What somebody could do who copied the channel's key from the disk."""
    from cryptography.hazmat.primitives.asymmetric import ec

    from ike.agent.channel import ServerRefused
    from ike.agent.keys import request_by

    (mine,) = enrolled.home.generations.all()
    thief = ec.generate_private_key(ec.SECP256R1())
    csr = request_by(thief, [])
    with enrolled._at_work(None) as (home, daemon):
        service = Agent(home, daemon, settled(home), enrolled.watch.clock).connect()
    for body in ({"csr": csr}, {}, {"csr": csr, "proof": "AAAA"}, {"csr": csr, "proof": "no!"}):
        with pytest.raises(ServerRefused) as refused:
            service.post(f"/v1/certificates/{mine.serial}/renew", body)
        assert refused.value.problem == "renewal_proof_missing"
    with pytest.raises(ServerRefused) as refused:
        service.post("/v1/certificates", {"csr": csr, "profile": "gateway"})
    assert refused.value.problem == "role_not_permitted"
    service.close()


def test_a_revoked_gateway_is_not_heard_through_its_channel(enrolled: Gateway) -> None:
    (mine,) = enrolled.home.generations.all()
    path = f"/v1/certificates/{mine.serial}/revoke"
    enrolled.served.client.post(path, {"reason": "keyCompromise"})
    assert "enrollment_needed" in enrolled.once()
    record = enrolled.served.client.get(f"/v1/gateways/{enrolled.name}")
    assert record["status"] == "no_certificate"
    enrolled.enroll(force=True)
    assert enrolled.once() == []
    enrolled.in_order()


def test_a_revoked_channel_cuts_no_tunnel(enrolled: Gateway) -> None:
    (channel,) = enrolled.home.channel.all()
    path = f"/v1/certificates/{channel.serial}/revoke"
    enrolled.served.client.post(path, {"reason": "keyCompromise"})
    assert "enrollment_needed" in enrolled.once()
    record = enrolled.served.client.get(f"/v1/gateways/{enrolled.name}")
    assert record["certificate"] is not None


def test_the_line_must_be_for_what_is_wanted(gateway: Gateway, tmp_path: Path) -> None:
    with pytest.raises(EnrollmentForOther) as refused:
        gateway.enroll(gateway.line("file"))
    assert "--in-token" in refused.value.next_step
    gateway.settings = AgentSettings("", "")
    with pytest.raises(EnrollmentForOther):
        gateway.enroll(gateway.line("token"))
    assert gateway.token.labels() == []
    gateway.settings = AgentSettings("", "", key=gateway.token.uri, daemon="libreswan")
    with pytest.raises(KeyInToken):
        gateway.enroll()


def test_a_kind_of_key_that_the_token_cannot_make(gateway: Gateway) -> None:
    line = gateway.line()
    gateway.settings = replace(gateway.settings, key_type="ed25519")
    with pytest.raises(TokenKeyUnsupported):
        gateway.enroll(line)
    gateway.settings = replace(gateway.settings, key_type="ec-p256")
    gateway.enroll(line)  # it was not used up
    assert gateway.once() == []
    gateway.in_order()


def test_a_wrong_pin_is_tried_once(enrolled: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []
    monkeypatch.setattr("ike.agent.tokens.ask", _counting(tries))
    enrolled.token.write_pin("9999")
    for _ in range(3):
        assert "token_pin_refused" in enrolled.once(renew=True)
    assert len(tries) == 1
    assert enrolled.daemon.in_use() is not None
    enrolled.token.write_pin(enrolled.token.pin)
    assert enrolled.once(renew=True) == []
    enrolled.in_order()


def _counting(tries: list[str]) -> Any:
    def asked(uri: TokenUri, pin: Secret, work: Work) -> Answer:
        try:
            return ask(uri, pin, work)
        except PinRefused:
            tries.append("refused")
            raise

    return asked


def test_another_pin_reaches_the_daemon(enrolled: Gateway) -> None:
    enrolled.token.change_pin("4711")
    enrolled.token.write_pin("4711")
    enrolled.daemon.calls.clear()
    assert enrolled.once() == []
    assert "stage" in enrolled.daemon.calls
    enrolled.in_order()


def test_a_token_that_is_away_costs_nothing_but_the_renewal(enrolled: Gateway) -> None:
    (mine,) = enrolled.home.generations.all()
    enrolled.token.take_out()
    codes = enrolled.once(renew=True)
    assert {"token_absent", "token_module_unusable"} & set(codes)
    assert [each.serial for each in enrolled.home.generations.all()] == [mine.serial]
    assert enrolled.daemon.in_use() == mine.credential.fingerprint
    enrolled.token.put_back()
    assert enrolled.once(renew=True) == []
    enrolled.in_order()


def test_a_module_that_is_none_and_a_key_that_is_gone(enrolled: Gateway) -> None:
    good = enrolled.token.uri
    enrolled.set(key=good.replace(str(MODULE), "/nonexistent.so"))
    assert "token_module_unusable" in enrolled.once(renew=True)
    enrolled.set(key=good)
    assert enrolled.once() == []
    enrolled.in_order()
    enrolled.token.clear()
    assert "token_key_missing" in enrolled.once(renew=True)


def test_a_daemon_that_refuses_the_key_keeps_the_old_one(enrolled: Gateway) -> None:
    (mine,) = enrolled.home.generations.all()
    enrolled.daemon.refuse_check = True
    assert "daemon_refused" in enrolled.once(renew=True)
    enrolled.daemon.refuse_check = False
    assert enrolled.daemon.in_use() == mine.credential.fingerprint
    enrolled.watch.offset = timedelta(minutes=2)
    assert enrolled.once() == []
    enrolled.in_order()
    assert enrolled.home.generations.all()[0].serial != mine.serial


def test_back_to_a_file(enrolled: Gateway) -> None:
    enrolled.set(key="file")
    assert enrolled.once(renew=True) == []
    (only,) = enrolled.home.generations.all()
    assert not isinstance(only.key, TokenKey)
    assert enrolled.token.labels() == []
    assert enrolled.once(renew=True) == []  # by the channel still, proven by the key in the file


def test_from_a_file_to_a_token_needs_another_enrollment(gateway: Gateway) -> None:
    gateway.settings = AgentSettings("", "")
    gateway.enroll(gateway.line("file"))
    assert gateway.once() == []
    gateway.set(key=gateway.token.uri)
    assert "enrollment_needed" in gateway.once(renew=True)
    gateway.settings = AgentSettings("", "", key=gateway.token.uri)
    gateway.enroll(force=True)
    gateway.watch.offset = timedelta(minutes=1)  # past the wait after the failure
    assert gateway.once() == []
    gateway.in_order()


def test_no_other_key_in_the_token_is_touched(enrolled: Gateway) -> None:
    for label in ("ikewarden-00000000-7", "smart card of the operator"):
        uri = replace(enrolled.token.place, object=label, id=label.encode())
        ask(uri, Secret(enrolled.token.pin), Work("make", kind="ec-p256"))
    assert enrolled.once(renew=True) == []
    assert len(enrolled.token.labels()) == 3


def test_death_at_every_step_of_a_renewal(enrolled: Gateway) -> None:
    counting = Fate()
    assert enrolled.once(renew=True, fate=counting) == []
    seldom = ("notes", "crl", "describe", "inventory", "trust", "connect", "sas", "state.json")
    for step, name in enumerate(counting.steps, 1):
        if any(word in name for word in seldom) or step % 2:
            continue
        with pytest.raises(Killed):
            enrolled.once(renew=True, fate=Fate(step))
        assert enrolled.once() == [], (step, counting.steps[step - 1])
        enrolled.in_order()


def test_death_at_every_step_of_an_enrollment(
    served: Served, token: SoftToken, tmp_path: Path
) -> None:
    def place() -> Gateway:
        number = next(_NUMBER)
        return Gateway(served, token, tmp_path / f"home{number}", f"token{number}.example.com")

    counting = Fate()
    first = place()
    first.enroll(fate=counting)
    assert first.once() == []
    for step in range(1, len(counting.steps) + 1, 3):
        one = place()
        line = one.line()
        with pytest.raises(Killed):
            one.enroll(line, fate=Fate(step))
        if one.home.generations.current() is None and one.home.generations.identity() is None:
            one.enroll(line)
        assert one.once() == [], (step, counting.steps[step - 1])
        (only,) = one.home.generations.all()
        mark = only.key.uri.object.rpartition("-")[0] if isinstance(only.key, TokenKey) else ""
        assert [each for each in token.labels() if each.startswith(mark)] == [only.key.uri.object]  # type: ignore[union-attr]


def test_nothing_kept_holds_the_pin(enrolled: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    enrolled.token.change_pin("swordfish-4711")
    enrolled.token.write_pin("swordfish-4711")
    enrolled.once(renew=True)
    held = b"".join(path.read_bytes() for path in enrolled.path.rglob("*") if path.is_file())
    assert b"swordfish" not in held
    assert "swordfish" not in caplog.text
    assert isinstance(enrolled.home.generations.all()[0].certificate, x509.Certificate)
