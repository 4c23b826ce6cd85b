"""Ceremonies at the level of operations: what is written is made, nothing else is, and a cut is gone over."""

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from core.secret import Secret
from hsm.seal import Seal
from hsm.sealedfiles import SealedFileKeyStore
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
from pki.ceremony.plan import Plan, read_plan
from pki.ceremony.rehearsal import rehearse
from pki.desk import ApprovalRules, Desk
from pki.founding import AuthorityExists, AuthorityRequest
from pki.guarded import Guarded
from pki.rollover import phases
from pki.rollover.phases import Order
from pki.rollover.successor import RolloverRequest
from pki.tlog.note import VerifierKey
from pki.x509.constraints import BadConstraint
from store.tables import audit_events
from tests.fixtures.desk import ADMIN, NOW, reopened
from tests.pki.approving import approve, asked, bearing, details, guarded, hire

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs/how-to/ceremony/root-and-issuing.toml"
TEXT = FILE.read_text("utf-8")
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
