"""Files in the place of a daemon: the port's steps on them, and what others do to them."""

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from core.secret import Secret
from ike.daemons.files import After, FilesDaemon, OutputUnusable
from ike.daemons.port import (
    Child,
    Connection,
    ConnectionInvalid,
    Credential,
    CredentialMismatch,
    CredentialName,
    DaemonFilesUnwritable,
    DaemonRefused,
    LoadedSlot,
    Proof,
    RevokedPeer,
    SharedKey,
    SharedSlot,
)
from tests.fixtures.needs import needs_root
from tests.ike.daemons.contract import Pki, install, own

CONNECTION = Connection(
    name="site",
    local_addresses=("192.0.2.1",),
    remote_addresses=("192.0.2.2",),
    local_id="dns:gw-a.example",
    remote_id="dns:gw-b.example",
    remote_authority=None,
    children=(Child("net", ("10.1.0.0/24",), ("10.2.0.0/24",)),),
)


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


@pytest.fixture
def daemon(tmp_path: Path) -> FilesDaemon:
    return FilesDaemon("pem", tmp_path / "out")


def name_of(credential: Credential) -> CredentialName:
    return CredentialName(credential.certificate)


def serial_in(out: Path) -> int:
    from cryptography import x509

    return x509.load_pem_x509_certificate((out / "certificate.pem").read_bytes()).serial_number


def test_the_steps(daemon: FilesDaemon, pki: Pki) -> None:
    first, second = pki.credential(), pki.credential()
    daemon.trust(pki.authorities)
    install(daemon, first)
    assert own(daemon.inventory()) == {first.fingerprint: True}
    daemon.stage(second)
    daemon.stage(second)
    daemon.check(second)
    assert serial_in(daemon.out) == first.certificate.serial_number
    daemon.apply(second, name_of(first))
    assert daemon.prove(second, ["x"], seconds=1) is Proof.LOADED
    assert serial_in(daemon.out) == second.certificate.serial_number
    daemon.retire(name_of(first))
    daemon.retire(name_of(first))
    folder = daemon.out / ".ikewarden/credentials"
    assert [each.name for each in folder.iterdir()] == [second.fingerprint]


def test_undo_from_wherever_it_had_got_to(daemon: FilesDaemon, pki: Pki) -> None:
    first, second = pki.credential(), pki.credential()
    install(daemon, first)
    for far in ("nothing", "staged", "applied"):
        if far != "nothing":
            daemon.stage(second)
        if far == "applied":
            daemon.apply(second, name_of(first))
        daemon.undo(second, name_of(first))
        assert serial_in(daemon.out) == first.certificate.serial_number
        with pytest.raises(DaemonRefused):
            daemon.check(second)
    daemon.undo(first, None)
    assert not (daemon.out / "key.pem").exists()


def test_a_key_of_another_certificate_is_refused(daemon: FilesDaemon, pki: Pki) -> None:
    first, second = pki.credential(), pki.credential()
    with pytest.raises(CredentialMismatch):
        daemon.stage(Credential(first.key, second.certificate, second.chain))
    assert not daemon.out.exists()


def test_the_program_decides_about_a_new_credential(pki: Pki, tmp_path: Path) -> None:
    daemon = FilesDaemon("pem", tmp_path / "out", After(("test", "!", "-e", str(tmp_path / "no"))))
    first, second = pki.credential(), pki.credential()
    install(daemon, first)
    (tmp_path / "no").touch()
    daemon.stage(second)
    with pytest.raises(DaemonRefused, match="test ended with code 1"):
        daemon.apply(second, name_of(first))
    daemon.undo(second, name_of(first))
    assert serial_in(daemon.out) == first.certificate.serial_number
    with pytest.raises(DaemonRefused):
        daemon.settle()  # the reader has to learn of the old files too
    (tmp_path / "no").unlink()
    daemon.settle()


def test_a_program_that_is_not_there(pki: Pki, tmp_path: Path) -> None:
    daemon = FilesDaemon("pem", tmp_path / "out", After(("/no/such/program",)))
    daemon.trust(pki.authorities)
    with pytest.raises(DaemonRefused, match="cannot be run"):
        daemon.settle()


def test_what_somebody_changed_is_seen_and_mended(daemon: FilesDaemon, pki: Pki) -> None:
    made = pki.credential()
    daemon.trust(pki.authorities)
    install(daemon, made)
    (daemon.out / "key.pem").write_text("gone")
    assert own(daemon.inventory()) == {}
    daemon.stage(made)
    daemon.apply(made, None)
    assert own(daemon.inventory()) == {made.fingerprint: True}


def test_files_of_others_stay(daemon: FilesDaemon, pki: Pki) -> None:
    daemon.out.mkdir()
    (daemon.out / "theirs.pem").write_text("theirs")
    install(daemon, pki.credential())
    daemon.trust(())
    assert (daemon.out / "theirs.pem").read_text() == "theirs"


def test_lists_only_grow(daemon: FilesDaemon, pki: Pki) -> None:
    daemon.load_crls([pki.crl(5)])
    daemon.load_crls([pki.crl(3)])
    assert [each.number for each in daemon.inventory().crls] == [5]
    daemon.load_crls([pki.crl(6)])
    assert [each.number for each in daemon.inventory().crls] == [6]


def test_connections_for_swanctl_only(daemon: FilesDaemon, pki: Pki, tmp_path: Path) -> None:
    with pytest.raises(ConnectionInvalid, match="not rendered as pem"):
        daemon.connect([CONNECTION])
    swanctl = FilesDaemon("swanctl", tmp_path / "swanctl")
    swanctl.trust(pki.authorities)
    swanctl.connect([CONNECTION])
    path = tmp_path / "swanctl/conf.d/ikewarden.conf"
    text = path.read_text()
    assert 'id = "fqdn:gw-b.example"' in text
    assert "revocation = strict" in text
    evil = Connection(**{**vars(CONNECTION), "remote_id": 'dns:x"\n}'})
    with pytest.raises(ConnectionInvalid):
        swanctl.connect([evil, CONNECTION])
    assert path.read_text() == text
    swanctl.connect([])
    assert not path.exists()


def test_tunnels_are_not_ended_by_files(daemon: FilesDaemon) -> None:
    with pytest.raises(DaemonRefused, match="cannot be ended"):
        daemon.cut(RevokedPeer("ab" * 32, "1", ()))


def test_a_directory_that_cannot_be_written(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DaemonFilesUnwritable):
        FilesDaemon("pem", tmp_path / "file").trust(pki.authorities)
    with pytest.raises(OutputUnusable):
        FilesDaemon("pem", Path())


def test_a_given_passphrase(pki: Pki, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import pkcs12

    daemon = FilesDaemon("pkcs12", tmp_path / "out", passphrase=Secret("well chosen"))
    made = pki.credential()
    daemon.trust(pki.authorities)
    install(daemon, made)
    content = (tmp_path / "out/credential.p12").read_bytes()
    assert pkcs12.load_key_and_certificates(content, b"well chosen")[1] == made.certificate
    daemon.trust(pki.authorities)
    assert (tmp_path / "out/credential.p12").read_bytes() == content
    assert own(daemon.inventory()) == {made.fingerprint: True}


def test_what_is_kept_can_be_damaged(daemon: FilesDaemon, pki: Pki) -> None:
    install(daemon, pki.credential())
    (daemon.out / ".ikewarden/connections.json").write_text("{")
    with pytest.raises(DaemonRefused, match="cannot be understood"):
        daemon.inventory()
    (daemon.out / ".ikewarden/connections.json").write_text(json.dumps([]))


def test_half_written_files_of_a_killed_process_go(pki: Pki, tmp_path: Path) -> None:
    made = pki.credential()
    install(FilesDaemon("pem", tmp_path / "out"), made)
    out = tmp_path / "out"
    left = [
        out / ".key.pem.0123456789ab",
        out / ".ikewarden/.used.0123456789ab",
        out / f".ikewarden/credentials/{made.fingerprint}/.key.pem.0123456789ab",
    ]
    theirs = out / ".theirs.pem.0123456789ab"
    for path in (*left, theirs):
        path.write_text("half")
    FilesDaemon("pem", out).trust(pki.authorities)
    assert not any(path.exists() for path in left)
    assert theirs.exists()


@needs_root
@pytest.mark.parametrize("how", ["link", "of another user", "open to others"])
def test_what_is_kept_is_ours_alone(pki: Pki, tmp_path: Path, how: str) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    victim = tmp_path / "victim"
    victim.write_text("of root")
    elsewhere.mkdir(mode=0o700)
    (elsewhere / "written.json").write_text(json.dumps(["../victim"]))
    out.mkdir()
    if how == "link":
        (out / ".ikewarden").symlink_to(elsewhere)
    else:
        elsewhere.rename(out / ".ikewarden")
        os.chmod(out / ".ikewarden", 0o777 if how == "open to others" else 0o700)
        os.chown(out / ".ikewarden", 65534 if how == "of another user" else 0, 0)
    daemon = FilesDaemon("pem", out)
    with pytest.raises(DaemonRefused, match="\\.ikewarden"):
        install(daemon, pki.credential())
    assert victim.exists()
    assert list(tmp_path.rglob("*.pem")) == []


@pytest.mark.parametrize("name", ["../victim", "/etc/victim", "a/../../victim"])
def test_what_was_written_lies_below_the_directory(
    daemon: FilesDaemon, pki: Pki, tmp_path: Path, name: str
) -> None:
    install(daemon, pki.credential())
    victim = tmp_path / "victim"
    victim.write_text("of root")
    (tmp_path / "out" / ".ikewarden" / "written.json").write_text(json.dumps([name]))
    with pytest.raises(DaemonRefused, match="cannot be understood"):
        install(daemon, pki.credential())
    assert victim.exists()


def psk(*versions: int, **changes: object) -> SharedSlot:
    keys = tuple(SharedKey(each, Secret(bytes([each]) * 4)) for each in versions)
    slot = SharedSlot("a-b.psk", "psk", "a-b", "dns:gw-a.example", "dns:gw-b.example", keys)
    return replace(slot, **changes)  # type: ignore[arg-type]


def test_secrets_for_swanctl_the_first_last(tmp_path: Path) -> None:
    daemon = FilesDaemon("swanctl", tmp_path / "out")
    assert daemon.abilities().overlap
    for _ in range(2):
        daemon.share([psk(2, 1)])
        assert daemon.shared([]).slots == (LoadedSlot("a-b.psk", (2, 1)),)
    path = tmp_path / "out/conf.d/ikewarden.secrets.conf"
    text = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert text.index("secret = 0x01010101") < text.index("secret = 0x02020202")
    assert 'id = "fqdn:gw-b.example"' in text
    assert "gw-a.example" not in text
    path.write_text("somebody was here")
    assert daemon.shared([]).slots == ()
    daemon.share([psk(2)])
    assert daemon.shared([]).slots == (LoadedSlot("a-b.psk", (2,)),)
    daemon.share([])
    assert not path.exists()


def test_secrets_for_ipsec_one_for_a_peer(tmp_path: Path) -> None:
    daemon = FilesDaemon("ipsec", tmp_path / "out")
    assert not daemon.abilities().overlap
    daemon.share([psk(2, 1), psk(3, name="c.psk", remote_id="ip:192.0.2.9")])
    lines = (tmp_path / "out/ikewarden.secrets").read_text().splitlines()
    assert lines == ["@gw-b.example : PSK 0x02020202", "192.0.2.9 : PSK 0x03030303"]
    assert daemon.shared([]).slots == (LoadedSlot("a-b.psk", (2,)), LoadedSlot("c.psk", (3,)))


def test_a_secret_that_is_not_rendered_is_refused(daemon: FilesDaemon, tmp_path: Path) -> None:
    with pytest.raises(DaemonRefused, match="not rendered as pem"):
        daemon.share([psk(1)])
    daemon.share([psk()])
    swanctl = FilesDaemon("swanctl", tmp_path / "swanctl")
    swanctl.share([psk(1)])
    bad = [
        psk(2, kind="ppk"),
        psk(2, name='x" {'),
        psk(2, remote_id='dns:x"\n}'),
        psk(2, keys=(SharedKey(2, Secret(b"")),)),
        psk(2, 2),
    ]
    for each in bad:
        with pytest.raises(DaemonRefused, match="Shared secret"):
            swanctl.share([psk(1), replace(each, name=each.name.replace("a-b", "bad"))])
        assert swanctl.shared([]).slots == (LoadedSlot("a-b.psk", (1,)),)
    with pytest.raises(DaemonRefused):
        swanctl.share([psk(2, 2)])
    assert swanctl.shared([]).slots == (LoadedSlot("a-b.psk", (1,)),)


def test_a_connection_by_secret_names_no_certificate(pki: Pki, tmp_path: Path) -> None:
    swanctl = FilesDaemon("swanctl", tmp_path / "out")
    swanctl.trust(pki.authorities)
    swanctl.connect([replace(CONNECTION, authentication="psk", ike_version=1)])
    text = (tmp_path / "out/conf.d/ikewarden.conf").read_text()
    assert text.count("auth = psk") == 2
    assert "version = 1" in text
    assert "cacerts" not in text
    with pytest.raises(ConnectionInvalid, match="PPK"):
        swanctl.connect([replace(CONNECTION, ppk="required")])


def test_files_begin_nothing(daemon: FilesDaemon) -> None:
    assert daemon.initiate("a-b") is False
    assert daemon.reauthenticate("a-b", gap=False) == 0
    with pytest.raises(DaemonRefused):
        daemon.reauthenticate("a-b")
