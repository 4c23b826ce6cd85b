"""Who may do what: every operation of the domain and every role, as a table written by hand."""

from dataclasses import replace
from typing import Any

import pytest

import pki
from pki import (
    audit_check,
    audit_log,
    audit_proof,
    authorities,
    backups,
    ca_keys,
    census,
    ceremony,
    certificates,
    cleanup,
    cmp_transactions,
    compromise,
    decisions,
    enrollments,
    expiry,
    founding,
    health,
    history,
    in_force,
    issuance,
    ocsp_answers,
    ocsp_signers,
    outside,
    own_revocation,
    profiles,
    publication,
    ra_credential,
    reconcile,
    report_credential,
    revocation,
    rollover,
    search_index,
    sequencing,
    serverkeys,
    signed_in,
    tls_credential,
    tokens,
    vitals,
)
from pki.actors import GRANTS, Action, Role
from pki.audit_check import Kept
from pki.backups import Order
from pki.ceremony import course
from pki.ceremony.plan import Plan
from pki.certificates import CertificateQuery
from pki.cmp_transactions import Transaction, Word
from pki.decisions import ApprovalQuery
from pki.desk import Desk
from pki.endpoints import Endpoint
from pki.founding import AuthorityRequest
from pki.guarded import Step
from pki.history import AuditQuery
from pki.issuance import IssueRequest
from pki.outside import Above
from pki.rollover import crossing, phases
from pki.rollover.phases import Order as Phase
from pki.rollover.successor import RolloverRequest
from pki.tokens import TokenRequest
from tests.fixtures.desk import NOW
from tests.pki.logkeeping import Memory
from tests.pki.test_clockwork import Blobs
from tests.role_table import (
    NOWHERE,
    READERS,
    A,
    Call,
    E,
    G,
    O,
    P,
    S,
    U,
    check_asked_first,
    check_complete,
    check_row,
    name_of,
)

ORDER = Order("a", "/a", ["passphrase"])
NOTHING = AuthorityRequest("", "issuing", "")
ABOVE = Above("nope", b"", b"")
ENDPOINT = Endpoint("nope", "nope")
TRANSACTION = Transaction("nope", "nope", b"")
UNCONFIRMED = Plan("", "", ("nobody",), (), "", "00")

TABLE: dict[Any, tuple[set[Role], Call]] = {
    audit_check.check: ({A, P, U}, lambda d, a: audit_check.check(d, a, Memory(), Kept())),
    audit_log.consistency: ({A, P, U}, lambda d, a: audit_log.consistency(d, a, 0, 0)),
    audit_log.entries: ({A, P, U}, lambda d, a: audit_log.entries(d, a, first=0, limit=1)),
    audit_log.figures: (READERS, lambda d, a: audit_log.figures(d, a, now=NOW)),
    audit_log.head: ({A, P, U}, audit_log.head),
    audit_log.inclusion: ({A, P, U}, lambda d, a: audit_log.inclusion(d, a, 0)),
    authorities.get: ({*READERS, E, G}, lambda d, a: authorities.get(d, a, "nope")),
    authorities.list_: ({*READERS, E, G}, authorities.list_),
    backups.begin: ({A}, lambda d, a: backups.begin(d, a, ORDER, now=NOW)),
    backups.finish: ({A}, lambda d, a: backups.finish(d, a, ORDER, "00", now=NOW)),
    ca_keys.remove_dropped: ({S}, lambda d, a: ca_keys.remove_dropped(d, a, now=NOW)),
    certificates.browse: (
        {*READERS, G},
        lambda d, a: certificates.browse(d, a, CertificateQuery(limit=1), now=NOW),
    ),
    census.figures: (READERS, lambda d, a: census.figures(d, a, now=NOW)),
    vitals.of_authorities: (READERS, lambda d, a: vitals.of_authorities(d, a, now=NOW)),
    vitals.of_service: (READERS, lambda d, a: vitals.of_service(d, a, now=NOW)),
    certificates.get: ({*READERS, G}, lambda d, a: certificates.get(d, a, NOWHERE)),
    certificates.search: (
        {*READERS, G},
        lambda d, a: certificates.search(d, a, CertificateQuery(limit=1), now=NOW),
    ),
    cleanup.sweep: ({S}, lambda d, a: cleanup.sweep(d, a, now=NOW)),
    decisions.decide: (
        {P},
        lambda d, a: decisions.decide(d, a, 0, Step.APPROVE, "why", now=NOW),
    ),
    decisions.expire: ({S}, lambda d, a: decisions.expire(d, a, now=NOW)),
    decisions.figures: (READERS, lambda d, a: decisions.figures(d, a, now=NOW)),
    decisions.get: ({A, O, P, U}, lambda d, a: decisions.get(d, a, 0, now=NOW)),
    decisions.list_: (
        {A, O, P, U},
        lambda d, a: decisions.list_(d, a, ApprovalQuery(), now=NOW),
    ),
    decisions.withdraw: ({A, O}, lambda d, a: decisions.withdraw(d, a, 0, now=NOW)),
    enrollments.enroll: (
        {A, O, E, S},
        lambda d, a: enrollments.enroll(d, a, ENDPOINT, "est", b"", now=NOW),
    ),
    enrollments.once: (
        {A, O, E, S, G},
        lambda d, a: enrollments.once(d, a, ENDPOINT, "est", b"", now=NOW),
    ),
    enrollments.certificate_of: (
        {*READERS, G},
        lambda d, a: enrollments.certificate_of(d, a, b"", 1),
    ),
    enrollments.list_: ({A, O, P, U}, enrollments.list_),
    enrollments.list_for: ({*READERS, E, G}, lambda d, a: enrollments.list_for(d, a, b"", 1)),
    enrollments.reenroll: (
        {A, O, G},
        lambda d, a: enrollments.reenroll(
            d, replace(a, credential=f"certificate:nope:{NOWHERE}"), ENDPOINT, "est", b"", now=NOW
        ),
    ),
    expiry.give_notice: ({S}, lambda d, a: expiry.give_notice(d, a, now=NOW)),
    founding.create: (
        {A},
        lambda d, a: founding.create(d, a, AuthorityRequest("", "root", ""), now=NOW),
    ),
    health.look: (READERS, lambda d, a: health.look(d, a, now=NOW)),
    audit_proof.inclusion: ({A, P, U}, lambda d, a: audit_proof.inclusion(d, a, 0)),
    audit_proof.consistency: ({A, P, U}, lambda d, a: audit_proof.consistency(d, a, "")),
    history.audit_event: ({A, P, U}, lambda d, a: history.audit_event(d, a, 1)),
    history.audit_events: ({A, P, U}, lambda d, a: history.audit_events(d, a, AuditQuery(limit=1))),
    history.dead_letters: (READERS, history.dead_letters),
    in_force.settings: (READERS - {S}, in_force.settings),
    history.job_runs: (READERS, lambda d, a: history.job_runs(d, a, "reconcile")),
    history.job_states: (READERS, history.job_states),
    history.last_success: (READERS, lambda d, a: history.last_success(d, a, "reconcile")),
    history.oldest_change: (READERS, history.oldest_change),
    history.retry: ({A, O}, lambda d, a: history.retry(d, a, 1, now=NOW)),
    history.outbox_depth: (READERS, lambda d, a: history.outbox_depth(d, a, now=NOW)),
    issuance.issue: (
        {A, O, E, S},
        lambda d, a: issuance.issue(d, a, IssueRequest(b"", "gateway"), now=NOW),
    ),
    issuance.renew: ({A, O, G}, lambda d, a: issuance.renew(d, a, NOWHERE, None, now=NOW)),
    ocsp_answers.presign: ({S}, lambda d, a: ocsp_answers.presign(d, a, limit=0, now=NOW)),
    ocsp_answers.remove_ended: ({S}, lambda d, a: ocsp_answers.remove_ended(d, a, now=NOW)),
    ocsp_signers.ensure: ({S}, lambda d, a: ocsp_signers.ensure(d, a, "nope", now=NOW)),
    ocsp_signers.get: (
        {*READERS, E, G},
        lambda d, a: ocsp_signers.get(d, a, "nope", now=NOW),
    ),
    ocsp_signers.remove_dropped: ({S}, lambda d, a: ocsp_signers.remove_dropped(d, a, now=NOW)),
    ocsp_signers.remove_expired: ({S}, lambda d, a: ocsp_signers.remove_expired(d, a, now=NOW)),
    outside.ask: ({A}, lambda d, a: outside.ask(d, a, NOTHING, now=NOW)),
    outside.certify: ({A}, lambda d, a: outside.certify(d, a, NOTHING, b"", now=NOW)),
    outside.install: ({A}, lambda d, a: outside.install(d, a, "nope", b"", ABOVE, now=NOW)),
    outside.take_list: ({A}, lambda d, a: outside.take_list(d, a, "nope", b"", now=NOW)),
    profiles.create: ({A}, lambda d, a: profiles.create(d, a, {}, now=NOW)),
    profiles.get: (READERS, lambda d, a: profiles.get(d, a, "gateway")),
    profiles.list_: (READERS, profiles.list_),
    publication.due: ({S}, lambda d, a: publication.due(d, a, now=NOW)),
    publication.lists: ({*READERS, E, G}, lambda d, a: publication.lists(d, a, "nope")),
    publication.missing: (READERS, publication.missing),
    publication.publish_by_hand: (
        {A},
        lambda d, a: publication.publish_by_hand(d, a, "nope", now=NOW),
    ),
    publication.publish_delta: ({S}, lambda d, a: publication.publish_delta(d, a, "nope", now=NOW)),
    publication.publish_full: ({S}, lambda d, a: publication.publish_full(d, a, "nope", now=NOW)),
    publication.publish_shard: (
        {S},
        lambda d, a: publication.publish_shard(d, a, "nope", 0, now=NOW),
    ),
    publication.staleness: (READERS, publication.staleness),
    reconcile.settle: ({S}, lambda d, a: reconcile.settle(d, a, now=NOW)),
    revocation.hold: ({A, O}, lambda d, a: revocation.hold(d, a, NOWHERE, now=NOW)),
    compromise.others: (
        {A, O},
        lambda d, a: compromise.others(d, a, (), "keyCompromise", now=NOW),
    ),
    revocation.release: ({A, O}, lambda d, a: revocation.release(d, a, NOWHERE, now=NOW)),
    revocation.revoke: ({A, O}, lambda d, a: revocation.revoke(d, a, NOWHERE, "nope", now=NOW)),
    revocation.supersede: (
        {S},
        lambda d, a: revocation.supersede(d, a, NOWHERE, authority="nope", now=NOW),
    ),
    search_index.keep_words: ({S}, lambda d, a: search_index.keep_words(d, a, now=NOW)),
    sequencing.accept_gap: (
        {A},
        lambda d, a: sequencing.accept_gap(d, a, Memory(), "why", now=NOW),
    ),
    sequencing.sequence: ({S}, lambda d, a: sequencing.sequence(d, a, Memory(), now=NOW)),
    revocation.revoke_all: (
        {A, O},
        lambda d, a: revocation.revoke_all(d, a, [], "nope", now=NOW),
    ),
    cmp_transactions.confirm: (
        {A, O, E, G, S},
        lambda d, a: cmp_transactions.confirm(d, a, TRANSACTION, Word(accepted=True), now=NOW),
    ),
    cmp_transactions.end_unconfirmed: (
        {S},
        lambda d, a: cmp_transactions.end_unconfirmed(d, a, now=NOW),
    ),
    own_revocation.revoke_own: (
        {A, O, G},
        lambda d, a: own_revocation.revoke_own(d, a, b"", 0, 0, now=NOW),
    ),
    report_credential.ensure: ({S}, lambda d, a: report_credential.ensure(d, a, now=NOW)),
    ra_credential.ensure: ({S}, lambda d, a: ra_credential.ensure(d, a, now=NOW)),
    ra_credential.held: ({S}, lambda d, a: ra_credential.held(d, a, now=NOW)),
    serverkeys.make: (
        {A, O, E, S, G},
        lambda d, a: serverkeys.make(d, a, ENDPOINT, b"", None, now=NOW),
    ),
    signed_in.end: ({A}, lambda d, a: signed_in.end(d, a, 0, now=NOW)),
    signed_in.end_all: ({A}, lambda d, a: signed_in.end_all(d, a, "nobody", now=NOW)),
    signed_in.get: ({A}, lambda d, a: signed_in.get(d, a, 0, now=NOW)),
    signed_in.list_: ({A}, lambda d, a: signed_in.list_(d, a, limit=1, now=NOW)),
    tls_credential.current: ({S}, lambda d, a: tls_credential.current(d, a, Blobs())),
    tls_credential.ensure: (
        {S},
        lambda d, a: tls_credential.ensure(d, a, Blobs(), ("not a name",), now=NOW),
    ),
    tokens.create: (
        {A, O},
        lambda d, a: tokens.create(d, a, TokenRequest("", Role.ENROLLER), now=NOW),
    ),
    tokens.get: ({A, O, U}, lambda d, a: tokens.get(d, a, "nope")),
    tokens.list_: ({A, O, U}, lambda d, a: tokens.list_(d, a, after=None, limit=1)),
    tokens.revoke: ({A, O}, lambda d, a: tokens.revoke(d, a, "nope", now=NOW)),
}
# They take an actor and are parts of operations, which have asked before.
PARTS = {
    "pki.actors",
    "pki.approvals",
    "pki.conditions",
    "pki.persons",
    "pki.trail",
    "pki.standing",
    "pki.authorities.choose",
    "pki.backups.accept",
    "pki.ca_keys.trace",
    "pki.certificates.visible",
    "pki.backups.mark_restored",
    "pki.ceremony.course.carry_out",
    "pki.founding.checked_parent",
    "pki.founding.pending_row",
    "pki.identity.use_up",
    "pki.publication.take",
    "pki.revocation.revoke_with",
    "pki.rollover.crossing.make",
    "pki.rollover.records",
    "pki.sessions.begin",
    "pki.sessions.remove",
}
CEREMONY: dict[Any, tuple[set[Role], Call]] = {
    course.ask: ({A}, lambda d, a: course.ask(d, UNCONFIRMED, a, now=NOW)),
    course.hear: ({A}, lambda d, a: course.hear(d, UNCONFIRMED, a, (), now=NOW)),
    course.begin: ({A}, lambda d, a: course.begin(d, UNCONFIRMED, a, (), now=NOW)),
}
ROLLOVER: dict[Any, tuple[set[Role], Call]] = {
    crossing.cross_sign: (
        {A},
        lambda d, a: crossing.cross_sign(d, a, "nope", "nope", None, now=NOW),
    ),
    crossing.list_: ({*READERS, E, G}, lambda d, a: crossing.list_(d, a, "nope")),
    phases.get: ({*READERS, E, G}, lambda d, a: phases.get(d, a, 0)),
    phases.list_: ({*READERS, E, G}, phases.list_),
    phases.move: ({A}, lambda d, a: phases.move(d, a, 0, Phase("published"), now=NOW)),
    phases.ask: ({A}, lambda d, a: phases.ask(d, a, RolloverRequest("nope"), now=NOW)),
    phases.usage: ({*READERS, E, G}, lambda d, a: phases.usage(d, a, 0, now=NOW)),
    phases.prepare: ({A}, lambda d, a: phases.prepare(d, a, RolloverRequest("nope"), now=NOW)),
}
EVERY = TABLE | CEREMONY | ROLLOVER


def test_every_operation_has_a_row() -> None:
    check_complete(TABLE, pki, PARTS)
    check_complete(CEREMONY, ceremony, PARTS)
    check_complete(ROLLOVER, rollover, PARTS)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("operation", EVERY, ids=name_of)
def test_operations_and_roles(shared_desk: Desk, operation: Any, role: Role) -> None:
    check_row(shared_desk, EVERY[operation], role)


def test_the_role_is_asked_for_before_anything_is_looked_at() -> None:
    check_asked_first(EVERY)


def test_what_is_not_granted_is_refused() -> None:
    assert set(GRANTS) == set(Role)
    everything = set(Action)
    for role in Role:
        assert GRANTS[role] < everything, f"{role} may do everything"
    # Nobody but the service itself acts by the clock or holds the service's own credential.
    for action in (Action.JOB_RUN, Action.SERVICE_CREDENTIAL):
        assert {role for role in Role if action in GRANTS[role]} == {Role.SCHEDULER}
    # Nobody who can ask decides.
    assert {role for role in Role if Action.APPROVAL_DECIDE in GRANTS[role]} == {Role.APPROVER}
    # Who reads the audit log is not who fills it.
    assert Action.AUDIT_READ not in GRANTS[Role.OPERATOR]
