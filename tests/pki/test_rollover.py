"""Rollovers: another key takes an authority's place in every process at once, and each phase can be taken back."""

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import select, update

from core.errors import IkewardenError
from pki import (
    authorities,
    certificates,
    founding,
    identity,
    issuance,
    ocsp_signers,
    publication,
    reconcile,
    refusals,
    revocation,
    tls_credential,
    tokens,
)
from pki.actors import Actor, OutsideScope, Role, Scope
from pki.authorities import NoDefaultAuthority
from pki.certificates import CertificateQuery
from pki.conditions import AuthorityRetired
from pki.desk import Desk
from pki.founding import AuthorityRequest
from pki.guarded import Guarded
from pki.identity import CHANNEL
from pki.ocsp_responder import OcspResponder
from pki.rollover import crossing, phases
from pki.rollover.crossing import CrossingRefused
from pki.rollover.phases import (
    Order,
    ParentOutside,
    StillInUse,
    SwitchRefused,
    WrongPhase,
)
from pki.rollover.records import BACK, STEPS, Rollover, RolloverNotFound, RolloverUnderWay
from pki.rollover.successor import RolloverRequest
from pki.tokens import TokenRequest
from pki.x509 import renewal
from store.engine import Store, Unit
from store.tables import authorities as authorities_table
from store.tables import certificates as certificates_table
from tests import judges
from tests.fixtures.desk import ADMIN, CLOCKWORK, NOW, OPERATOR, Custody, drain, reopened
from tests.pki.acts import (
    at_once,
    certificate_of,
    crl,
    issue,
    listed,
    number_of,
    ocsp_status,
    trail,
)
from tests.pki.approving import approve, asked, bearing, details, guarded, hire
from tests.pki.logkeeping import Killed
from tests.pki.requests import DER, private_key, request
from tests.pki.test_clockwork import Blobs
from tests.pki.test_intent import void

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LATE = NOW + timedelta(minutes=3)


def prepare(desk: Desk, name: str = "issuing", **wanted: Any) -> Rollover:
    """Prepare a rollover, and open the successor."""
    made = phases.prepare(desk, ADMIN, RolloverRequest(name, **wanted), now=NOW)
    drain(desk, NOW)
    return made


def move(
    desk: Desk, found: Rollover, to: str, now: datetime = NOW, actor: Actor = ADMIN, **more: Any
) -> Rollover:
    """Take a step."""
    return phases.move(desk, actor, found.id, Order(to, **more), now=now)


def switched(desk: Desk, name: str = "issuing", **wanted: Any) -> Rollover:
    """A rollover that has switched."""
    found = prepare(desk, name, **wanted)
    move(desk, found, "published")
    return move(desk, found, "switched")


def issuer_of(desk: Desk, **more: Any) -> str:
    """Who issues now."""
    return issue(desk, **more).authority.name


def valid_of(desk: Desk, name: str, kind: str = "gateway") -> list[str]:
    """The serial numbers of an authority's valid certificates of a profile."""
    query = CertificateQuery(authority=name, status="valid", profile=kind)
    return [each.serial for each in certificates.search(desk, ADMIN, query, now=NOW)]


def status_of(desk: Desk, name: str, serial: str) -> str:
    """What is on record of a certificate."""
    return certificates.get(desk, ADMIN, serial, authority=name).status


def meddling(desk: Desk, act: Callable[[], object]) -> Desk:
    """A desk where somebody acts once, between what is looked at and what is put on record."""
    left = [act]

    def entropy(size: int) -> bytes:
        if left:
            left.pop()()
        return os.urandom(size)

    return reopened(desk, entropy=entropy)


def test_a_successor_is_alike_but_for_its_key(desk: Desk) -> None:
    found = prepare(desk)
    assert (found.authority, found.successor, found.state) == ("issuing", "issuing-2", "prepared")
    old, new = (authorities.get(desk, ADMIN, name) for name in ("issuing", "issuing-2"))
    assert old.certificate.subject.rfc4514_string() == "CN=Issuing,O=Example"
    assert new.certificate.subject.rfc4514_string() == "CN=Issuing 2,O=Example"
    assert not found.same_subject
    assert (new.kind, new.parent, new.path_length) == (old.kind, old.parent, old.path_length)
    assert (new.constraints, new.shards) == (old.constraints, old.shards)
    assert new.public_key != old.public_key
    assert new.certificate.not_valid_after_utc == old.certificate.not_valid_after_utc
    assert number_of(crl(desk, "issuing-2")) == 1
    signer = ocsp_signers.current(desk, new, now=NOW)
    signer.certificate.verify_directly_issued_by(new.certificate)


def test_what_is_asked_for_differs(desk: Desk) -> None:
    found = prepare(desk, successor="next", algorithm="ec-p384", days=90)
    new = authorities.get(desk, ADMIN, found.successor)
    assert new.public_key.curve.name == "secp384r1"  # type: ignore[union-attr]
    assert new.certificate.not_valid_after_utc == NOW + timedelta(days=90)


def test_a_root_keeps_its_subject_and_who_wants_that_names_it(desk: Desk) -> None:
    root = prepare(desk, "root")
    old, new = (authorities.get(desk, ADMIN, name) for name in ("root", "root-2"))
    assert new.certificate.subject.public_bytes() == old.certificate.subject.public_bytes()
    assert root.same_subject
    forced = prepare(desk, subject="CN=Issuing,O=Example")
    old, new = (authorities.get(desk, ADMIN, name) for name in ("issuing", "issuing-2"))
    assert new.certificate.subject.public_bytes() == old.certificate.subject.public_bytes()
    assert forced.same_subject
    # That of a third one is taken.
    with pytest.raises(founding.AuthorityExists):
        prepare(desk, "sharded", subject="CN=Issuing,O=Example")


@pytest.mark.parametrize(
    ("subject", "follows"),
    [
        ("CN=Gateways CA 2027,O=Example", "CN=Gateways CA 2027 2,O=Example"),
        ("CN=Gateways CA 9,O=Example", "CN=Gateways CA 10,O=Example"),
        ("OU=Gateways,O=Example", "CN=named-2,OU=Gateways,O=Example"),
    ],
)
def test_subjects_that_follow(desk: Desk, subject: str, follows: str) -> None:
    founding.create(
        desk, ADMIN, AuthorityRequest("named", "issuing", subject, parent="root"), now=NOW
    )
    found = prepare(desk, "named")
    made = authorities.load(desk, found.successor).certificate.subject.rfc4514_string()
    assert made == follows
    # One that was given up has taken it for ever.
    move(desk, found, BACK)
    again = authorities.load(desk, prepare(desk, "named").successor).certificate
    assert again.subject.rfc4514_string() != follows


def test_a_subject_that_cannot_grow(desk: Desk) -> None:
    wanted = AuthorityRequest("long", "issuing", f"CN={'x' * 64}", parent="root")
    founding.create(desk, ADMIN, wanted, now=NOW)
    with pytest.raises(founding.BadAuthority) as refused:
        prepare(desk, "long")
    assert "--subject" in refused.value.next_step


def test_nobody_issues_from_it_before_it_is_published(desk: Desk) -> None:
    found = prepare(desk)
    with pytest.raises(AuthorityRetired):
        issue(desk, authority="issuing-2")
    assert issuer_of(desk) == "issuing"
    move(desk, found, "published")
    assert issuer_of(desk) == "issuing"
    assert issuer_of(desk, authority="issuing-2") == "issuing-2"


def test_the_only_issuing_one_stays_the_only_one(desk: Desk) -> None:
    with desk.store.write() as connection:
        sharded = authorities_table.c.name == "sharded"
        connection.execute(update(authorities_table).where(sharded).values(status="retired"))
    alone = reopened(desk, default_authority=None)
    found = prepare(alone)
    move(alone, found, "published")
    assert issuer_of(alone) == "issuing"
    move(alone, found, "switched")
    assert issuer_of(alone) == "issuing-2"
    move(alone, found, "finished", despite=True)
    assert issuer_of(alone) == "issuing-2"
    with desk.store.write() as connection:
        connection.execute(update(authorities_table).where(sharded).values(status="active"))
    with pytest.raises(NoDefaultAuthority):
        issue(alone)


def test_every_process_follows_a_switch_and_the_way_back(desk: Desk, second_store: Store) -> None:
    other = reopened(desk, store=second_store)
    old = issue(other)
    found = switched(desk)
    for each in (desk, other):
        assert issuer_of(each) == "issuing-2"
        assert issuer_of(each, authority="issuing") == "issuing-2"
        renewed = issuance.renew(each, OPERATOR, old.serial, None, now=NOW)
        assert (renewed.authority.name, renewed.renewed_from) == ("issuing-2", old.serial)
    move(desk, found, BACK)
    for each in (desk, other):
        assert issuer_of(each) == "issuing"
        assert issuance.renew(each, OPERATOR, old.serial, None, now=NOW).authority.name == "issuing"
    # So is what the successor issued: else nobody would ever be rid of it.
    again = issuance.renew(other, OPERATOR, renewed.serial, None, now=NOW)
    assert again.authority.name == "issuing"


def test_a_revoked_certificate_is_not_renewed_by_the_successor(desk: Desk) -> None:
    old = issue(desk)
    switched(desk)
    revocation.revoke(desk, OPERATOR, old.serial, "superseded", now=NOW)
    with pytest.raises(refusals.NotRenewable):
        issuance.renew(desk, OPERATOR, old.serial, None, now=NOW)


def test_a_switch_on_a_date_comes_by_itself(desk: Desk) -> None:
    found = prepare(desk)
    move(desk, found, "published")
    assert move(desk, found, "switched", on=NOW + HOUR).switch_at == NOW + HOUR
    assert issuer_of(desk, now=NOW + HOUR - timedelta(seconds=1)) == "issuing"
    assert issuer_of(desk, now=NOW + HOUR) == "issuing-2"
    assert phases.get(desk, ADMIN, found.id).phase(NOW) == "scheduled"
    assert phases.get(desk, ADMIN, found.id).phase(NOW + HOUR) == "switched"
    with pytest.raises(WrongPhase) as refused:
        move(desk, found, "finished", despite=True)
    assert f"{NOW + HOUR:%Y-%m-%dT%H:%M:%SZ}" in refused.value.message
    assert details(desk, "rollover.switch")[-1]["switch_at"] == (NOW + HOUR).isoformat()
    with pytest.raises(WrongPhase, match="is switched by now"):
        move(desk, found, BACK, NOW + HOUR, seen="scheduled")
    assert move(desk, found, BACK, seen="scheduled").switch_at is None
    assert issuer_of(desk, now=NOW + HOUR) == "issuing"


@pytest.mark.parametrize("on", [NOW - HOUR, NOW + timedelta(days=1001)], ids=["past", "too late"])
def test_dates_on_which_nothing_is_switched(desk: Desk, on: datetime) -> None:
    found = prepare(desk)
    move(desk, found, "published")
    with pytest.raises(SwitchRefused):
        move(desk, found, "switched", on=on)


def test_lists_and_answers_of_both_go_on(desk: Desk) -> None:
    before = [issue(desk) for _ in range(2)]
    found = switched(desk)
    after = [issue(desk) for _ in range(2)]
    with pytest.raises(StillInUse):
        move(desk, found, "finished")
    move(desk, found, "finished", despite=True)
    revocation.revoke(desk, OPERATOR, before[0].serial, "superseded", now=NOW)
    revocation.revoke(desk, OPERATOR, after[0].serial, "keyCompromise", now=NOW)
    drain(desk, NOW)
    assert listed(crl(desk, "issuing")) == {before[0].serial: "superseded"}
    assert listed(crl(desk, "issuing-2")) == {after[0].serial: "keyCompromise"}
    lists = [crl(desk, name).public_bytes(DER) for name in ("issuing", "issuing-2")]
    for made in (before[1], after[1]):
        judges.openssl_verify(
            made.der,
            "-crl_check",
            "-x509_strict",
            root=certificate_of(desk, "root"),
            between=[certificate_of(desk, name) for name in ("issuing", "issuing-2")],
            crls=lists,
        )
        judges.strongswan_verify(
            made.der,
            authorities=[certificate_of(desk, name) for name in ("root", "issuing", "issuing-2")],
            crls=lists,
        )
    # Also in a process that knows the old one as retired, when its OCSP signer has come to its end.
    fresh, late = reopened(desk), NOW + timedelta(days=20)
    publication.publish_full(fresh, CLOCKWORK, "issuing", now=late)
    assert {name for name, _, _ in publication.due(fresh, CLOCKWORK, now=late)} >= {"issuing-2"}
    assert ocsp_signers.ensure(fresh, CLOCKWORK, "issuing", now=late)
    signer = ocsp_signers.current(fresh, authorities.load(fresh, "issuing"), now=late)
    signer.certificate.verify_directly_issued_by(authorities.load(fresh, "issuing").certificate)
    responder = OcspResponder(fresh)
    assert ocsp_status(responder, before[0], late) == "revoked superseded"
    assert ocsp_status(responder, before[1], late) == "good"


def test_when_the_last_one_has_ended_the_old_authority_retires(desk: Desk) -> None:
    old = issue(desk)
    found = switched(desk)
    with pytest.raises(StillInUse) as refused:
        move(desk, found, "finished")
    assert refused.value.next_step
    revocation.revoke(desk, OPERATOR, old.serial, "superseded", now=NOW)
    done = move(desk, found, "finished")
    assert (done.state, done.ended_by, done.is_open) == ("finished", "alice", False)
    assert authorities.get(reopened(desk), ADMIN, "issuing").status == "retired"
    assert authorities.get(desk, ADMIN, "issuing").status == "retired"
    assert issuer_of(desk, authority="issuing") == "issuing-2"
    with pytest.raises(AuthorityRetired):
        prepare(desk)
    # The next generation, and a way through both.
    later = switched(desk, "issuing-2")
    assert issuer_of(desk) == "issuing-3"
    move(desk, later, "finished", despite=True)
    with pytest.raises(RolloverUnderWay) as refused_back:
        move(desk, found, BACK)
    assert "'issuing-2'" in refused_back.value.next_step
    assert authorities.get(desk, ADMIN, "issuing").status == "retired"
    for certificate in valid_of(desk, "issuing-3"):
        revocation.revoke(desk, OPERATOR, certificate, "superseded", now=NOW)
    assert [move(desk, later, BACK).state for _ in range(4)][-1] == "abandoned"
    assert move(desk, found, BACK).state == "switched"
    assert authorities.get(desk, ADMIN, "issuing").status == "active"
    assert issuer_of(desk) == "issuing-2"


def test_a_root_is_finished_when_what_is_below_has_moved(desk: Desk) -> None:
    leaf = issue(desk)
    root = switched(desk, "root")
    # One that was given up, and one that takes the old one's place.
    move(desk, prepare(desk), BACK)
    below = [prepare(desk, name) for name in ("issuing", "sharded")]
    for found in below:
        for step in ("published", "switched"):
            move(desk, found, step)
    with pytest.raises(StillInUse, match="2 CA certificates \\('issuing', 'sharded'\\)") as held:
        move(desk, root, "finished")
    ends = authorities.load(desk, "issuing").certificate.not_valid_after_utc
    assert held.value.details == {
        "certificates": 0,
        "pending": 0,
        "authorities": ["issuing", "sharded"],
        "cross_certificates": 0,
        "until": ends.isoformat(),
    }
    for found in below:
        move(desk, found, "finished", despite=True)
    # Peers meet its certificate below the old root.
    with pytest.raises(StillInUse, match=r"1 CA certificate \('issuing'\); the last ends"):
        move(desk, root, "finished")
    revocation.revoke(desk, OPERATOR, leaf.serial, "superseded", now=NOW)
    assert move(desk, root, "finished").state == "finished"


def test_what_the_old_root_signed_for_others_keeps_it(desk: Desk) -> None:
    root = switched(desk, "root")
    for name in ("issuing", "sharded"):
        move(desk, switched(desk, name), "finished", despite=True)
    crossed = crossing.cross_sign(desk, ADMIN, partner(desk), "root-2", None, now=NOW)
    assert move(desk, root, "finished").state == "finished", "the pair counts for nothing"
    move(desk, root, BACK)
    move(desk, root, BACK)
    wanted = crossing.cross_sign(desk, ADMIN, "issuing-2", "root", None, now=NOW)
    move(desk, root, "switched")
    with pytest.raises(StillInUse, match="1 cross-certificate; the last ends"):
        move(desk, root, "finished")
    revocation.revoke(desk, ADMIN, wanted.serial, "superseded", now=NOW, authority="root")
    assert move(desk, root, "finished").state == "finished"
    assert crossed.issuer == "root-2"


def test_what_is_finished_in_spite_of_it_is_on_record_with_its_number(
    desk: Desk, keys: Custody
) -> None:
    issue(desk)
    found = prepare(desk)
    move(desk, found, "published")
    tried: list[str] = []

    def finish(name: str) -> None:
        keys.before = None
        tried.append(name)
        move(desk, found, "switched")
        with pytest.raises(StillInUse) as held:
            move(desk, found, "finished")
        assert "1 certificate, 1 being signed; the last ends" in held.value.message
        move(desk, found, "finished", despite=True)
        assert phases.usage(desk, ADMIN, found.id, now=NOW).pending == 1

    keys.before = finish
    with pytest.raises(refusals.IssuanceOvertaken):
        issue(desk)
    assert len(tried) == 1
    assert details(desk, "rollover.finish")[-1]["in_force"] == 2
    # What was being signed is on the list of the old one, should a signature exist.
    reconcile.settle(desk, CLOCKWORK, now=LATE)
    drain(desk, LATE)
    assert len(listed(crl(desk, "issuing"))) == 1
    assert phases.usage(desk, ADMIN, found.id, now=LATE).pending == 0


def test_the_way_back_to_the_beginning(desk: Desk) -> None:
    found = switched(desk)
    made = issue(desk)
    assert move(desk, found, BACK).state == "published"
    with pytest.raises(StillInUse):
        move(desk, found, BACK)
    revocation.revoke(desk, OPERATOR, made.serial, "superseded", now=NOW)
    assert move(desk, found, BACK).state == "prepared"
    with pytest.raises(AuthorityRetired):
        issue(desk, authority="issuing-2")
    done = move(desk, found, BACK)
    assert (done.state, done.published_at, done.switched_by) == ("abandoned", None, None)
    with pytest.raises(AuthorityRetired):
        issue(desk, authority="issuing-2")
    assert prepare(desk).successor == "issuing-3"
    assert [action for action, _ in trail(desk, "rollover:issuing")] == [
        "rollover.prepare",
        "rollover.publish",
        "rollover.switch",
        *["rollover.back"] * 3,
        "rollover.prepare",
    ]


@pytest.mark.parametrize("to", ["published", "switched", "finished", BACK])
def test_only_what_follows(desk: Desk, to: str) -> None:
    found = prepare(desk)
    state = "prepared"
    for step in ("published", "switched", "finished", None):
        if (state, to) not in STEPS:
            with pytest.raises(WrongPhase):
                move(desk, found, to)
        if step is not None:
            state = move(desk, found, step).state
    move(desk, found, BACK)


def test_a_name_that_cannot_grow(desk: Desk) -> None:
    name = "a" * 39
    wanted = AuthorityRequest(name, "issuing", "CN=Long", parent="root")
    founding.create(desk, ADMIN, wanted, now=NOW)
    with pytest.raises(founding.BadAuthority) as refused:
        prepare(desk, name)
    assert "--successor" in refused.value.next_step
    assert prepare(desk, name, successor="short").successor == "short"


def test_one_rollover_at_a_time(desk: Desk) -> None:
    prepare(desk)
    with pytest.raises(RolloverUnderWay):
        prepare(desk)
    with pytest.raises(RolloverNotFound):
        phases.get(desk, ADMIN, 99)


def test_two_prepare_at_once(desk: Desk, keys: Custody, second_store: Store) -> None:
    before = set(keys.names())
    desks = [desk, reopened(desk, store=second_store)]
    barrier = threading.Barrier(2, timeout=120)
    # Both have found that there is none, and are signing.
    keys.before = lambda name: void(barrier.wait())
    results = at_once(
        *(
            partial(phases.prepare, d, ADMIN, RolloverRequest("issuing", f"next-{n}"), now=NOW)
            for n, d in enumerate(desks)
        )
    )
    keys.before = None
    made = [each for each in results if isinstance(each, Rollover)]
    lost = [each for each in results if isinstance(each, Exception)]
    assert len(made) == len(lost) == 1
    assert isinstance(lost[0], RolloverUnderWay), lost
    # The loser's key is gone.
    assert len(set(keys.names()) - before) == 1
    assert [each.id for each in phases.list_(desk, ADMIN)] == [made[0].id]


@pytest.mark.parametrize("to", ["switched", BACK])
def test_two_take_a_step_at_once(desk: Desk, second_store: Store, to: str) -> None:
    found = prepare(desk)
    move(desk, found, "published")
    desks = [desk, reopened(desk, store=second_store)]
    results = at_once(*(partial(move, d, found, "switched") for d in desks))
    assert sum(isinstance(each, Rollover) for each in results) == 1
    [lost] = [each for each in results if isinstance(each, Exception)]
    assert isinstance(lost, WrongPhase)
    assert phases.get(desk, ADMIN, found.id).state == "switched"


def test_a_successor_that_comes_too_late(desk: Desk, keys: Custody) -> None:
    def overtake(name: str) -> None:
        keys.before = None
        found = switched(desk, successor="fast")
        move(desk, found, "finished", despite=True)

    before = set(keys.names())
    keys.before = overtake
    with pytest.raises(AuthorityRetired):
        prepare(desk, successor="late")
    assert [each.successor for each in phases.list_(desk, ADMIN)] == ["fast"]
    assert not any("late" in name for name in set(keys.names()) - before), "nobody will use its key"
    assert issuer_of(desk, authority="issuing") == "fast"


def test_a_repeated_way_back_goes_one_phase(desk: Desk) -> None:
    found = switched(desk)
    assert move(desk, found, BACK, seen="switched").state == "published"
    with pytest.raises(WrongPhase):
        move(desk, found, BACK, seen="switched")
    assert phases.get(desk, ADMIN, found.id).state == "published"


# A certificate or the way back, not both


def test_nothing_is_issued_by_a_successor_that_is_withdrawn_meanwhile(desk: Desk) -> None:
    found = prepare(desk)
    move(desk, found, "published")
    late = meddling(desk, lambda: move(desk, found, BACK))
    with pytest.raises(refusals.IssuanceOvertaken):
        issue(late, authority="issuing-2")
    assert valid_of(desk, "issuing-2") == []
    # What was signed all the same is given up, and told of.
    assert reconcile.settle(desk, CLOCKWORK, now=LATE) == 1


def test_nothing_is_issued_by_an_authority_that_is_finished_meanwhile(desk: Desk) -> None:
    found = prepare(desk)
    move(desk, found, "published")

    def finish() -> None:
        move(desk, found, "switched")
        move(desk, found, "finished")

    with pytest.raises(refusals.IssuanceOvertaken):
        issue(meddling(desk, finish))
    assert valid_of(desk, "issuing") == []
    # What the service itself needs goes on.
    late = NOW + timedelta(days=20)
    assert ocsp_signers.ensure(desk, CLOCKWORK, "issuing", now=late)


@pytest.mark.parametrize("to", ["finished", BACK])
def test_what_is_being_signed_counts(desk: Desk, keys: Custody, to: str) -> None:
    found = prepare(desk)
    move(desk, found, "published")
    tried: list[str] = []

    def step(name: str) -> None:
        keys.before = None
        tried.append(name)
        if to == "finished":
            move(desk, found, "switched")
        with pytest.raises(StillInUse):
            move(desk, found, to)

    keys.before = step
    issue(desk, authority="issuing-2" if to == BACK else "issuing")
    assert len(tried) == 1


def test_many_issue_while_a_successor_is_withdrawn(desk: Desk, second_store: Store) -> None:
    found, other = prepare(desk), reopened(desk, store=second_store)
    move(desk, found, "published")
    for _ in range(3):
        work = partial(issue, other, authority="issuing-2")
        results = at_once(work, work, work, partial(move, desk, found, BACK))
        lost = [each for each in results if isinstance(each, Exception)]
        state = phases.get(desk, ADMIN, found.id).state
        made = valid_of(desk, "issuing-2")
        assert (state == "published") or not made
        expected = StillInUse, AuthorityRetired, refusals.IssuanceOvertaken
        assert all(isinstance(each, expected) for each in lost), lost
        reconcile.settle(desk, CLOCKWORK, now=LATE)
        for serial in made:
            revocation.revoke(desk, OPERATOR, serial, "superseded", now=NOW)
        if state == "prepared":
            move(desk, found, "published")


def test_nothing_is_certified_by_an_authority_that_is_finished_meanwhile(desk: Desk) -> None:
    partner(desk)
    found = prepare(desk, "root")
    move(desk, found, "published")

    def finish() -> None:
        move(desk, found, "switched")
        move(desk, found, "finished", despite=True)

    with pytest.raises(AuthorityRetired):
        crossing.cross_sign(meddling(desk, finish), ADMIN, "partner", "root", None, now=NOW)
    assert crossing.list_(desk, ADMIN, "partner") == []
    move(desk, found, BACK)
    move(desk, found, BACK)
    below = AuthorityRequest("branch", "issuing", "CN=Branch,O=Example", parent="root")
    with pytest.raises(AuthorityRetired):
        founding.create(meddling(desk, finish), ADMIN, below, now=NOW)
    assert "branch" not in authorities.all_names(desk)


# Revoked authorities


def revoke_authority(desk: Desk, name: str) -> None:
    """Revoke the certificate that an authority has of its parent."""
    known = authorities.load(desk, name)
    revocation.revoke(desk, ADMIN, known.serial, "cACompromise", now=NOW, authority=known.parent)


def test_an_authority_whose_certificate_is_revoked_issues_nothing(
    desk: Desk, second_store: Store
) -> None:
    other, made = reopened(desk, store=second_store), issue(desk)
    serial = authorities.load(desk, "issuing").serial
    issue(other)
    revocation.hold(desk, ADMIN, serial, now=NOW, authority="root")
    for each in (desk, other):
        with pytest.raises(AuthorityRetired):
            issue(each)
    revocation.release(desk, ADMIN, serial, now=NOW, authority="root")
    assert issuer_of(other) == "issuing"
    revoke_authority(desk, "issuing")
    for each in (desk, other):
        with pytest.raises(AuthorityRetired) as refused:
            issue(each)
        assert "revoked" in refused.value.message
        with pytest.raises(AuthorityRetired):
            issuance.renew(each, OPERATOR, made.serial, None, now=NOW)
        assert authorities.get(each, ADMIN, "issuing").status == "revoked"
        assert {each.name: each.status for each in authorities.list_(each, ADMIN)} == {
            "issuing": "revoked",
            "root": "active",
            "sharded": "active",
        }
    with pytest.raises(AuthorityRetired):
        crossing.cross_sign(desk, ADMIN, "issuing", partner(desk), None, now=NOW)
    # Another key takes its place.
    switched(desk)
    for each in (desk, other):
        assert issuer_of(each) == "issuing-2"


def test_nothing_is_issued_below_a_revoked_authority(desk: Desk) -> None:
    line = (
        ("wide", "root", None, None),
        ("middle", "issuing", "wide", 1),
        ("low", "issuing", "middle", 0),
    )
    for name, kind, above, length in line:
        wanted = AuthorityRequest(name, kind, f"CN={name}", parent=above, path_length=length)
        founding.create(desk, ADMIN, wanted, now=NOW)
    drain(desk, NOW)
    assert issuer_of(desk, authority="low") == "low"
    revoke_authority(desk, "middle")
    with pytest.raises(AuthorityRetired):
        issue(desk, authority="low")


def test_a_successor_whose_certificate_is_revoked_takes_no_place(desk: Desk) -> None:
    found = prepare(desk)
    revoke_authority(desk, "issuing-2")
    with pytest.raises(AuthorityRetired):
        move(desk, found, "published")
    assert move(desk, found, BACK).state == "abandoned"
    found = prepare(desk)
    move(desk, found, "published")
    revoke_authority(desk, "issuing-3")
    with pytest.raises(AuthorityRetired):
        move(desk, found, "switched")
    assert issuer_of(desk) == "issuing"


@pytest.mark.parametrize("end", ["revoke", "hold"])
def test_a_successor_whose_certificate_ends_before_the_date_takes_no_place(
    desk: Desk, end: str
) -> None:
    found = prepare(desk)
    move(desk, found, "published")
    move(desk, found, "switched", on=NOW + HOUR)
    serial = authorities.load(desk, "issuing-2").serial
    if end == "revoke":
        revoke_authority(desk, "issuing-2")
    else:
        revocation.hold(desk, ADMIN, serial, authority="root", now=NOW)
    now = phases.get(desk, ADMIN, found.id)
    assert (now.state, now.switch_at, now.switched_by) == ("published", None, None)
    assert details(desk, "rollover.back")[-1]["state"] == "published"
    assert issuer_of(desk, now=NOW + HOUR) == "issuing"
    if end == "hold":
        revocation.release(desk, ADMIN, serial, authority="root", now=NOW)
        move(desk, found, "switched", on=NOW + HOUR)
        assert issuer_of(desk, now=NOW + HOUR) == "issuing-2"


def test_once_the_date_has_come_the_old_authority_does_not_begin_again_by_itself(
    desk: Desk,
) -> None:
    found = switched(desk)
    revoke_authority(desk, "issuing-2")
    assert phases.get(desk, ADMIN, found.id).state == "switched"
    with pytest.raises(AuthorityRetired):
        issuer_of(desk)


# Whatever was signed for a key that is given up


def test_the_certificate_of_an_abandoned_successor_is_revoked(desk: Desk) -> None:
    found = prepare(desk)
    crossed = crossing_of_successor(desk, found)
    serial = authorities.load(desk, "issuing-2").serial
    move(desk, found, BACK)
    drain(desk, NOW)
    assert listed(crl(desk, "root")) == {serial: "cessationOfOperation"}
    assert status_of(desk, "partner", crossed) == "revoked"
    assert trail(desk, f"certificate:root:{serial}")[-1] == ("certificate.revoke", "ok")
    # If the key was lost, that can be said still.
    revocation.revoke(desk, ADMIN, serial, "keyCompromise", now=NOW, authority="root")


def crossing_of_successor(desk: Desk, found: Rollover) -> str:
    """Publish it, have another root certify it, and go back."""
    move(desk, found, "published")
    made = crossing.cross_sign(desk, ADMIN, found.successor, partner(desk), None, now=NOW)
    move(desk, found, BACK)
    return made.serial


def test_the_cross_certificates_of_an_abandoned_root_are_revoked(desk: Desk) -> None:
    found = prepare(desk, "root")
    move(desk, found, "published")
    move(desk, found, BACK)
    [to_new] = crossing.list_(desk, ADMIN, "root-2")
    [to_old] = crossing.list_(desk, ADMIN, "root")
    move(desk, found, BACK)
    drain(desk, NOW)
    assert listed(crl(desk, "root")) == {to_new.serial: "cessationOfOperation"}
    assert listed(crl(desk, "root-2")) == {to_old.serial: "cessationOfOperation"}


@pytest.mark.parametrize("to", ["published", BACK])
def test_one_pair_of_cross_certificates_at_a_time(desk: Desk, keys: Custody, to: str) -> None:
    found = prepare(desk, "root")
    tried: list[str] = []

    def meddle(name: str) -> None:
        keys.before = None
        tried.append(name)
        with pytest.raises(WrongPhase) as refused:
            move(desk, found, to)
        assert refused.value.next_step

    keys.before = meddle
    assert move(desk, found, "published").state == "published"
    assert len(tried) == 1
    for name in ("root", "root-2"):
        assert len(crossing.list_(desk, ADMIN, name)) == 1


def test_four_publish_a_root_at_once(desk: Desk, second_store: Store) -> None:
    found = prepare(desk, "root")
    desks = [desk, reopened(desk, store=second_store)] * 2
    results = at_once(*(partial(move, d, found, "published") for d in desks))
    lost = [each for each in results if not isinstance(each, Rollover)]
    assert len(lost) == 3
    assert all(isinstance(each, WrongPhase) for each in lost), lost
    for name in ("root", "root-2"):
        assert len(crossing.list_(desk, ADMIN, name)) == 1


def test_a_witness_can_refuse_a_step(desk: Desk) -> None:
    found = prepare(desk)

    def refuse(unit: Unit, done: Rollover, order: Order) -> None:
        assert (done.state, order.to) == ("published", "published")
        raise StillInUse("No.")

    with pytest.raises(StillInUse):
        phases.move(desk, ADMIN, found.id, Order("published"), now=NOW, witness=refuse)
    assert phases.get(desk, ADMIN, found.id).state == "prepared"
    assert authorities.get(desk, ADMIN, "issuing-2").status == "prepared"


# Roots


def test_a_root_and_its_successor_certify_each_other(desk: Desk) -> None:
    old_leaf = issue(desk)
    found = prepare(desk, "root")
    move(desk, found, "published")
    [new_with_old] = crossing.list_(desk, ADMIN, "root-2")
    [old_with_new] = crossing.list_(desk, ADMIN, "root")
    assert (new_with_old.issuer, old_with_new.issuer) == ("root", "root-2")
    move(desk, found, "switched")
    below = AuthorityRequest("branch", "issuing", "CN=Branch,O=Example", parent="root")
    branch = founding.create(desk, ADMIN, below, now=NOW)
    drain(desk, NOW)
    assert branch.parent == "root-2"
    new_leaf = issue(desk, authority="branch")
    lists = [crl(desk, name).public_bytes(DER) for name in ("root", "root-2", "issuing", "branch")]
    judges.openssl_verify(
        new_leaf.der,
        *("-crl_check_all", "-x509_strict"),
        root=certificate_of(desk, "root"),
        between=[new_with_old.der, certificate_of(desk, "branch")],
        crls=lists,
    )
    judges.openssl_verify(
        old_leaf.der,
        *("-crl_check_all", "-x509_strict"),
        root=certificate_of(desk, "root-2"),
        between=[old_with_new.der, certificate_of(desk, "issuing")],
        crls=lists,
    )
    # A rollover of what is below goes to the new root.
    assert authorities.load(desk, prepare(desk).successor).parent == "root-2"


def test_a_revoked_cross_certificate_is_on_its_issuers_list(desk: Desk) -> None:
    move(desk, prepare(desk, "root"), "published")
    [made] = crossing.list_(desk, ADMIN, "root-2")
    revocation.revoke(desk, ADMIN, made.serial, "superseded", now=NOW, authority="root")
    drain(desk, NOW)
    assert made.serial in listed(crl(desk, "root"))
    assert crossing.list_(desk, ADMIN, "root-2")[0].status == "revoked"


def test_cross_certificates_do_not_keep_a_root_from_going_back(desk: Desk) -> None:
    found = prepare(desk, "root")
    move(desk, found, "published")
    move(desk, found, BACK)
    move(desk, found, "published")
    assert len(crossing.list_(desk, ADMIN, "root-2")) == 1, "what there is counts"
    move(desk, found, BACK)
    assert move(desk, found, BACK).state == "abandoned"


def partner(desk: Desk, path_length: int | None = 1) -> str:
    """Another root."""
    wanted = AuthorityRequest("partner", "root", "CN=Partner,O=Other", path_length=path_length)
    founding.create(desk, ADMIN, wanted, now=NOW)
    drain(desk, NOW)
    return "partner"


def test_any_authority_is_certified_by_another(desk: Desk) -> None:
    made = crossing.cross_sign(desk, ADMIN, "issuing", partner(desk), 30, now=NOW)
    found = x509.load_der_x509_certificate(made.der)
    own = authorities.load(desk, "issuing").certificate
    for kind in (x509.SubjectKeyIdentifier, x509.BasicConstraints, x509.KeyUsage):
        wanted = own.extensions.get_extension_for_class(kind)
        assert found.extensions.get_extension_for_class(kind) == wanted
    assert found.not_valid_after_utc == made.not_after == NOW + timedelta(days=30)
    judges.openssl_verify(
        issue(desk).der,
        "-x509_strict",
        root=certificate_of(desk, "partner"),
        between=[made.der],
        crls=[],
    )
    assert trail(desk, "authority:issuing")[-2:] == [
        ("authority.cross", "intent"),
        ("authority.crossed", "ok"),
    ]


@pytest.mark.parametrize(
    ("subject", "issuer"),
    [("root", "root"), ("issuing", "root"), ("root", "issuing"), ("sharded", "issuing")],
    ids=["itself", "its parent", "below it", "has none below it"],
)
def test_cross_certificates_that_make_no_chain(desk: Desk, subject: str, issuer: str) -> None:
    with pytest.raises(CrossingRefused) as refused:
        crossing.cross_sign(desk, ADMIN, subject, issuer, None, now=NOW)
    assert refused.value.next_step


def test_a_cross_certificate_is_no_way_around_the_limits_above(desk: Desk) -> None:
    limited = AuthorityRequest("limited", "root", "CN=Limited", path_length=2)
    founding.create(desk, ADMIN, replace(limited, permitted=("dns:example.com",)), now=NOW)
    below = AuthorityRequest("below", "issuing", "CN=Below", parent="limited")
    founding.create(desk, ADMIN, below, now=NOW)
    partner(desk)
    with pytest.raises(CrossingRefused) as refused:
        crossing.cross_sign(desk, ADMIN, "below", "partner", None, now=NOW)
    assert refused.value.next_step
    # A successor of the root has the same limits.
    found = prepare(desk, "limited")
    move(desk, found, "published")
    assert (
        crossing.cross_sign(desk, ADMIN, "below", "limited-2", None, now=NOW).issuer == "limited-2"
    )


def test_a_cross_certificate_ends_and_reaches_no_further_than_its_issuer(desk: Desk) -> None:
    partner(desk, path_length=0)
    with pytest.raises(CrossingRefused):
        crossing.cross_sign(desk, ADMIN, "issuing", "partner", None, now=NOW)
    made = crossing.cross_sign(desk, ADMIN, "partner", "root", None, now=NOW)
    assert made.not_after == authorities.load(desk, "root").certificate.not_valid_after_utc


# What must not be, and what goes wrong on the way


def test_whose_parent_is_outside_is_not_rolled_over(desk: Desk) -> None:
    with desk.store.write() as connection:
        root = authorities_table.c.name == "root"
        connection.execute(update(authorities_table).where(root).values(status="outside"))
    for name in ("root", "issuing"):
        with pytest.raises(ParentOutside):
            phases.prepare(reopened(desk), ADMIN, RolloverRequest(name), now=NOW)


def test_a_limited_credential(desk: Desk) -> None:
    found = prepare(desk)
    narrow = Actor("n", Role.ADMIN, scope=Scope(authorities=("sharded",)))
    tied = Actor("t", Role.ADMIN, scope=Scope(gateway="gw1"))
    named = Actor("d", Role.ADMIN, scope=Scope(names=("dns:*.a.example",)))
    profiled = Actor("p", Role.ADMIN, scope=Scope(profiles=("gateway",)))
    assert phases.list_(desk, narrow) == []
    for who in (narrow, tied, named, profiled):
        with pytest.raises(OutsideScope):
            move(desk, found, "published", actor=who)
        with pytest.raises(OutsideScope):
            phases.prepare(desk, who, RolloverRequest("root"), now=NOW)
        with pytest.raises(OutsideScope):
            crossing.cross_sign(desk, who, "issuing", "root", None, now=NOW)


def test_a_token_limited_to_an_authority_follows_it(desk: Desk) -> None:
    scope = Scope(authorities=("issuing",))
    made = tokens.create(desk, ADMIN, TokenRequest("ops", Role.OPERATOR, scope), now=NOW)

    def holder() -> Actor:
        return identity.actor_from_token(desk, made.secret, now=NOW, request_id="")

    found = prepare(desk)
    assert holder().scope == scope
    move(desk, found, "published")
    move(desk, found, "switched")
    first = issue(desk, actor=holder())
    assert issuance.renew(desk, holder(), first.serial, None, now=NOW).authority.name == "issuing-2"
    with pytest.raises(OutsideScope):
        issue(desk, authority="sharded", actor=holder())
    switched(desk, "issuing-2")
    assert holder().scope.authorities == ("issuing", "issuing-2", "issuing-3")


def test_a_gateways_channel_is_not_bound_to_the_authority_of_its_certificate(desk: Desk) -> None:
    # One of the two is renewed first, and is the successor's from then on.
    found = prepare(desk)
    move(desk, found, "published")
    move(desk, found, "switched", on=NOW + HOUR)
    now = private_key("ec-p256", 1)
    scope = Scope(profiles=(CHANNEL,), authorities=("issuing-2",), gateway="gw1.example")
    channel = Actor("gateway gw1.example", Role.GATEWAY, scope=scope)
    csr = request(key=private_key("ec-p256", 2))
    old = issue(desk, key=now)
    assert old.authority.name == "issuing"
    made = issuance.renew(
        desk, channel, old.serial, csr, now=NOW + HOUR, proof=renewal.prove(now, csr)
    )
    assert made.authority.name == "issuing-2"


def test_the_services_own_certificate_follows(desk: Desk) -> None:
    blobs = Blobs()

    def renewed() -> bool:
        return tls_credential.ensure(desk, CLOCKWORK, blobs, ("ca.example",), now=NOW)

    assert (renewed(), renewed()) == (True, False)
    switched(desk)
    assert (renewed(), renewed()) == (True, False)
    made = tls_credential.current(desk, CLOCKWORK, blobs).certificate
    made.verify_directly_issued_by(authorities.load(desk, "issuing-2").certificate)
    # And the one before does not keep the old authority from its end.
    (found,) = phases.list_(desk, ADMIN)
    assert move(desk, found, "finished").state == "finished"


def test_the_services_own_certificate_stays_one_that_its_clients_can_check(desk: Desk) -> None:
    """TLS reads no ML-DSA: nobody could call the service any more, not even to go back."""
    blobs = Blobs()

    def renewed(now: datetime = NOW) -> bool:
        return tls_credential.ensure(desk, CLOCKWORK, blobs, ("ca.example",), now=now)

    def issuer() -> x509.Name:
        return tls_credential.current(desk, CLOCKWORK, blobs).certificate.issuer

    old = authorities.load(desk, "issuing").certificate.subject
    assert renewed()
    found = switched(desk, algorithm="ml-dsa-44")
    assert (renewed(), issuer()) == (False, old)
    move(desk, found, "finished", despite=True)
    # Its next one is of another CA that still issues.
    other = authorities.load(desk, "sharded").certificate.subject
    assert (renewed(NOW + 80 * DAY), issuer()) == (True, other)
    assert not renewed(NOW + 80 * DAY)


def test_no_cross_certificate_that_its_clients_cannot_check_is_sent_along(desk: Desk) -> None:
    blobs = Blobs()
    found = prepare(desk, "root", algorithm="ml-dsa-44")
    move(desk, found, "published")
    assert tls_credential.ensure(desk, CLOCKWORK, blobs, ("ca.example",), now=NOW)
    sent = tls_credential.current(desk, CLOCKWORK, blobs).pem.reveal()
    _, issuer = x509.load_pem_x509_certificates(sent)
    assert issuer == authorities.load(desk, "issuing").certificate
    # One that was sent along before is not any more.
    [old_with_new] = [each for each in crossing_of(desk, "root") if each.issuer == found.successor]
    blobs.put_blob(tls_credential.BLOB, sent + old_with_new.pem.encode())
    assert tls_credential.ensure(desk, CLOCKWORK, blobs, ("ca.example",), now=NOW)
    again = tls_credential.current(desk, CLOCKWORK, blobs).pem.reveal()
    assert len(x509.load_pem_x509_certificates(again)) == 2


def crossing_of(desk: Desk, name: str) -> list[crossing.CrossCertificate]:
    """The cross-certificates for an authority's key."""
    with desk.store.read() as connection:
        return crossing.of(connection, [authorities.load(desk, name).id])


def test_an_instance_that_issues_with_ml_dsa_gets_a_certificate_that_its_clients_can_check(
    desk: Desk,
) -> None:
    founding.create(
        desk, ADMIN, AuthorityRequest("pq", "root", "CN=PQ", "ml-dsa-44", path_length=1), now=NOW
    )
    # The kind of one above counts as well: clients check its signature.
    below = AuthorityRequest("below", "issuing", "CN=Below", "ec-p256", parent="pq")
    founding.create(desk, ADMIN, below, now=NOW)
    there, blobs = reopened(desk, default_authority="below"), Blobs()
    assert tls_credential.ensure(there, CLOCKWORK, blobs, ("ca.example",), now=NOW)
    made = tls_credential.current(there, CLOCKWORK, blobs).certificate
    made.verify_directly_issued_by(authorities.load(desk, "issuing").certificate)
    assert not tls_credential.ensure(there, CLOCKWORK, blobs, ("ca.example",), now=NOW)


def die(_: str) -> None:
    """The process ends while the key is used."""
    raise Killed


@pytest.mark.parametrize("name", ["issuing", "root"])
def test_killed_while_it_is_prepared(desk: Desk, keys: Custody, name: str) -> None:
    keys.before = die
    with pytest.raises(Killed):
        prepare(desk, name)
    keys.before = None
    after = reopened(desk)
    assert phases.list_(after, ADMIN) == []
    assert f"{name}-2" not in authorities.all_names(after)
    assert reconcile.settle(after, CLOCKWORK, now=LATE) == (1 if name == "issuing" else 0)
    assert prepare(after, name).successor == f"{name}-2"


@pytest.mark.parametrize("at", [1, 2], ids=["first", "second"])
def test_killed_while_it_is_published(desk: Desk, keys: Custody, at: int) -> None:
    found = prepare(desk, "root")
    used: list[str] = []

    def count_down(name: str) -> None:
        used.append(name)
        if len(used) == at:
            raise Killed

    keys.before = count_down
    with pytest.raises(Killed):
        move(desk, found, "published")
    keys.before = None
    after = reopened(desk)
    assert phases.get(after, ADMIN, found.id).state == "prepared"
    assert crossing.list_(after, ADMIN, "root") == []
    assert reconcile.settle(after, CLOCKWORK, now=LATE) == 2
    assert move(after, found, "published", LATE).state == "published"
    assert len(crossing.list_(after, ADMIN, "root")) == 1
    with after.store.read() as connection:
        states = connection.scalars(
            select(certificates_table.c.status).where(
                certificates_table.c.subject == "CN=Root,O=Example"
            )
        )
        assert sorted(states) == ["abandoned", "abandoned", "valid", "valid"]


# Two persons


def test_what_needs_another_person(desk: Desk) -> None:
    alice, bob = hire(desk, "alice", Role.ADMIN), hire(desk, "bob", Role.APPROVER)
    desk = guarded(desk, *Guarded)

    def approved(work: Any) -> Any:
        number = asked(lambda: work(alice))
        approve(desk, bob, number)
        return work(bearing(alice, number))

    def step(to: str, **more: Any) -> Any:
        return lambda who: move(desk, found, to, actor=who, **more)

    wanted = RolloverRequest("root")
    found = approved(lambda who: phases.prepare(desk, who, wanted, now=NOW))
    # One approval for both cross-certificates.
    approved(step("published"))
    move(desk, found, "switched", actor=alice)
    approved(step("finished", despite=True))
    assert authorities.get(desk, ADMIN, "root").status == "retired"
    approved(step(BACK))
    assert authorities.get(desk, ADMIN, "root").status == "active"
    approved(step("finished", despite=True))
    other = approved(
        lambda who: phases.prepare(desk, who, replace(wanted, name="issuing"), now=NOW)
    )
    found = other
    approved(step(BACK))
    assert phases.get(desk, ADMIN, other.id).state == "abandoned"


def test_errors_say_what_to_do() -> None:
    for error in (ParentOutside, WrongPhase, SwitchRefused, StillInUse, CrossingRefused):
        assert issubclass(error, IkewardenError)
        assert error.code
        assert error.next_step
