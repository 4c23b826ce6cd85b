"""What any IKE daemon's adapter must do. A test class inherits `DaemonContract` and gives a `rig` fixture.

A rig is the daemon with all that is around it: a CA, a peer to make tunnels with, ways to restart it. `Rig` below names
what the contract asks of it; what a daemon cannot do is said by flags there, and the tests that need it are left out.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from core.secret import Secret
from ike.daemons import matching
from ike.daemons.port import (
    Child,
    Connection,
    ConnectionForeign,
    ConnectionInvalid,
    Credential,
    CredentialMismatch,
    CredentialName,
    Daemon,
    DaemonEvent,
    DaemonRefused,
    EventKind,
    Inventory,
    Proof,
    RevokedPeer,
    fingerprint,
)
from tests.lab.handmade import Authority, Leaf

OWN, PEER = "gw-a.example", "gw-b.example"
PROVE_SECONDS = 60.0


class Pki:
    """A root and an issuing CA made in the test, quicker than a served one.

    `crl_url`, when given, is where the issuing CA's revocation list is; whoever gives it serves it.
    """

    def __init__(self, *, root_crl_url: str = "", crl_url: str = "") -> None:
        self.root = Authority("Contract Root")
        self.issuing = Authority("Contract Issuing", self.root, crl_url=root_crl_url, serial=2)
        self.crl_url = crl_url
        self._serial = 0x1000

    @property
    def authorities(self) -> tuple[x509.Certificate, ...]:
        """What a gateway is told to trust, as the service does: root and issuing CA."""
        return (self.root.certificate, self.issuing.certificate)

    def leaf(self, dns: str = OWN) -> Leaf:
        """A certificate for one name, with a key of its own."""
        self._serial += 1
        urls = [self.crl_url] if self.crl_url else []
        return self.issuing.leaf(dns, serial=self._serial, crl_urls=urls)

    def credential(self, dns: str = OWN) -> Credential:
        """The same as the agent hands it to a daemon."""
        return credential(self.leaf(dns), self.issuing.certificate)

    def crl(self, number: int, *revoked: x509.Certificate) -> x509.CertificateRevocationList:
        """The issuing CA's list."""
        entries = [(each.serial_number, x509.ReasonFlags.key_compromise) for each in revoked]
        return x509.load_der_x509_crl(self.issuing.crl(number, entries))


def credential(leaf: Leaf, *chain: x509.Certificate) -> Credential:
    """A handmade leaf as a credential."""
    return Credential(Secret(leaf.key_pem), leaf.certificate, chain)


class Rig(Protocol):
    """A daemon under test and what is around it. The daemon's own identity is OWN, its peer's PEER, both dNSNames;
    the peer trusts `pki` and has a certificate of it.
    """

    pki: Pki
    daemon: Daemon
    # What the daemon, or the place where it runs, can do.
    reauthenticates: bool  # make-before-break; else `prove` answers LOADED
    has_children: bool  # CHILD_SAs come up

    @property
    def peer_certificate(self) -> x509.Certificate:
        """The certificate that the peer shows."""
        ...

    def bring_up(self) -> str:
        """Make an IKE_SA with the peer, which the daemon lists as established; the name of its connection, which is
        not one the daemon was given through the port.
        """
        ...

    def peer_saw(self) -> str:
        """Fingerprint of the certificate that the daemon showed at its last authentication, by the peer's word."""
        ...

    def renew_peer(self) -> x509.Certificate:
        """Give the peer another certificate of the same name; used from its next authentication on."""
        ...

    def peer_is_refused(self) -> bool:
        """Try to make an IKE_SA anew with a peer that shows `peer_certificate`; True when the daemon did not let it
        in.
        """
        ...

    def restart(self) -> None:
        """End the daemon and start it as its package does, files read, nothing done by the adapter."""
        ...

    def wipe(self) -> None:
        """Have the daemon forget its keys without a restart (only for `WipedContract`)."""
        ...

    def add_foreign_connection(self, name: str) -> None:
        """Give the daemon a connection in another way than through the adapter."""
        ...

    def add_foreign_authority(self) -> x509.Certificate:
        """Have the daemon trust a CA in another way than through the adapter."""
        ...


def wait_for(done: Callable[[], bool], what: str, *, seconds: float = 60.0) -> None:
    """Wait for a condition; raises AssertionError where it does not come about."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@dataclass
class Watch:
    """What `watch` told so far, and how often it asked whether to stop."""

    events: list[DaemonEvent] = field(default_factory=list)
    asked: int = 0

    def look_twice(self) -> None:
        """Wait until what has happened before this call was seen."""
        wait_for(lambda before=self.asked: self.asked >= before + 2, "the watch looks")

    def wait_for(self, kind: EventKind, *, seconds: float = 60.0) -> DaemonEvent:
        """The first event of a kind."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = [event for event in list(self.events) if event.kind is kind]
            if found:
                return found[0]
            time.sleep(0.01)
        raise AssertionError(f"no {kind} within {seconds} s, only {self.events}")


@contextmanager
def watching(daemon: Daemon) -> Iterator[Watch]:
    """Run `watch` beside the test."""
    stop, seen = threading.Event(), Watch()

    def stopped() -> bool:
        seen.asked += 1
        return stop.is_set()

    def run() -> None:
        for event in daemon.watch(stopped):
            seen.events.append(event)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    seen.look_twice()  # it asks again when it listens
    try:
        yield seen
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive(), "watch did not stop"


def name_of(credential: Credential) -> CredentialName:
    return CredentialName(credential.certificate)


def install(daemon: Daemon, new: Credential, old: Credential | None = None) -> None:
    """The steps up to `apply`."""
    daemon.stage(new)
    daemon.check(new)
    daemon.apply(new, name_of(old) if old else None)


def own(inventory: Inventory) -> dict[str, bool]:
    """The loaded certificates that can be used, and whether each is in use."""
    return {
        each.fingerprint: each.in_use
        for each in inventory.certificates
        if each.has_key and not each.authority
    }


def in_use(daemon: Daemon) -> str | None:
    """The one certificate that the daemon uses; asserts that there is not more than one."""
    used = [print_ for print_, used in own(daemon.inventory()).items() if used]
    assert len(used) <= 1
    return used[0] if used else None


def key_of(certificate: x509.Certificate) -> str:
    return matching.key_id(certificate.public_key())


def managed(rig: Rig, name: str = "managed", **changes: object) -> Connection:
    """A connection to the peer, never brought up by itself."""
    values: dict[str, object] = {
        "name": name,
        "local_addresses": ("192.0.2.1",),
        "remote_addresses": ("192.0.2.2",),
        "local_id": f"dns:{OWN}",
        "remote_id": f"dns:{PEER}",
        "remote_authority": fingerprint(rig.pki.root.certificate),
        "children": (Child("net", ("10.1.0.0/24",), ("10.2.0.0/24",)),),
        "revocation": "relaxed",
    }
    return Connection(**{**values, **changes})  # type: ignore[arg-type]


class DaemonContract:
    """Inherit this, and give a fixture `rig`; nothing of ours is in its daemon, and no tunnel is up."""

    @pytest.fixture
    def rig(self) -> Rig:
        raise NotImplementedError

    @pytest.fixture
    def daemon(self, rig: Rig) -> Daemon:
        return rig.daemon

    @pytest.fixture
    def first(self, rig: Rig) -> Credential:
        """A credential in use; the CAs are trusted."""
        rig.daemon.trust(rig.pki.authorities)
        made = rig.pki.credential()
        install(rig.daemon, made)
        return made

    # who answers

    def test_says_which_daemon_it_is(self, daemon: Daemon) -> None:
        said = daemon.describe()
        assert said.kind
        assert said.version[0].isdigit()
        end = time.monotonic() + 1.1
        while time.monotonic() < end:
            assert said == daemon.describe()

    def test_a_restart_is_another_incarnation(self, rig: Rig) -> None:
        before = rig.daemon.describe().incarnation
        rig.restart()
        assert rig.daemon.describe().incarnation != before

    # CA certificates

    def test_trusts_what_it_is_told_and_only_that(self, rig: Rig) -> None:
        other = Authority("Other Root").certificate
        foreign = fingerprint(rig.add_foreign_authority())

        def trusted() -> set[str]:
            listed = rig.daemon.inventory().certificates
            return {each.fingerprint for each in listed if each.authority}

        rig.daemon.trust([*rig.pki.authorities, other])
        rig.daemon.trust([*rig.pki.authorities, other])
        ours = {fingerprint(each) for each in rig.pki.authorities}
        assert trusted() == {*ours, fingerprint(other), foreign}
        rig.daemon.trust(rig.pki.authorities)
        assert trusted() == {*ours, foreign}
        rig.restart()
        assert trusted() >= ours
        rig.daemon.trust([])
        assert trusted() & ours == set()

    # a credential, step by step

    def test_a_staged_credential_is_loaded_and_can_sign(self, daemon: Daemon, rig: Rig) -> None:
        new = rig.pki.credential()
        daemon.stage(new)
        daemon.stage(new)
        daemon.check(new)
        inventory = daemon.inventory()
        assert new.fingerprint in own(inventory)
        assert inventory.keys == (key_of(new.certificate),)

    def test_what_was_never_staged_does_not_pass_the_check(self, daemon: Daemon, rig: Rig) -> None:
        with pytest.raises(DaemonRefused):
            daemon.check(rig.pki.credential())

    def test_an_applied_credential_is_in_use_also_after_a_restart(
        self, rig: Rig, first: Credential
    ) -> None:
        assert in_use(rig.daemon) == first.fingerprint
        rig.restart()
        assert in_use(rig.daemon) == first.fingerprint
        rig.daemon.check(first)

    def test_applying_again_changes_nothing(self, daemon: Daemon, first: Credential) -> None:
        install(daemon, first)
        daemon.apply(first, name_of(first))
        daemon.undo(first, name_of(first))
        assert own(daemon.inventory()) == {first.fingerprint: True}

    def test_a_second_credential_takes_over_and_the_first_is_retired(
        self, rig: Rig, first: Credential
    ) -> None:
        daemon, second = rig.daemon, rig.pki.credential()
        install(daemon, second, first)
        assert in_use(daemon) == second.fingerprint
        daemon.retire(name_of(first))
        daemon.retire(name_of(first))
        for _ in range(2):
            assert own(daemon.inventory()) == {second.fingerprint: True}
            assert daemon.inventory().keys == (key_of(second.certificate),)
            rig.restart()

    def test_a_restart_between_apply_and_retire_keeps_the_new_one(
        self, rig: Rig, first: Credential
    ) -> None:
        second = rig.pki.credential()
        install(rig.daemon, second, first)
        rig.restart()
        assert in_use(rig.daemon) == second.fingerprint

    @pytest.mark.parametrize("upto", ["nothing", "stage", "check", "apply"])
    @pytest.mark.parametrize("restarted", [False, True])
    def test_undo_brings_the_first_back(
        self, rig: Rig, first: Credential, upto: str, restarted: bool
    ) -> None:
        daemon, second = rig.daemon, rig.pki.credential()
        if upto != "nothing":
            daemon.stage(second)
        if upto in {"check", "apply"}:
            daemon.check(second)
        if upto == "apply":
            daemon.apply(second, name_of(first))
        if restarted:
            rig.restart()
        daemon.undo(second, name_of(first))
        daemon.undo(second, name_of(first))
        for _ in range(2):
            assert own(daemon.inventory()) == {first.fingerprint: True}
            assert daemon.inventory().keys == (key_of(first.certificate),)
            rig.restart()

    def test_undo_of_the_very_first_leaves_nothing(self, rig: Rig) -> None:
        made = rig.pki.credential()
        install(rig.daemon, made)
        rig.daemon.undo(made, None)
        for _ in range(2):
            assert own(rig.daemon.inventory()) == {}
            assert rig.daemon.inventory().keys == ()
            rig.restart()

    def test_a_credential_that_was_retired_can_come_back(self, rig: Rig, first: Credential) -> None:
        daemon, second = rig.daemon, rig.pki.credential()
        install(daemon, second, first)
        daemon.retire(name_of(first))
        install(daemon, first, second)
        assert in_use(daemon) == first.fingerprint
        daemon.retire(name_of(second))
        assert own(daemon.inventory()) == {first.fingerprint: True}

    def test_a_new_certificate_for_the_same_key_keeps_the_key(
        self, rig: Rig, first: Credential
    ) -> None:
        daemon, second = rig.daemon, same_key(rig.pki, first)
        install(daemon, second, first)
        assert in_use(daemon) == second.fingerprint
        daemon.retire(name_of(first))
        rig.restart()
        assert in_use(daemon) == second.fingerprint
        assert daemon.inventory().keys == (key_of(second.certificate),)

    def test_undo_of_a_new_certificate_for_the_same_key_keeps_the_key(
        self, rig: Rig, first: Credential
    ) -> None:
        second = same_key(rig.pki, first)
        install(rig.daemon, second, first)
        rig.daemon.undo(second, name_of(first))
        # charon cannot unload a certificate, and takes the newer one of a key until its next start.
        assert in_use(rig.daemon) in {first.fingerprint, second.fingerprint}
        rig.restart()
        assert in_use(rig.daemon) == first.fingerprint

    def test_what_does_not_belong_together_is_not_loaded(self, rig: Rig, first: Credential) -> None:
        daemon, pki = rig.daemon, rig.pki
        good, other = pki.credential(), pki.credential()
        wrong = [
            Credential(other.key, good.certificate, good.chain),
            Credential(good.key, good.certificate, (Authority("Stranger").certificate,)),
            Credential(Secret(b"-----BEGIN PRIVATE KEY-----\nnone\n"), good.certificate),
            Credential(Secret(b""), good.certificate),
        ]
        for each in wrong:
            with pytest.raises(CredentialMismatch) as refused:
                daemon.stage(each)
            assert "BEGIN" not in str(refused.value)
        assert own(daemon.inventory()) == {first.fingerprint: True}
        assert daemon.inventory().keys == (key_of(first.certificate),)

    # proof

    def test_with_nothing_up_loaded_is_all_that_can_be_shown(
        self, rig: Rig, first: Credential
    ) -> None:
        assert rig.daemon.prove(first, ["nosuch"], seconds=PROVE_SECONDS) is Proof.LOADED

    def test_a_credential_that_is_not_in_use_is_not_proven(
        self, rig: Rig, first: Credential
    ) -> None:
        second = rig.pki.credential()
        install(rig.daemon, second, first)
        with pytest.raises(DaemonRefused):
            rig.daemon.prove(first, [], seconds=PROVE_SECONDS)

    def test_a_tunnel_is_authenticated_afresh_under_the_new_one(
        self, rig: Rig, first: Credential
    ) -> None:
        name = rig.bring_up()
        assert rig.peer_saw() == first.fingerprint
        second = rig.pki.credential()
        install(rig.daemon, second, first)

        proof = rig.daemon.prove(second, [name], seconds=PROVE_SECONDS)

        if rig.reauthenticates and rig.has_children:
            assert proof is Proof.AUTHENTICATED
            assert rig.peer_saw() == second.fingerprint
        else:
            assert proof is Proof.LOADED
        assert [sa.connection for sa in rig.daemon.sas() if sa.established] == [name]

    def test_reauthenticate_tells_how_many(self, rig: Rig, first: Credential) -> None:
        assert rig.daemon.reauthenticate("nosuch") == 0
        name = rig.bring_up()
        assert rig.daemon.reauthenticate(name) == (1 if rig.has_children else 0)

    # SAs

    def test_lists_an_sa(self, rig: Rig, first: Credential) -> None:
        assert rig.daemon.sas() == ()
        name = rig.bring_up()
        (sa,) = rig.daemon.sas()
        assert (sa.connection, sa.established, sa.version) == (name, True, 2)
        assert sa.remote_id.endswith(PEER)
        assert len(sa.spi_initiator) == len(sa.spi_responder) == 16
        assert bool(sa.children) == rig.has_children

    def test_watch_tells_what_comes_and_goes(self, rig: Rig, first: Credential) -> None:
        with watching(rig.daemon) as seen:
            name = rig.bring_up()
            up = seen.wait_for(EventKind.UP)
            assert up.sa is not None
            assert up.sa.connection == name
            rig.daemon.cut(revoked(rig.peer_certificate))
            down = seen.wait_for(EventKind.DOWN)
            assert down.sa is not None
            assert down.sa.id == up.sa.id

    def test_watch_tells_a_restart(self, rig: Rig, first: Credential) -> None:
        with watching(rig.daemon) as seen:
            rig.restart()
            seen.wait_for(EventKind.RESTARTED)

    # revocation

    def test_cuts_what_the_certificate_authenticated(self, rig: Rig, first: Credential) -> None:
        with watching(rig.daemon):
            name = rig.bring_up()
        (cut,) = rig.daemon.cut(revoked(rig.peer_certificate))
        assert (cut.sa.connection, cut.ended, cut.error) == (name, True, "")
        assert cut.matched_by in {"certificate", "identity"}
        assert rig.daemon.sas() == ()
        assert rig.daemon.cut(revoked(rig.peer_certificate)) == ()

    def test_cuts_nobody_else(self, rig: Rig, first: Credential) -> None:
        rig.bring_up()
        other = rig.pki.leaf("other.example").certificate
        assert rig.daemon.cut(revoked(other)) == ()
        assert len(rig.daemon.sas()) == 1

    def test_a_pushed_list_counts_at_the_next_authentication(
        self, rig: Rig, first: Credential
    ) -> None:
        rig.daemon.load_crls([rig.pki.crl(1)])
        rig.bring_up()
        rig.daemon.load_crls([rig.pki.crl(2, rig.peer_certificate)])
        rig.daemon.cut(revoked(rig.peer_certificate))
        assert rig.peer_is_refused()
        numbers = [each.number for each in rig.daemon.inventory().crls]
        assert 2 in numbers
        rig.restart()
        assert rig.peer_is_refused()

    def test_an_older_list_does_not_replace_a_newer_one(self, rig: Rig, first: Credential) -> None:
        rig.daemon.load_crls([rig.pki.crl(2, rig.peer_certificate)])
        rig.daemon.load_crls([rig.pki.crl(1)])
        assert rig.peer_is_refused()

    # managed connections

    def test_connections_are_loaded_kept_and_unloaded(self, rig: Rig, first: Credential) -> None:
        daemon, one, two = rig.daemon, managed(rig, "one"), managed(rig, "two")
        daemon.connect([one, two])
        daemon.connect([one, two])
        assert {"one", "two"} <= set(daemon.inventory().connections)
        rig.restart()
        assert {"one", "two"} <= set(daemon.inventory().connections)
        daemon.connect([two])
        rig.restart()
        listed = set(daemon.inventory().connections)
        assert "two" in listed
        assert "one" not in listed

    def test_a_changed_connection_is_replaced(self, rig: Rig, first: Credential) -> None:
        rig.daemon.connect([managed(rig)])
        rig.daemon.connect([managed(rig, rekey_seconds=7200)])
        assert "managed" in rig.daemon.inventory().connections

    def test_a_connection_of_another_is_left_alone(self, rig: Rig, first: Credential) -> None:
        rig.add_foreign_connection("theirs")
        with pytest.raises(ConnectionForeign, match="theirs"):
            rig.daemon.connect([managed(rig, "theirs"), managed(rig, "ours")])
        assert {"ours", "theirs"} <= set(rig.daemon.inventory().connections)
        rig.daemon.connect([])
        assert "theirs" in rig.daemon.inventory().connections
        assert "ours" not in rig.daemon.inventory().connections

    def test_nothing_can_be_smuggled_into_the_files(self, rig: Rig, first: Credential) -> None:
        bad = [
            managed(rig, 'x"\n}\nsecrets {'),
            managed(rig, "odd", local_id="dns:a\nupdown = /bin/sh"),
            managed(rig, "odd", remote_authority="00" * 32),
        ]
        for each in bad:
            with pytest.raises(ConnectionInvalid):
                rig.daemon.connect([managed(rig, "good"), each])
            assert "good" in rig.daemon.inventory().connections
            assert "odd" not in rig.daemon.inventory().connections


def revoked(certificate: x509.Certificate, *good: x509.Certificate) -> RevokedPeer:
    """A certificate as the service names it when it is revoked."""
    return RevokedPeer(
        fingerprint(certificate),
        format(certificate.serial_number, "x"),
        tuple(matching.identities(certificate)),
        frozenset(fingerprint(each) for each in good),
    )


def same_key(pki: Pki, first: Credential) -> Credential:
    """Another certificate for the key of a credential."""
    model = pki.leaf()
    builder = x509.CertificateBuilder(
        issuer_name=model.certificate.issuer,
        subject_name=first.certificate.subject,
        public_key=first.certificate.public_key(),
        serial_number=model.certificate.serial_number,
        not_valid_before=model.certificate.not_valid_before_utc,
        not_valid_after=model.certificate.not_valid_after_utc,
    )
    for extension in first.certificate.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    made = builder.sign(pki.issuing.key, model.certificate.signature_hash_algorithm)  # type: ignore[arg-type]
    return Credential(first.key, made, first.chain)


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


class WipedContract(DaemonContract):
    """Of a daemon that may forget keys while it runs."""

    def test_watch_tells_of_keys_wiped(self, rig: Rig, first: Credential) -> None:
        with watching(rig.daemon) as seen:
            rig.wipe()
            seen.wait_for(EventKind.RESTARTED)
        assert in_use(rig.daemon) is None
        install(rig.daemon, first)
        assert in_use(rig.daemon) == first.fingerprint


class SeeingContract(DaemonContract):
    """Of a daemon that tells, by itself or to a watcher, which certificate authenticated the peer."""

    def test_tells_which_certificate_authenticated_the_peer(
        self, rig: Rig, first: Credential
    ) -> None:
        with watching(rig.daemon) as seen:
            rig.bring_up()
            up = seen.wait_for(EventKind.UP)
        assert up.sa is not None
        assert up.sa.remote_certificate == fingerprint(rig.peer_certificate)
        (sa,) = rig.daemon.sas()
        assert sa.remote_certificate == fingerprint(rig.peer_certificate)

    def test_an_sa_known_to_be_under_a_good_certificate_stays(
        self, rig: Rig, first: Credential
    ) -> None:
        old = rig.peer_certificate
        new = rig.renew_peer()
        with watching(rig.daemon) as seen:
            rig.bring_up()
            seen.wait_for(EventKind.UP)
        assert rig.daemon.cut(revoked(old, new)) == ()
        (cut,) = rig.daemon.cut(revoked(new, old))
        assert cut.matched_by == "certificate"
