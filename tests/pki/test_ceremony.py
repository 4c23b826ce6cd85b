"""Ceremonies at the level of operations: what is written is made, nothing else is, and a cut is gone over."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select, update

from core.errors import IkewardenError
from core.secret import Secret
from hsm.keys import new_key
from hsm.ports import PrivateKey
from hsm.seal import Seal
from hsm.sealedfiles import SealedFileKeyStore
from hsm.signonly import signing_by
from pki import authorities, founding
from pki.actors import Actor, Role
from pki.approvals import ApprovalMismatch, ApprovalNotUsable, ApprovalOfAnother, ApprovalRequired
from pki.authorities import AuthorityNotFound
from pki.ceremony import account, course, transcript
from pki.ceremony.course import Confirmation
from pki.ceremony.errors import (
    CeremonyDeviation,
    CeremonyMalformed,
    CeremonyNotConfirmed,
    TranscriptUnreadable,
    TranscriptUntrusted,
)
from pki.ceremony.plan import CrossSign, Plan, read_plan
from pki.ceremony.rehearsal import rehearse
from pki.conditions import AuthorityRetired
from pki.desk import ApprovalRules, Desk
from pki.founding import AuthorityExists, AuthorityRequest
from pki.guarded import Guarded
from pki.rollover import crossing, phases
from pki.rollover.crossing import CrossCertificate, CrossingRefused
from pki.rollover.phases import Order
from pki.rollover.successor import RolloverRequest
from pki.tlog.note import VerifierKey
from pki.x509.constraints import BadConstraint
from store.approval_tables import approvals
from store.tables import audit_events
from store.tables import authorities as authorities_table
from tests import judges
from tests.fixtures.desk import ADMIN, NOW, reopened
from tests.pki.approving import approve, asked, bearing, details, guarded, hire
from tests.pki.requests import DER

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs/how-to/ceremony/root-and-issuing.toml"
TEXT = FILE.read_text("utf-8")
# Presupposes what the other file makes.
CROSSED = (ROOT / "docs/how-to/ceremony/new-root-crossed.toml").read_text("utf-8")
HEAD = CROSSED[: CROSSED.index("[[step]]")]
LATER = NOW + timedelta(minutes=5)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Seal]:
    """A seal takes long to make: one for all, copied."""
    directory = tmp_path_factory.mktemp("sealed") / "keys"
    return directory, Seal.create(directory, Secret("a passphrase of a test of ceremonies"))


@pytest.fixture
def seal(template: tuple[Path, Seal], tmp_path: Path) -> tuple[Path, Seal]:
    """An empty directory of keys."""
    directory = tmp_path / "keys"
    shutil.copytree(template[0], directory)
    return directory, template[1]


@pytest.fixture
def vacant(empty_desk: Desk, seal: tuple[Path, Seal]) -> Desk:
    """A desk without authorities, with keys in files."""
    return reopened(empty_desk, keys=SealedFileKeyStore(*seal))


def sealed(desk: Desk) -> SealedFileKeyStore:
    assert isinstance(desk.keys, SealedFileKeyStore)
    return desk.keys


def empty(directory: Path, name: str) -> Path:
    (directory / name).mkdir()
    return directory / name


def plan_of(text: str = TEXT) -> Plan:
    return read_plan(text.encode())


def said(plan: Plan) -> list[Confirmation]:
    return [Confirmation(name, plan.sha256[:16], NOW) for name in plan.witnesses]


def hold(desk: Desk, plan: Plan, actor: Actor | None = None) -> list[course.Made]:
    begun = course.begin(desk, plan, actor or course.leader(plan), said(plan), now=NOW)
    return course.carry_out(desk, plan, begun, lambda: NOW)


def made_keys(desk: Desk) -> list[str]:
    return [name for name in desk.keys.names() if name.startswith("ca-")]


def test_what_is_written_is_made_and_the_transcript_shows_it(vacant: Desk) -> None:
    plan = plan_of()
    assert course.check(vacant, plan) == []
    done = hold(vacant, plan)
    root, gateways, people = (
        authorities.load(vacant, name)
        for name in ("example-root", "example-gateways", "example-people")
    )
    gateways.certificate.verify_directly_issued_by(root.certificate)
    people.certificate.verify_directly_issued_by(root.certificate)
    assert (root.path_length, gateways.path_length) == (1, 0)
    written = account.write(vacant, sealed(vacant), plan, done, "1", now=NOW)
    key = VerifierKey.parse(written.key)
    lines = written.content.splitlines(keepends=True)
    found = transcript.verify(lines, key)
    assert found.plan == plan
    assert found.certificates["example-root"] == root.certificate
    # Each line matters: changed, left out, moved, or signed by another.
    for spoiled in (
        [lines[0], *lines[2:]],
        [lines[0].replace(b"Alice", b"Mallet"), *lines[1:]],
        [lines[1], lines[0], *lines[2:]],
        [*lines[:-2], lines[-1]],
    ):
        with pytest.raises(TranscriptUntrusted):
            transcript.verify(spoiled, key)
    for cut in (lines[:-1], [], [*lines[:-1], lines[-1][:-5]], [*lines, b"{}\n"]):
        with pytest.raises(TranscriptUnreadable):
            transcript.verify(cut, key)
    log = account.log_of(vacant, sealed(vacant), now=NOW)
    with pytest.raises(TranscriptUntrusted):
        transcript.verify(lines, VerifierKey("another", key.key))
    # What the key signs is judged too: a certificate that is not what is written.
    records = [json.loads(line) for line in lines[:-1]]
    for record in records:
        if record["record"] == "issuing":
            record |= {
                name: next(r for r in records if r["record"] == "root")[name]
                for name in ("certificate", "sha256")
            }
    forged = transcript.signed(records, log.origin, vacant.keys.open(log.key_uri))
    with pytest.raises(CeremonyDeviation):
        transcript.verify(forged.splitlines(keepends=True), key)


def test_a_rehearsal_makes_nothing_and_finds_what_the_ceremony_would(
    vacant: Desk, tmp_path: Path
) -> None:
    done = rehearse(vacant, plan_of(), empty(tmp_path, "a"), now=NOW)
    assert [made.step.kind for made in done] == ["root", "issuing", "issuing", "crl", "crl", "crl"]
    assert made_keys(vacant) == []
    assert authorities.all_names(vacant) == []
    with pytest.raises(
        CeremonyDeviation
    ) as refused:  # it would end with its root, sooner than written
        rehearse(
            vacant,
            plan_of(TEXT.replace("days = 7305", "days = 3000")),
            empty(tmp_path, "b"),
            now=NOW,
        )
    assert refused.value.details["differences"] == {"days": {"written": 3653, "found": 3000}}


def test_below_an_authority_that_is_there(vacant: Desk, tmp_path: Path) -> None:
    above = AuthorityRequest("example-root", "root", "CN=Old Root", path_length=1)
    below = plan_of(
        TEXT[: TEXT.index("[[step]]")]
        + TEXT[TEXT.index('[[step]]\nkind = "issuing"') :]
        .replace('[[step]]\nkind = "crl"\nauthority = "example-root"\n', "")
        .replace("3653", "365")
        .replace("1827", "100")
    )
    with pytest.raises(AuthorityNotFound):
        course.check(vacant, below)
    founding.create(vacant, course.leader(below), above, now=NOW)
    course.check(vacant, below)
    rehearse(vacant, below, empty(tmp_path, "a"), now=NOW)
    done = hold(vacant, below)
    written = account.write(vacant, sealed(vacant), below, done, "1", now=NOW)
    found = transcript.verify(
        written.content.splitlines(keepends=True), VerifierKey.parse(written.key)
    )
    assert sorted(found.certificates) == ["example-gateways", "example-people", "example-root"]


def test_what_comes_out_is_compared_before_it_is_kept(vacant: Desk) -> None:
    plan = plan_of(TEXT.replace("days = 7305", "days = 3000"))
    with pytest.raises(CeremonyDeviation):
        hold(vacant, plan)
    assert authorities.all_names(vacant) == ["example-root"]


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("subject", "CN=Another"),
        ("algorithm", "ec-p256"),
        ("days", 7304),
        ("path_length", 2),
        ("permitted", ("dns:example.com",)),
        ("excluded", ("dns:example.com",)),
        ("store", "pkcs11"),
    ],
)
def test_every_difference_is_a_deviation(vacant: Desk, field: str, other: object) -> None:
    plan = plan_of()
    root = replace(plan, steps=plan.steps[:1])
    hold(vacant, root)
    known = authorities.load(vacant, "example-root")
    step = root.foundings[0]
    step.require(known.certificate, known.key_uri, None)
    with pytest.raises(CeremonyDeviation) as refused:
        replace(step, **{field: other}).require(known.certificate, known.key_uri, None)  # type: ignore[arg-type]
    assert list(refused.value.details["differences"]) == [field]  # type: ignore[call-overload]


def test_another_key_store_or_a_taken_name_is_told_before_anything(vacant: Desk) -> None:
    with pytest.raises(CeremonyDeviation):
        course.check(vacant, plan_of(TEXT.replace('"files"', '"pkcs11"', 1)))
    plan = plan_of()
    for name, subject in (("example-people", "CN=x"), ("x", "CN=Example People CA 2027,O=Example")):
        request = AuthorityRequest(name, "root", subject, path_length=1)
        made = founding.create(vacant, course.leader(plan_of(TEXT + "\n")), request, now=NOW)
        with pytest.raises(AuthorityExists):
            course.check(vacant, plan)
        assert made.name == name
    assert len(made_keys(vacant)) == 2


class Cut(Exception):
    """The run ends here."""


class Cutting(SealedFileKeyStore):
    """Ends the run right after the key of a name is made, as a kill would."""

    at = ""

    def generate(self, name: str, algorithm: str) -> str:  # type: ignore[override]
        uri = super().generate(name, algorithm)  # type: ignore[arg-type]
        if self.at and name.startswith(self.at):
            self.at = ""
            raise Cut
        return uri


@pytest.mark.parametrize("cut", ["ca-example-root", "ca-example-gateways", "ca-example-people"])
def test_cut_off_after_a_key_was_made_it_goes_on_with_that_key(
    vacant: Desk, seal: tuple[Path, Seal], cut: str
) -> None:
    keys = Cutting(*seal)
    keys.at = cut
    desk, plan = reopened(vacant, keys=keys), plan_of()
    with pytest.raises(Cut):
        hold(desk, plan)
    before = set(made_keys(desk))
    assert any(name.startswith(cut) for name in before)
    desk = reopened(desk)
    done = hold(desk, plan)
    assert len(made_keys(desk)) == 3
    assert before <= set(made_keys(desk))
    assert sum(made.before for made in done) == len(before) - 1
    # Once more: nothing is left to do, and the transcript can be written again.
    assert all(made.before for made in hold(reopened(desk), plan))


def test_a_key_that_somebody_else_put_there_is_not_used(vacant: Desk) -> None:
    plan = plan_of()
    vacant.keys.generate(f"ca-example-root-{plan.sha256[:8]}", "ec-p384")
    with pytest.raises(Exception, match="exists"):
        hold(vacant, plan)
    assert authorities.all_names(vacant) == []


def test_the_work_of_another_ceremony_is_not_taken_for_its_own(vacant: Desk) -> None:
    hold(vacant, plan_of())
    other = plan_of(TEXT + "\n# another file\n")
    with pytest.raises(AuthorityExists):
        course.check(vacant, other)
    assert course.check(vacant, plan_of()) == ["example-root", "example-gateways", "example-people"]


def test_witnesses_confirm_or_nothing_is_made(vacant: Desk) -> None:
    plan = plan_of()
    wrong = [replace(said(plan)[0], typed="0" * 16), said(plan)[1]]
    short = [replace(said(plan)[0], typed=plan.sha256[:15]), said(plan)[1]]
    for heard in (wrong, short, said(plan)[:1], said(plan)[::-1], []):
        with pytest.raises(CeremonyNotConfirmed):
            course.begin(vacant, plan, course.leader(plan), heard, now=NOW)
    # An auditor wants to know of a "no" most of all; of what was typed only what may be part of a hash.
    slip = [replace(said(plan)[0], typed="my password")]
    with pytest.raises(CeremonyNotConfirmed):
        course.hear(vacant, plan, course.leader(plan), slip, now=NOW)
    denied = details(vacant, course.CONFIRM, "denied")
    who = plan.witnesses[0]
    typed = [("0" * 16, who), (plan.sha256[:15], who), (None, who)]
    assert [(each["typed"], each["witness"]) for each in denied] == typed
    spaced = " ".join(plan.sha256[at : at + 4] for at in range(0, 64, 4)).upper()
    heard = [replace(each, typed=spaced) for each in said(plan)]
    course.begin(vacant, plan, course.leader(plan), heard, now=NOW)
    assert made_keys(vacant) == []


def test_with_an_approval_for_the_whole_bound_to_the_file(vacant: Desk) -> None:
    bob = hire(vacant, "bob", Role.APPROVER)
    alice = hire(vacant, "Alice Example", Role.APPROVER)
    desk = guarded(vacant)
    plan = plan_of()
    with pytest.raises(ApprovalRequired) as refused:
        hold(desk, plan)
    number = refused.value.details["approval"]
    assert isinstance(number, int)
    assert made_keys(desk) == []
    # It is asked for before the witnesses are; after that the same request is found.
    assert course.wants_approval(desk, plan)
    assert asked(lambda: course.ask(desk, plan, course.leader(plan), now=NOW)) == number
    with pytest.raises(Exception, match="asked for"):
        approve(desk, alice, number)  # who leads it does not approve it
    approve(desk, bob, number)
    # Another file, another step, another person: not what was approved.
    other = plan_of(TEXT.replace("days = 1827", "days = 1828"))
    with pytest.raises(ApprovalMismatch):
        hold(desk, other, bearing(course.leader(other), number))
    with pytest.raises(ApprovalMismatch):  # a step alone, before the whole has begun
        founding.create(
            desk,
            bearing(course.leader(plan), number),
            course.request_of(plan.foundings[0]),
            now=NOW,
        )
    actor = course.begin(desk, plan, bearing(course.leader(plan), number), said(plan), now=NOW)
    stray = AuthorityRequest("stray", "root", "CN=Stray")
    with pytest.raises(ApprovalMismatch):
        founding.create(desk, actor, stray, now=NOW)
    thief = replace(hire(vacant, "thief", Role.ADMIN), approval=number)
    with pytest.raises(ApprovalOfAnother):
        founding.create(desk, thief, course.request_of(plan.foundings[0]), now=NOW)
    course.carry_out(desk, replace(plan, steps=plan.steps[:1]), actor, lambda: NOW)
    # The next run needs no new one, as long as the approval lasts.
    late = NOW + desk.rules.approvals.valid
    with pytest.raises(ApprovalNotUsable):
        course.carry_out(desk, plan, actor, lambda: late)
    with pytest.raises(ApprovalRequired):
        course.begin(desk, plan, course.leader(plan), said(plan), now=late)
    course.ask(desk, plan, course.leader(plan), now=LATER)
    again = course.begin(desk, plan, course.leader(plan), said(plan), now=LATER)
    assert again.approval == number
    course.carry_out(desk, plan, again, lambda: LATER)
    assert len(authorities.all_names(desk)) == 3
    with desk.store.read() as connection:
        query = select(audit_events.c.detail).where(audit_events.c.action == "authority.sign")
        assert [each["approved_by"] for each in connection.scalars(query)] == ["bob"] * 3


def test_an_approval_of_a_ceremony_is_for_the_parents_that_sign(vacant: Desk) -> None:
    root = AuthorityRequest("old-root", "root", "CN=Old Root", path_length=1)
    root = replace(root, lifetime=timedelta(days=7305))
    founding.create(vacant, ADMIN, root, now=NOW)
    bob, desk = hire(vacant, "bob", Role.APPROVER), guarded(vacant)
    plan = plan_of(TEXT.replace('parent = "example-root"', 'parent = "old-root"'))
    number = asked(lambda: course.ask(desk, plan, course.leader(plan), now=NOW))
    approve(desk, bob, number)
    actor = course.begin(desk, plan, bearing(course.leader(plan), number), said(plan), now=NOW)
    first = replace(plan, steps=plan.steps[:2])
    course.carry_out(desk, first, actor, lambda: NOW)
    # From now on another key signs what is below the root of this name.
    found = phases.prepare(vacant, ADMIN, RolloverRequest("old-root"), now=NOW)
    for step in ("published", "switched"):
        phases.move(vacant, ADMIN, found.id, Order(step), now=NOW)
    with pytest.raises(ApprovalMismatch):
        course.carry_out(desk, plan, actor, lambda: NOW)


def test_a_rule_on_certificates_of_cas_alone(vacant: Desk) -> None:
    bob = hire(vacant, "bob", Role.APPROVER)
    rules = ApprovalRules(frozenset({Guarded.AUTHORITY_ISSUE}))
    desk, plan = reopened(vacant, approvals=rules), plan_of()
    with pytest.raises(ApprovalRequired) as refused:
        hold(desk, plan)
    number = refused.value.details["approval"]
    assert isinstance(number, int)
    approve(desk, bob, number)
    hold(desk, plan, bearing(course.leader(plan), number))
    assert len(authorities.all_names(desk)) == 3


def test_the_file_is_read_with_suspicion() -> None:
    for old, new in (
        ("title =", "titel ="),
        ('led_by = "Alice Example"', 'led_by = "bob  example"'),
        ('witnesses = ["Bob Example", "Carol Example"]', "witnesses = []"),
        ('witnesses = ["Bob Example", "Carol Example"]', 'witnesses = ["Bob", "BOB"]'),
        ("days = 7305", 'days = "7305"'),
        ("days = 7305", "days = true"),
        ("days = 7305", "days = 0"),
        ("path_length = 1\n", ""),
        ("path_length = 1", "path_length = 1\nshards = 4"),
        ('algorithm = "ec-p384"', 'algorithm = "dsa"'),
        ('subject = "CN=Example Root CA 2027,O=Example"', 'subject = "Example"'),
        ('kind = "root"', 'kind = "cross"'),
        ('kind = "root"', 'kind = "crossing"'),
        ('kind = "root"', "kind = []"),
        ('store = "files"', 'store = "floppy"'),
        ('parent = "example-root"', 'parent = "example-people"'),
        ('name = "example-people"', 'name = "example-gateways"'),
        ('authority = "example-people"', 'authority = "example-root"'),
        ('authority = "example-people"', 'authority = "elsewhere"'),
        ("[ceremony]", "[ceremonies]"),
        ("[ceremony]", "["),
    ):
        assert old in TEXT
        with pytest.raises(CeremonyMalformed):
            plan_of(TEXT.replace(old, new, 1))
    for content in (b"", b"\xff", b"#" * 70_000, b"[ceremony]\n", b"step = 3\nceremony = 4"):
        with pytest.raises(CeremonyMalformed):
            read_plan(content)
    with pytest.raises(BadConstraint):
        plan_of(TEXT.replace("dns:gw.example.com", "dns:/"))


# Cross-signs


def cross(authority: str, issuer: str, days: int = 30) -> str:
    """A step that cross-signs."""
    return (
        f'[[step]]\nkind = "cross"\nauthority = "{authority}"\nissuer = "{issuer}"\ndays = {days}\n'
    )


def crosses(desk: Desk, name: str) -> list[CrossCertificate]:
    return crossing.list_(desk, ADMIN, name)


def by(desk: Desk, name: str, issuer: str) -> CrossCertificate:
    """The only certificate of one's key by another."""
    (made,) = [each for each in crosses(desk, name) if each.issuer == issuer]
    return made


@pytest.fixture
def standing(vacant: Desk) -> Desk:
    """A desk where the first ceremony was held."""
    hold(vacant, plan_of())
    return vacant


def crossed_records(desk: Desk) -> tuple[list[dict[str, object]], account.Account, Plan]:
    """What the second ceremony leaves, as its transcript has it."""
    plan = plan_of(CROSSED)
    written = account.write(desk, sealed(desk), plan, hold(desk, plan), "1", now=NOW)
    return [json.loads(line) for line in written.content.splitlines()[:-1]], written, plan


def test_authorities_are_cross_signed_and_the_transcript_shows_it(standing: Desk) -> None:
    assert course.check(standing, plan_of(CROSSED)) == []
    records, written, plan = crossed_records(standing)
    lines = written.content.splitlines(keepends=True)
    found = transcript.verify(lines, VerifierKey.parse(written.key))
    assert sorted(found.certificates) == [
        "example-gateways",
        "example-gateways-2",
        "example-root",
        "example-root-2",
    ]
    for name, issuer, days in (
        ("example-gateways-2", "example-root", 1827),
        ("example-gateways", "example-root-2", 1096),
    ):
        made = by(standing, name, issuer)
        certificate = x509.load_der_x509_certificate(made.der)
        assert certificate.not_valid_after_utc == NOW + timedelta(days=days)
        (record,) = [each for each in records if each["record"] == "cross" and each["name"] == name]
        assert record["issuer"] == issuer
        assert record["sha256"] == authorities.sha256(certificate)
        assert record["certificate"] == authorities.pem(certificate)
        root = authorities.load(standing, issuer).certificate.public_bytes(DER)
        judges.openssl_verify(made.der, "-x509_strict", root=root)
    # Each of the ceremony's acts is told apart from others by its number.
    query = select(audit_events.c.request_id).where(audit_events.c.action == "authority.crossed")
    with standing.store.read() as connection:
        assert set(connection.scalars(query)) == {course.leader(plan).request_id}
    assert course.check(standing, plan) == [
        "example-root-2",
        "example-gateways-2",
        "example-gateways-2 by example-root",
        "example-gateways by example-root-2",
    ]
    # Once more: nothing is made, and the same is written.
    again = hold(reopened(standing), plan)
    assert all(made.before for made in again)
    assert len(crosses(standing, "example-gateways")) == 1


def _altered(
    certificate: x509.Certificate,
    *,
    key: bool = False,
    without: type[x509.ExtensionType] | None = None,
    ca: bool = True,
    path_length: int | None = 0,
) -> x509.Certificate:
    """The same with something else in it, signed by another key."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(certificate.issuer)
        .public_key(new_key("ec-p256").public_key() if key else certificate.public_key())  # type: ignore[arg-type]
        .serial_number(certificate.serial_number)
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
    )
    for extension in certificate.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints):
            value = x509.BasicConstraints(ca, path_length if ca else None)
        if without is None or not isinstance(value, without):
            builder = builder.add_extension(value, extension.critical)
    return builder.sign(ec.generate_private_key(ec.SECP384R1()), hashes.SHA384())


def test_what_the_key_signs_of_a_cross_sign_is_judged_too(standing: Desk) -> None:
    records, written, _ = crossed_records(standing)
    log = account.log_of(standing, sealed(standing), now=NOW)
    first, second = [number for number, each in enumerate(records) if each["record"] == "cross"]
    own = x509.load_pem_x509_certificate(str(records[first]["certificate"]).encode())
    other = _altered(own)
    forged = {"certificate": authorities.pem(other), "sha256": authorities.sha256(other)}
    swapped = {name: records[second][name] for name in ("certificate", "sha256")}
    for changes, error in (
        (swapped, CeremonyDeviation),
        (forged, TranscriptUntrusted),
        ({"sha256": "0" * 64}, TranscriptUntrusted),
        ({"name": "example-people"}, TranscriptUntrusted),
        ({"record": "crl"}, TranscriptUntrusted),
        ({"certificate": "x"}, TranscriptUnreadable),
    ):
        spoiled = [*records[:first], {**records[first], **changes}, *records[first + 1 :]]
        content = transcript.signed(spoiled, log.origin, standing.keys.open(log.key_uri))
        with pytest.raises(error):
            transcript.verify(content.splitlines(keepends=True), VerifierKey.parse(written.key))


def test_a_rehearsal_cross_signs_stand_ins(standing: Desk, tmp_path: Path) -> None:
    before = made_keys(standing)
    done = rehearse(standing, plan_of(CROSSED), empty(tmp_path, "a"), now=NOW)
    assert [made.step.kind for made in done] == ["root", "issuing", "cross", "cross", "crl", "crl"]
    assert made_keys(standing) == before
    assert crosses(standing, "example-gateways") == []
    # It would end with the authority's own certificate, sooner than written.
    longer = plan_of(CROSSED.replace("days = 1096", "days = 3654"))
    with pytest.raises(CeremonyDeviation) as refused:
        rehearse(standing, longer, empty(tmp_path, "b"), now=NOW)
    assert refused.value.details == {
        "step": "example-gateways by example-root-2",
        "differences": {"days": {"written": 3654, "found": 3653}},
    }
    with pytest.raises(CeremonyDeviation):
        hold(standing, longer)
    assert crosses(standing, "example-gateways") == []
    assert len(crosses(standing, "example-gateways-2")) == 1


LIMITED = AuthorityRequest(
    "limited", "root", "CN=Limited", path_length=2, permitted=("dns:a.example",)
)
NEW_ROOT = CROSSED[CROSSED.index("[[step]]") : CROSSED.index('[[step]]\nkind = "issuing"')]
ISSUING = CROSSED[CROSSED.index('[[step]]\nkind = "issuing"') : CROSSED.index("# For who knows")]
BELOW_MIDDLE = ISSUING.replace('"example-root-2"', '"middle"').replace("3653", "365")


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        (cross("example-people", "example-root"), CrossingRefused),
        (cross("example-root", "example-people"), CrossingRefused),
        (cross("example-root", "below"), CrossingRefused),
        (cross("below", "example-root"), CrossingRefused),
        (NEW_ROOT + cross("below", "example-root-2"), CrossingRefused),
        (BELOW_MIDDLE + cross("example-gateways-2", "example-root"), CrossingRefused),
        (cross("example-people", "nobody"), AuthorityNotFound),
        (NEW_ROOT + cross("retired", "example-root-2"), AuthorityRetired),
        (NEW_ROOT + cross("example-root-2", "retired"), AuthorityRetired),
    ],
    ids=[
        *("parent", "circle", "none below", "limits", "limits, new", "limits above"),
        *("nobody", "retired", "by it"),
    ],
)
def test_a_cross_sign_that_would_be_refused_is_refused_before_anything(
    standing: Desk, tmp_path: Path, steps: str, error: type[IkewardenError]
) -> None:
    founding.create(standing, ADMIN, LIMITED, now=NOW)
    retired = AuthorityRequest("retired", "root", "CN=Retired", path_length=1)
    founding.create(standing, ADMIN, retired, now=NOW)
    below = AuthorityRequest("below", "issuing", "CN=Below", parent="limited")
    founding.create(standing, ADMIN, below, now=NOW)
    middle = AuthorityRequest("middle", "issuing", "CN=Middle", parent="limited", path_length=1)
    founding.create(standing, ADMIN, middle, now=NOW)
    with standing.store.write() as connection:
        this = authorities_table.c.name == "retired"
        connection.execute(update(authorities_table).where(this).values(status="retired"))
    plan = plan_of(HEAD + steps)
    before = made_keys(standing)
    with pytest.raises(error):
        rehearse(standing, plan, empty(tmp_path, "a"), now=NOW)
    assert made_keys(standing) == before


def test_both_roots_of_a_rollover_certify_a_new_one(standing: Desk, tmp_path: Path) -> None:
    found = phases.prepare(standing, ADMIN, RolloverRequest("example-root"), now=NOW)
    phases.move(standing, ADMIN, found.id, Order("published"), now=NOW)
    olds = ("example-root", "example-root-9")
    with standing.store.write() as connection:
        this = authorities_table.c.name == found.successor
        connection.execute(update(authorities_table).where(this).values(name=olds[1]))
    desk = reopened(standing)
    plan = plan_of(HEAD + NEW_ROOT + "".join(cross("example-root-2", each) for each in olds))
    rehearse(desk, plan, empty(tmp_path, "a"), now=NOW)
    hold(desk, plan)
    assert [each.issuer for each in crosses(desk, "example-root-2")] == [*reversed(olds)]


@pytest.mark.parametrize("phase", ["published", "switched"])
def test_below_one_root_of_a_rollover_and_cross_signed_by_the_other(
    standing: Desk, tmp_path: Path, phase: str
) -> None:
    found = phases.prepare(standing, ADMIN, RolloverRequest("example-root"), now=NOW)
    for step in ("published", "switched")[: 1 + (phase == "switched")]:
        phases.move(standing, ADMIN, found.id, Order(step), now=NOW)
    signs, other = ("example-root", found.successor)[:: 1 if phase == "published" else -1]
    text = HEAD + ISSUING + cross("example-gateways-2", "OTHER")
    plan = plan_of(text.replace("example-root-2", signs).replace("OTHER", other))
    rehearse(standing, plan, empty(tmp_path, "a"), now=NOW)
    # Named by the one that does not sign: what the transcript would say of its parent is not so.
    wrong = plan_of(text.replace("example-root-2", other).replace("OTHER", signs))
    with pytest.raises(CeremonyDeviation) as refused:
        rehearse(standing, wrong, empty(tmp_path, "b"), now=NOW)
    assert signs in refused.value.message
    with pytest.raises(CeremonyDeviation):
        hold(standing, wrong)
    assert "example-gateways-2" not in authorities.all_names(standing)
    done = hold(standing, plan)
    written = account.write(standing, sealed(standing), plan, done, "1", now=NOW)
    transcript.verify(written.content.splitlines(keepends=True), VerifierKey.parse(written.key))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda step, known: (replace(step, days=1826), *known), "days"),
        (lambda step, known: (step, known[0], known[2], known[2]), "subject"),
        (lambda step, known: (step, known[0], known[1], known[1]), "issuer"),
    ],
)
def test_every_difference_of_a_cross_sign_is_a_deviation(
    standing: Desk,
    change: Callable[..., tuple[CrossSign, *tuple[x509.Certificate, ...]]],
    field: str,
) -> None:
    plan = plan_of(CROSSED)
    hold(standing, plan)
    (step, _) = [each for each in plan.steps if isinstance(each, CrossSign)]
    made = x509.load_der_x509_certificate(by(standing, step.authority, step.issuer).der)
    known = [authorities.load(standing, name).certificate for name in (step.authority, step.issuer)]
    step.require(made, *known)
    other, *rest = change(step, (made, *known))
    with pytest.raises(CeremonyDeviation) as refused:
        other.require(*rest)
    assert field in refused.value.details["differences"]  # type: ignore[operator]


def test_another_key_or_other_limits_of_the_same_names_are_a_deviation(standing: Desk) -> None:
    plan = plan_of(CROSSED)
    hold(standing, plan)
    (step, _) = [each for each in plan.steps if isinstance(each, CrossSign)]
    made = x509.load_der_x509_certificate(by(standing, step.authority, step.issuer).der)
    subject, issuer = (
        authorities.load(standing, name).certificate for name in (step.authority, step.issuer)
    )
    for other, field in (
        (_altered(subject, key=True), "spki_sha256"),
        (_altered(subject, without=x509.NameConstraints), "permitted"),
        (_altered(subject, path_length=1), None),  # the issuer lets no more be
        (_altered(subject, path_length=None), None),
    ):
        if field is None:
            step.require(made, other, issuer)
            continue
        with pytest.raises(CeremonyDeviation) as refused:
            step.require(made, other, issuer)
        assert list(refused.value.details["differences"]) == [field]  # type: ignore[call-overload]
    for spoiled in (_altered(made, path_length=3), _altered(made, ca=False)):
        with pytest.raises(CeremonyDeviation):
            step.require(spoiled, subject, issuer)


class Stopping(SealedFileKeyStore):
    """Does something when the key of a name signs; before that key's signature is made."""

    at = ""
    work: Callable[[], object] = staticmethod(lambda: None)

    def open(self, uri: str) -> PrivateKey:
        key = super().open(uri)
        if not self.at or self.at not in uri:
            return key
        self.at = ""

        def sign(*arguments: object) -> bytes:
            self.work()
            return key.sign(*arguments)  # type: ignore[no-any-return,call-overload]

        return signing_by(key.public_key(), sign)


def _raise() -> None:
    raise Cut


def test_cut_off_at_a_cross_sign_it_goes_on_there(standing: Desk, seal: tuple[Path, Seal]) -> None:
    plan = plan_of(CROSSED)
    # After the intent, in the middle of the signature by the old root: nothing is kept of it.
    keys = Stopping(*seal)
    keys.at, keys.work = "ca-example-root-" + plan_of().sha256[:8], _raise
    with pytest.raises(Cut):
        hold(reopened(standing, keys=keys), plan)
    assert crosses(standing, "example-gateways-2") == []
    assert len(details(standing, "authority.cross", "intent")) == 1
    # After the first was made, and told of.
    begun = course.begin(standing, plan, course.leader(plan), said(plan), now=LATER)

    def report(made: course.Made) -> None:
        if isinstance(made.step, CrossSign):
            raise Cut

    with pytest.raises(Cut):
        course.carry_out(standing, plan, begun, lambda: LATER, report)
    first = by(standing, "example-gateways-2", "example-root")
    done = hold(reopened(standing), plan)
    assert [made.before for made in done] == [True, True, True, False, False, False]
    assert done[2].what == first
    assert len(crosses(standing, "example-gateways")) == 1
    assert len(crosses(standing, "example-gateways-2")) == 1


def test_two_runs_at_once_keep_one_cross_certificate(
    standing: Desk, seal: tuple[Path, Seal]
) -> None:
    plan = plan_of(CROSSED)
    keys = Stopping(*seal)
    keys.at = "ca-example-root-" + plan_of().sha256[:8]
    keys.work = lambda: hold(reopened(standing), plan)
    with pytest.raises(CeremonyDeviation, match="meanwhile"):
        hold(reopened(standing, keys=keys), plan)
    assert len(crosses(standing, "example-gateways-2")) == 1
    assert all(made.before for made in hold(standing, plan))


def test_a_cross_sign_made_outside_of_the_ceremony_is_not_taken_for_its_own(standing: Desk) -> None:
    plan = plan_of(HEAD + NEW_ROOT + cross("example-gateways", "example-root-2"))
    hold(standing, replace(plan, steps=plan.steps[:1]))
    crossing.cross_sign(standing, ADMIN, "example-gateways", "example-root-2", 30, now=NOW)
    assert course.check(standing, plan) == ["example-root-2"]
    assert [made.before for made in hold(standing, plan)] == [True, False]
    assert len(crosses(standing, "example-gateways")) == 2


@pytest.mark.parametrize(
    "acts",
    [(), (Guarded.AUTHORITY_CREATE,), (Guarded.AUTHORITY_ISSUE,)],
    ids=["all", "create", "issue"],
)
def test_one_approval_covers_the_cross_signs_too(standing: Desk, acts: tuple[Guarded, ...]) -> None:
    bob = hire(standing, "bob", Role.APPROVER)
    desk, plan = guarded(standing, *acts), plan_of(CROSSED)
    assert course.wants_approval(desk, plan)
    number = asked(lambda: course.ask(desk, plan, course.leader(plan), now=NOW))
    approve(desk, bob, number)
    other = plan_of(CROSSED.replace("days = 1096", "days = 1097"))
    with pytest.raises(ApprovalMismatch):
        hold(desk, other, bearing(course.leader(other), number))
    actor = course.begin(desk, plan, bearing(course.leader(plan), number), said(plan), now=NOW)
    # Cut off in the middle: the rest is approved as well.
    course.carry_out(desk, replace(plan, steps=plan.steps[:3]), actor, lambda: NOW)
    if acts != (Guarded.AUTHORITY_CREATE,):  # else a cross-sign alone needs none
        for name, days in (("example-people", 30), ("example-gateways", 1096)):
            with pytest.raises(ApprovalMismatch):
                crossing.cross_sign(desk, actor, name, "example-root-2", days, now=NOW)
    again = course.begin(desk, plan, course.leader(plan), said(plan), now=LATER)
    assert again.approval == number
    course.carry_out(desk, plan, again, lambda: LATER)
    assert by(desk, "example-gateways", "example-root-2").status == "valid"
    said_by = [each["approved_by"] for each in details(desk, "authority.cross", "intent")]
    assert said_by == ["bob", "bob"]


def test_a_ceremony_of_cross_signs_alone_is_an_issue(standing: Desk) -> None:
    root = AuthorityRequest("partner", "root", "CN=Partner", path_length=1)
    founding.create(standing, ADMIN, root, now=NOW)
    bob, plan = (
        hire(standing, "bob", Role.APPROVER),
        plan_of(HEAD + cross("partner", "example-root")),
    )
    assert not course.wants_approval(guarded(standing, Guarded.AUTHORITY_CREATE), plan)
    desk = guarded(standing, Guarded.AUTHORITY_ISSUE)
    number = asked(lambda: hold(desk, plan))
    # It is for these two authorities, not only for their names.
    with desk.store.read() as connection:
        parameters = connection.execute(
            select(approvals.c.parameters).where(approvals.c.id == number)
        ).scalar_one()
    [part] = parameters["parts"]
    assert part["days"] == 30
    assert part["cross_certificates"] == [
        {
            "subject": "partner",
            "issuer": "example-root",
            "subject_sha256": authorities.load(desk, "partner").sha256,
            "issuer_sha256": authorities.load(desk, "example-root").sha256,
        }
    ]
    approve(desk, bob, number)
    hold(desk, plan, bearing(course.leader(plan), number))
    assert by(desk, "partner", "example-root").created_by == "Alice Example"


def test_a_cross_sign_is_read_with_suspicion() -> None:
    for old, new in (
        ("days = 1096", 'days = "1096"'),
        ("days = 1096", "days = 0"),
        ("days = 1096", "days = 14641"),
        ("days = 1096\n", ""),
        ("days = 1096", "days = 1096\npath_length = 0"),
        ('issuer = "example-root-2"\n', ""),
        ('issuer = "example-root-2"', 'issuer = "example-gateways"'),
        ('issuer = "example-root-2"', "issuer = 3"),
        ('authority = "example-gateways"\n', ""),
        # What it needs is made later; the same twice.
        ("[[step]]", cross("example-gateways-2", "example-root") + "[[step]]"),
        ("[[step]]", cross("example-people", "example-root-2") + "[[step]]"),
        ("# For who knows the new", cross("example-gateways-2", "example-root") + "#"),
    ):
        assert old in CROSSED
        with pytest.raises(CeremonyMalformed):
            plan_of(CROSSED.replace(old, new, 1))
