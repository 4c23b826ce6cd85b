"""What is Libreswan's own, on a live pluto: nicknames, what it remembers, what it never answers."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from core.secret import Secret
from ike.daemons.libreswan import Libreswan
from ike.daemons.libreswan.nss import Database
from ike.daemons.port import (
    Credential,
    DaemonFilesUnwritable,
    DaemonRefused,
    DaemonUnreachable,
    EventKind,
    NotYetInForce,
    Proof,
    fingerprint,
)
from tests.ike.daemons.contract import (
    OWN,
    PEER,
    Pki,
    in_use,
    install,
    managed,
    name_of,
    own,
    revoked,
    watching,
)
from tests.ike.daemons.pluto_rig import NICKNAME, TUNNEL, PlutoRig, adapter, now, places, seen_by
from tests.lab import Lab, Pluto, Refused
from tests.lab.handmade import HOUR, NOW, Authority, Leaf
from tests.lab.handmade import new_key as handmade_key

pytestmark = pytest.mark.usefixtures("needs_pluto")


@pytest.fixture
def rig(lab: Lab) -> PlutoRig:
    return PlutoRig(lab)


@pytest.fixture
def first(rig: PlutoRig) -> Credential:
    """A credential in use, by a connection that is loaded and up."""
    rig.daemon.trust(rig.pki.authorities)
    made = issued(rig.pki, begins=NOW - 5 * HOUR)
    install(rig.daemon, made)
    rig.bring_up()
    return made


def issued(
    pki: Pki,
    *,
    begins: object = NOW - HOUR,
    ends: object = NOW + 24 * HOUR,
    subject: str = OWN,
    algorithm: str = "ec-p256",
) -> Credential:
    """A certificate for OWN with other dates, subject or key than the contract's."""
    model = pki.leaf()
    key = handmade_key(algorithm)
    builder = x509.CertificateBuilder(
        issuer_name=model.certificate.issuer,
        subject_name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]),
        public_key=key.public_key(),
        serial_number=model.certificate.serial_number,
        not_valid_before=begins,  # type: ignore[arg-type]
        not_valid_after=ends,  # type: ignore[arg-type]
    )
    for extension in model.certificate.extensions:
        value = extension.value
        if isinstance(value, x509.SubjectKeyIdentifier):
            value = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(value, extension.critical)
    made = builder.sign(pki.issuing.key, model.certificate.signature_hash_algorithm)  # type: ignore[arg-type]
    return Credential(Secret(Leaf(key, made).key_pem), made, (pki.issuing.certificate,))


def shown(rig: PlutoRig) -> str:
    """What the peer sees when the tunnel is made anew."""
    rig.bring_up()
    (seen,) = seen_by(rig.peer, OWN)
    return seen


# what pluto remembers


def test_a_renewed_certificate_is_shown_at_the_next_authentication_and_undo_takes_it_back(
    rig: PlutoRig, first: Credential
) -> None:
    """pluto remembers the newest that ever stood under a nickname; renaming back is not enough for it."""
    second = issued(rig.pki, begins=NOW - HOUR)
    sas = rig.daemon.sas()
    install(rig.daemon, second, first)
    assert rig.daemon.sas() == sas, "the swap disturbed an SA"
    assert shown(rig) == second.fingerprint
    assert rig.daemon.prove(second, [TUNNEL], seconds=1) is Proof.LOADED

    rig.daemon.undo(second, name_of(first))

    assert shown(rig) == first.fingerprint
    assert own(rig.daemon.inventory()) == {first.fingerprint: True}


def test_a_certificate_that_is_not_newer_comes_into_use(rig: PlutoRig, first: Credential) -> None:
    older = issued(rig.pki, begins=NOW - 9 * HOUR)
    install(rig.daemon, older, first)
    assert shown(rig) == older.fingerprint
    rig.daemon.retire(name_of(first))
    assert shown(rig) == older.fingerprint


def test_another_subject_under_the_same_nickname(rig: PlutoRig, first: Credential) -> None:
    second = issued(rig.pki, subject="renamed gateway")
    install(rig.daemon, second, first)
    rig.daemon.retire(name_of(first))
    assert in_use(rig.daemon) == second.fingerprint
    rig.gateway.terminate(TUNNEL)
    rig.gateway.initiate(TUNNEL)
    assert seen_by(rig.peer, "renamed gateway") == [second.fingerprint]


def test_ten_renewals_leave_one_key(rig: PlutoRig, first: Credential) -> None:
    sas, last = rig.daemon.sas(), first
    for _ in range(10):
        fresh = rig.pki.credential()
        install(rig.daemon, fresh, last)
        rig.daemon.retire(name_of(last))
        last = fresh
    assert rig.daemon.sas() == sas
    assert own(rig.daemon.inventory()) == {last.fingerprint: True}
    assert len(rig.daemon.inventory().keys) == 1
    assert shown(rig) == last.fingerprint


def test_what_an_operator_had_under_the_nickname_comes_back(lab: Lab) -> None:
    rig = PlutoRig(lab)
    by_hand, elsewhere, made = rig.pki.leaf(), rig.pki.credential(), rig.pki.credential()
    rig.gateway.install(by_hand.key_pem, by_hand.pem, rig.pki.issuing.chain, name=NICKNAME)
    # Of one subject, as all three are, pk12util would put this under the same nickname.
    Database(places(rig.gateway)).add("elsewhere", elsewhere.certificate, ",,")
    Database(places(rig.gateway)).add_key(elsewhere)
    install(rig.daemon, made)
    assert in_use(rig.daemon) == made.fingerprint

    rig.daemon.undo(made, None)

    assert own(rig.daemon.inventory()) == {
        fingerprint(by_hand.certificate): True,
        elsewhere.fingerprint: False,
    }


def test_an_expired_certificate_is_refused_and_the_old_one_goes_on(
    rig: PlutoRig, first: Credential
) -> None:
    late = issued(rig.pki, begins=NOW - 48 * HOUR, ends=NOW - 24 * HOUR)
    rig.daemon.stage(late)
    with pytest.raises(DaemonRefused):
        rig.daemon.apply(late, name_of(first))
    rig.daemon.undo(late, name_of(first))
    assert shown(rig) == first.fingerprint


def test_a_key_that_nss_does_not_know_is_refused(rig: PlutoRig, first: Credential) -> None:
    odd = issued(rig.pki, algorithm="ed25519")
    with pytest.raises(DaemonRefused, match="RSA and ECDSA"):
        rig.daemon.stage(odd)
    assert own(rig.daemon.inventory()) == {first.fingerprint: True}


def test_an_rsa_key_takes_the_same_way(lab: Lab) -> None:
    rig = PlutoRig(lab)
    rig.daemon.trust(rig.pki.authorities)
    made, next_one = (issued(rig.pki, algorithm="rsa-3072") for _ in range(2))
    install(rig.daemon, made)
    rig.gateway.add_connection_file(TUNNEL, {**rig.own_end(), "authby": "rsasig,ecdsa"})
    assert shown(rig) == made.fingerprint
    install(rig.daemon, next_one, made)
    rig.daemon.undo(next_one, name_of(made))
    assert shown(rig) == made.fingerprint


# deaths


def test_a_pluto_that_dies_in_the_swap_comes_back_with_the_new_one(
    rig: PlutoRig, first: Credential
) -> None:
    second = rig.pki.credential()
    rig.daemon.stage(second)
    rig.gateway.kill()
    with pytest.raises(DaemonUnreachable, match="not running"):
        rig.daemon.apply(second, name_of(first))
    rig.restart()
    rig.daemon.apply(second, name_of(first))
    assert shown(rig) == second.fingerprint


@pytest.mark.parametrize("onward", [True, False])
def test_an_agent_that_dies_between_the_two_names(
    rig: PlutoRig, first: Credential, onward: bool
) -> None:
    """The nickname is nobody's then; both apply and undo put it right."""
    second = rig.pki.credential()
    rig.daemon.stage(second)
    Database(places(rig.gateway)).rename((NICKNAME, f"{NICKNAME}-{first.fingerprint[:16]}"))
    assert in_use(rig.daemon) is None
    if onward:
        rig.daemon.apply(second, name_of(first))
    else:
        rig.daemon.undo(second, name_of(first))
    assert shown(rig) == (second if onward else first).fingerprint


@pytest.mark.parametrize("onward", [True, False])
def test_an_agent_that_dies_while_pluto_lets_go(
    rig: PlutoRig, first: Credential, onward: bool
) -> None:
    """A certificate that has expired stands under the nickname then."""
    second = issued(rig.pki, begins=NOW - HOUR)
    install(rig.daemon, second, first)
    database = Database(places(rig.gateway))
    database.rename((NICKNAME, f"{NICKNAME}-{second.fingerprint[:16]}"))
    interim = adapter(rig.gateway)._credentials._interim(first.certificate)
    database.add(NICKNAME, interim, ",,")
    rig.gateway.whack("--rereadcerts")
    time.sleep(2.1)
    if onward:
        rig.daemon.apply(second, name_of(first))
        rig.daemon.retire(name_of(first))
    else:
        rig.daemon.undo(second, name_of(first))
    left = second if onward else first
    assert shown(rig) == left.fingerprint
    assert own(rig.daemon.inventory()) == {left.fingerprint: True}
    assert len(rig.daemon.inventory().keys) == 1


def test_an_agent_that_dies_between_certificate_and_key(rig: PlutoRig, first: Credential) -> None:
    second = rig.pki.credential()
    database = Database(places(rig.gateway))
    database.add(f"{NICKNAME}-{second.fingerprint[:16]}", second.certificate, ",,")
    with pytest.raises(DaemonRefused, match="with its key"):
        rig.daemon.check(second)
    with pytest.raises(DaemonRefused, match="with its key"):
        rig.daemon.apply(second, name_of(first))
    install(rig.daemon, second, first)
    assert shown(rig) == second.fingerprint


def test_watch_tells_that_pluto_is_gone_and_back(rig: PlutoRig, first: Credential) -> None:
    with watching(rig.daemon) as seen:
        rig.gateway.kill()
        seen.wait_for(EventKind.LOST)
        rig.restart()
        seen.wait_for(EventKind.RESTARTED)


# programs and files


def script(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def test_a_whack_that_hangs_is_not_waited_for(rig: PlutoRig, tmp_path: Path) -> None:
    hung = script(tmp_path, "whack", "exec sleep 600")
    daemon = Libreswan(now=now, places=replace(places(rig.gateway), whack=hung))
    with pytest.raises(DaemonUnreachable, match="did not answer"):
        daemon.sas()
    assert subprocess.run(["pgrep", "-f", hung], check=False).returncode == 1


def test_a_pluto_that_is_stopped_is_not_waited_for(rig: PlutoRig) -> None:
    os.kill(rig.gateway.pid, signal.SIGSTOP)
    try:
        with pytest.raises(DaemonUnreachable, match="did not answer"):
            rig.daemon.describe()
    finally:
        os.kill(rig.gateway.pid, signal.SIGCONT)
    assert rig.daemon.describe().version


def test_what_is_not_there_is_said(rig: PlutoRig, tmp_path: Path) -> None:
    absent = replace(places(rig.gateway), certutil=str(tmp_path / "certutil"))
    with pytest.raises(DaemonUnreachable, match="cannot be run"):
        Libreswan(now=now, places=absent).inventory()
    rubbish = script(tmp_path, "whack", "echo 000 what")
    with pytest.raises(DaemonUnreachable, match="not understood"):
        Libreswan(now=now, places=replace(places(rig.gateway), whack=rubbish)).describe()
    rig.gateway.stop()
    with pytest.raises(DaemonUnreachable, match="not running"):
        rig.daemon.describe()


@pytest.mark.parametrize("name", ["nss", "nss/key4.db"])
def test_no_key_goes_where_others_can_read_it(rig: PlutoRig, name: str) -> None:
    path = rig.gateway.directory / name
    mode = path.stat().st_mode
    path.chmod(mode | 0o044)
    with pytest.raises(DaemonRefused, match="open to others"):
        rig.daemon.stage(rig.pki.credential())
    path.chmod(mode)
    assert own(rig.daemon.inventory()) == {}


def test_a_database_that_is_not_there(rig: PlutoRig) -> None:
    away = replace(places(rig.gateway), nss=rig.gateway.directory / "nowhere")
    with pytest.raises(DaemonRefused, match="nowhere"):
        Libreswan(now=now, places=away).stage(rig.pki.credential())


def test_no_secret_is_an_argument_or_a_file(rig: PlutoRig, tmp_path: Path) -> None:
    heard = tmp_path / "arguments"
    logged = {
        tool: script(
            tmp_path,
            tool,
            f'echo "{tool} $@" >> {heard}; env >> {heard}; exec {rig.gateway.programs / tool} "$@"',
        )
        for tool in ("certutil", "pk12util")
    }
    daemon = Libreswan(now=now, places=replace(places(rig.gateway), **logged))
    before = {path for path in rig.gateway.directory.rglob("*") if path.is_file()}
    made = rig.pki.credential()
    install(daemon, made)
    text = heard.read_text()
    assert "pk12util -i /proc/self/fd/" in text
    secret_lines = made.key.reveal().decode().splitlines()[1:-1]
    assert not any(line in text for line in secret_lines)
    after = {path for path in rig.gateway.directory.rglob("*") if path.is_file()}
    assert {path.name for path in after - before} <= {"cert9.db-journal", "key4.db-journal"}


@pytest.fixture
def small(lab: Lab) -> Iterator[tuple[PlutoRig, Path]]:
    """A database on a disk of its own, with a file that can be grown until nothing is left."""
    rig = PlutoRig(lab)
    rig.gateway.stop()
    nss = rig.gateway.nss
    kept = {path.name: path.read_bytes() for path in nss.iterdir()}
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs", nss], check=True)
    try:
        for name, content in kept.items():
            (nss / name).write_bytes(content)
            (nss / name).chmod(0o600)
        rig.restart()
        yield rig, nss / "filler"
    finally:
        rig.gateway.stop()
        subprocess.run(["umount", "-l", nss], check=True)


def test_a_full_disk_leaves_the_old_one_in_use(small: tuple[PlutoRig, Path]) -> None:
    rig, filler = small
    rig.daemon.trust(rig.pki.authorities)
    first, second = rig.pki.credential(), rig.pki.credential()
    install(rig.daemon, first)
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as sink:
        while True:
            sink.write(b"x" * 1024)
    with pytest.raises(DaemonFilesUnwritable, match="nss"):
        rig.daemon.stage(second)
    assert own(rig.daemon.inventory()) == {first.fingerprint: True}
    filler.unlink()
    install(rig.daemon, second, first)
    rig.daemon.retire(name_of(first))
    assert own(rig.daemon.inventory()) == {second.fingerprint: True}
    assert len(rig.daemon.inventory().keys) == 1


def test_a_list_that_cannot_be_written(rig: PlutoRig, first: Credential) -> None:
    blocked = rig.gateway.connections / "ikewarden"
    blocked.write_text("a file where the folder should be")
    with pytest.raises(DaemonFilesUnwritable, match="ikewarden"):
        rig.daemon.load_crls([rig.pki.crl(1)])


# trust and revocation


def other_peer(rig: PlutoRig) -> Authority:
    """Let the peer show a certificate of a CA that pluto never heard of."""
    other = Authority("Other Root")
    leaf = other.leaf(PEER, serial=0x77)
    rig.peer.install(leaf.key_pem, leaf.pem, [*rig.pki.issuing.chain, other.pem])
    return other


def test_a_new_ca_counts_at_once_and_one_taken_out_after_a_restart(
    rig: PlutoRig, first: Credential
) -> None:
    other = other_peer(rig)
    assert rig.peer_is_refused()
    rig.daemon.trust([*rig.pki.authorities, other.certificate])
    rig.bring_up()

    for _ in range(2):
        with pytest.raises(NotYetInForce, match="until it is restarted"):
            rig.daemon.trust(rig.pki.authorities)
    listed = rig.daemon.inventory().certificates
    assert fingerprint(other.certificate) not in {each.fingerprint for each in listed}
    assert not rig.peer_is_refused(), "pluto has become better: say so in the docs"

    rig.restart()
    rig.daemon.trust(rig.pki.authorities)
    assert rig.peer_is_refused()


def test_an_issuing_ca_with_a_distribution_point_of_its_own(lab: Lab) -> None:
    """pluto then looks at no URL that crlutil noted; and nothing answers at this one."""
    rig = PlutoRig(lab, pki=Pki(root_crl_url="http://192.0.2.254:9/root.crl"))
    rig.daemon.trust(rig.pki.authorities)
    install(rig.daemon, rig.pki.credential())
    rig.daemon.load_crls([rig.pki.crl(1)])
    rig.bring_up()
    rig.daemon.load_crls([rig.pki.crl(2, rig.peer_certificate)])
    (cut,) = rig.daemon.cut(revoked(rig.peer_certificate))
    assert cut.ended
    assert rig.peer_is_refused()


def test_without_a_check_interval_a_list_counts_later_and_that_is_said(lab: Lab) -> None:
    rig = PlutoRig(lab, setup={"crlcheckinterval": "0"})
    rig.daemon.trust(rig.pki.authorities)
    install(rig.daemon, rig.pki.credential())
    rig.bring_up()
    with pytest.raises(NotYetInForce, match="within 60 seconds") as told:
        rig.daemon.load_crls([rig.pki.crl(3, rig.peer_certificate)])
    assert "crlcheckinterval" in told.value.next_step
    assert [each.number for each in rig.daemon.inventory().crls] == [3]
    rig.restart()
    assert rig.peer_is_refused()


def test_many_lists_leave_nothing_behind(rig: PlutoRig, first: Credential) -> None:
    for number in range(1, 6):
        rig.daemon.load_crls([rig.pki.crl(number)])
    nicknames = rig.gateway.tool("certutil", "-L")
    assert nicknames.count("ikewarden-crl-") == 1
    assert [each.number for each in rig.daemon.inventory().crls] == [5]


def test_a_list_of_nobody_is_refused(rig: PlutoRig, first: Credential) -> None:
    stranger = x509.load_der_x509_crl(Authority("Stranger").crl(1))
    with pytest.raises(DaemonRefused, match="Stranger"):
        rig.daemon.load_crls([stranger])
    assert rig.daemon.inventory().crls == ()


def test_strict_checking_that_pluto_does_not_do_is_said(rig: PlutoRig, first: Credential) -> None:
    with pytest.raises(NotYetInForce, match="strict"):
        rig.daemon.connect([managed(rig, "ours", revocation="strict")])
    assert "ours" in rig.daemon.inventory().connections


def many(lab: Lab) -> tuple[Libreswan, Pluto, list[Pluto], Pki]:
    """One pluto with a connection for any peer, and two peers that are up."""
    pki = Pki()
    centre = lab.pluto("centre", setup={"crlcheckinterval": "1h"})
    daemon = adapter(centre)
    daemon.trust(pki.authorities)
    install(daemon, pki.credential("centre.example"))
    ends = {"leftcert": NICKNAME, "authby": "ecdsa", "ikev2": "insist", "auto": "add"}
    centre.add_connection(
        "any",
        {
            **{"left": centre.outside, "right": "%any", "leftid": "@centre.example"},
            **{"rightid": "%fromcert", "leftsubnet": centre.inside.network},
            **{"rightsubnet": "10.0.0.0/8", "sendca": "all", **ends},
        },
    )
    centre.childless()
    peers = [lab.pluto(name) for name in ("one", "two")]
    for peer in peers:
        leaf = pki.leaf(f"{peer.name}.example")
        peer.install(leaf.key_pem, leaf.pem, pki.issuing.chain, name=NICKNAME)
        peer.add_connection(
            "tunnel",
            {
                **{"left": peer.outside, "right": centre.outside, "leftid": f"@{peer.identity}"},
                **{"rightid": "@centre.example", "leftsubnet": peer.inside.network},
                **{"rightsubnet": centre.inside.network, "sendca": "all", **ends},
            },
        )
        peer.childless()
        peer.initiate()
    return daemon, centre, peers, pki


def own_certificate(peer: Pluto) -> x509.Certificate:
    text = peer.tool("certutil", "-L", "-n", NICKNAME, "-a")
    return x509.load_pem_x509_certificates(text.encode())[0]


@pytest.mark.parametrize("silent", [False, True])
def test_of_many_peers_only_the_revoked_one_is_cut(lab: Lab, silent: bool) -> None:
    if lab.kernel_esp:
        pytest.skip("without CHILD_SAs only")
    daemon, _, (one, two), pki = many(lab)
    assert {sa.remote_id for sa in daemon.sas()} == {"CN=one.example", "CN=two.example"}
    bad = own_certificate(one)
    if silent:
        os.kill(one.pid, signal.SIGSTOP)
    daemon.load_crls([pki.crl(1, bad)])
    (cut,) = daemon.cut(revoked(bad))
    assert (cut.sa.remote_id, cut.matched_by, cut.ended) == ("CN=one.example", "identity", True)
    assert [sa.remote_id for sa in daemon.sas() if sa.established] == ["CN=two.example"]
    if silent:
        os.kill(one.pid, signal.SIGCONT)
    one.whack("--delete", "--name", "tunnel")
    one.load("tunnel")
    with pytest.raises(Refused):
        one.initiate(timeout=4)
    assert two.established()


def test_a_half_open_sa_is_cut(rig: PlutoRig, first: Credential) -> None:
    rig.gateway.terminate(TUNNEL)
    rig.peer.kill()
    rig.gateway.whack("--initiate", "--asynchronous", "--name", TUNNEL)
    (sa,) = rig.daemon.sas()
    assert not sa.established
    (cut,) = rig.daemon.cut(revoked(rig.peer_certificate))
    assert cut.ended
    assert rig.daemon.sas() == ()


def test_a_managed_connection_works(rig: PlutoRig, first: Credential) -> None:
    rig.gateway.whack("--delete", "--name", TUNNEL)
    (rig.gateway.connections / f"{TUNNEL}.conf").unlink()
    (child,) = managed(rig).children
    ours = replace(child, local_ts=("10.1.0.0/24",), remote_ts=("10.2.0.0/24",))
    rig.daemon.connect(
        [
            managed(
                rig,
                "ours",
                proposals=("aes256gcm16-prfsha384-ecp384",),
                children=(replace(ours, esp_proposals=("aes256gcm16",)),),
                rekey_seconds=3600,
            )
        ]
    )
    rig.gateway.initiate("ours")
    (sa,) = rig.daemon.sas()
    assert (sa.connection, sa.remote_id, sa.established) == ("ours", PEER, True)
    assert "AES_GCM_16_256-HMAC_SHA2_384-DH20" in sa.algorithms
    rig.daemon.connect([])
    assert rig.daemon.sas() == ()
    assert "ours" not in rig.daemon.inventory().connections


@pytest.mark.parametrize("name", ["Contract Issuing", "Contract Issuing 2"], ids=["same", "other"])
def test_a_peer_may_be_of_either_authority_in_a_rollover(
    rig: PlutoRig, first: Credential, name: str
) -> None:
    rig.gateway.whack("--delete", "--name", TUNNEL)
    (rig.gateway.connections / f"{TUNNEL}.conf").unlink()
    old, new = rig.pki.issuing, Authority(name, rig.pki.root, serial=0x31)
    before = managed(rig, "ours", remote_authority=fingerprint(old.certificate))
    both = replace(before, more_authorities=(fingerprint(new.certificate),))
    rig.daemon.connect([before])
    rig.gateway.initiate("ours")
    (was,) = rig.daemon.sas()
    rig.daemon.trust([*rig.pki.authorities, new.certificate])
    rig.daemon.connect([both])
    deadline = time.monotonic() + 30
    while not any(each.established for each in rig.daemon.sas()) and time.monotonic() < deadline:
        time.sleep(0.05)
    (sa,) = [each for each in rig.daemon.sas() if each.established]
    # pluto takes one name. Where that is another now, the connection is loaded and begun anew.
    assert (sa.id == was.id) == (name == "Contract Issuing")
    for serial, issuer in ((0x41, new), (0x42, old)):
        leaf = issuer.leaf(PEER, serial=serial)
        rig.peer.install(leaf.key_pem, leaf.pem, issuer.chain)
        rig.gateway.terminate("ours")
        rig.gateway.initiate("ours")
        assert any(each.established for each in rig.daemon.sas())
    # Nobody else's.
    stranger = Authority("Stranger")
    leaf = stranger.leaf(PEER, serial=0x51)
    rig.peer.install(leaf.key_pem, leaf.pem, [*old.chain, stranger.pem])
    rig.daemon.trust([*rig.pki.authorities, new.certificate, stranger.certificate])
    rig.gateway.terminate("ours")
    with pytest.raises(Refused):
        rig.gateway.initiate("ours")
