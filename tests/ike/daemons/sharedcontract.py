"""What any IKE daemon's adapter must do with shared secrets. A test class inherits `SharedContract` (`PpkContract`
where the daemon knows RFC 8784) and gives a `rig` fixture.

A rig is one of `contract.Rig`, with what `SharedRig` names in addition. A daemon that knows one secret for a peer says
so by `overlaps`, and the tests then ask for the first key alone.
"""

import secrets
import time
from dataclasses import replace
from typing import Protocol

import pytest

from core.secret import Secret
from ike.daemons.port import (
    Connection,
    Daemon,
    DaemonRefused,
    EventKind,
    ForeignSecret,
    IkeSa,
    LoadedSlot,
    SharedKey,
    SharedSlot,
)
from tests.ike.daemons.contract import OWN, PEER, Rig, managed, watching

PSK, PPK = "gw-a-gw-b.psk", "gw-a-gw-b.ppk"
# The operator's own connection by a shared secret, the same at both ends; the agent was not told to manage it.
SHARED = "shared"
_WAIT_SECONDS = 60.0


class SharedRig(Rig, Protocol):
    """What the contract asks of a rig beside `Rig`. Before the first `share_with_peer` the peer has no secret."""

    overlaps: bool  # takes several secrets from a peer at once: `Abilities.overlap`
    has_ppk: bool

    def share_with_peer(self, *keys: SharedKey, kind: str = "psk") -> None:
        """Make these the peer's secrets of a kind for the daemon: the first it proves itself by, all are taken where
        it can.
        """
        ...

    def bring_up_shared(self, connection: str = SHARED) -> bool:
        """End what SAs there are, on both ends; then have the daemon start a connection, and wait. False when either
        end refused.
        """
        ...

    def rekey(self, connection: str) -> None:
        """Rekey the IKE_SA, with nobody authenticated, and wait until that is done."""
        ...

    def add_foreign_secret(self, value: bytes, peer: str = PEER) -> str:
        """Write a shared secret for `peer` into the daemon's own configuration and have it loaded; gives what stands
        somewhere in `ForeignSecret.where` of it.
        """
        ...

    def everything_said(self) -> str:
        """The log of the daemon."""
        ...


def key(version: int, value: bytes | None = None, *, ppk: bool = False) -> SharedKey:
    """A version of a secret, with a fresh value unless one is given."""
    ppk_id = f"gw-a-gw-b-v{version}" if ppk else None
    return SharedKey(version, Secret(secrets.token_bytes(32) if value is None else value), ppk_id)


def slot(*keys: SharedKey, **changes: object) -> SharedSlot:
    """The slot of the pair of a rig."""
    values: dict[str, object] = {
        "name": PSK,
        "kind": "psk",
        "connection": SHARED,
        "local_id": f"dns:{OWN}",
        "remote_id": f"dns:{PEER}",
        "keys": keys,
    }
    return SharedSlot(**{**values, **changes})  # type: ignore[arg-type]


def ppk_slot(*keys: SharedKey, **changes: object) -> SharedSlot:
    """The PPKs of the pair of a rig."""
    return slot(*keys, **{"name": PPK, "kind": "ppk", **changes})


def by_secret(rig: Rig, name: str = "managed", **changes: object) -> Connection:
    """A managed connection that is authenticated by a shared secret."""
    values = {"authentication": "psk", "remote_authority": None, "revocation": "relaxed"}
    return managed(rig, name, **{**values, **changes})


def versions(daemon: Daemon, *slots: SharedSlot) -> dict[str, tuple[int, ...]]:
    """What the daemon tells that it holds."""
    return {each.name: each.versions for each in daemon.shared(slots).slots if each.versions}


def established(daemon: Daemon, connection: str) -> list[IkeSa]:
    return [sa for sa in daemon.sas() if sa.connection == connection and sa.established]


def wait_established(daemon: Daemon, connection: str, *, but: str | None = None) -> IkeSa:
    """The only established SA of a connection, another one than that of an initiator's SPI, where that is told."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        found = established(daemon, connection)
        if len(found) == 1 and (but is None or found[0].spi_initiator != but):
            return found[0]
        time.sleep(0.02)
    raise AssertionError(f"{connection} did not come up: {daemon.sas()}")


class SharedContract:
    """Inherit this, and give a fixture `rig`; nothing of ours is in its daemon, and no tunnel is up."""

    @pytest.fixture
    def rig(self) -> SharedRig:
        raise NotImplementedError

    @pytest.fixture
    def daemon(self, rig: SharedRig) -> Daemon:
        return rig.daemon

    def held(self, rig: SharedRig, *numbers: int) -> tuple[int, ...]:
        """Of the versions of a slot those that the daemon holds."""
        return numbers if rig.overlaps else numbers[:1]

    # what it can do

    def test_tells_what_it_can_do(self, rig: SharedRig) -> None:
        able = rig.daemon.abilities()
        assert (able.overlap, able.ppk, able.gapless) == (
            rig.overlaps,
            rig.has_ppk,
            rig.reauthenticates,
        )

    # what is loaded

    def test_holds_what_it_is_given_also_after_a_restart(self, rig: SharedRig) -> None:
        assert versions(rig.daemon) == {}
        wanted = slot(key(1))
        for _ in range(2):
            rig.daemon.share([wanted])
            assert versions(rig.daemon, wanted) == {PSK: (1,)}
        # It tells of what it was given without being asked for it by name.
        assert rig.daemon.shared([]).slots == (LoadedSlot(PSK, (1,)),)
        rig.restart()
        assert versions(rig.daemon, wanted) == {PSK: (1,)}

    def test_a_rotation_step_by_step(self, rig: SharedRig) -> None:
        one, two = key(1), key(2)
        for keys in ([one], [one, two], [two, one], [one, two], [two, one], [two]):
            wanted = slot(*keys)
            numbers = self.held(rig, *(each.version for each in keys))
            for _ in range(2):
                rig.daemon.share([wanted])
                assert versions(rig.daemon, wanted) == {PSK: numbers}
            rig.restart()
            assert versions(rig.daemon, wanted) == {PSK: numbers}

    def test_of_many_the_order_is_as_told(self, rig: SharedRig) -> None:
        keys = [key(number) for number in range(1, 5)]
        for order in ((0, 1, 2, 3), (3, 0, 2), (2, 3, 1), (1,), (0, 1)):
            rig.daemon.share([slot(*(keys[number] for number in order))])
            numbers = tuple(number + 1 for number in order)
            assert versions(rig.daemon) == {PSK: self.held(rig, *numbers)}

    def test_another_value_of_a_version_takes_its_place(self, rig: SharedRig) -> None:
        wrong, right = key(1), key(1)
        rig.share_with_peer(right)
        rig.daemon.share([slot(wrong)])
        assert not rig.bring_up_shared()
        rig.daemon.share([slot(right)])
        assert rig.bring_up_shared()

    def test_what_is_no_longer_named_is_gone(self, rig: SharedRig) -> None:
        one, other = slot(key(1)), slot(key(3), name="other.psk", remote_id="dns:other.example")
        rig.daemon.share([one, other])
        assert versions(rig.daemon, one, other) == {PSK: (1,), "other.psk": (3,)}
        rig.daemon.share([other])
        for _ in range(2):
            assert versions(rig.daemon, one, other) == {"other.psk": (3,)}
            rig.restart()
        rig.daemon.share([replace(other, keys=())])
        for _ in range(2):
            assert versions(rig.daemon, other) == {}
            rig.restart()

    def test_a_slot_that_it_refuses_does_not_hinder_the_others(self, rig: SharedRig) -> None:
        good, empty = key(1), key(2, b"")
        other = slot(key(5), name="other.psk", remote_id="dns:other.example")
        rig.daemon.share([slot(good)])
        with pytest.raises(DaemonRefused, match=PSK):
            rig.daemon.share([slot(empty, good), other])
        held = versions(rig.daemon)
        assert held["other.psk"] == (5,)
        assert held[PSK] == (1,)
        rig.daemon.share([slot(good), other])
        assert versions(rig.daemon) == {PSK: (1,), "other.psk": (5,)}

    def test_for_ike_version_1_the_first_alone_is_loaded(self, rig: SharedRig) -> None:
        one, two = key(1), key(2)
        for first, second in ((one, two), (two, one)):
            rig.daemon.share([slot(first, second, ike_version=1)])
            assert versions(rig.daemon) == {PSK: (first.version,)}

    def test_a_restarted_daemon_is_given_everything_anew(self, rig: SharedRig) -> None:
        wanted = slot(key(2), key(1))
        rig.daemon.share([wanted])
        rig.restart()
        rig.daemon.share([wanted])
        assert versions(rig.daemon, wanted) == {PSK: self.held(rig, 2, 1)}

    # what a peer sees of it

    def test_the_secret_authenticates(self, rig: SharedRig) -> None:
        one = key(1)
        rig.share_with_peer(one)
        assert not rig.bring_up_shared()
        rig.daemon.share([slot(one)])
        assert rig.bring_up_shared()
        rig.restart()
        assert rig.bring_up_shared()

    def test_any_octets_are_a_secret(self, rig: SharedRig) -> None:
        # What looks like an encoding, a quotation mark, a comment or an end of line in a file of the daemon.
        for value in (b"0x00ff", b'0s"#\n', bytes(range(256)), b"\x00", b"' } secrets {"):
            one = key(1, value)
            rig.share_with_peer(one)
            rig.daemon.share([slot(one)])
            assert rig.bring_up_shared(), value
            rig.restart()
            assert rig.bring_up_shared(), value

    def test_an_old_secret_is_refused_once_it_is_taken_out(self, rig: SharedRig) -> None:
        one, two = key(1), key(2)
        rig.daemon.share([slot(two, one)])
        rig.daemon.share([slot(two)])
        rig.share_with_peer(one)
        assert not rig.bring_up_shared()
        rig.restart()
        assert not rig.bring_up_shared()
        rig.share_with_peer(two)
        assert rig.bring_up_shared()

    def test_sas_are_not_disturbed(self, rig: SharedRig) -> None:
        one, two = key(1), key(2)
        rig.share_with_peer(one)
        rig.daemon.share([slot(one)])
        assert rig.bring_up_shared()
        (before,) = established(rig.daemon, SHARED)
        for keys in ((one, two), (two, one), (two,), ()):
            rig.daemon.share([slot(*keys)])
            (sa,) = established(rig.daemon, SHARED)
            assert (sa.spi_initiator, sa.children) == (before.spi_initiator, before.children)

    # what others gave it

    def test_tells_of_secrets_that_others_gave_it(self, rig: SharedRig) -> None:
        one, two = key(1), key(2)
        rig.daemon.share([slot(one)])
        assert rig.daemon.shared([slot(one)]).foreign == ()
        same, other = (
            rig.add_foreign_secret(one.value.reveal()),
            rig.add_foreign_secret(two.value.reveal()),
        )
        rig.add_foreign_secret(b"somebody else's, quite another", peer="stranger.example")
        rig.daemon.share([slot(one)])
        found = rig.daemon.shared([slot(one)]).foreign
        assert {(each.slot, each.same_as) for each in found} == {(PSK, 1), (PSK, None)}
        assert len(found) == 2
        assert _of(found, same).same_as == 1
        assert _of(found, other).same_as is None

    def test_secrets_that_others_gave_it_stay(self, rig: SharedRig) -> None:
        one = key(1)
        where = rig.add_foreign_secret(one.value.reveal())
        rig.daemon.share([slot(key(2))])
        rig.daemon.share([])
        assert where in rig.daemon.shared([slot(one)]).foreign[0].where
        rig.share_with_peer(one)
        assert rig.bring_up_shared()

    # nobody sees a value

    def test_no_value_is_told(self, rig: SharedRig, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(0)
        one, two = key(1, b"a value for all to see" * 2), key(2, b"")
        rig.share_with_peer(one)
        rig.daemon.share([slot(one)])
        assert rig.bring_up_shared()
        with pytest.raises(DaemonRefused) as refused:
            rig.daemon.share([slot(two, one)])
        value = one.value.reveal()
        told = caplog.text + str(refused.value) + repr(refused.value)
        told += repr(rig.daemon.shared([slot(one)])) + rig.everything_said()
        assert value.decode() not in told
        assert value.hex() not in told.lower()

    # authentication

    def test_reauthenticate_leaves_alone_what_it_would_interrupt(self, rig: SharedRig) -> None:
        one = key(1)
        rig.share_with_peer(one)
        rig.daemon.share([slot(one)])
        assert rig.bring_up_shared()
        (before,) = established(rig.daemon, SHARED)
        count = rig.daemon.reauthenticate(SHARED, gap=False)
        if rig.reauthenticates and rig.has_children:
            assert count == 1
            wait_established(rig.daemon, SHARED, but=before.spi_initiator)
        else:
            assert count == 0
            time.sleep(0.3)
            (after,) = established(rig.daemon, SHARED)
            assert after.spi_initiator == before.spi_initiator
        assert rig.daemon.reauthenticate("nosuch", gap=False) == 0

    def test_a_reauthentication_is_an_up_and_a_rekeying_is_none(self, rig: SharedRig) -> None:
        one = key(1)
        rig.share_with_peer(one)
        rig.daemon.share([slot(one)])
        with watching(rig.daemon) as seen:
            assert rig.bring_up_shared()
            up = seen.wait_for(EventKind.UP).sa
            assert up is not None
            assert up.connection == SHARED
            (listed,) = established(rig.daemon, SHARED)
            spis = (listed.spi_initiator, listed.spi_responder)
            assert (up.spi_initiator, up.spi_responder) == spis
            seen.events.clear()
            rig.rekey(SHARED)
            seen.wait_for(EventKind.CHANGED)
            assert [each for each in seen.events if each.kind is EventKind.UP] == []
            seen.events.clear()
            rekeyed = wait_established(rig.daemon, SHARED)
            if rig.daemon.reauthenticate(SHARED, gap=True):
                fresh = seen.wait_for(EventKind.UP).sa
                assert fresh is not None
                if up.spi_initiator:  # it tells SPIs
                    old = {"", up.spi_initiator, rekeyed.spi_initiator}
                    assert fresh.spi_initiator not in old

    def test_initiates_what_has_no_sa(self, rig: SharedRig) -> None:
        one = key(1)
        rig.share_with_peer(one)
        rig.daemon.share([slot(one)])
        assert rig.daemon.initiate("nosuch") is False
        assert rig.daemon.initiate(SHARED) is True
        wait_established(rig.daemon, SHARED)
        assert rig.daemon.initiate(SHARED) is False

    # managed connections

    def test_a_managed_connection_is_authenticated_by_its_secret(self, rig: SharedRig) -> None:
        one, two = key(1), key(2)
        rig.share_with_peer(one)
        rig.daemon.share([slot(one, connection="managed")])
        rig.daemon.connect([by_secret(rig)])
        assert rig.bring_up_shared("managed")
        rig.daemon.share([slot(two, connection="managed")])
        rig.daemon.connect([by_secret(rig)])
        assert len(established(rig.daemon, "managed")) == 1
        assert not rig.bring_up_shared("managed")
        rig.share_with_peer(two)
        assert rig.bring_up_shared("managed")

    def test_a_proof_without_a_gap_leaves_the_sas_as_they_are(self, rig: SharedRig) -> None:
        one, two = key(1), key(2)
        beside = rig.daemon.abilities().beside
        rig.share_with_peer(one)
        rig.daemon.share([slot(one, connection="managed")])
        rig.daemon.connect([by_secret(rig)])
        assert rig.bring_up_shared("managed")
        before = wait_established(rig.daemon, "managed")
        with watching(rig.daemon) as seen:
            assert rig.daemon.reauthenticate("managed", gap=False) == int(beside)
            if beside:
                up = seen.wait_for(EventKind.UP).sa
                assert up is not None
                assert up.connection == "managed"
                assert up.spi_initiator not in ("", before.spi_initiator)
                down = seen.wait_for(EventKind.DOWN).sa
                assert down is not None
                assert down.id == up.id
            assert _marks(wait_established(rig.daemon, "managed")) == _marks(before)
            # One that the peer refuses costs nothing either.
            rig.daemon.share([slot(two, connection="managed")])
            rig.daemon.connect([by_secret(rig)])
            seen.events.clear()
            assert rig.daemon.reauthenticate("managed", gap=False) == int(beside)
            time.sleep(1.5)
            assert [each for each in seen.events if each.kind is EventKind.UP] == []
        assert _marks(wait_established(rig.daemon, "managed")) == _marks(before)
        assert rig.daemon.inventory().connections.count("managed") == 1

    def test_a_managed_connection_may_be_of_ike_version_1(self, rig: SharedRig) -> None:
        rig.daemon.share([slot(key(1), connection="managed", ike_version=1)])
        rig.daemon.connect([by_secret(rig, ike_version=1)])
        assert "managed" in rig.daemon.inventory().connections
        rig.restart()
        assert "managed" in rig.daemon.inventory().connections


def _marks(sa: IkeSa) -> tuple[object, ...]:
    """By what an SA is seen to be the same, with its CHILD_SAs."""
    children = tuple((child.spi_in, child.spi_out) for child in sa.children)
    return sa.id, sa.spi_initiator, sa.spi_responder, children


def _of(found: tuple[ForeignSecret, ...], where: str) -> ForeignSecret:
    (one,) = [each for each in found if where in each.where]
    return one


class OverlapContract:
    """For daemons that take several secrets from a peer (`Abilities.overlap`)."""

    def test_while_there_are_two_both_are_taken_and_the_first_is_shown(
        self, rig: SharedRig
    ) -> None:
        one, two = key(1), key(2)
        for first, second in ((one, two), (two, one)):
            rig.daemon.share([slot(first, second)])
            for _ in range(2):
                rig.share_with_peer(first)
                assert rig.bring_up_shared()
                # The peer proves itself by the other, and takes ours.
                rig.share_with_peer(second, first)
                assert rig.bring_up_shared()
                rig.share_with_peer(second)
                assert not rig.bring_up_shared()
                rig.restart()


class PpkContract(SharedContract):
    """Of a daemon that knows RFC 8784. The connection `managed` is authenticated by a PSK, with a PPK beside it."""

    @pytest.fixture
    def psk(self, rig: SharedRig) -> SharedSlot:
        """The PSK of both ends."""
        one = key(1)
        rig.share_with_peer(one)
        return slot(one, connection="managed")

    def give(self, rig: SharedRig, psk: SharedSlot, *keys: SharedKey, ppk: str) -> None:
        """A round of the agent: secrets, then connections."""
        rig.daemon.share([psk, ppk_slot(*keys, connection="managed")])
        rig.daemon.connect([by_secret(rig, ppk=ppk)])

    def test_ppks_are_held_in_order(self, rig: SharedRig, psk: SharedSlot) -> None:
        one, two = key(1, ppk=True), key(2, ppk=True)
        for keys in ([one], [one, two], [two, one], [two]):
            numbers = tuple(each.version for each in keys)
            for _ in range(2):
                self.give(rig, psk, *keys, ppk="required")
                assert versions(rig.daemon) == {PSK: (1,), PPK: numbers}
            rig.restart()
            assert versions(rig.daemon, ppk_slot(*keys)) == {PSK: (1,), PPK: numbers}

    def test_a_ppk_that_is_required_must_be_right(self, rig: SharedRig, psk: SharedSlot) -> None:
        one = key(1, ppk=True)
        self.give(rig, psk, one, ppk="required")
        assert not rig.bring_up_shared("managed")
        rig.share_with_peer(one, kind="ppk")
        assert rig.bring_up_shared("managed")
        rig.share_with_peer(key(1, ppk=True), kind="ppk")
        assert not rig.bring_up_shared("managed")

    def test_a_ppk_that_is_preferred_may_lack(self, rig: SharedRig, psk: SharedSlot) -> None:
        one = key(1, ppk=True)
        self.give(rig, psk, one, ppk="preferred")
        assert rig.bring_up_shared("managed")
        rig.share_with_peer(one, kind="ppk")
        assert rig.bring_up_shared("managed")

    def test_a_ppk_rotates_without_disturbing_the_sa(self, rig: SharedRig, psk: SharedSlot) -> None:
        one, two = key(1, ppk=True), key(2, ppk=True)
        self.give(rig, psk, one, ppk="required")
        rig.share_with_peer(one, kind="ppk")
        assert rig.bring_up_shared("managed")
        before = wait_established(rig.daemon, "managed")
        rig.share_with_peer(one, two, kind="ppk")
        for keys in ((one, two), (two, one)):
            self.give(rig, psk, *keys, ppk="required")
            after = wait_established(rig.daemon, "managed")
            assert after.spi_initiator == before.spi_initiator
        with watching(rig.daemon) as seen:
            if rig.daemon.reauthenticate("managed", gap=False):
                seen.wait_for(EventKind.UP)
                seen.wait_for(EventKind.DOWN)
        if rig.daemon.reauthenticate("managed", gap=True) and rig.daemon.abilities().gapless:
            wait_established(rig.daemon, "managed", but=before.spi_initiator)
        # Only the new one is known to the peer.
        rig.share_with_peer(two, kind="ppk")
        assert rig.bring_up_shared("managed")
        self.give(rig, psk, two, ppk="required")
        assert rig.bring_up_shared("managed")
