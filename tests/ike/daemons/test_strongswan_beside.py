"""Proofs beside the running SAs, on live charons: nothing of the traffic is touched, and nothing is left behind."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ike.daemons.port import DaemonEvent, EventKind, IkeSa, SharedKey
from ike.daemons.strongswan import beside
from ike.daemons.strongswan.session import Session
from tests.ike.daemons.charon_rig import adapter
from tests.ike.daemons.contract import OWN, PEER, Pki, Watch, install, watching
from tests.ike.daemons.pluto_shared_rig import UNWANTED, SharedPlutoRig
from tests.ike.daemons.sharedcontract import SHARED, key, slot, wait_established
from tests.ike.daemons.test_strongswan_shared import End, refusals, steps
from tests.lab import Lab
from tests.lab.traffic import Ping, pinging

ROTATIONS = 30
NAME = "managed"


@pytest.fixture
def ends(lab: Lab) -> tuple[End, End]:
    """Two charons as they are by default: without make_before_break."""
    a, b = lab.gateway("gw-a"), lab.gateway("gw-b")
    one = End(a, adapter(a, make_before_break=None), OWN, PEER, b)
    return one, End(b, adapter(b, make_before_break=None), PEER, OWN, a)


def give(end: End, psk: SharedKey | None, *ppks: SharedKey, **changes: object) -> None:
    """A round of the agent: secrets, then connections."""
    slots = [end.psk(psk, connection=NAME)] if psk else []
    end.daemon.share([*slots, end.ppk(*ppks)] if ppks else slots)
    end.daemon.connect([end.managed(**changes)])


def give_keys(end: End, *keys: SharedKey) -> None:
    end.daemon.share([end.psk(*keys, connection=NAME)])
    end.daemon.connect([end.managed()])


def bring_up(left: End, right: End) -> list[IkeSa]:
    assert left.daemon.initiate(NAME)
    return [wait_established(each.daemon, NAME) for each in (left, right)]


def marks(sas: list[IkeSa]) -> list[tuple[object, ...]]:
    return [
        (
            sa.id,
            sa.spi_initiator,
            [(child.name, child.spi_in, child.spi_out) for child in sa.children],
        )
        for sa in sas
    ]


def prove(prover: End, *watches: Watch) -> None:
    """Begin a proof; both ends see it, under the name of the connection and the same SPIs."""
    for seen in watches:
        seen.events.clear()
    assert prover.daemon.reauthenticate(NAME, gap=False) == 1
    told = [seen.wait_for(EventKind.UP).sa for seen in watches]
    assert {sa.connection for sa in told if sa} == {NAME}
    assert len({(sa.spi_initiator, sa.spi_responder) for sa in told if sa}) == 1


@contextlib.contextmanager
def _no_traffic(*_: object) -> Iterator[list[Ping]]:
    yield []


def _came(seen: Watch) -> DaemonEvent:
    """The event of an IKE_SA that was not there before."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for event in seen.events:
            if event.kind in (EventKind.UP, EventKind.CHANGED):
                return event
        time.sleep(0.02)
    raise AssertionError(seen.events)


def left_over(*ends: End) -> list[str]:
    """Connections and IKE_SAs that are there for a proof."""
    found = []
    for end in ends:
        with end.gateway.session() as session:
            found += [each.decode() for each in session.get_conns()["conns"]]
        found += [sa.name for sa in end.gateway.list_sas()]
    return [each for each in found if each.endswith("+proof")]


def until_clean(*ends: End, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while left_over(*ends) or any(len(end.gateway.list_sas()) != 1 for end in ends):
        assert time.monotonic() < deadline, left_over(*ends)
        time.sleep(0.05)


def test_rotations_under_traffic_lose_no_packet(ends: tuple[End, End]) -> None:
    left, right = ends
    old = key(1)
    for end in ends:
        give_keys(end, old)
    before = bring_up(left, right)
    time.sleep(0.3)
    with (
        watching(left.daemon) as one,
        watching(right.daemon) as other,
        pinging(left.gateway, right.gateway, interval=0.005) as pings,
    ):
        for version in range(2, ROTATIONS + 2):
            new = key(version)
            for number, keys in steps(old, new):
                give_keys(ends[number], *keys)
            prove(ends[version % 2], one, other)
            for end in ends:
                give_keys(end, new)
            old = new
        until_clean(*ends)
    assert pings[0].sent > 10
    assert pings[0].lost == 0, pings[0].output
    assert marks([wait_established(end.daemon, NAME) for end in ends]) == marks(before)
    assert refusals(*ends) == []


@pytest.mark.parametrize("authentication", ["psk", "certificate"])
def test_ppks_are_proven_under_traffic(ends: tuple[End, End], authentication: str) -> None:
    left, right = ends
    psk, old = key(1) if authentication == "psk" else None, key(1, ppk=True)
    changes: dict[str, object] = {"ppk": "required", "authentication": authentication}
    if psk is None:
        pki = Pki()
        for end in ends:
            end.daemon.trust(pki.authorities)
            install(end.daemon, pki.credential(end.own))
        changes |= {"revocation": "relaxed"}
    for end in ends:
        give(end, psk, old, **changes)
    before = bring_up(left, right)
    with (
        watching(left.daemon) as one,
        watching(right.daemon) as other,
        pinging(left.gateway, right.gateway, interval=0.005) as pings,
    ):
        for version in range(2, 8):
            new = key(version, ppk=True)
            for number, keys in steps(old, new):
                give(ends[number], psk, *keys, **changes)
            since = [end.gateway.log.mark() for end in ends]
            prove(ends[version % 2], one, other)
            for end, mark in zip(ends, since, strict=True):
                said = end.gateway.log.words("using PPK for PPK_ID", mark)
                assert said == [f"using PPK for PPK_ID '{new.ppk_id}'"]
            for end in ends:
                give(end, psk, new, **changes)
            old = new
        until_clean(*ends)
    assert pings[0].lost == 0, pings[0].output
    assert marks([wait_established(end.daemon, NAME) for end in ends]) == marks(before)
    assert refusals(*ends) == []


def test_a_wrong_key_costs_nothing(ends: tuple[End, End]) -> None:
    left, right = ends
    for end in ends:
        give_keys(end, key(1, b"the same at both ends" * 2))
    before = bring_up(left, right)
    give_keys(left, key(2))
    with watching(left.daemon) as seen:
        assert left.daemon.reauthenticate(NAME, gap=False) == 1
        left.gateway.log.wait_for("AUTHENTICATION_FAILED|MAC mismatched")
        until_clean(*ends)
        assert [each for each in seen.events if each.kind is EventKind.UP] == []
    assert marks([wait_established(end.daemon, NAME) for end in ends]) == marks(before)


def test_a_tunnel_that_is_down_stays_down(ends: tuple[End, End]) -> None:
    for end in ends:
        give_keys(end, key(1, b"the same at both ends" * 2))
    with watching(ends[0].daemon) as one, watching(ends[1].daemon) as other:
        prove(ends[0], one, other)
        for seen in (one, other):
            seen.wait_for(EventKind.DOWN)
        # While there is one the tunnel is still begun.
        prove(ends[0], one, other)
        assert ends[0].daemon.initiate(NAME)
        until_clean(*ends)
    assert all(sa.children for sa in ends[0].daemon.sas())


def test_a_silent_peer_is_not_waited_for_long(
    ends: tuple[End, End], monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = ends
    monkeypatch.setattr(beside, "_SECONDS", 1.0)
    daemon = adapter(left.gateway)
    left = replace(left, daemon=daemon)
    give_keys(left, key(1))
    right.gateway.stop()
    with watching(daemon):
        assert daemon.reauthenticate(NAME, gap=False) == 1
        assert left_over(left) == ["managed+proof"]
        deadline = time.monotonic() + 3
        while left_over(left):
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.usefixtures("needs_pluto")
def test_a_pluto_takes_it_too(lab: Lab) -> None:
    rig = SharedPlutoRig(lab)
    left = End(rig.peer, adapter(rig.peer, make_before_break=None), PEER, OWN, rig.gateway)  # type: ignore[arg-type]
    proposals = () if rig.has_children else (UNWANTED,)
    (child,) = left.managed().children
    managed = left.managed(children=(replace(child, esp_proposals=proposals),))
    old = key(1)
    rig.daemon.share([slot(old)])
    left.daemon.share([left.psk(old, connection=NAME)])
    left.daemon.connect([managed])
    assert left.daemon.initiate(NAME)
    before = [wait_established(left.daemon, NAME), wait_established(rig.daemon, SHARED)]
    traffic = pinging if rig.has_children else _no_traffic
    with (
        watching(left.daemon) as one,
        watching(rig.daemon) as other,
        traffic(left.gateway, rig.gateway) as pings,  # type: ignore[arg-type]
    ):
        for version in range(2, 5):
            new = key(version)
            # pluto knows one, and proves itself by it; charon takes both.
            for keys in ((old, new), (new, old)):
                left.daemon.share([left.psk(*keys, connection=NAME)])
            rig.daemon.share([slot(new)])
            prove(left, one)
            came = _came(other)
            assert came.sa is not None
            assert came.sa.id != before[1].id
            # Without a CHILD_SA it cannot be told from a rekeyed one.
            assert came.kind is EventKind.UP or not rig.has_children
            down = other.wait_for(EventKind.DOWN).sa
            assert down is not None
            assert down.id == came.sa.id
            other.events.clear()
            left.daemon.share([left.psk(new, connection=NAME)])
            old = new
    assert all(each.lost == 0 for each in pings), pings[0].output
    after = [wait_established(left.daemon, NAME), wait_established(rig.daemon, SHARED)]
    assert marks(after) == marks(before)


class _Died(BaseException):
    """The agent's death."""


@pytest.mark.parametrize("command", ["load-conn", "initiate", "unload-conn"])
@pytest.mark.parametrize("at", ["before", "after"])
def test_the_next_agent_takes_out_what_one_left(
    ends: tuple[End, End], monkeypatch: pytest.MonkeyPatch, command: str, at: str
) -> None:
    left, right = ends
    for end in ends:
        give_keys(end, key(1, b"the same at both ends" * 2))
    before = bring_up(left, right)
    with monkeypatch.context() as dying:
        _die(dying, command, at)
        with pytest.raises(_Died):
            left.daemon.reauthenticate(NAME, gap=False)
    left = replace(left, daemon=adapter(left.gateway))
    give_keys(left, key(1, b"the same at both ends" * 2))
    with left.gateway.session() as session:
        assert session.get_conns()["conns"] == [b"managed"]
    with watching(left.daemon):
        until_clean(left, right)
        assert left.daemon.inventory().connections == ("managed",)
    assert marks([wait_established(end.daemon, NAME) for end in (left, right)]) == marks(before)


def test_charon_ends_it_where_no_agent_is_left(
    ends: tuple[End, End], monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = ends
    for end in ends:
        give_keys(end, key(1, b"the same at both ends" * 2))
    before = bring_up(left, right)
    monkeypatch.setitem(beside._LIFE, "reauth_time", "2s")
    assert left.daemon.reauthenticate(NAME, gap=False) == 1
    right.gateway.log.wait_for("IKE_SA .* established between")
    left.gateway.log.wait_for("IKE_SA managed.proof.* established between")
    until_clean(left, right)
    assert marks([wait_established(end.daemon, NAME) for end in ends]) == marks(before)


def test_several_threads_are_not_in_each_others_way(ends: tuple[End, End]) -> None:
    left, right = ends
    for end in ends:
        give_keys(end, key(1, b"the same at both ends" * 2))
    bring_up(left, right)
    stop = threading.Event()

    def sweep() -> None:
        while not stop.is_set():
            left.daemon.connect([left.managed()])

    sweeping = threading.Thread(target=sweep)
    sweeping.start()
    try:
        with watching(left.daemon) as one, watching(right.daemon) as other:
            for _ in range(20):
                prove(left, one, other)
    finally:
        stop.set()
        sweeping.join()


def _die(dying: pytest.MonkeyPatch, command: str, at: str) -> None:
    """From one command on no other is sent."""
    dead = threading.Event()

    def wrap(name: str) -> None:
        real: Any = getattr(Session, name)

        def acted(self: Session, this: str, *rest: Any) -> Any:
            if dead.is_set() or (this == command and at == "before"):
                dead.set()
                raise _Died
            answer = real(self, this, *rest)
            if this == command:
                dead.set()
                raise _Died
            return answer

        dying.setattr(Session, name, acted)

    wrap("ask")
    wrap("stream")
