"""The rollover of an issuing CA whose root is outside: OpenSSL's command line is that root."""

import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from pki import authorities, founding, issuance, outside, revocation
from pki.actors import Role
from pki.approvals import ApprovalMismatch
from pki.desk import Desk
from pki.founding import AuthorityRequest
from pki.outside import Above, RequestDiffers
from pki.rollover import phases
from pki.rollover.phases import Order, ParentOutside, StillInUse
from pki.rollover.records import BACK, Rollover, RolloverUnderWay
from pki.rollover.successor import RolloverRequest
from tests import judges
from tests.fixtures.desk import ADMIN, NOW, drain, reopened
from tests.pki.acts import certificate_of, crl, issue, listed
from tests.pki.approving import approve, asked, bearing, guarded, hire
from tests.pki.requests import DER

BRANCH = AuthorityRequest("branch", "issuing", "CN=Branch CA,O=Example")
SETTINGS = """
[ca]
default_ca = root
[root]
dir = {folder}
database = $dir/index
serial = $dir/serial
crlnumber = $dir/crlnumber
new_certs_dir = $dir
certificate = $dir/root.pem
private_key = $dir/root.key
default_md = sha256
default_days = 900
default_crl_days = 90
policy = any
unique_subject = no
crl_extensions = crl
[any]
commonName = supplied
organizationName = optional
[req]
distinguished_name = dn
[dn]
[own]
basicConstraints = critical,CA:true,pathlen:1
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[below]
basicConstraints = critical,CA:true,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[crl]
authorityKeyIdentifier = keyid
"""


class Offline:
    """A root that is kept with `openssl` alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, content in (
            ("settings", SETTINGS.format(folder=folder)),
            ("index", ""),
            ("serial", "1000\n"),
            ("crlnumber", "01\n"),
        ):
            (folder / name).write_text(content)
        self._run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "root.key")
        own = ("-x509", "-key", "root.key", "-subj", "/O=Example/CN=Offline Root", "-days", "900")
        self._run("req", "-config", "settings", *own, "-extensions", "own", "-out", "root.pem")

    def _run(self, *words: str) -> None:
        subprocess.run(
            ("openssl", *words), cwd=self.folder, check=True, capture_output=True, timeout=60
        )

    def sign(self, csr: bytes) -> bytes:
        """The certificate for a request, PEM."""
        (self.folder / "request").write_bytes(csr)
        ca = ("ca", "-config", "settings", "-batch", "-notext", "-preserveDN")
        self._run(*ca, "-extensions", "below", "-in", "request", "-out", "made.pem")
        return (self.folder / "made.pem").read_bytes()

    def above(self) -> tuple[Above, datetime]:
        """What goes with a certificate; and a time at which all that was made so far is valid."""
        self._run("ca", "-config", "settings", "-gencrl", "-out", "root.crl")
        made = (self.folder / "root.crl").read_bytes()
        at = x509.load_pem_x509_crl(made).last_update_utc
        return Above("offline-root", (self.folder / "root.pem").read_bytes(), made), max(at, NOW)


@pytest.fixture
def root(tmp_path: Path) -> Offline:
    """A root on another machine."""
    folder = tmp_path / "root"
    folder.mkdir()
    return Offline(folder)


@pytest.fixture
def branch(empty_desk: Desk, root: Offline) -> Desk:
    """A desk with an issuing CA below it, which issues."""
    desk = reopened(empty_desk, default_authority="branch")
    csr = outside.ask(desk, ADMIN, BRANCH, now=NOW)
    certificate = root.sign(csr)
    above, now = root.above()
    outside.install(desk, ADMIN, "branch", certificate, above, now=now)
    drain(desk, now)
    return desk


def present() -> datetime:
    """Now, and not before the desk's own present: what `openssl` made a moment ago is valid."""
    return max(NOW, datetime.now(UTC))


def begin(desk: Desk, root: Offline, **wanted: str) -> tuple[Rollover, datetime]:
    """Have a successor requested, signed outside, and brought in."""
    name, csr = phases.ask(desk, ADMIN, RolloverRequest("branch", **wanted), now=present())  # type: ignore[arg-type]
    certificate = root.sign(csr)
    above, now = root.above()
    made = outside.install(desk, ADMIN, name, certificate, above, now=now)
    assert (made.name, made.status) == (name, "prepared")
    drain(desk, now)
    [found] = [each for each in phases.list_(desk, ADMIN) if each.successor == name]
    return found, now


def move(desk: Desk, found: Rollover, to: str, now: datetime, **more: bool) -> str:
    return phases.move(desk, ADMIN, found.id, Order(to, **more), now=now).state


def test_a_successor_below_a_root_outside_from_start_to_finish(branch: Desk, root: Offline) -> None:
    _, now = root.above()
    old = issue(branch, now=now)
    with pytest.raises(ParentOutside) as refused:
        phases.prepare(branch, ADMIN, RolloverRequest("branch"), now=now)
    assert "ca rollover request" in refused.value.next_step
    found, now = begin(branch, root)
    assert (found.authority, found.successor, found.state) == ("branch", "branch-2", "prepared")
    made = authorities.load(branch, "branch-2")
    assert made.certificate.subject.rfc4514_string() == "CN=Branch CA 2,O=Example"
    assert made.parent == "offline-root"
    assert issue(branch, now=now).authority.name == "branch"
    assert move(branch, found, "published", now) == "published"
    assert issue(branch, now=now).authority.name == "branch"
    assert move(branch, found, "switched", now) == "switched"
    new = issuance.renew(branch, ADMIN, old.serial, None, now=now)
    assert new.authority.name == "branch-2"
    lists = [crl(branch, name).public_bytes(DER) for name in ("branch", "branch-2")]
    for each in (old, new):
        judges.openssl_verify(
            each.der,
            *("-crl_check", "-x509_strict"),
            root=certificate_of(branch, "offline-root"),
            between=[certificate_of(branch, name) for name in ("branch", "branch-2")],
            crls=lists,
        )
    with pytest.raises(StillInUse, match="3 certificates"):
        move(branch, found, "finished", now)
    assert move(branch, found, "finished", now, despite=True) == "finished"
    revocation.revoke(branch, ADMIN, old.serial, "superseded", now=now)
    drain(branch, now)
    assert list(listed(crl(branch, "branch"))) == [old.serial]
    assert move(branch, found, BACK, now) == "switched"


def test_the_way_back_from_a_certificate_that_came_in(branch: Desk, root: Offline) -> None:
    found, now = begin(branch, root)
    move(branch, found, "published", now)
    assert move(branch, found, BACK, now) == "prepared"
    # Who signed it revokes it: that is not ours.
    assert move(branch, found, BACK, now) == "abandoned"
    again, now = begin(branch, root, algorithm="ec-p384")
    assert again.successor == "branch-3"
    assert issue(branch, now=now).authority.name == "branch"


def test_asked_again_it_is_the_same_key(branch: Desk, root: Offline) -> None:
    wanted = RolloverRequest("branch")
    (name, first), (_, again) = (phases.ask(branch, ADMIN, wanted, now=present()) for _ in range(2))
    keys = [x509.load_pem_x509_csr(each).public_key() for each in (first, again)]
    assert keys[0] == keys[1]
    with pytest.raises(RequestDiffers):
        phases.ask(branch, ADMIN, replace(wanted, algorithm="ec-p384"), now=present())
    # Nor is it given away as that of an authority of its own.
    plain = AuthorityRequest(name, "issuing", "CN=Branch CA 2,O=Example")
    with pytest.raises(RequestDiffers):
        outside.ask(branch, ADMIN, plain, now=present())
    with pytest.raises(ParentOutside):
        phases.ask(branch, ADMIN, RolloverRequest("offline-root"), now=present())


def test_one_successor_at_a_time(branch: Desk, root: Offline) -> None:
    wanted = [RolloverRequest("branch", successor=name) for name in ("one", "two")]
    signed = []
    for number, each in enumerate(wanted):
        subject = f"CN=Branch {number},O=Example"
        _, csr = phases.ask(branch, ADMIN, replace(each, subject=subject), now=present())
        signed.append(root.sign(csr))
    above, now = root.above()
    outside.install(branch, ADMIN, "one", signed[0], above, now=now)
    with pytest.raises(RolloverUnderWay):
        outside.install(branch, ADMIN, "two", signed[1], above, now=now)
    assert "two" not in authorities.all_names(branch)
    with pytest.raises(RolloverUnderWay):
        phases.ask(branch, ADMIN, wanted[1], now=now)


def test_from_a_root_here_to_one_outside(desk: Desk, root: Offline) -> None:
    wanted = RolloverRequest("issuing")
    name, csr = phases.ask(desk, ADMIN, wanted, now=present())
    certificate = root.sign(csr)
    above, now = root.above()
    outside.install(desk, ADMIN, name, certificate, above, now=now)
    drain(desk, now)
    [found] = phases.list_(desk, ADMIN)
    move(desk, found, "published", now)
    move(desk, found, "switched", now)
    made = issue(desk, now=now)
    assert [each.subject.rfc4514_string() for each in made.authority.chain] == [
        "CN=Issuing 2,O=Example",
        "CN=Offline Root,O=Example",
    ]


def test_an_approval_of_what_comes_in_names_whom_it_replaces(branch: Desk, root: Offline) -> None:
    alice, bob = hire(branch, "alice", Role.ADMIN), hire(branch, "bob", Role.APPROVER)
    name, csr = phases.ask(branch, ADMIN, RolloverRequest("branch"), now=present())
    certificate = root.sign(csr)
    above, now = root.above()
    ruled = guarded(branch)
    number = asked(lambda: outside.install(ruled, alice, name, certificate, above, now=now))
    found = approve(ruled, bob, number, now)
    assert found.parameters["replaces"] == "branch"
    assert found.parameters["replaces_sha256"] == authorities.load(branch, "branch").sha256
    # Who approves has not seen the files.
    own = x509.load_pem_x509_certificate(certificate)
    told = {
        "subject": own.subject.rfc4514_string(),
        "not_after": f"{own.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "path_length": 0,
        "permitted": [],
        "excluded": [],
        "algorithm": "ec-p256",
        "key_store": "fake",
        "parent_subject": own.issuer.rfc4514_string(),
        "parent_algorithm": "ec-p256",
    }
    assert {each: found.parameters[each] for each in told} == told
    other = AuthorityRequest("other", "root", "CN=Other")
    with pytest.raises(ApprovalMismatch):
        founding.create(ruled, bearing(alice, number), other, now=now)
    made = outside.install(ruled, bearing(alice, number), name, certificate, above, now=now)
    assert made.status == "prepared"
