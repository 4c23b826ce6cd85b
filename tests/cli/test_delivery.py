"""Keys and certificates on disk: whole, private, never lost, never overwritten."""

import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from core.errors import IkewardenError
from hsm.ports import KEY_ALGORITHMS, KeyAlgorithm
from ikewarden.cli.delivery import Delivery, NoDirectory, NotDelivered, advice, swanctl_advice
from ikewarden.cli.enrolling import with_new_key
from ikewarden.cli.failures import failure_of, tell
from ikewarden.cli.files import FileExists, write_new, write_over
from ikewarden.cli.requesting import (
    PendingKeyUnusable,
    SubjectMalformed,
    file_stem,
    new_key,
    pending_key,
    signing_request,
    typed,
)
from ikewarden.client import Refused, ServiceUnreachable
from pki.x509.csr import read_csr
from pki.x509.keys import key_algorithm
from pki.x509.names import GeneralName, InvalidName
from tests.cli.conftest import credential

GW1 = [GeneralName.parse("dns:gw1.example")]
Issued = Callable[..., dict[str, Any]]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("gw1.example.com", "dns:gw1.example.com"),
        ("GW1.Example.com", "dns:gw1.example.com"),
        ("192.0.2.1", "ip:192.0.2.1"),
        ("2001:DB8::0:1", "ip:2001:db8::1"),
        ("carol@example.com", "email:carol@example.com"),
        ("dns:gw1.example", "dns:gw1.example"),
        ("uri:spiffe://example.com/gw1", "uri:spiffe://example.com/gw1"),
        ("dn:CN=gw1,O=Example", "dn:CN=gw1,O=Example"),
        ("ip:192.0.2.1", "ip:192.0.2.1"),
        ("email", "dns:email"),
    ],
)
def test_names_without_a_kind_get_one(text: str, name: str) -> None:
    assert str(typed(text)) == name


@pytest.mark.parametrize(
    "text", ["", "*.example", "a b", "ip:gw1", "carol@", "gw1:example", "ü.example"]
)
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(InvalidName):
        typed(text)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("dns:gw1.example", "gw1.example"),
        ("ip:2001:db8::1", "2001-db8-1"),
        ("email:carol@example.com", "carol@example.com"),
        ("uri:spiffe://example.com/gw1", "spiffe-example.com-gw1"),
        ("dn:CN=../../etc/passwd,O=x", "CN-..-..-etc-passwd-O-x"),
        ("dn:CN=\\+", "CN"),
        ("dn:O=" + "x" * 500, "O-" + "x" * 198),
    ],
)
def test_file_names_are_safe(name: str, stem: str) -> None:
    assert file_stem(GeneralName.parse(name)) == stem


@pytest.mark.parametrize("kind", KEY_ALGORITHMS)
def test_requests_are_what_the_service_reads(kind: KeyAlgorithm) -> None:
    key = new_key(kind)
    names = [
        typed(text) for text in ("gw1.example", "192.0.2.1", "a@b.example", "uri:x:y", "dn:CN=z")
    ]
    asked = read_csr(signing_request(key, names, "CN=gw1,O=Example").encode())
    assert list(asked.names) == names
    assert asked.subject.rfc4514_string() == "CN=gw1,O=Example"
    assert key_algorithm(asked.public_key) == kind


def test_a_request_without_names_or_subject() -> None:
    asked = read_csr(signing_request(new_key("ec-p256"), [], "").encode())
    assert (asked.names, list(asked.subject)) == ((), [])


def test_a_subject_that_is_none() -> None:
    with pytest.raises(SubjectMalformed):
        signing_request(new_key("ec-p256"), [], "gw1")


def test_new_files_have_their_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_new(tmp_path / "a", b"x", 0o600)
        os.umask(0o777)
        write_over(tmp_path / "b", b"x", 0o644)
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == 0o600
    assert mode(tmp_path / "b") == 0o644


def test_a_file_or_link_that_is_there_stays(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for name in ("target", "link", "dangling"):
        with pytest.raises(FileExists):
            write_new(tmp_path / name, b"new", 0o600)
    assert target.read_bytes() == b"old"
    assert names_in(tmp_path) == ["dangling", "link", "target"]
    write_over(tmp_path / "link", b"new", 0o600)  # in the place of the link, not through it
    assert target.read_bytes() == b"old"
    assert not (tmp_path / "link").is_symlink()


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    missing = tmp_path / "not-there" / "x"
    for write in (write_new, write_over):
        with pytest.raises(OSError, match="No such file"):
            write(missing, b"x", 0o600)
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_over(tmp_path / "directory", b"x", 0o600)
    assert names_in(tmp_path) == ["directory"]


def test_the_key_is_on_disk_before_the_request_and_named_with_the_answer(
    tmp_path: Path, issued: Issued
) -> None:
    delivery = Delivery(tmp_path, "gw1")
    seen: list[str] = []

    def send(csr: str) -> dict[str, Any]:
        seen.append(csr)
        assert names_in(tmp_path) == ["gw1.key.new"]
        assert mode(delivery.pending) == 0o600
        key = load_pem_private_key(delivery.pending.read_bytes(), None)
        assert _public(key) == _public(x509.load_pem_x509_csr(csr.encode()))
        return issued()

    answer, files = with_new_key(delivery, "ec-p256", GW1, send)
    assert answer["serial"] == "4f2a"
    assert names_in(tmp_path) == ["ca.pem", "gw1-chain.pem", "gw1.key", "gw1.pem"]
    assert mode(tmp_path / "gw1.key") == 0o600
    assert mode(tmp_path / "gw1.pem") == 0o644
    assert set(files) == {"key", "certificate", "chain", "root"}
    assert all(Path(path).is_file() for path in files.values())
    assert len(seen) == 1


def _public(holder: Any) -> bytes:
    data: bytes = holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data


def refuse(status: int, *, sure: bool) -> Callable[[str], dict[str, Any]]:
    def send(_csr: str) -> dict[str, Any]:
        raise Refused(status, {}, surely_not_done=sure)

    return send


def test_a_key_that_surely_has_no_certificate_is_removed(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        with_new_key(Delivery(tmp_path, "gw1"), "ec-p256", GW1, refuse(422, sure=True))
    assert names_in(tmp_path) == []


def _away(_csr: str) -> dict[str, Any]:
    raise ServiceUnreachable("Nothing answers.")


def test_what_was_never_asked_for_leaves_neither_key_nor_directory(tmp_path: Path) -> None:
    out = tmp_path / "out"
    delivery = Delivery(out, "gw1")
    for send, subject, error in (
        (_away, "", ServiceUnreachable),
        (refuse(422, sure=True), "", Refused),
        (_lost, "no subject", SubjectMalformed),
    ):
        with pytest.raises(error), delivery.place(with_key=True):
            with_new_key(delivery, "ec-p256", GW1, send, subject=subject)
        assert not out.exists()
    out.mkdir()
    with pytest.raises(Refused), delivery.place(with_key=True):
        with_new_key(delivery, "ec-p256", GW1, refuse(422, sure=True))
    assert names_in(out) == []


def test_a_key_that_stays_is_named(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path / "out", "gw1")
    with pytest.raises(Refused) as caught, delivery.place(with_key=True):
        with_new_key(delivery, "ec-p256", GW1, refuse(503, sure=False))
    told = io.StringIO()
    tell(failure_of(caught.value), told, as_json=False)
    assert str(delivery.pending) in told.getvalue()
    assert failure_of(caught.value).document["notes"] == caught.value.__notes__
    assert delivery.pending.exists()


def test_a_place_that_is_no_directory() -> None:
    with pytest.raises(NoDirectory):
        Delivery(Path("/dev/full"), "gw1").check(with_key=True)


def _lost(_csr: str) -> dict[str, Any]:
    raise ServiceUnreachable("lost", maybe_done=True)


def _killed(_csr: str) -> dict[str, Any]:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("send", "error"),
    [(_lost, ServiceUnreachable), (refuse(503, sure=False), Refused), (_killed, KeyboardInterrupt)],
)
def test_a_key_that_may_have_a_certificate_is_kept_and_taken_up_again(
    tmp_path: Path, issued: Issued, send: Any, error: type[BaseException]
) -> None:
    delivery = Delivery(tmp_path, "gw1")
    with pytest.raises(error):
        with_new_key(delivery, "ec-p256", GW1, send)
    assert names_in(tmp_path) == ["gw1.key.new"]
    kept = delivery.pending.read_bytes()
    delivery.check(with_key=True)
    with pytest.raises(Refused):  # an earlier run's key is not this run's to remove
        with_new_key(delivery, "ec-p256", GW1, refuse(422, sure=True))
    with_new_key(delivery, "ec-p256", GW1, lambda csr: issued())
    assert delivery.key.read_bytes() == kept
    assert not delivery.pending.exists()


def test_a_pending_key_of_another_kind_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "gw1.key.new"
    pending_key(path, "ec-p256")
    before = path.read_bytes()
    with pytest.raises(PendingKeyUnusable, match="another kind of key than ed25519"):
        pending_key(path, "ed25519")
    assert path.read_bytes() == before
    assert not pending_key(path, "ec-p256")[1]


def test_a_pending_key_that_others_could_have_put_there_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "gw1.key.new"
    pending_key(path, "ec-p256")
    path.chmod(0o644)
    with pytest.raises(PendingKeyUnusable, match="not a key file of ours alone"):
        pending_key(path, "ec-p256")
    path.write_text("no key")
    path.chmod(0o600)
    with pytest.raises(PendingKeyUnusable, match="holds no private key"):
        pending_key(path, "ec-p256")
    target = path.rename(tmp_path / "target")
    path.symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        pending_key(path, "ec-p256")


def test_files_in_the_way_are_found_before_anything_is_asked(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path, "gw1")
    (tmp_path / "gw1.pem").touch()
    with pytest.raises(FileExists, match=r"gw1\.pem exists"):
        delivery.check(with_key=False)
    (tmp_path / "gw1.pem").unlink()
    (tmp_path / "gw1.key").symlink_to("nowhere")
    delivery.check(with_key=False)
    with pytest.raises(FileExists, match=r"gw1\.key exists"):
        delivery.check(with_key=True)
    Delivery(tmp_path, "gw1", force=True).check(with_key=True)


def test_force_replaces_the_old_key_only_when_there_is_a_new_certificate(
    tmp_path: Path, issued: Issued
) -> None:
    (tmp_path / "gw1.key").write_text("old key")
    (tmp_path / "gw1.pem").write_text("old certificate")
    delivery = Delivery(tmp_path, "gw1", force=True)
    delivery.check(with_key=True)
    with pytest.raises(ServiceUnreachable):
        with_new_key(delivery, "ec-p256", GW1, _lost)
    assert (tmp_path / "gw1.key").read_text() == "old key"
    with_new_key(delivery, "ec-p256", GW1, lambda csr: issued())
    assert "PRIVATE KEY" in (tmp_path / "gw1.key").read_text()
    assert "leaf" in (tmp_path / "gw1.pem").read_text()


def test_only_the_predecessor_gives_way_to_a_renewal(tmp_path: Path, issued: Issued) -> None:
    certificate, _ = credential(tmp_path / "x")
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    serial = format(found.serial_number, "x")
    serial = serial if len(serial) % 2 == 0 else "0" + serial
    (tmp_path / "gw1.pem").write_bytes(certificate.read_bytes())
    with pytest.raises(FileExists):
        Delivery(tmp_path, "gw1", replaces="4f2a").check(with_key=False)
    renewal = Delivery(tmp_path, "gw1", replaces=serial)
    renewal.check(with_key=False)
    renewal.save(issued(), with_key=False)
    assert "leaf" in (tmp_path / "gw1.pem").read_text()
    (tmp_path / "gw1.pem").write_text("something else")
    with pytest.raises(FileExists):
        renewal.check(with_key=False)


def test_what_was_issued_and_not_written_can_be_asked_for_again(
    tmp_path: Path, issued: Issued
) -> None:
    delivery = Delivery(tmp_path, "gw1")

    def send(_csr: str) -> dict[str, Any]:
        (tmp_path / "gw1.key").write_text("somebody was quicker")
        return issued()

    with pytest.raises(NotDelivered, match=r"4f2a was issued .*gw1\.key exists") as caught:
        with_new_key(delivery, "ec-p256", GW1, send)
    assert "cert show 4f2a --format pem" in caught.value.next_step
    assert str(delivery.pending) in caught.value.message
    assert (tmp_path / "gw1.key").read_text() == "somebody was quicker"
    assert "PRIVATE KEY" in delivery.pending.read_text()


def test_certificates_of_one_root_share_its_file(tmp_path: Path, issued: Issued) -> None:
    for stem in ("gw1", "gw2"):
        assert Delivery(tmp_path, stem).save(issued(), with_key=False)["root"].endswith("/ca.pem")
    other = issued(chain=["-----BEGIN CERTIFICATE-----\nother\n-----END CERTIFICATE-----\n"])
    files = Delivery(tmp_path, "gw3").save(other, with_key=False)
    assert files["root"].endswith("/gw3-ca.pem")
    assert "chain" not in files  # issued by the root itself
    assert "root" in (tmp_path / "ca.pem").read_text()


def test_the_advice_quotes_paths_and_knows_long_chains(tmp_path: Path, issued: Issued) -> None:
    home = tmp_path / "my keys"
    home.mkdir()
    block = issued()["certificate"]
    files = Delivery(home, "gw1").save(issued(chain=[block, block, block]), with_key=False)
    lines = swanctl_advice(files, "gw1.example")
    assert any(f"'{home}/gw1.pem'" in line for line in lines)
    assert any("split the chain" in line for line in lines)
    assert any("install -m 600 KEY /etc/swanctl/private/" in line for line in lines)


@pytest.mark.parametrize("profile", ["network-device", "gateway-sharded"])
def test_what_is_for_other_daemons_is_not_given_to_charon(
    tmp_path: Path, issued: Issued, profile: str
) -> None:
    files = Delivery(tmp_path, "gw1").save(issued(), with_key=False)
    assert advice(files, issued())
    assert advice(files, issued(profile=profile)) == []


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ("gw1.example", "id = gw1.example }"),
        ("2001:db8::1", "id = 2001:db8::1 }"),
        ("carol@example.com", "id = carol@example.com }"),
        ("CN=gw 1,O=Example", 'id = "CN=gw 1,O=Example" }'),
        ('CN=a\\"b', 'id = "CN=a\\\\\\"b" }'),
    ],
)
def test_identities_are_written_as_swanctl_reads_them(
    tmp_path: Path, issued: Issued, identity: str, expected: str
) -> None:
    files = Delivery(tmp_path, "gw1").save(issued(), with_key=False)
    assert any(line.endswith(expected) for line in swanctl_advice(files, identity))


def test_no_error_of_ours_shows_a_key(tmp_path: Path) -> None:
    path = tmp_path / "gw1.key.new"
    pending_key(path, "ec-p256")
    secret = path.read_text().splitlines()[1]
    path.chmod(0o644)
    with pytest.raises(IkewardenError) as caught:
        pending_key(path, "ec-p256")
    assert secret not in caught.value.message + caught.value.next_step
