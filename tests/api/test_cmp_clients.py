"""CMP with a client that others wrote: `openssl cmp`."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pki import authorities, cmp_news, cmp_transactions, decisions, revocation
from pki.actors import Actor, Role
from pki.certificates import CertificateView, find
from pki.cmp_transactions import CONFIRM_WITHIN
from pki.decisions import ApprovalQuery
from pki.guarded import Step
from pki.history import AuditQuery, audit_events
from pki.x509 import serials
from store.audit import AuditEvent
from tests.api.cmping import Openssl, by_secret, new, open_doors, token
from tests.api.plain import Listener, until
from tests.api.site import CLOCKWORK, CONSOLE, Site

APPROVER = Actor("ann", Role.APPROVER)


@pytest.fixture(scope="module")
def listener(site: Site) -> Iterator[Listener]:
    """Two processes that answer for an installation with several endpoints."""
    with open_doors(site) as running:
        yield running


@pytest.fixture
def device(listener: Listener, tmp_path: Path) -> Openssl:
    """A device that has nothing yet."""
    return Openssl(listener, tmp_path)


def on_record(listener: Listener, certificate: x509.Certificate) -> CertificateView:
    return find(listener.site.desk, serials.to_hex(certificate.serial_number))


@contextmanager
def running(device: Openssl, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command of openssl that goes on for the duration of a block, and no longer."""
    with subprocess.Popen(
        ["openssl", *words], cwd=device.home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def has_come(device: Openssl, name: str) -> tuple[str, ...]:
    """Get a device its first certificate; how it proves itself from now on."""
    key = device.key("first")
    device.ask("ir", *new(key, name), *by_secret(token(device.listener, name)))
    shutil.copy(device.home / "new.pem", device.home / "first.pem")
    shutil.copy(device.home / "chain.pem", device.home / "above.pem")
    return ("-cert", "first.pem", "-key", "first.key", "-untrusted", "above.pem")


def audited(device: Openssl, action: str, certificate: x509.Certificate) -> list[AuditEvent]:
    """What the audit log says of a certificate."""
    about = f"certificate:issuing:{serials.to_hex(certificate.serial_number)}"
    query = AuditQuery(action=action, object=about)
    return audit_events(device.listener.site.desk, CONSOLE, query)


def late(device: Openssl) -> int:
    """What the clock does a while later: how many transactions were ended."""
    now = device.listener.site.clock() + 2 * CONFIRM_WITHIN
    return cmp_transactions.end_unconfirmed(device.listener.site.desk, CLOCKWORK, now=now)


@pytest.mark.parametrize("kind", ["ir", "cr", "p10cr"])
@pytest.mark.parametrize("mac", ["hmac-sha1", "hmacWithSHA256"])
@pytest.mark.parametrize("implicit", [False, True])
def test_a_secret_gets_a_certificate(device: Openssl, kind: str, mac: str, implicit: bool) -> None:
    name = f"{kind}.example"
    key = device.key("new")
    asked = new(key, name)
    if kind == "p10cr":
        extension = ("-addext", f"subjectAltName=DNS:{name}")
        device.run("req", "-new", "-key", key, "-subj", f"/CN={name}", *extension, "-out", "a.csr")
        asked = ("-csr", "a.csr")
    how = ("-implicit_confirm",) if implicit else ()
    made = device.ask(kind, *asked, *by_secret(token(device.listener, name), mac=mac), *how)
    desk = device.listener.site.desk
    issuing, root = authorities.load(desk, "issuing").chain
    made.verify_directly_issued_by(issuing)
    assert device.chain() == [issuing]
    assert (device.chain("pubs.pem") if kind == "ir" else [root]) == [root]
    # Confirmed, or not to be confirmed: it stays.
    assert late(device) == 0
    assert on_record(device.listener, made).status == "valid"
    [said] = [
        each.detail
        for each in audited(device, "certificate.sign", made)
        if each.outcome == "intent"
    ]
    assert (said["endpoint"], said["door"]) == ("devices", "cmp")


@pytest.mark.parametrize(
    "options",
    [
        ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"),
        ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
    ],
)
def test_other_keys(device: Openssl, options: tuple[str, ...]) -> None:
    name = "other.example"
    key = device.key("new", *options)
    made = device.ask("ir", *new(key, name), *by_secret(token(device.listener, name)))
    assert made.subject.rfc4514_string() == f"CN={name}"


@pytest.mark.parametrize("kind", ["kur", "cr", "ir"])
def test_a_certificate_gets_its_successor(device: Openssl, kind: str) -> None:
    name = f"next-{kind}.example"
    proof = has_come(device, name)
    key = device.key("next")
    made = device.ask(kind, "-newkey", key, *proof)
    first = x509.load_pem_x509_certificate((device.home / "first.pem").read_bytes())
    assert made.public_key() != first.public_key()
    assert made.subject == first.subject
    assert on_record(device.listener, made).renewed_from == serials.to_hex(first.serial_number)
    assert late(device) == 0


def test_a_certificate_ends_itself(device: Openssl) -> None:
    proof = has_come(device, "gone.example")
    device.run(*device.words("rr", "-oldcert", "first.pem", "-revreason", "1", *proof))
    first = x509.load_pem_x509_certificate((device.home / "first.pem").read_bytes())
    found = on_record(device.listener, first)
    assert (found.status, found.reason) == ("revoked", "keyCompromise")
    [event] = audited(device, "certificate.revoke", first)
    assert event.actor == "gateway gone.example"
    # It says nothing any more.
    assert "certRevoked" in device.refused("rr", "-oldcert", "first.pem", *proof)
    assert "certRevoked" in device.refused("kur", "-newkey", device.key("next"), *proof)


def test_what_is_not_confirmed_is_revoked_later(device: Openssl) -> None:
    name = "silent.example"
    key = device.key("new")
    asked = (*new(key, name), "-disable_confirm")
    made = device.ask("ir", *asked, *by_secret(token(device.listener, name)))
    now = device.listener.site.clock()
    desk = device.listener.site.desk
    assert cmp_transactions.end_unconfirmed(desk, CLOCKWORK, now=now) == 0
    assert on_record(device.listener, made).status == "valid"
    assert late(device) == 1
    assert on_record(device.listener, made).status == "revoked"
    assert late(device) == 0


def test_what_is_rejected_is_revoked_at_once(device: Openssl) -> None:
    name = "picky.example"
    key = device.key("new")
    # It trusts somebody else.
    device.run("req", "-x509", "-new", "-key", key, "-subj", "/CN=other", "-out", "other.pem")
    asked = (*new(key, name), "-out_trusted", "other.pem")
    how = by_secret(token(device.listener, name))
    assert "certificate not accepted" in device.refused("ir", *asked, *how)
    query = AuditQuery(action="certificate.revoke", limit=1000)
    [told] = [
        each
        for each in audit_events(device.listener.site.desk, CONSOLE, query)
        if each.actor.startswith("token ")
    ]
    serial = told.object.rpartition(":")[2]
    assert find(device.listener.site.desk, serial).names == (f"dns:{name}",)


def test_whoever_lost_the_answer_asks_again(device: Openssl) -> None:
    name = "lost.example"
    key, made = device.key("new"), token(device.listener, name)
    first = device.ask("ir", *new(key, name), *by_secret(made))
    assert device.ask("ir", *new(key, name), *by_secret(made)) == first
    proof = ("-cert", "old.pem", "-key", key, "-untrusted", "chain.pem")
    shutil.copy(device.home / "new.pem", device.home / "old.pem")
    shutil.copy(device.home / "chain.pem", device.home / "above.pem")
    proof = ("-cert", "old.pem", "-key", key, "-untrusted", "above.pem")
    following = device.key("next")
    second = device.ask("kur", "-newkey", following, *proof)
    assert device.ask("kur", "-newkey", following, *proof) == second
    assert second != first
    # What was revoked does not come back.
    desk = device.listener.site.desk
    revoked = serials.to_hex(second.serial_number)
    revocation.revoke(desk, CONSOLE, revoked, "keyCompromise", now=device.listener.site.clock())
    assert "enrollment_over" in device.refused("kur", "-newkey", following, *proof)


@pytest.mark.parametrize("kind", ["ir", "p10cr"])
def test_it_waits_for_a_person(listener: Listener, tmp_path: Path, kind: str) -> None:
    device, name = Openssl(listener, tmp_path, "watched"), f"waits-{kind}.example"
    key = device.key("new")
    asked = new(key, name)
    if kind == "p10cr":
        extension = ("-addext", f"subjectAltName=DNS:{name}")
        device.run("req", "-new", "-key", key, "-subj", f"/CN={name}", *extension, "-out", "a.csr")
        asked = ("-csr", "a.csr")
    words = device.words(kind, *asked, *by_secret(token(listener, name)))
    with running(device, *words) as process:
        until(lambda: waiting(listener, name) != [] or process.poll() is not None)
        [number] = waiting(listener, name)
        now = listener.site.clock()
        decisions.decide(listener.site.desk, APPROVER, number, Step.APPROVE, "it is ours", now=now)
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()
    made = x509.load_pem_x509_certificate((tmp_path / "new.pem").read_bytes())
    assert made.subject.rfc4514_string() == f"CN={name}"
    assert late(device) == 0


def test_a_person_may_refuse(listener: Listener, tmp_path: Path) -> None:
    device, name = Openssl(listener, tmp_path, "watched"), "refused.example"
    words = device.words("ir", *new(device.key("new"), name), *by_secret(token(listener, name)))
    with running(device, *words) as process:
        until(lambda: waiting(listener, name) != [] or process.poll() is not None)
        [number] = waiting(listener, name)
        now = listener.site.clock()
        decisions.decide(listener.site.desk, APPROVER, number, Step.REFUSE, "not ours", now=now)
        said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert b"enrollment_denied" in said, said.decode()


def waiting(listener: Listener, name: str) -> list[int]:
    desk, now = listener.site.desk, listener.site.clock()
    found = decisions.list_(desk, APPROVER, ApprovalQuery(state="pending"), now=now)
    return [each.id for each in found if each.parameters.get("names") == [f"dns:{name}"]]


@pytest.mark.parametrize("signed", [False, True])
def test_questions_are_answered(device: Openssl, signed: bool) -> None:
    how = by_secret(token(device.listener, "asks.example"))
    if signed:
        how = has_come(device, "asks.example")
    desk = device.listener.site.desk
    told = device.run(*device.words("genm", "-rspout", "told.der", *how))
    assert b"genp" in told.stdout + told.stderr
    for name in ("caCerts", "currentCRL", "certReqTemplate"):
        options = ("-infotype", name, "-rspout", "told.der")
        device.run(*device.words("genm", *options, *how))
        answer = (device.home / "told.der").read_bytes()
        if name == "caCerts":
            for each in authorities.load(desk, "issuing").chain:
                assert each.public_bytes(Encoding.DER) in answer
        if name == "currentCRL":
            assert cmp_news.current(desk, authorities.load(desk, "issuing")).der in answer
