"""The two-person rule at the operations: bound to exactly what was approved, by another person, once."""

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, update

from core.errors import IkewardenError
from hsm.errors import SignerUnavailable
from hsm.ports import KeyAlgorithm
from pki import approvals, authorities, decisions, founding, revocation, tokens
from pki.actors import Actor, OutsideScope, Role, RoleMayNot, Scope
from pki.approvals import (
    ApprovalMismatch,
    ApprovalNotFound,
    ApprovalNotUsable,
    ApprovalOfAnother,
    TooManyWaiting,
)
from pki.decisions import (
    ApprovalDecided,
    ApprovalQuery,
    NotTheAsker,
    OwnApproval,
    ParametersChanged,
    ReasonMissing,
)
from pki.desk import ApprovalRules, Desk
from pki.founding import AuthorityRequest
from pki.guarded import Guarded, Step
from pki.identity import TokenRefused
from pki.rollover import crossing, phases
from pki.rollover.phases import Order
from pki.rollover.successor import RolloverRequest
from pki.tokens import TokenRequest
from store.approval_tables import approvals as table
from store.engine import Store, Unit
from store.tables import authorities as authorities_table
from store.tables import certificates, outbox
from store.tables import tokens as tokens_table
from tests.fixtures.desk import ADMIN, CLOCKWORK, NOW, Custody, custody, reopened
from tests.pki.acts import at_once, count, issue, trail
from tests.pki.approving import approve, asked, bearing, details, fire, guarded, hire, state_of

BRANCH = AuthorityRequest("branch", "issuing", "CN=Branch,O=Example", parent="root")
HOUR = timedelta(hours=1)
# What another value of each field of a request for an authority would be.
OTHERWISE: dict[str, Any] = {
    "name": "brunch",
    "kind": "root",
    "subject": "CN=Brunch,O=Example",
    "algorithm": "ec-p384",
    "parent": "issuing",
    "lifetime": timedelta(days=3651),
    "path_length": None,
    "permitted": ("dns:example.com",),
    "excluded": ("dns:example.com",),
    "shards": 1,
    "replaces": "issuing",
    "key_store": "files",
}


class Office:
    """Alice, who asks; Bob, who approves; Carol, another admin."""

    def __init__(self, desk: Desk) -> None:
        self.alice = hire(desk, "alice", Role.ADMIN)
        self.bob = hire(desk, "bob", Role.APPROVER)
        self.carol = hire(desk, "carol", Role.ADMIN)


class Away(Custody):
    """A store that makes no key now."""

    def generate(self, name: str, algorithm: KeyAlgorithm) -> str:
        raise SignerUnavailable("The token is away.")


@pytest.fixture
def office(desk: Desk) -> Office:
    return Office(desk)


def create(desk: Desk, who: Actor, wanted: AuthorityRequest = BRANCH, now: datetime = NOW) -> Any:
    return founding.create(desk, who, wanted, now=now)


def names(desk: Desk) -> list[str]:
    return authorities.all_names(desk)


def approved(desk: Desk, office: Office, wanted: AuthorityRequest = BRANCH) -> Actor:
    """Alice with an approval for an authority."""
    number = asked(lambda: create(desk, office.alice, wanted))
    approve(desk, office.bob, number)
    return bearing(office.alice, number)


def test_asked_approved_done(desk: Desk, office: Office) -> None:
    desk = guarded(desk)
    made = set(custody(desk).raw)
    number = asked(lambda: create(desk, office.alice))
    assert "branch" not in names(desk)
    assert set(custody(desk).raw) == made, "no key is made for what is not approved"
    found = decisions.get(desk, office.bob, number, now=NOW)
    assert (found.state, found.act, found.asked_by) == ("pending", "authority.create", "alice")
    assert found.parameters == {
        "name": "branch",
        "kind": "issuing",
        "subject": "CN=Branch,O=Example",
        "algorithm": "ec-p256",
        "parent": "root",
        "lifetime": "3650 days, 0:00:00",
        "path_length": 0,
        "permitted": [],
        "excluded": [],
        "shards": 0,
        "replaces": None,
        "key_store": "fake",
        "signed_by": "root",
        "parent_sha256": authorities.load(desk, "root").sha256,
        "replaces_sha256": None,
    }
    assert found.expires_at == NOW + 24 * HOUR
    decided = approve(desk, office.bob, number, NOW + HOUR)
    assert (decided.state, decided.decided_by) == ("approved", "bob")
    assert decided.expires_at == NOW + 25 * HOUR
    assert create(desk, bearing(office.alice, number), now=NOW + 2 * HOUR).name == "branch"
    assert state_of(desk, number, NOW + 2 * HOUR) == "used"
    assert trail(desk, f"approval:{number}") == [
        ("approval.ask", "ok"),
        ("approval.approve", "ok"),
        ("approval.use", "ok"),
    ]
    [intent] = [each for each in details(desk, "authority.sign", "intent") if "approval" in each]
    assert (intent["approval"], intent["approved_by"]) == (number, "bob")


def test_what_settings_do_not_name_needs_nobody(desk: Desk, office: Office) -> None:
    free = guarded(desk, Guarded.AUTHORITY_REVOKE, Guarded.BACKUP_EXPORT)
    assert create(free, office.alice).name == "branch"
    root = AuthorityRequest("root-2", "root", "CN=Root 2")
    # A root signs itself: that is no issue of a CA's certificate.
    assert create(guarded(desk, Guarded.AUTHORITY_ISSUE), office.alice, root).name == "root-2"
    assert count(desk, table) == 0


def test_a_ca_below_another_is_an_issue_too(desk: Desk, office: Office) -> None:
    desk = guarded(desk, Guarded.AUTHORITY_ISSUE)
    number = asked(lambda: create(desk, office.alice))
    assert decisions.get(desk, office.bob, number, now=NOW).act == "authority.issue"
    approve(desk, office.bob, number)
    assert create(desk, bearing(office.alice, number)).name == "branch"


@pytest.mark.parametrize("field", [each.name for each in fields(AuthorityRequest)])
def test_an_approval_is_for_exactly_what_was_asked(desk: Desk, office: Office, field: str) -> None:
    desk = guarded(desk)
    bearer = approved(desk, office)
    root, other = authorities.load(desk, "root"), replace(BRANCH, **{field: OTHERWISE[field]})
    act = partial(founding._act, desk, other, root)

    def work(unit: Unit) -> None:
        approvals.require_approval(unit, desk, bearer, act(), now=NOW)

    with (
        pytest.raises(ApprovalMismatch) as refused,
        approvals.asked_for(desk, bearer, now=NOW),
    ):
        desk.store.together(work)
    found = refused.value.details["differences"]
    assert isinstance(found, dict)
    assert set(found) >= {field}
    assert bearer.approval is not None
    assert state_of(desk, bearer.approval) == "approved", "a wrong try uses nothing up"
    assert ("approval.use", "denied") in trail(desk, f"approval:{bearer.approval}")


def swap(desk: Desk, name: str, other: str) -> Desk:
    """Another process, for which a name means another certificate, and the key of that."""
    column = authorities_table.c
    with desk.store.write() as connection:
        row = connection.execute(
            select(column.certificate, column.key_uri).where(column.name == other)
        ).one()
        connection.execute(
            update(authorities_table).where(column.name == name).values(**row._mapping)
        )
    return reopened(desk)


def differing(work: Callable[[], object]) -> set[str]:
    """In what an act differs from what was approved."""
    with pytest.raises(ApprovalMismatch) as refused:
        work()
    found = refused.value.details["differences"]
    assert isinstance(found, dict)
    return set(found)


def test_an_approval_is_for_the_parent_that_signs_at_that_time(desk: Desk, office: Office) -> None:
    free, desk = desk, guarded(desk)
    bearer = approved(desk, office)
    found = phases.prepare(free, ADMIN, RolloverRequest("root"), now=NOW)
    for step in ("published", "switched"):
        phases.move(free, ADMIN, found.id, Order(step), now=NOW)
    # `root` is still the parent that is named, and its successor would sign.
    assert differing(lambda: create(desk, bearer)) == {"signed_by", "parent_sha256"}
    assert "branch" not in names(desk)
    again = approved(desk, office)
    assert create(desk, again).parent == "root-2"


def test_an_approval_is_for_the_key_that_the_parents_name_meant(desk: Desk, office: Office) -> None:
    desk = guarded(desk)
    other = AuthorityRequest("other", "root", "CN=Other,O=Example", path_length=1)
    create(reopened(desk, approvals=ApprovalRules()), ADMIN, other)
    bearer = approved(desk, office)
    desk = swap(desk, "root", "other")
    assert differing(lambda: create(desk, bearer)) == {"parent_sha256"}


@pytest.mark.parametrize("name", ["sharded", "other"], ids=["subject", "issuer"])
def test_an_approval_of_a_cross_certificate_is_for_these_two(
    desk: Desk, office: Office, name: str
) -> None:
    for each in ("other", "third"):
        wanted = AuthorityRequest(each, "root", f"CN={each},O=Example", path_length=1)
        create(desk, ADMIN, wanted)
    desk = guarded(desk)

    def cross(desk: Desk, who: Actor) -> object:
        return crossing.cross_sign(desk, who, "sharded", "other", None, now=NOW)

    number = asked(lambda: cross(desk, office.alice))
    approve(desk, office.bob, number)
    after = swap(desk, name, "issuing" if name == "sharded" else "third")
    bearer = bearing(office.alice, number)
    assert differing(lambda: cross(after, bearer)) == {"cross_certificates"}


@pytest.mark.parametrize("name", ["issuing", "issuing-2"])
def test_an_approval_of_a_phase_is_for_these_two(desk: Desk, office: Office, name: str) -> None:
    found = phases.prepare(desk, ADMIN, RolloverRequest("issuing"), now=NOW)
    for step in ("published", "switched"):
        phases.move(desk, ADMIN, found.id, Order(step), now=NOW)
    desk = guarded(desk)

    def finish(desk: Desk, who: Actor) -> object:
        return phases.move(desk, who, found.id, Order("finished", despite=True), now=NOW)

    number = asked(lambda: finish(desk, office.alice))
    approve(desk, office.bob, number)
    after, bearer = swap(desk, name, "sharded"), bearing(office.alice, number)
    expected = {"sha256"} if name == "issuing" else {"successor_sha256"}
    assert differing(lambda: finish(after, bearer)) == expected
    assert state_of(desk, number) == "approved"


def test_an_approval_of_a_successor_is_for_whom_it_replaces(desk: Desk, office: Office) -> None:
    desk = guarded(desk)
    wanted = RolloverRequest("sharded")
    number = asked(lambda: phases.prepare(desk, office.alice, wanted, now=NOW))
    approve(desk, office.bob, number)
    after, bearer = swap(desk, "sharded", "issuing"), bearing(office.alice, number)
    found = differing(lambda: phases.prepare(after, bearer, wanted, now=NOW))
    assert "replaces_sha256" in found


def test_another_request_with_it_does_nothing(desk: Desk, office: Office) -> None:
    desk = guarded(desk)
    bearer = approved(desk, office)
    other = replace(BRANCH, name="brunch", subject="CN=Brunch,O=Example")
    with pytest.raises(ApprovalMismatch):
        create(desk, bearer, other)
    wanted = TokenRequest("dave", Role.ADMIN)
    with pytest.raises(ApprovalMismatch) as refused:
        tokens.create(desk, bearer, wanted, now=NOW)
    assert "act" in str(refused.value.details)
    assert names(desk) == ["issuing", "root", "sharded"]
    assert create(desk, bearer).name == "branch"


def test_a_default_is_the_same_written_out(desk: Desk, office: Office) -> None:
    desk = guarded(desk)
    bearer = approved(desk, office)
    written = replace(BRANCH, algorithm="ec-p256", path_length=0, shards=0, permitted=())
    assert create(desk, bearer, written).name == "branch"


@pytest.mark.parametrize("name", ["alice", "Alice", " ALICE", "\uff41lice"], ids=ascii)
@pytest.mark.parametrize("step", [Step.APPROVE, Step.REFUSE])
def test_nobody_approves_his_own(desk: Desk, office: Office, name: str, step: Step) -> None:
    other_token = hire(desk, name, Role.APPROVER)
    desk = guarded(desk)
    number = asked(lambda: create(desk, office.alice))
    with pytest.raises(OwnApproval) as refused:
        decisions.decide(desk, other_token, number, step, "fine by me", now=NOW)
    assert refused.value.code == "approval_own"
    assert state_of(desk, number) == "pending"
    assert (f"approval.{step}", "denied") in trail(desk, f"approval:{number}")


def test_nobody_approves_with_the_token_that_asked(desk: Desk, office: Office) -> None:
    # Roles do not overlap; if they ever did, the token would still be the same.
    desk = guarded(desk)
    number = asked(lambda: create(desk, office.alice))
    disguised = replace(office.alice, name="somebody else", role=Role.APPROVER)
    with pytest.raises(OwnApproval):
        decisions.decide(desk, disguised, number, Step.APPROVE, "fine by me", now=NOW)


@pytest.mark.parametrize("role", [Role.ADMIN, Role.OPERATOR, Role.AUDITOR])
def test_only_an_approver_approves(desk: Desk, office: Office, role: Role) -> None:
    number = asked(lambda: create(guarded(desk), office.alice))
    with pytest.raises(RoleMayNot):
        approve(guarded(desk), hire(desk, "dave", role), number)


def test_a_limited_token_decides_nothing(desk: Desk, office: Office) -> None:
    limited = hire(desk, "dave", Role.APPROVER, scope=Scope(authorities=("issuing",)))
    number = asked(lambda: create(guarded(desk), office.alice))
    with pytest.raises(OutsideScope):
        approve(guarded(desk), limited, number)


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001], ids=len)
def test_a_decision_has_a_reason(desk: Desk, office: Office, reason: str) -> None:
    number = asked(lambda: create(guarded(desk), office.alice))
    with pytest.raises(ReasonMissing):
        decisions.decide(desk, office.bob, number, Step.APPROVE, reason, now=NOW)


def test_an_approval_serves_who_asked_for_it(desk: Desk, office: Office) -> None:
    desk = guarded(desk)
    bearer = approved(desk, office)
    assert bearer.approval is not None
    others = (office.carol, hire(desk, "alice", Role.ADMIN))
    for other in others:
        with pytest.raises(ApprovalOfAnother):
            create(desk, bearing(other, bearer.approval))
    denied = trail(desk, f"approval:{bearer.approval}").count(("approval.use", "denied"))
    assert denied == len(others)
    assert create(desk, bearer).name == "branch"


def test_an_approval_is_used_once(desk: Desk, office: Office) -> None:
    desk = guarded(desk)
    wanted = TokenRequest("dave", Role.OPERATOR)
    number = asked(lambda: tokens.create(desk, office.alice, wanted, now=NOW))
    approve(desk, office.bob, number)
    bearer = bearing(office.alice, number)
    tokens.create(desk, bearer, wanted, now=NOW)
    with pytest.raises(ApprovalNotUsable, match="is used"):
        tokens.create(desk, bearer, wanted, now=NOW)
    assert count(desk, tokens_table, tokens_table.c.name == "dave") == 1


def test_of_many_who_use_it_at_once_one_does(
    desk: Desk, second_store: Store, office: Office
) -> None:
    desk = guarded(desk)
    desks = [desk, reopened(desk, store=second_store)]
    for round_ in range(5):
        wanted = TokenRequest(f"dave {round_}", Role.OPERATOR)
        number = asked(lambda w=wanted: tokens.create(desk, office.alice, w, now=NOW))  # type: ignore[misc]
        approve(desk, office.bob, number)
        bearer = bearing(office.alice, number)
        done = at_once(
            *(partial(tokens.create, desks[n % 2], bearer, wanted, now=NOW) for n in range(8))
        )
        refused = [each for each in done if isinstance(each, Exception)]
        assert len(refused) == 7
        assert {type(each) for each in refused} == {ApprovalNotUsable}
        assert count(desk, tokens_table, tokens_table.c.name == wanted.name) == 1
        assert len([d for d in details(desk, "approval.use") if d["approval"] == number]) == 1


def test_two_foundings_at_once_leave_one_authority_and_one_key(
    desk: Desk, second_store: Store, office: Office
) -> None:
    desk = guarded(desk)
    bearer = approved(desk, office)
    desks = (desk, reopened(desk, store=second_store))
    done = at_once(*(partial(create, each, bearer) for each in desks * 2))
    assert len([each for each in done if not isinstance(each, Exception)]) == 1, done
    assert len([d for d in details(desk, "approval.use") if d["approval"] == bearer.approval]) == 1
    uri = authorities.load(desk, "branch").key_uri
    made = [f"fake:{name}" for name in custody(desk).raw if name.startswith("ca-branch-")]
    left = []
    for each in made:
        try:
            custody(desk).open(each)
            left.append(each)
        except IkewardenError:
            continue
    assert left == [uri]


def test_a_decision_and_a_use_at_once(desk: Desk, second_store: Store, office: Office) -> None:
    desk = guarded(desk)
    other = reopened(desk, store=second_store)
    for round_ in range(5):
        wanted = TokenRequest(f"dave {round_}", Role.OPERATOR)
        number = asked(lambda w=wanted: tokens.create(desk, office.alice, w, now=NOW))  # type: ignore[misc]
        approve(desk, office.bob, number)
        works: list[Callable[[], object]] = [
            partial(tokens.create, desk, bearing(office.alice, number), wanted, now=NOW),
            partial(decisions.decide, other, office.bob, number, Step.REFUSE, "no", now=NOW),
        ]
        done = at_once(*works)
        assert len([each for each in done if isinstance(each, Exception)]) == 1, done
        made = count(desk, tokens_table, tokens_table.c.name == wanted.name)
        assert (state_of(desk, number), made) in {("used", 1), ("refused", 0)}


def test_what_fails_after_it_gives_the_approval_back(desk: Desk, office: Office) -> None:
    desk = guarded(desk)
    wanted = TokenRequest("dave", Role.OPERATOR)
    number = asked(lambda: tokens.create(desk, office.alice, wanted, now=NOW))
    approve(desk, office.bob, number)
    bearer = bearing(office.alice, number)

    def work(unit: Unit) -> None:
        approvals.require_approval(unit, desk, bearer, tokens._act(wanted), now=NOW)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        desk.store.together(work)
    assert state_of(desk, number) == "approved"
    tokens.create(desk, bearer, wanted, now=NOW)


def test_a_signer_that_is_away_when_the_key_is_made_uses_nothing_up(
    desk: Desk, office: Office
) -> None:
    desk = guarded(desk)
    bearer = approved(desk, office)
    assert bearer.approval is not None
    with pytest.raises(SignerUnavailable):
        create(reopened(desk, keys=Away(custody(desk).raw)), bearer)
    assert state_of(desk, bearer.approval) == "approved"
    assert create(desk, bearer).name == "branch"


def test_an_approver_whose_token_was_revoked_has_approved_nothing(
    desk: Desk, office: Office
) -> None:
    desk = guarded(desk)
    bearer = approved(desk, office)
    fire(desk, office.bob)
    with pytest.raises(ApprovalNotUsable, match="was revoked since"):
        create(desk, bearer)
    with pytest.raises(TokenRefused):
        approve(desk, office.bob, asked(lambda: create(desk, office.carol)))


def test_an_approval_outlives_the_time_of_the_token_that_gave_it(
    desk: Desk, office: Office
) -> None:
    shortly = hire(desk, "dave", Role.APPROVER, expires_at=NOW + HOUR)
    desk = guarded(desk)
    number = asked(lambda: create(desk, office.alice))
    approve(desk, shortly, number)
    assert create(desk, bearing(office.alice, number), now=NOW + 2 * HOUR).name == "branch"


def test_who_lost_his_rights_meanwhile_does_nothing_with_it(desk: Desk, office: Office) -> None:
    desk = guarded(desk)
    bearer = approved(desk, office)
    with pytest.raises(RoleMayNot):
        create(desk, replace(bearer, role=Role.OPERATOR))
    # Between the door, which let the token in, and the act.
    fire(desk, office.alice)
    with pytest.raises(ApprovalNotUsable, match="has ended"):
        create(desk, bearer)
    again = bearing(hire(desk, "alice", Role.ADMIN), bearer.approval or 0)
    with pytest.raises(ApprovalOfAnother):
        create(desk, again)


def test_requests_and_approvals_expire(desk: Desk, office: Office) -> None:
    desk = guarded(desk, valid=2 * HOUR)
    pending = asked(lambda: create(desk, office.alice))
    just = NOW + 2 * HOUR
    assert state_of(desk, pending, just - timedelta(seconds=1)) == "pending"
    assert state_of(desk, pending, just) == "expired"
    with pytest.raises(ApprovalDecided, match="expired"):
        approve(desk, office.bob, pending, just)
    again = asked(lambda: create(desk, office.alice, now=just))
    assert again != pending
    approve(desk, office.bob, again, just + HOUR)
    late = bearing(office.alice, again)
    with pytest.raises(ApprovalNotUsable, match="expired"):
        create(desk, late, now=just + 3 * HOUR)
    assert decisions.expire(desk, CLOCKWORK, now=just + 3 * HOUR) == 2
    assert decisions.expire(desk, CLOCKWORK, now=just + 3 * HOUR) == 0
    for number in (pending, again):
        assert trail(desk, f"approval:{number}")[-1] == ("approval.expire", "ok")
    assert state_of(desk, again, NOW) == "expired", "written down, it stays so"


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        ((), "pending"),
        ((Step.REFUSE,), "refused"),
        ((Step.APPROVE, Step.REFUSE), "refused"),
        ((Step.WITHDRAW,), "withdrawn"),
        ((Step.APPROVE, Step.WITHDRAW), "withdrawn"),
    ],
    ids=str,
)
def test_only_what_is_approved_now_can_be_used(
    desk: Desk, office: Office, steps: tuple[Step, ...], state: str
) -> None:
    desk = guarded(desk)
    number = asked(lambda: create(desk, office.alice))
    for step in steps:
        if step is Step.WITHDRAW:
            decisions.withdraw(desk, office.alice, number, now=NOW)
        else:
            decisions.decide(desk, office.bob, number, step, "so be it", now=NOW)
    with pytest.raises(ApprovalNotUsable, match=f"is {state}") as refused:
        create(desk, bearing(office.alice, number))
    assert refused.value.details == {"approval": number, "state": state}
    if state != "pending":
        with pytest.raises(ApprovalDecided):
            approve(desk, office.bob, number)
        with pytest.raises(ApprovalDecided):
            decisions.withdraw(desk, office.alice, number, now=NOW)


def test_who_asked_takes_it_back_and_nobody_else(desk: Desk, office: Office) -> None:
    desk = guarded(desk)
    number = asked(lambda: create(desk, office.alice))
    with pytest.raises(NotTheAsker):
        decisions.withdraw(desk, office.carol, number, now=NOW)
    assert decisions.withdraw(desk, office.alice, number, now=NOW).state == "withdrawn"


@pytest.mark.parametrize("number", [0, 999, 10**17])
def test_an_approval_that_is_not_there(desk: Desk, office: Office, number: int) -> None:
    desk = guarded(desk)
    with pytest.raises(ApprovalNotFound):
        create(desk, bearing(office.alice, number))
    with pytest.raises(ApprovalNotFound):
        approve(desk, office.bob, number)
    with pytest.raises(ApprovalNotFound):
        decisions.get(desk, office.bob, number, now=NOW)


def test_asking_again_finds_the_request_that_waits(desk: Desk, office: Office) -> None:
    desk = guarded(desk)
    number = asked(lambda: create(desk, office.alice))
    assert asked(lambda: create(desk, office.alice)) == number
    approve(desk, office.bob, number)
    assert asked(lambda: create(desk, office.alice)) == number
    assert asked(lambda: create(desk, office.carol)) != number
    create(desk, bearing(office.alice, number))
    wanted = count(desk, outbox, outbox.c.topic == "approval.asked")
    assert wanted == 2, "who waits already is told of once"


def test_so_many_wait_at_most(desk: Desk, office: Office) -> None:
    desk = guarded(desk)
    wanted = [TokenRequest(f"x{number}", Role.ADMIN) for number in range(101)]
    for each in wanted[:100]:
        asked(lambda e=each: tokens.create(desk, office.alice, e, now=NOW))  # type: ignore[misc]
    with pytest.raises(TooManyWaiting):
        tokens.create(desk, office.alice, wanted[100], now=NOW)
    first = asked(lambda: tokens.create(desk, office.alice, wanted[0], now=NOW))
    asked(lambda: tokens.create(desk, office.carol, wanted[100], now=NOW))
    decisions.withdraw(desk, office.alice, first, now=NOW)
    asked(lambda: tokens.create(desk, office.alice, wanted[100], now=NOW))


def test_a_record_that_was_changed_is_not_approved(desk: Desk, office: Office) -> None:
    desk = guarded(desk)
    number = asked(lambda: create(desk, office.alice))
    shown = decisions.get(desk, office.bob, number, now=NOW).parameters
    with desk.store.write() as connection:
        harmless = {**shown, "lifetime": "1 day, 0:00:00"}
        connection.execute(update(table).values(parameters=harmless))
    with pytest.raises(ParametersChanged):
        approve(desk, office.bob, number)
    refused = decisions.decide(desk, office.bob, number, Step.REFUSE, "odd", now=NOW)
    assert refused.state == "refused"


def test_lists_and_figures(desk: Desk, office: Office) -> None:
    desk = guarded(desk, valid=2 * HOUR)
    first = asked(lambda: create(desk, office.alice))
    wanted = TokenRequest("dave", Role.ADMIN)
    second = asked(lambda: tokens.create(desk, office.alice, wanted, now=NOW + HOUR))
    found = partial(decisions.list_, desk, office.bob)
    assert [e.id for e in found(ApprovalQuery(), now=NOW)] == [second, first]
    assert [e.id for e in found(ApprovalQuery(cursor=second), now=NOW)] == [first]
    assert [e.id for e in found(ApprovalQuery(act="role.change"), now=NOW)] == [second]
    assert [e.id for e in found(ApprovalQuery(limit=1), now=NOW)] == [second]
    late = NOW + 2 * HOUR
    assert [e.id for e in found(ApprovalQuery(state="pending"), now=late)] == [second]
    assert [e.id for e in found(ApprovalQuery(state="expired"), now=late)] == [first]
    figures = decisions.figures(desk, ADMIN, now=NOW + HOUR)
    assert (figures.pending, figures.approved, figures.oldest_at) == (2, 0, NOW)
    approve(desk, office.bob, second, late)
    figures = decisions.figures(desk, ADMIN, now=late)
    assert (figures.pending, figures.approved, figures.oldest_at) == (0, 1, None)


# Who makes the first approver


def test_the_first_approver_is_made_by_one_and_no_other(desk: Desk) -> None:
    alice = hire(desk, "alice", Role.ADMIN)
    desk = guarded(desk)
    first = TokenRequest("bob", Role.APPROVER)
    asked(lambda: tokens.create(desk, alice, TokenRequest("dave", Role.ADMIN), now=NOW))
    # Her own would be no second person, and keeps nobody from making one.
    tokens.create(desk, alice, TokenRequest("Alice", Role.APPROVER), now=NOW)
    made = tokens.create(desk, alice, first, now=NOW)
    assert details(desk, "token.create")[-1]["approval"] == "first approver"
    number = asked(lambda: tokens.create(desk, alice, TokenRequest("eve", Role.APPROVER), now=NOW))
    # Whoever could end the approvers and make others would need nobody.
    tokens.revoke(desk, alice, made.view.id, now=NOW)
    assert number == asked(
        lambda: tokens.create(desk, alice, TokenRequest("eve", Role.APPROVER), now=NOW)
    )


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.ENROLLER])
def test_who_can_do_nothing_of_it_needs_no_approval(desk: Desk, office: Office, role: Role) -> None:
    enroller = {"scope": Scope(profiles=("gateway",)), "uses": 1} if role is Role.ENROLLER else {}
    tokens.create(guarded(desk), office.alice, TokenRequest("x", role, **enroller), now=NOW)


def test_the_founding_of_an_instance_needs_nobody(empty_desk: Desk) -> None:
    desk = guarded(empty_desk)
    console = Actor("init", Role.ADMIN)
    root = AuthorityRequest("root", "root", "CN=Root", path_length=1)
    create(desk, console, root)
    create(desk, console, replace(BRANCH, name="issuing", subject="CN=Issuing"))
    assert details(desk, "authority.sign", "intent")[-1]["approval"] == "founding"
    with pytest.raises(approvals.ApprovalRequired):
        create(desk, replace(console, credential="token:x"))
    tokens.create(desk, console, TokenRequest("admin", Role.ADMIN), now=NOW)
    # From the first token on it is as everywhere.
    asked(lambda: create(desk, console, replace(BRANCH, name="later", subject="CN=Later")))


def test_it_is_said_when_nobody_can_approve(desk: Desk) -> None:
    alice = hire(desk, "alice", Role.ADMIN)
    hire(desk, "Alice", Role.APPROVER)
    with pytest.raises(approvals.ApprovalRequired) as refused:
        create(guarded(desk), alice)
    assert "--role approver" in refused.value.next_step
    hire(desk, "bob", Role.APPROVER)
    with pytest.raises(approvals.ApprovalRequired) as refused:
        create(guarded(desk), alice)
    assert "ikewarden approval approve" in refused.value.next_step


# What ends certificates


def revoke(desk: Desk, who: Actor, serial: str, now: datetime = NOW) -> Any:
    return revocation.revoke(desk, who, serial, "superseded", now=now)


@pytest.mark.parametrize("required", [Guarded.AUTHORITY_REVOKE, Guarded.MASS_REVOKE])
def test_the_end_of_an_authority_needs_another(
    desk: Desk, office: Office, required: Guarded
) -> None:
    desk = guarded(desk, required)
    serial = authorities.load(desk, "sharded").serial
    held = asked(lambda: revocation.hold(desk, office.alice, serial, now=NOW))
    number = asked(lambda: revoke(desk, office.alice, serial))
    assert held != number
    found = decisions.get(desk, office.bob, number, now=NOW)
    assert found.act == required
    assert found.parameters["do"] == "revoke"
    assert list(found.parameters["certificates"]) == [f"root:{serial}"]
    approve(desk, office.bob, number)
    with pytest.raises(ApprovalMismatch) as refused:
        revocation.revoke(desk, bearing(office.alice, number), serial, "keyCompromise", now=NOW)
    assert set(refused.value.details["differences"]) == {"reason"}  # type: ignore[call-overload]
    with pytest.raises(ApprovalMismatch):
        revocation.hold(desk, bearing(office.alice, number), serial, now=NOW)
    assert revoke(desk, bearing(office.alice, number), serial).status == "revoked"
    asked(lambda: revocation.revoke(desk, office.alice, serial, "keyCompromise", now=NOW))


def test_an_authority_on_hold_is_not_released_by_one(desk: Desk, office: Office) -> None:
    serial = authorities.load(desk, "sharded").serial
    revocation.hold(desk, office.alice, serial, now=NOW)
    asked(lambda: revocation.release(guarded(desk), office.alice, serial, now=NOW))


def limited(desk: Desk, number: int) -> Desk:
    return guarded(desk, Guarded.MASS_REVOKE, mass_revocation=number)


def test_many_are_not_ended_one_by_one(desk: Desk, office: Office) -> None:
    desk = limited(desk, 3)
    made = [issue(desk).serial for _ in range(9)]
    oscar, other_token = hire(desk, "oscar", Role.OPERATOR), hire(desk, "Oscar ", Role.OPERATOR)
    revoke(desk, oscar, made[0])
    revocation.hold(desk, other_token, made[1], now=NOW)
    revocation.release(desk, oscar, made[1], now=NOW)
    revoke(desk, other_token, made[2], NOW + HOUR / 2)
    for who in (oscar, other_token):
        number = asked(lambda w=who: revoke(desk, w, made[3], NOW + HOUR / 2))  # type: ignore[misc]
        assert decisions.get(desk, office.bob, number, now=NOW).act == "mass.revoke"
        asked(lambda w=who: revocation.hold(desk, w, made[3], now=NOW + HOUR / 2))  # type: ignore[misc]
    # Somebody else has his own measure, and what was approved is not in it.
    revoke(desk, office.alice, made[4])
    number = asked(lambda: revoke(desk, oscar, made[3], NOW + HOUR / 2))
    approve(desk, office.bob, number, NOW + HOUR / 2)
    revoke(desk, bearing(oscar, number), made[3], NOW + HOUR / 2)
    # The first two are an hour ago: two more, and no third.
    later = NOW + HOUR
    revoke(desk, oscar, made[5], later)
    revoke(desk, oscar, made[6], later)
    asked(lambda: revoke(desk, oscar, made[7], later))


def test_what_is_refused_counts_for_nothing(desk: Desk, office: Office) -> None:
    desk = limited(desk, 2)
    made = [issue(desk).serial for _ in range(3)]
    revoke(desk, office.alice, made[0])
    for _ in range(3):
        with pytest.raises(revocation.AlreadyRevoked):
            revoke(desk, office.alice, made[0])
    # Only its reason gets worse.
    revocation.revoke(desk, office.alice, made[0], "keyCompromise", now=NOW)
    revoke(desk, office.alice, made[1])
    asked(lambda: revoke(desk, office.alice, made[2]))


def test_many_at_once_in_two_processes_end_no_more_than_one_by_one(
    desk: Desk, second_store: Store, office: Office
) -> None:
    desk = limited(desk, 5)
    desks = [desk, reopened(desk, store=second_store)]
    made = [issue(desk).serial for _ in range(16)]
    done = at_once(
        *(partial(revoke, desks[n % 2], office.alice, serial) for n, serial in enumerate(made))
    )
    refused = [each for each in done if isinstance(each, Exception)]
    assert {type(each) for each in refused} == {approvals.ApprovalRequired}
    assert len(made) - len(refused) == 5
    assert count(desk, certificates, certificates.c.status == "revoked") == 5


def test_together_they_are_ended_by_one_approval_all_or_none(desk: Desk, office: Office) -> None:
    desk = limited(desk, 2)
    made = [(None, issue(desk).serial) for _ in range(4)]
    end = partial(revocation.revoke_all, desk, reason="superseded", now=NOW)
    number = asked(lambda: end(office.alice, made))
    assert count(desk, certificates, certificates.c.status == "revoked") == 0
    assert number == asked(lambda: end(office.alice, [*made[::-1], made[0]])), "in whatever order"
    approve(desk, office.bob, number)
    for other in (made[:3], [*made, (None, issue(desk).serial)]):
        with pytest.raises(ApprovalMismatch):
            end(bearing(office.alice, number), other)
    late = NOW + timedelta(days=900)
    with pytest.raises(revocation.NotRevocable):
        revocation.revoke_all(desk, office.alice, made, "superseded", now=late)
    assert len(end(bearing(office.alice, number), made)) == 4
    assert end(office.alice, made) == [], "there is nothing more to end"
    few = [(None, issue(desk).serial) for _ in range(2)]
    assert len(end(office.alice, few)) == 2


def test_old_acts_are_forgotten(desk: Desk, office: Office) -> None:
    from pki import cleanup
    from store.approval_tables import revocation_acts

    desk = limited(desk, 2)
    revoke(desk, office.alice, issue(desk).serial)
    cleanup.sweep(desk, CLOCKWORK, now=NOW + HOUR / 2)
    assert count(desk, revocation_acts) == 1
    cleanup.sweep(desk, CLOCKWORK, now=NOW + HOUR)
    assert count(desk, revocation_acts) == 0


def test_a_look_uses_nothing_up(desk: Desk, office: Office) -> None:
    desk = guarded(desk)
    bearer = approved(desk, office)
    act = founding._act(desk, BRANCH, authorities.load(desk, "root"))
    for _ in range(2):
        approvals.look(desk, bearer, act, now=NOW)
    assert bearer.approval is not None
    with desk.store.read() as connection:
        rows = connection.execute(select(table.c.state)).all()
    assert [row.state for row in rows] == ["approved"]
