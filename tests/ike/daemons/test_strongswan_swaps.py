"""Credential swaps in live charons: under traffic, against the daemon's reloads and deaths, on a full disk."""

import contextlib
import json
import random
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from core.errors import IkewardenError
from core.secret import Secret
from ike.daemons.port import (
    Credential,
    DaemonFilesUnwritable,
    DaemonRefused,
    EventKind,
    Proof,
)
from tests.ike.daemons.charon_rig import TUNNEL, CharonRig, adapter
from tests.ike.daemons.contract import (
    OWN,
    PEER,
    PROVE_SECONDS,
    credential,
    in_use,
    install,
    key_of,
    name_of,
    own,
    watching,
)
from tests.ike.daemons.swap_worker import dump
from tests.lab import Lab
from tests.lab.handmade import Authority
from tests.lab.traffic import ping_through, pinging, strays

WITNESS = "witness"
ROOT_OF_TREE = Path(__file__).parents[3]


def our_files(rig: CharonRig) -> list[str]:
    """What the adapter has written, without CA certificates."""
    root = rig.gateway.swanctl_folder
    paths = [*root.glob("*/ikewarden*"), *root.glob("*/.ikewarden*"), *root.glob("ikewarden/*")]
    return sorted(
        str(path.relative_to(root))
        for path in paths
        if not path.name.startswith(("ca-", "sightings"))
    )


def add_witness(charon: CharonRig) -> None:
    """A second connection between the two, without CHILD_SAs: what the peer sees of us without touching the tunnel."""
    pairs = (
        (charon.gateway, charon.peer, OWN, PEER),
        (charon.peer, charon.gateway, PEER, OWN),
    )
    for here, there, own_id, peer_id in pairs:
        section = {
            "version": 2,
            "childless": "force" if here is charon.gateway else "allow",
            "unique": "never",
            "local_addrs": here.outside,
            "remote_addrs": there.outside,
            "send_cert": "always",
            "local": {"auth": "pubkey", "id": own_id},
            "remote": {"auth": "pubkey", "id": peer_id, "revocation": "relaxed"},
        }
        here.add_connection(WITNESS, section)


def seen_by_witness(charon: CharonRig) -> str:
    """Fingerprint of the certificate that the peer is shown in an IKE_SA of its own."""
    with charon.gateway.session() as session:
        for _ in session.initiate({"ike": WITNESS, "timeout": "0"}):
            pass
        seen = charon.peer_saw()
        for _ in session.terminate({"ike": WITNESS, "timeout": "0"}):
            pass
    return seen


def test_ten_swaps_keep_the_sa_lose_no_packet_and_change_what_the_peer_sees(lab: Lab) -> None:
    charon = CharonRig(lab, settings={"make_before_break": "no"})
    daemon = adapter(charon.gateway, make_before_break=None)  # 5.9 breaks before it makes
    daemon.trust(charon.pki.authorities)
    old = charon.pki.credential()
    install(daemon, old)
    add_witness(charon)
    charon.bring_up()
    assert charon.peer_saw() == old.fingerprint
    (before,) = daemon.sas()
    with pinging(charon.gateway, charon.peer) as counted:
        for _ in range(10):
            new = charon.pki.credential()
            install(daemon, new, old)
            assert daemon.prove(new, [TUNNEL], seconds=PROVE_SECONDS) is Proof.LOADED
            daemon.retire(name_of(old))
            assert seen_by_witness(charon) == new.fingerprint
            old = new
    assert counted[0].sent > 10  # there was traffic all the while
    assert counted[0].lost == 0
    (after,) = [sa for sa in daemon.sas() if sa.connection == TUNNEL]
    assert (after.spi_initiator, after.spi_responder) == (
        before.spi_initiator,
        before.spi_responder,
    )
    assert [child.spi_in for child in after.children] == [child.spi_in for child in before.children]


def test_ten_proven_swaps_keep_the_tunnel_up(lab: Lab) -> None:
    charon = CharonRig(lab, settings={"filelog": {"lab": {"esp": 2}}})
    charon.daemon.trust(charon.pki.authorities)
    old = charon.pki.credential()
    install(charon.daemon, old)
    charon.bring_up()
    assert charon.peer_saw() == old.fingerprint
    with pinging(charon.gateway, charon.peer) as counted:
        for _ in range(10):
            new = charon.pki.credential()
            install(charon.daemon, new, old)
            proof = charon.daemon.prove(new, [TUNNEL], seconds=PROVE_SECONDS)
            charon.daemon.retire(name_of(old))
            assert proof is Proof.AUTHENTICATED
            assert charon.peer_saw() == new.fingerprint
            (sa,) = [sa for sa in charon.daemon.sas() if sa.established]
            assert [child.state for child in sa.children] == ["INSTALLED"]
            old = new
            time.sleep(0.1)
    assert counted[0].sent > 10  # there was traffic all the while
    dropped = strays(charon.gateway, charon.peer)
    assert counted[0].lost <= dropped, "packets were lost for another reason"
    assert own(charon.daemon.inventory()) == {old.fingerprint: True}
    assert charon.daemon.inventory().keys == (key_of(old.certificate),)
    assert len(our_files(charon)) == 4, our_files(charon)  # key, certificate, issuer, authorities


def test_what_a_peer_refuses_is_undone_without_losing_a_packet(lab: Lab) -> None:
    charon = CharonRig(lab, settings={"filelog": {"lab": {"esp": 2}}})
    charon.daemon.trust(charon.pki.authorities)
    first = charon.pki.credential()
    install(charon.daemon, first)
    stranger = Authority("Stranger")
    bad = credential(stranger.leaf(OWN, serial=1))
    charon.bring_up()
    with pinging(charon.gateway, charon.peer) as counted:
        install(charon.daemon, bad, first)
        began = time.monotonic()
        with pytest.raises(DaemonRefused, match="AUTHENTICATION_FAILED"):
            charon.daemon.prove(bad, [TUNNEL], seconds=PROVE_SECONDS)
        assert time.monotonic() - began < PROVE_SECONDS, "it was not noticed, only the time ran out"
        charon.daemon.undo(bad, name_of(first))
        proof = charon.daemon.prove(first, [TUNNEL], seconds=PROVE_SECONDS)
    assert proof is Proof.AUTHENTICATED
    dropped = strays(charon.gateway, charon.peer)
    assert counted[0].lost <= dropped  # by the last proof, see above
    assert own(charon.daemon.inventory()) == {first.fingerprint: True}


def test_a_peer_that_is_silent_does_not_prove_anything(
    charon: CharonRig, first: Credential
) -> None:
    second = charon.pki.credential()
    charon.bring_up()
    install(charon.daemon, second, first)
    charon.peer.namespace.run(["ip", "link", "set", "eth0", "down"])
    with pytest.raises(DaemonRefused, match="no answer in time"):
        charon.daemon.prove(second, [TUNNEL], seconds=0.5)
    charon.peer.namespace.run(["ip", "link", "set", "eth0", "up"])
    charon.daemon.undo(second, name_of(first))
    charon.bring_up()
    assert charon.peer_saw() == first.fingerprint


# what others do to the daemon


def test_load_creds_and_load_all_change_nothing(charon: CharonRig, first: Credential) -> None:
    second = charon.pki.credential()
    install(charon.daemon, second, first)
    for arguments in (["--load-creds"], ["--load-creds", "--clear"], ["--load-all"]):
        charon.gateway.swanctl(*arguments, "--noprompt")
        assert in_use(charon.daemon) == second.fingerprint
    charon.daemon.retire(name_of(first))
    charon.gateway.swanctl("--load-creds", "--noprompt")
    assert own(charon.daemon.inventory()) == {second.fingerprint: True}
    charon.bring_up()
    assert charon.peer_saw() == second.fingerprint


def test_keys_of_others_are_left_alone(charon: CharonRig, first: Credential) -> None:
    root = charon.gateway.swanctl_folder
    theirs = charon.pki.leaf("theirs.example")
    files = {root / "x509" / "theirs.pem": theirs.pem, root / "private" / "t.pem": theirs.key_pem}
    for path, content in files.items():
        path.write_bytes(content)
    charon.gateway.load_credentials()
    second, third = charon.pki.credential(), charon.pki.credential()
    install(charon.daemon, second, first)
    charon.daemon.retire(name_of(first))
    install(charon.daemon, third, second)
    charon.daemon.undo(third, name_of(second))
    assert {path: path.read_bytes() for path in files} == files
    keys = {key_of(theirs.certificate), key_of(second.certificate)}
    assert set(charon.daemon.inventory().keys) == keys


def test_a_key_that_was_unloaded_is_noticed(charon: CharonRig, first: Credential) -> None:
    with watching(charon.daemon) as seen:
        with charon.gateway.session() as session:
            session.unload_key({"id": key_of(first.certificate)})
        seen.wait_for(EventKind.RESTARTED)


def test_a_swap_under_watch_is_no_wipe(charon: CharonRig, first: Credential) -> None:
    with watching(charon.daemon) as seen:
        old = first
        end = time.monotonic() + 3
        while time.monotonic() < end:
            new = charon.pki.credential()
            install(charon.daemon, new, old)
            charon.daemon.retire(name_of(old))
            old = new
    assert [event.kind for event in seen.events] == []


def test_another_certificate_of_this_name_is_told(charon: CharonRig, first: Credential) -> None:
    """The drift that matters: what charon really uses."""
    theirs = charon.pki.leaf(OWN)
    with charon.gateway.session() as session:
        session.load_key({"type": "any", "data": theirs.key_pem})
        session.load_cert({"type": "X509", "flag": "NONE", "data": theirs.pem})
    charon.gateway.flush_certs("x509")
    assert own(charon.daemon.inventory())[first.fingerprint] is False
    with pytest.raises(DaemonRefused, match="another certificate of this name"):
        charon.daemon.prove(first, [], seconds=1)


# death in the middle


@pytest.mark.parametrize("seed", range(8))
def test_a_daemon_killed_in_mid_swap_ends_with_the_new_one(
    charon: CharonRig, first: Credential, seed: int
) -> None:
    chance = random.Random(seed)
    second = charon.pki.credential()
    delay = chance.uniform(0, 0.02)

    def kill() -> None:
        time.sleep(delay)
        charon.gateway.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with contextlib.suppress(IkewardenError):
        install(charon.daemon, second, first)
        charon.daemon.retire(name_of(first))
    killer.join()
    charon.gateway.start()
    charon.gateway.load_all()
    assert in_use(charon.daemon) in {first.fingerprint, second.fingerprint}

    install(charon.daemon, second, first)
    charon.daemon.retire(name_of(first))

    for _ in range(2):
        assert own(charon.daemon.inventory()) == {second.fingerprint: True}
        assert charon.daemon.inventory().keys == (key_of(second.certificate),)
        charon.restart()
    assert len(our_files(charon)) == 4, our_files(charon)


@pytest.mark.parametrize("seed", range(3))
def test_an_agent_killed_in_mid_swap_goes_on_from_the_files(
    charon: CharonRig, first: Credential, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    old = first
    for _ in range(4):
        new = charon.pki.credential()
        start_and_kill(charon, tmp_path / "told.json", new, old, chance.uniform(0, 0.03))
        if chance.random() < 0.3:
            charon.restart()
        assert in_use(charon.daemon) in {old.fingerprint, new.fingerprint}
        if chance.random() < 0.5:
            # Refused where it had come as far as to retire the old one.
            with contextlib.suppress(DaemonRefused):
                charon.daemon.undo(new, name_of(old))
                new = old
        if new is not old:
            install(charon.daemon, new, old)
            charon.daemon.retire(name_of(old))
        for _ in range(2):
            assert own(charon.daemon.inventory()) == {new.fingerprint: True}
            assert charon.daemon.inventory().keys == (key_of(new.certificate),)
            charon.restart()
        assert len(our_files(charon)) == 4, our_files(charon)
        old = new


def start_and_kill(
    charon: CharonRig, told: Path, new: Credential, old: Credential, seconds: float
) -> None:
    """Have another process swap, and end it with SIGKILL some time after it began."""
    places = {
        "socket": str(charon.gateway.vici_socket),
        "swanctl": str(charon.gateway.swanctl_folder),
    }
    told.write_text(json.dumps({**places, "new": dump(new), "old": dump(old)}))
    command = [sys.executable, "-m", "tests.ike.daemons.swap_worker", str(told)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT_OF_TREE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
        time.sleep(seconds)
        worker.kill()


@pytest.mark.parametrize("folder", ["private", "ikewarden"])
def test_what_a_dead_writer_left_is_swept(
    charon: CharonRig, first: Credential, folder: str
) -> None:
    second = charon.pki.credential()
    left = charon.gateway.swanctl_folder / folder / ".ikewarden-0123456789ab"
    left.write_bytes(second.key.reveal())
    charon.daemon.undo(second, name_of(first))
    assert not left.exists()
    charon.restart()
    assert charon.daemon.inventory().keys == (key_of(first.certificate),)


def test_nothing_half_written_lies_where_swanctl_looks(
    charon: CharonRig, first: Credential
) -> None:
    """swanctl loads every file of its folders, also hidden ones."""
    second = charon.pki.credential()
    root = charon.gateway.swanctl_folder
    with files_of_at_most(100), pytest.raises(DaemonFilesUnwritable) as refused:
        charon.daemon.stage(second)
    assert "private" in refused.value.message  # the place, not the temporary name
    assert [*root.glob("*/.*")] == []


# refused and impossible


def test_a_key_that_charon_cannot_read_leaves_nothing(charon: CharonRig, first: Credential) -> None:
    odd = odd_credential(charon)
    with pytest.raises(DaemonRefused, match="parsing ANY private key failed"):
        charon.daemon.stage(odd)
    charon.daemon.undo(odd, name_of(first))
    assert own(charon.daemon.inventory()) == {first.fingerprint: True}
    charon.restart()
    assert in_use(charon.daemon) == first.fingerprint


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file can grow above that many bytes, as on a disk that is nearly full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("restarted", [False, True])
def test_a_disk_that_is_full_between_key_and_certificate(
    charon: CharonRig, first: Credential, restarted: bool
) -> None:
    second = charon.pki.credential()
    before = our_files(charon)
    with files_of_at_most(400):  # a key of 241 bytes fits, a certificate does not
        charon.daemon.stage(second)
        charon.daemon.check(second)
        with pytest.raises(DaemonFilesUnwritable, match="File too large"):
            charon.daemon.apply(second, name_of(first))
    if restarted:
        charon.restart()
        assert in_use(charon.daemon) == first.fingerprint
    with files_of_at_most(400):
        charon.daemon.undo(second, name_of(first))
    assert our_files(charon) == before
    assert own(charon.daemon.inventory()) == {first.fingerprint: True}
    charon.bring_up()
    assert charon.peer_saw() == first.fingerprint


def test_a_disk_that_is_full_from_the_start(charon: CharonRig, first: Credential) -> None:
    second = charon.pki.credential()
    before = our_files(charon)
    with files_of_at_most(100), pytest.raises(DaemonFilesUnwritable):
        charon.daemon.stage(second)
    assert our_files(charon) == before
    assert own(charon.daemon.inventory()) == {first.fingerprint: True}


def test_undo_needs_no_room(charon: CharonRig, first: Credential) -> None:
    second = charon.pki.credential()
    install(charon.daemon, second, first)
    with files_of_at_most(0):
        charon.daemon.undo(second, name_of(first))
    charon.restart()
    assert own(charon.daemon.inventory()) == {first.fingerprint: True}


def test_the_new_one_stays_where_the_former_key_is_gone(
    charon: CharonRig, first: Credential
) -> None:
    second = charon.pki.credential()
    install(charon.daemon, second, first)
    charon.daemon.retire(name_of(first))
    with pytest.raises(DaemonRefused, match="key is gone"):
        charon.daemon.undo(second, name_of(first))
    assert own(charon.daemon.inventory()) == {second.fingerprint: True}


def test_a_folder_that_cannot_be_written_is_named(charon: CharonRig, first: Credential) -> None:
    broken = adapter(charon.gateway, sightings=None)
    folder: Path = charon.gateway.swanctl_folder / "private"
    folder.rename(folder.with_name("elsewhere"))
    folder.write_bytes(b"a file")
    try:
        with pytest.raises(DaemonFilesUnwritable, match="private"):
            broken.stage(charon.pki.credential())
    finally:
        folder.unlink()
        folder.with_name("elsewhere").rename(folder)
    assert own(charon.daemon.inventory()) == {first.fingerprint: True}


def test_only_the_owner_reads_the_keys(charon: CharonRig, first: Credential) -> None:
    root = charon.gateway.swanctl_folder
    key = root / "private" / f"ikewarden-{key_of(first.certificate)}.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    install(charon.daemon, first)
    assert key.stat().st_mode & 0o777 == 0o600


def test_traffic_goes_on_after_all_that(charon: CharonRig, first: Credential) -> None:
    charon.bring_up()
    ping_through(charon.gateway, charon.peer, 20)


def odd_credential(rig: CharonRig) -> Credential:
    """A kind of key that IKE does not know."""
    model = rig.pki.leaf().certificate
    key = dsa.generate_private_key(2048)
    builder = x509.CertificateBuilder(
        issuer_name=model.issuer,
        subject_name=model.subject,
        public_key=key.public_key(),
        serial_number=model.serial_number,
        not_valid_before=model.not_valid_before_utc,
        not_valid_after=model.not_valid_after_utc,
    )
    made = builder.sign(rig.pki.issuing.key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Credential(Secret(pem), made)
