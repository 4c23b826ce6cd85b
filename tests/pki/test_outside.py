"""An issuing CA here, its root on another machine: a request out, a certificate in, and nothing else is taken."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select

from hsm.ports import KeyAlgorithm
from pki import (
    authorities,
    backups,
    founding,
    issuance,
    outside,
    publication,
    revocation,
    sequencing,
)
from pki.actors import Actor, OutsideScope, Role, Scope
from pki.approvals import ApprovalMismatch
from pki.authorities import OUTSIDE, AuthorityNotFound
from pki.conditions import AuthorityRetired
from pki.desk import Desk
from pki.founding import AuthorityExists, AuthorityRequest, BadAuthority
from pki.outside import Above, CertificateUnfit, RequestDiffers, RequestNotFound
from pki.publication import FULL
from pki.revocation import NotRevocable
from pki.rollover import phases
from pki.rollover.phases import Order
from pki.rollover.successor import RolloverRequest
from pki.x509.csr import CsrMalformed
from scheduler import jobs
from store.engine import open_store
from store.tables import outbox as outbox_table
from tests.fixtures.desk import ADMIN, CLOCKWORK, NOW, Custody, Founding, custody, drain
from tests.pki.acts import trail
from tests.pki.approving import approve, asked, bearing, guarded, hire
from tests.pki.logkeeping import Memory, sequence
from tests.pki.requests import issue_request

WANTED = AuthorityRequest(
    "branch", "issuing", "CN=Branch,O=Example", parent="root", lifetime=timedelta(days=500)
)


@pytest.fixture
def vault(
    foundings: Callable[[KeyAlgorithm], Founding], sqlite_template: Path, tmp_path: Path
) -> Iterator[Desk]:
    """The machine with the root."""
    path = tmp_path / "offline.db"
    path.write_bytes(sqlite_template.read_bytes())
    path.chmod(0o600)
    store = open_store(f"sqlite:///{path}")
    yield foundings("ec-p256").into(store)
    store.close()


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def above(vault: Desk, name: str = "root") -> Above:
    root = authorities.load(vault, "root")
    return Above(name, pem(root.certificate), publication.published(vault, "root", FULL).der)


def ask(desk: Desk, wanted: AuthorityRequest = WANTED) -> bytes:
    return outside.ask(desk, ADMIN, wanted, now=NOW)


def certify(vault: Desk, csr: bytes, wanted: AuthorityRequest = WANTED) -> bytes:
    return pem(outside.certify(vault, ADMIN, wanted, csr, now=NOW))


def test_request_out_certificate_in(empty_desk: Desk, vault: Desk) -> None:
    csr = ask(empty_desk)
    certificate = certify(vault, csr)
    made = outside.install(empty_desk, ADMIN, "branch", certificate, above(vault), now=NOW)
    assert [each.name for each in authorities.list_(empty_desk, ADMIN)] == ["branch", "root"]
    assert (made.parent, made.path_length, len(made.chain)) == ("root", 0, 2)
    extensions = made.certificate.extensions
    assert "OCSP" not in str(
        extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    )
    root = authorities.load(empty_desk, "root")
    assert (root.status, root.key_uri) == (OUTSIDE, "")
    # It works as any other: lists, OCSP, certificates; and nobody asks for what the root's key would have to sign.
    drain(empty_desk, NOW)
    jobs.refresh_crls(empty_desk, NOW)
    jobs.refresh_ocsp(empty_desk, NOW)
    assert publication.missing(empty_desk, ADMIN) == []
    request = replace(issue_request(), authority="branch")
    issued = issuance.issue(empty_desk, ADMIN, request, now=NOW)
    leaf = x509.load_der_x509_certificate(issued.der)
    leaf.verify_directly_issued_by(made.certificate)
    with pytest.raises(AuthorityRetired):
        founding.create(empty_desk, ADMIN, replace(WANTED, name="x", parent="root"), now=NOW)
    # A newer list of the root is taken, an older one refused.
    first = publication.published(vault, "root", FULL)
    newer = publication.publish_full(vault, CLOCKWORK, "root", now=NOW)
    outside.take_list(empty_desk, ADMIN, "root", newer.der, now=NOW)
    outside.take_list(empty_desk, ADMIN, "root", newer.der, now=NOW)
    with pytest.raises(CertificateUnfit, match=f"{first.number}.*{newer.number}"):
        outside.take_list(empty_desk, ADMIN, "root", first.der, now=NOW)
    assert publication.published(empty_desk, "root", FULL).number == newer.number
    with pytest.raises(CertificateUnfit):
        outside.take_list(empty_desk, ADMIN, "branch", newer.der, now=NOW)
    with pytest.raises(AuthorityNotFound):
        outside.take_list(empty_desk, ADMIN, "nobody", newer.der, now=NOW)
    # A second authority below the same root.
    second = replace(WANTED, name="second", subject="CN=Second")
    signed = certify(vault, ask(empty_desk, second), second)
    outside.install(empty_desk, ADMIN, "second", signed, above(vault), now=NOW)
    assert len(authorities.all_names(empty_desk)) == 3


def test_no_list_is_asked_of_a_root_outside_after_a_restore(empty_desk: Desk, vault: Desk) -> None:
    """Its key is not here; its list is served as it came."""
    certificate = certify(vault, ask(empty_desk))
    outside.install(empty_desk, ADMIN, "branch", certificate, above(vault), now=NOW)
    drain(empty_desk, NOW)
    memory = Memory()
    sequence(empty_desk, memory)
    with empty_desk.store.write() as connection:
        backups.mark_restored(connection, ADMIN, "b1", NOW.isoformat(), now=NOW)
    sequencing.accept_gap(empty_desk, ADMIN, memory, "lost", now=NOW)
    with empty_desk.store.read() as connection:
        assert list(connection.scalars(select(outbox_table.c.key))) == ["branch:0"]
    drain(empty_desk, NOW)
    assert publication.published(empty_desk, "branch", FULL).number > 1_000_000


def test_asked_twice_there_is_one_key_and_one_certificate(empty_desk: Desk, vault: Desk) -> None:
    first, again = ask(empty_desk), ask(empty_desk)
    assert len(empty_desk.keys.names()) == 1
    one, two = (x509.load_pem_x509_csr(each).public_key() for each in (first, again))
    assert one == two
    assert certify(vault, first) == certify(vault, again)
    with pytest.raises(RequestDiffers):
        certify(vault, first, replace(WANTED, permitted=("dns:example.com",)))
    for changed in ({"subject": "CN=Other"}, {"algorithm": "ec-p384"}):
        with pytest.raises(RequestDiffers):
            ask(empty_desk, replace(WANTED, **changed))  # type: ignore[arg-type]


class Cut(Exception):
    """The run ends here."""


def test_cut_off_after_the_key_was_made(empty_desk: Desk) -> None:
    class Cutting(Custody):
        def generate(self, name: str, algorithm: KeyAlgorithm) -> str:
            super().generate(name, algorithm)
            raise Cut

    cut = replace(empty_desk, keys=Cutting())
    with pytest.raises(Cut):
        ask(cut)
    keys = Custody(custody(cut).raw)
    ask(replace(empty_desk, keys=keys))
    assert keys.names() == ["ca-branch-outside"]


def test_the_root_s_machine_signs_only_what_was_named(empty_desk: Desk, vault: Desk) -> None:
    csr = ask(empty_desk)
    for changed in (
        {"subject": "CN=Other"},
        {"algorithm": "ec-p384"},
        {"path_length": 1},
        {"parent": "issuing"},
        {"kind": "root", "parent": None},
        {"name": "-"},
    ):
        with pytest.raises(BadAuthority):
            certify(vault, csr, replace(WANTED, **changed))  # type: ignore[arg-type]
    with pytest.raises(CsrMalformed):
        certify(vault, b"nothing")
    alice = hire(vault, "alice", Role.ADMIN)
    bob = hire(vault, "bob", Role.APPROVER)
    ruled = guarded(vault)
    number = asked(lambda: outside.certify(ruled, alice, WANTED, csr, now=NOW))
    approve(ruled, bob, number)
    outside.certify(ruled, bearing(alice, number), WANTED, csr, now=NOW)


def test_an_approval_is_for_the_parent_that_signs(empty_desk: Desk, vault: Desk) -> None:
    """The root that was named when it was approved has a successor when it is done."""
    csr = ask(empty_desk)
    alice = hire(vault, "alice", Role.ADMIN)
    bob = hire(vault, "bob", Role.APPROVER)
    ruled = guarded(vault)
    number = asked(lambda: outside.certify(ruled, alice, WANTED, csr, now=NOW))
    assert approve(ruled, bob, number).parameters["signed_by"] == "root"
    found = phases.prepare(vault, ADMIN, RolloverRequest("root"), now=NOW)
    drain(vault, NOW)
    for state in ("published", "switched"):
        phases.move(vault, ADMIN, found.id, Order(state), now=NOW)
    with pytest.raises(ApprovalMismatch) as refused:
        outside.certify(ruled, bearing(alice, number), WANTED, csr, now=NOW)
    differences = refused.value.details["differences"]
    assert set(differences) == {"signed_by", "parent_sha256"}  # type: ignore[call-overload]


def test_only_the_certificate_that_was_asked_for_is_taken(empty_desk: Desk, vault: Desk) -> None:
    good = above(vault)

    def refused(certificate: bytes, given: Above = good, kind: Any = CertificateUnfit) -> None:
        with pytest.raises(kind):
            outside.install(empty_desk, ADMIN, "branch", certificate, given, now=NOW)
        assert authorities.all_names(empty_desk) == []

    with pytest.raises(RequestNotFound):
        outside.install(empty_desk, ADMIN, "branch", b"", good, now=NOW)
    certificate = certify(vault, ask(empty_desk))
    stranger = authorities.load(vault, "issuing").certificate
    refused(b"nothing")
    refused(pem(stranger))  # another key
    refused(good.certificate)  # the root itself
    refused(certificate, replace(good, certificate=pem(stranger)))  # no root
    refused(certificate, replace(good, crl=publication.published(vault, "issuing", FULL).der))
    refused(certificate, replace(good, crl=b"nothing"))
    refused(certificate, replace(good, crl=b""))
    refused(certificate, replace(good, name="another"))  # its list would be at another place
    refused(_own_root(), replace(good, certificate=_own_root()))
    with pytest.raises(CertificateUnfit):  # the list has ended
        outside.install(
            empty_desk, ADMIN, "branch", certificate, good, now=NOW + timedelta(days=30)
        )
    alice = hire(empty_desk, "alice", Role.ADMIN)
    bob = hire(empty_desk, "bob", Role.APPROVER)
    ruled = guarded(empty_desk)
    number = asked(lambda: outside.install(ruled, alice, "branch", certificate, good, now=NOW))
    approve(ruled, bob, number)
    outside.install(ruled, bearing(alice, number), "branch", certificate, good, now=NOW)
    with pytest.raises(AuthorityExists):
        outside.install(empty_desk, ADMIN, "branch", certificate, good, now=NOW)


def _own_root() -> bytes:
    """A self-signed certificate that may not sign anything."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=Forged")
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 7, NOW - timedelta(days=1), NOW + timedelta(days=9)
    )
    return pem(builder.sign(key, hashes.SHA256()))


@pytest.mark.parametrize(
    "scope", [Scope(names=("dns:*.a.example",)), Scope(profiles=("gateway",)), Scope(gateway="gw1")]
)
def test_a_limited_credential_has_no_part_in_it(vault: Desk, scope: Scope) -> None:
    narrow = Actor("n", Role.ADMIN, scope=scope)
    csr = outside.ask(vault, ADMIN, replace(WANTED, name="other"), now=NOW)
    for act in (
        lambda: outside.ask(vault, narrow, WANTED, now=NOW),
        lambda: outside.certify(vault, narrow, WANTED, csr, now=NOW),
        lambda: outside.install(vault, narrow, "other", b"", above(vault), now=NOW),
        lambda: outside.take_list(vault, narrow, "root", b"", now=NOW),
    ):
        with pytest.raises(OutsideScope):
            act()


def test_an_authority_that_its_root_revokes_issues_no_more(empty_desk: Desk, vault: Desk) -> None:
    certificate = certify(vault, ask(empty_desk))
    made = outside.install(empty_desk, ADMIN, "branch", certificate, above(vault), now=NOW)
    drain(empty_desk, NOW)
    wanted, first = replace(issue_request(), authority="branch"), above(vault).crl

    def bring() -> None:
        newer = publication.publish_full(vault, CLOCKWORK, "root", now=NOW)
        outside.take_list(empty_desk, ADMIN, "root", newer.der, now=NOW)
        outside.take_list(empty_desk, ADMIN, "root", newer.der, now=NOW)

    def status() -> str:
        return authorities.get(empty_desk, ADMIN, "branch").status

    bring()
    assert status() == "active"
    revocation.hold(vault, ADMIN, made.serial, authority="root", now=NOW)
    bring()
    assert status() == "revoked"
    with pytest.raises(AuthorityRetired):
        issuance.issue(empty_desk, ADMIN, wanted, now=NOW)
    revocation.release(vault, ADMIN, made.serial, authority="root", now=NOW)
    bring()
    assert status() == "active"
    issuance.issue(empty_desk, ADMIN, wanted, now=NOW)
    # What the root says is not to be said here.
    with pytest.raises(NotRevocable):
        revocation.hold(empty_desk, ADMIN, made.serial, authority="root", now=NOW)
    revocation.revoke(vault, ADMIN, made.serial, "keyCompromise", authority="root", now=NOW)
    bring()
    assert status() == "revoked"
    actions = [
        "authority.revoked_outside",
        "authority.released_outside",
        "authority.revoked_outside",
    ]
    assert [each[0] for each in trail(empty_desk, "authority:branch")][-3:] == actions
    # An older list, which comes with another authority, takes nothing back; a newer one counts as well.
    older = replace(above(vault), crl=first)
    second = replace(WANTED, name="second", subject="CN=Second")
    signed = certify(vault, ask(empty_desk, second), second)
    outside.install(empty_desk, ADMIN, "second", signed, older, now=NOW)
    assert status() == "revoked"
    third = replace(WANTED, name="third", subject="CN=Third")
    signed = certify(vault, ask(empty_desk, third), third)
    serial = authorities.load(empty_desk, "second").serial
    revocation.revoke(vault, ADMIN, serial, "superseded", authority="root", now=NOW)
    publication.publish_full(vault, CLOCKWORK, "root", now=NOW)
    outside.install(empty_desk, ADMIN, "third", signed, above(vault), now=NOW)
    assert authorities.get(empty_desk, ADMIN, "second").status == "revoked"
    # It is succeeded as any other that is revoked.
    replaced = phases.ask(empty_desk, ADMIN, RolloverRequest("branch"), now=NOW)
    assert replaced[0] == "branch-2"


# What a list says of itself, and whether it may stand for all that its root revoked.
_EXTENSIONS: list[tuple[str, list[tuple[x509.ExtensionType, bool]], bool]] = [
    ("whole", [(x509.CRLNumber(50), False)], True),
    ("delta", [(x509.CRLNumber(50), False), (x509.DeltaCRLIndicator(40), True)], False),
    (
        "of authorities",
        [
            (x509.CRLNumber(50), False),
            (x509.IssuingDistributionPoint(None, None, False, True, None, False, False), True),
        ],
        False,
    ),
    ("the greatest number", [(x509.CRLNumber(2**63 - 1), False)], True),
    ("20 octets", [(x509.CRLNumber(2**152), False)], False),
]


@pytest.mark.parametrize(
    ("extensions", "taken"),
    [each[1:] for each in _EXTENSIONS],
    ids=[each[0] for each in _EXTENSIONS],
)
def test_only_a_whole_list_of_the_root_is_taken(
    empty_desk: Desk,
    vault: Desk,
    extensions: list[tuple[x509.ExtensionType, bool]],
    taken: bool,
) -> None:
    root = authorities.load(vault, "root")
    certificate = certify(vault, ask(empty_desk))
    outside.install(empty_desk, ADMIN, "branch", certificate, above(vault), now=NOW)
    before = publication.published(empty_desk, "root", FULL)
    builder = x509.CertificateRevocationListBuilder(
        root.certificate.subject, NOW, NOW + timedelta(days=9)
    )
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    key: Any = authorities.signer(vault, root)
    crl = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    if taken:
        outside.take_list(empty_desk, ADMIN, "root", crl, now=NOW)
    else:
        with pytest.raises(CertificateUnfit):
            outside.take_list(empty_desk, ADMIN, "root", crl, now=NOW)
    held = publication.published(empty_desk, "root", FULL)
    assert held.der == (crl if taken else before.der)
