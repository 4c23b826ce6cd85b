"""The fake obeys the contract of the port, and its switches do what they say."""

import time

import pytest
from cryptography import x509

from ike.daemons.port import (
    Daemon,
    DaemonFilesUnwritable,
    DaemonRefused,
    DaemonUnreachable,
    EventKind,
    Proof,
    SharedKey,
    fingerprint,
)
from tests.ike.daemons.contract import (
    PEER,
    DaemonContract,
    Pki,
    Rig,
    SeeingContract,
    WipedContract,
    in_use,
    install,
    name_of,
    own,
    watching,
)
from tests.ike.daemons.fake import FakeDaemon, Foreign
from tests.ike.daemons.sharedcontract import (
    PSK,
    SHARED,
    OverlapContract,
    PpkContract,
    SharedContract,
    SharedRig,
    key,
    slot,
    versions,
)
from tests.lab.handmade import Authority


class FakeRig:
    """The fake, and a peer that is only a certificate."""

    has_children = True

    def __init__(self, *, reauthenticates: bool = True) -> None:
        self.reauthenticates = reauthenticates
        self.pki = Pki()
        self.fake = FakeDaemon(reauthenticates=reauthenticates)
        self.daemon: Daemon = self.fake
        self.peer_certificate: x509.Certificate = self.pki.leaf(PEER).certificate

    def bring_up(self) -> str:
        self.fake.establish("tunnel", PEER, self.peer_certificate)
        return "tunnel"

    def peer_saw(self) -> str:
        assert self.fake.peer_saw is not None
        return self.fake.peer_saw

    def renew_peer(self) -> x509.Certificate:
        self.peer_certificate = self.pki.leaf(PEER).certificate
        return self.peer_certificate

    def peer_is_refused(self) -> bool:
        shown = self.peer_certificate
        crl = self.fake.loaded.crls.get(shown.issuer)
        return (
            crl is not None
            and crl.get_revoked_certificate_by_serial_number(shown.serial_number) is not None
        )

    def restart(self) -> None:
        self.fake.restart()

    def wipe(self) -> None:
        self.fake.wipe()

    def add_foreign_connection(self, name: str) -> None:
        self.fake.foreign_connections.add(name)

    def add_foreign_authority(self) -> x509.Certificate:
        made = Authority("Foreign Root").certificate
        self.fake.foreign_authorities[fingerprint(made)] = made
        return made


class SharedFakeRig(FakeRig):
    """The fake, and a peer that is what it has."""

    def __init__(self, *, reauthenticates: bool = True, overlaps: bool = True) -> None:
        super().__init__(reauthenticates=reauthenticates)
        self.overlaps = self.has_ppk = overlaps
        self.fake = FakeDaemon(
            reauthenticates=reauthenticates, overlaps=overlaps, has_ppk=overlaps, beside=overlaps
        )
        self.daemon = self.fake

    def share_with_peer(self, *keys: SharedKey, kind: str = "psk") -> None:
        self.fake.peer_keys[kind] = list(keys)

    def bring_up_shared(self, connection: str = SHARED) -> bool:
        for sa in self.fake.sas():
            self.fake.lose(sa.id)
        return self.fake.authenticate(connection) is not None

    def rekey(self, connection: str) -> None:
        for sa in self.fake.sas():
            if sa.connection == connection:
                self.fake.rekey(sa.id)

    def add_foreign_secret(self, value: bytes, peer: str = PEER) -> str:
        where = f"operator.conf:{len(self.fake.foreign_secrets)}"
        self.fake.foreign_secrets.append(Foreign(where, f"dns:{peer}", value))
        return where

    def everything_said(self) -> str:
        return repr(self.fake.calls)


class TestFakeShares(PpkContract, OverlapContract):
    @pytest.fixture
    def rig(self) -> SharedRig:
        return SharedFakeRig()


class TestFakeThatKnowsOneSecret(SharedContract):
    @pytest.fixture
    def rig(self) -> SharedRig:
        return SharedFakeRig(reauthenticates=False, overlaps=False)


class TestFake(WipedContract, SeeingContract):
    @pytest.fixture
    def rig(self) -> Rig:
        return FakeRig()


class TestFakeThatCannotReauthenticate(DaemonContract):
    @pytest.fixture
    def rig(self) -> Rig:
        return FakeRig(reauthenticates=False)


@pytest.fixture
def rig() -> FakeRig:
    return FakeRig()


def test_a_refused_key_loads_nothing(rig: FakeRig) -> None:
    rig.fake.refuse_key = True
    with pytest.raises(DaemonRefused):
        rig.daemon.stage(rig.pki.credential())
    assert (rig.fake.certificates, rig.fake.keys) == ([], set())


def test_a_refused_proof_keeps_the_old_one_for_undo(rig: FakeRig) -> None:
    first, second = rig.pki.credential(), rig.pki.credential()
    install(rig.daemon, first)
    rig.bring_up()
    install(rig.daemon, second, first)
    rig.fake.refuse_proof = True
    with pytest.raises(DaemonRefused, match="AUTHENTICATION_FAILED"):
        rig.daemon.prove(second, ["tunnel"], seconds=1)
    rig.daemon.undo(second, name_of(first))
    rig.fake.refuse_proof = False
    assert rig.daemon.prove(first, ["tunnel"], seconds=1) is Proof.AUTHENTICATED


def test_what_was_retired_cannot_be_gone_back_to(rig: FakeRig) -> None:
    first, second = rig.pki.credential(), rig.pki.credential()
    install(rig.daemon, first)
    install(rig.daemon, second, first)
    rig.daemon.retire(name_of(first))
    with pytest.raises(DaemonRefused, match="key is gone"):
        rig.daemon.undo(second, name_of(first))
    assert in_use(rig.daemon) == second.fingerprint


def test_a_call_can_fail_before_or_after_its_work(rig: FakeRig) -> None:
    made = rig.pki.credential()
    rig.fake.fail_next("stage")
    with pytest.raises(DaemonUnreachable):
        rig.daemon.stage(made)
    assert rig.fake.certificates == []
    rig.fake.break_off("stage")
    with pytest.raises(DaemonUnreachable):
        rig.daemon.stage(made)
    assert rig.fake.certificates == [made.fingerprint]
    rig.daemon.stage(made)


def test_a_full_disk_and_a_slow_daemon(rig: FakeRig) -> None:
    made = rig.pki.credential()
    rig.fake.disk_full = True
    with pytest.raises(DaemonFilesUnwritable):
        rig.daemon.stage(made)
    assert own(rig.daemon.inventory()) == {}
    rig.fake.disk_full = False
    rig.fake.slow = 0.05
    began = time.monotonic()
    install(rig.daemon, made)
    assert time.monotonic() - began > 0.14


def test_a_daemon_that_is_gone_is_lost_and_comes_back(rig: FakeRig) -> None:
    with watching(rig.daemon) as seen:
        rig.fake.unreachable = True
        with pytest.raises(DaemonUnreachable):
            rig.daemon.sas()
        seen.wait_for(EventKind.LOST)
        rig.fake.unreachable = False
        seen.wait_for(EventKind.RESTARTED)


def test_a_daemon_whose_files_nobody_read_has_nothing(rig: FakeRig) -> None:
    install(rig.daemon, rig.pki.credential())
    rig.fake.restart(reads_files=False)
    assert in_use(rig.daemon) is None


def test_a_slot_is_refused_and_others_are_not() -> None:
    rig = SharedFakeRig()
    other = slot(key(7), name="other.psk")
    rig.daemon.share([slot(key(1))])
    rig.fake.refuse_slot = PSK
    with pytest.raises(DaemonRefused, match=PSK):
        rig.daemon.share([slot(key(2)), other])
    assert versions(rig.daemon) == {PSK: (1,), "other.psk": (7,)}
