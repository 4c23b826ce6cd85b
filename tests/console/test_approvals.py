"""Approvals in the console: what exactly is asked for is shown, and another person decides, once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.secret import Secret
from pki import decisions, founding, tokens
from pki.actors import Actor, Role
from pki.ceremony import course
from pki.ceremony.plan import read_plan
from pki.desk import ApprovalRules, Desk
from pki.founding import AuthorityRequest
from pki.guarded import Guarded
from pki.identity import actor_from_token
from tests.api.serving import Serving
from tests.console.browser import Browser
from tests.pki.approving import asked, state_of

Make = Callable[..., Browser]
CEREMONY = Path(__file__).parents[2] / "docs/how-to/ceremony/root-and-issuing.toml"


@pytest.fixture(scope="module")
def strict(serving: Serving) -> Desk:
    """The same records under the rule."""
    rules = ApprovalRules(frozenset(Guarded))
    return replace(serving.site.desk, rules=replace(serving.site.desk.rules, approvals=rules))


def somebody(serving: Serving, role: Role, name: str) -> tuple[Actor, str]:
    token = serving.site.token(role, name=name)
    found = actor_from_token(
        serving.site.desk, Secret(token), now=serving.site.clock(), request_id="r"
    )
    return found, token


def request(serving: Serving, strict: Desk, actor: Actor, name: str) -> int:
    wanted = AuthorityRequest(name=name, kind="issuing", parent="root", subject=f"CN={name}")
    return asked(lambda: founding.create(strict, actor, wanted, now=serving.site.clock()))


def test_another_person_sees_exactly_what_and_approves(
    browser: Make, serving: Serving, strict: Desk
) -> None:
    admin, _ = somebody(serving, Role.ADMIN, "alice")
    number = request(serving, strict, admin, "branch")
    visitor = browser(Role.APPROVER)
    listed = visitor.get("/approvals?state=pending&act=")
    assert f"/approvals/{number}" in listed.links
    page = visitor.get(f"/approvals/{number}")
    for told in ("alice", "CN=branch", "authority.create", "root", "A CA is made"):
        assert told in page.text, told
    assert '<span title="3650 days, 0:00:00">3,650 days (about 10 years)</span>' in page.html
    refused = visitor.fill(page, f"/approvals/{number}", decision="approve", reason=" ")
    assert (refused.status, "approval_reason_missing" in refused.html) == (422, True)
    done = visitor.submit(refused, f"/approvals/{number}", decision="approve", reason="ticket 1")
    assert "You approved it." in done.text
    assert state_of(strict, number, serving.site.clock()) == "approved"
    # A page of before does nothing.
    stale = visitor.fill(page, f"/approvals/{number}", decision="refuse", reason="no")
    assert (stale.status, "page_stale" in stale.html) == (409, True)
    # What was approved can be refused until it is used.
    visitor.submit(done, f"/approvals/{number}", decision="refuse", reason="thought again")
    assert state_of(strict, number, serving.site.clock()) == "refused"


def test_nobody_decides_on_his_own_and_only_the_asker_withdraws(
    browser: Make, serving: Serving, strict: Desk
) -> None:
    admin, admins = somebody(serving, Role.ADMIN, "carol")
    _, approvers = somebody(serving, Role.APPROVER, "Carol")
    number = request(serving, strict, admin, "own")
    own = browser(approvers)
    page = own.get(f"/approvals/{number}")
    assert "another person decides" in page.text
    assert not [form for form in page.forms if form.action == f"/approvals/{number}"]
    csrf = page.form("/sign-out").fields["csrf"]
    sent = {"csrf": csrf, "decision": "approve", "reason": "me", "state": "pending"}
    sha256 = decisions.get(strict, admin, number, now=serving.site.clock()).sha256
    forced = own.send("POST", f"/approvals/{number}", {**sent, "sha256": sha256})
    assert (forced.status, "approval_own" in forced.html) == (403, True)
    stranger = browser(Role.ADMIN)
    page = stranger.get(f"/approvals/{number}")
    assert not [form for form in page.forms if form.action.endswith("/withdraw")]
    asker = browser(admins)
    done = asker.submit(asker.get(f"/approvals/{number}"), f"/approvals/{number}/withdraw")
    assert "The request is withdrawn." in done.text


def test_a_request_that_ended_by_the_clock_offers_nothing(
    browser: Make, serving: Serving, strict: Desk
) -> None:
    admin, _ = somebody(serving, Role.ADMIN, "dora")
    short = replace(
        strict,
        rules=replace(
            strict.rules,
            approvals=replace(strict.rules.approvals, valid=strict.rules.sessions.idle / 30),
        ),
    )
    number = request(serving, short, admin, "late")
    visitor = browser(Role.APPROVER)
    page = visitor.get(f"/approvals/{number}")
    serving.site.clock.ahead += strict.rules.sessions.idle / 10
    late = visitor.fill(page, f"/approvals/{number}", decision="approve", reason="yes")
    assert (late.status, "page_stale" in late.html) == (409, True)
    assert "expired" in late.text
    assert not [form for form in late.forms if form.action == f"/approvals/{number}"]


def test_the_parts_of_a_ceremony_are_listed(browser: Make, serving: Serving, strict: Desk) -> None:
    plan = read_plan(CEREMONY.read_bytes())
    leader = course.leader(plan)
    number = asked(lambda: course.ask(strict, plan, leader, now=serving.site.clock()))
    page = browser(Role.APPROVER).get(f"/approvals/{number}")
    assert "A key ceremony is held" in page.text
    assert "Part 1 of" in page.text


def test_tokens_are_not_told(browser: Make, serving: Serving, strict: Desk) -> None:
    admin, _ = somebody(serving, Role.ADMIN, "erna")
    number = asked(
        lambda: tokens.create(
            strict, admin, tokens.TokenRequest("frank", Role.OPERATOR), now=serving.site.clock()
        )
    )
    page = browser(Role.APPROVER).get(f"/approvals/{number}")
    assert "frank" in page.text
    assert "iw_" not in page.html


def test_what_somebody_wrote_into_a_request_is_shown_and_does_nothing(
    browser: Make, serving: Serving, strict: Desk
) -> None:
    admin, _ = somebody(serving, Role.ADMIN, "<img src=x onerror=alert(1)>")
    wanted = tokens.TokenRequest("x</dd><script>alert(2)</script>" + "y" * 60, Role.OPERATOR)
    number = asked(lambda: tokens.create(strict, admin, wanted, now=serving.site.clock()))
    visitor = browser(Role.APPROVER)
    for path in ("/approvals", f"/approvals/{number}", f"/audit-log?object=approval:{number}"):
        page = visitor.get(path)
        assert page.status == 200
        assert "<script>alert" not in page.html
        assert "<img src=x" not in page.html
