"""Who may do what: every operation of the domain and every role, as a table written by hand."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest

import pki
from core.errors import IkewardenError
from pki import (
    authorities,
    census,
    certificates,
    cleanup,
    expiry,
    founding,
    history,
    issuance,
    ocsp_answers,
    ocsp_signers,
    profiles,
    publication,
    reconcile,
    revocation,
    tls_credential,
    tokens,
)
from pki.actors import GRANTS, Action, Actor, Role, RoleMayNot, Scope
from pki.certificates import CertificateQuery
from pki.desk import Desk
from pki.founding import AuthorityRequest
from pki.history import AuditQuery
from pki.issuance import IssueRequest
from pki.tokens import TokenRequest
from tests.fixtures.desk import NOW
from tests.pki.test_clockwork import Blobs

A, O, P, U, E, G, S = (  # noqa: E741 - one letter for each column
    Role.ADMIN,
    Role.OPERATOR,
    Role.APPROVER,
    Role.AUDITOR,
    Role.ENROLLER,
    Role.GATEWAY,
    Role.SCHEDULER,
)
READERS = {A, O, P, U, S}
NOWHERE = "77" * 16

# Operation, roles that may, and a call that does no harm: it may fail for any reason but the role.
Call = Callable[[Desk, Actor], object]
TABLE: dict[Any, tuple[set[Role], Call]] = {
    authorities.get: ({*READERS, E, G}, lambda d, a: authorities.get(d, a, "nope")),
    authorities.list_: ({*READERS, E, G}, authorities.list_),
    census.by_status: (READERS, lambda d, a: census.by_status(d, a, now=NOW)),
    certificates.get: ({*READERS, G}, lambda d, a: certificates.get(d, a, NOWHERE)),
    certificates.search: (
        {*READERS, G},
        lambda d, a: certificates.search(d, a, CertificateQuery(limit=1), now=NOW),
    ),
    cleanup.sweep: ({S}, lambda d, a: cleanup.sweep(d, a, now=NOW)),
    expiry.give_notice: ({S}, lambda d, a: expiry.give_notice(d, a, now=NOW)),
    founding.create: (
        {A},
        lambda d, a: founding.create(d, a, AuthorityRequest("", "root", ""), now=NOW),
    ),
    history.audit_events: ({A, P, U}, lambda d, a: history.audit_events(d, a, AuditQuery(limit=1))),
    history.dead_letters: (READERS, history.dead_letters),
    history.job_states: (READERS, history.job_states),
    history.outbox_depth: (READERS, lambda d, a: history.outbox_depth(d, a, now=NOW)),
    issuance.issue: (
        {A, O, E, S},
        lambda d, a: issuance.issue(d, a, IssueRequest(b"", "gateway"), now=NOW),
    ),
    issuance.renew: ({A, O, G}, lambda d, a: issuance.renew(d, a, NOWHERE, None, now=NOW)),
    ocsp_answers.presign: ({S}, lambda d, a: ocsp_answers.presign(d, a, limit=0, now=NOW)),
    ocsp_answers.remove_ended: ({S}, lambda d, a: ocsp_answers.remove_ended(d, a, now=NOW)),
    ocsp_signers.ensure: ({S}, lambda d, a: ocsp_signers.ensure(d, a, "nope", now=NOW)),
    ocsp_signers.remove_expired: ({S}, lambda d, a: ocsp_signers.remove_expired(d, a, now=NOW)),
    profiles.create: ({A}, lambda d, a: profiles.create(d, a, {}, now=NOW)),
    profiles.get: (READERS, lambda d, a: profiles.get(d, a, "gateway")),
    profiles.list_: (READERS, profiles.list_),
    publication.due: ({S}, lambda d, a: publication.due(d, a, now=NOW)),
    publication.missing: (READERS, publication.missing),
    publication.publish_delta: ({S}, lambda d, a: publication.publish_delta(d, a, "nope", now=NOW)),
    publication.publish_full: ({S}, lambda d, a: publication.publish_full(d, a, "nope", now=NOW)),
    publication.publish_shard: (
        {S},
        lambda d, a: publication.publish_shard(d, a, "nope", 0, now=NOW),
    ),
    publication.staleness: (READERS, publication.staleness),
    reconcile.settle: ({S}, lambda d, a: reconcile.settle(d, a, now=NOW)),
    revocation.hold: ({A, O}, lambda d, a: revocation.hold(d, a, NOWHERE, now=NOW)),
    revocation.release: ({A, O}, lambda d, a: revocation.release(d, a, NOWHERE, now=NOW)),
    revocation.revoke: ({A, O}, lambda d, a: revocation.revoke(d, a, NOWHERE, "nope", now=NOW)),
    tls_credential.current: ({S}, lambda d, a: tls_credential.current(d, a, Blobs())),
    tls_credential.ensure: (
        {S},
        lambda d, a: tls_credential.ensure(d, a, Blobs(), ("not a name",), now=NOW),
    ),
    tokens.create: (
        {A, O},
        lambda d, a: tokens.create(d, a, TokenRequest("", Role.ENROLLER), now=NOW),
    ),
    tokens.list_: ({A, O, U}, lambda d, a: tokens.list_(d, a, after=None, limit=1)),
    tokens.revoke: ({A, O}, lambda d, a: tokens.revoke(d, a, "nope", now=NOW)),
}
# They take an actor and are parts of operations, which have asked before.
PARTS = {
    "pki.actors",
    "pki.conditions",
    "pki.trail",
    "pki.authorities.choose",
    "pki.identity.use_up",
}


def _takes_an_actor() -> dict[str, Any]:
    found = {}
    for module in pkgutil.iter_modules(pki.__path__):
        if module.ispkg:
            continue
        loaded = importlib.import_module(f"pki.{module.name}")
        for name, value in vars(loaded).items():
            if (
                inspect.isfunction(value)
                and value.__module__ == loaded.__name__
                and not name.startswith("_")
                and "actor" in inspect.signature(value).parameters
            ):
                found[f"{loaded.__name__}.{name}"] = value
    return found


def test_every_operation_has_a_row() -> None:
    operations = {
        name: value
        for name, value in _takes_an_actor().items()
        if name not in PARTS and name.rpartition(".")[0] not in PARTS
    }
    assert {value: name for name, value in operations.items()}.keys() == TABLE.keys(), sorted(
        name for name, value in operations.items() if value not in TABLE
    )


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "operation", TABLE, ids=lambda each: f"{each.__module__.rpartition('.')[2]}.{each.__name__}"
)
def test_operations_and_roles(shared_desk: Desk, operation: Any, role: Role) -> None:
    allowed, call = TABLE[operation]
    scope = Scope(gateway="gw1") if role is Role.GATEWAY else Scope()
    actor = Actor("somebody", role, credential="token:1", scope=scope)
    if role in allowed:
        try:
            call(shared_desk, actor)
        except IkewardenError as error:
            if isinstance(error, RoleMayNot):
                raise
        return
    with pytest.raises(RoleMayNot) as refused:
        call(shared_desk, actor)
    assert refused.value.code == "role_not_permitted"
    assert refused.value.next_step


def test_the_role_is_asked_for_before_anything_is_looked_at() -> None:
    # With a desk that is nothing at all, a refusal is all that can come.
    for role in Role:
        for allowed, call in TABLE.values():
            if role not in allowed:
                with pytest.raises(RoleMayNot):
                    call(None, Actor("somebody", role))  # type: ignore[arg-type]  # on purpose


def test_what_is_not_granted_is_refused() -> None:
    assert set(GRANTS) == set(Role)
    everything = set(Action)
    for role in Role:
        assert GRANTS[role] < everything, f"{role} may do everything"
    # Nobody but the service itself acts by the clock or holds the service's own credential.
    for action in (Action.JOB_RUN, Action.SERVICE_CREDENTIAL):
        assert {role for role in Role if action in GRANTS[role]} == {Role.SCHEDULER}
    # Who reads the audit log is not who fills it.
    assert Action.AUDIT_READ not in GRANTS[Role.OPERATOR]
