"""Findings in the console: searched, looked at, accepted and opened again, alone and many at once."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from ike.audit.values import Severity
from pki.actors import Role, Scope
from tests.api.serving import Serving
from tests.console.browser import Browser
from tests.fleet.auditing import all_of, audited, found
from tests.fleet.crew import Member, enlist

Make = Callable[..., Browser]
EVIL = 'gw <script>alert(1)</script>\u202e"&'
WEAK = found(title="A pre-shared key can be guessed", evidence=EVIL)
OPEN_FILE = found("secrets-file-open-to-others", Severity.CRITICAL, title="Others can read it")


@pytest.fixture(scope="module")
def members(serving: Serving) -> list[Member]:
    site = serving.site
    made = [enlist(site.desk, f"gw{n}.example", now=site.clock()) for n in (1, 2, 3)]
    for each in made[:2]:
        audited(each, WEAK, now=site.clock())
    audited(made[0], WEAK, OPEN_FILE, now=site.clock())
    return made


def number_of(serving: Serving, gateway: str, rule: str) -> int:
    (one,) = all_of(serving.site.desk, gateway=gateway, rule=rule)
    return one.id


def test_the_list_is_searched_by_its_form_with_fields_left_empty(
    browser: Make, members: list[Member]
) -> None:
    visitor = browser(Role.AUDITOR)
    page = visitor.get("/findings?q=&gateway=gw1.example&rule=&baseline=&severity=&state=present")
    assert page.status == 200
    assert "Others can read it" in page.text
    assert "gw2. example" not in page.text
    page = visitor.get("/findings?severity=critical")
    assert "secrets-file-open-to-others" in page.text
    assert "psk-weak" not in page.text
    assert visitor.get("/findings?gateway=nobody.example").status == 404
    assert visitor.get("/findings?severity=dreadful").status == 422
    assert visitor.get("/findings?cursor=AAAA").status == 422


def test_what_a_gateway_says_is_shown_and_does_nothing(
    browser: Make, serving: Serving, members: list[Member]
) -> None:
    number = number_of(serving, "gw1.example", "psk-weak")
    page = browser(Role.AUDITOR).get(f"/findings/{number}")
    assert "<script>alert" not in page.html
    assert "\u202e" not in page.html
    assert "alert(1)" in page.text
    assert not [form for form in page.forms if "accept" in form.action]  # an auditor only looks


def test_accepted_with_a_reason_and_taken_back(
    browser: Make, serving: Serving, members: list[Member]
) -> None:
    number = number_of(serving, "gw1.example", "secrets-file-open-to-others")
    visitor = browser(Role.OPERATOR)
    page = visitor.get(f"/findings/{number}")
    until = (serving.site.clock() + timedelta(days=30)).date()
    refused = visitor.fill(page, f"/findings/{number}/accept", until=str(until), why=" ")
    assert refused.status == 422
    assert "An acceptance has a reason." in refused.text
    assert refused.form(f"/findings/{number}/accept").fields["until"] == str(until)
    done = visitor.submit(refused, f"/findings/{number}/accept", until=str(until), why="a lab")
    assert "The finding is accepted." in done.text
    (one,) = all_of(serving.site.desk, gateway="gw1.example", rule="secrets-file-open-to-others")
    assert (one.state, one.accepted_why) == ("accepted", "a lab")
    assert one.accepted_until is not None
    assert one.accepted_until.date() == until + timedelta(days=1)  # the end of the day
    # Somebody else has a page of before.
    stale = visitor.fill(page, f"/findings/{number}/accept", until=str(until), why="mine")
    assert (stale.status, "finding_changed" in stale.html) == (409, True)
    back = visitor.submit(done, f"/findings/{number}/reopen", why="in production")
    assert "The finding is open again." in back.text
    assert "in production" in back.text


def test_without_a_day_nothing_is_accepted(
    browser: Make, serving: Serving, members: list[Member]
) -> None:
    number = number_of(serving, "gw1.example", "psk-weak")
    visitor = browser(Role.OPERATOR)
    page = visitor.get(f"/findings/{number}")
    for day in ("", "2001-01-01", "9999-12-31"):
        refused = visitor.fill(page, f"/findings/{number}/accept", until=day, why="so")
        assert refused.status == 422, day
    assert all_of(serving.site.desk, gateway="gw1.example", rule="psk-weak")[0].state == "open"


def test_many_at_once_after_a_look_at_how_many(
    browser: Make, serving: Serving, members: list[Member]
) -> None:
    visitor = browser(Role.ADMIN)
    page = visitor.get("/findings/accept?rule=psk-weak&path=%2Fetc%2Fipsec.secrets")
    assert "2 open findings of 2 gateways" in page.text
    until = str((serving.site.clock() + timedelta(days=9)).date())
    audited(members[2], WEAK, now=serving.site.clock())
    stale = visitor.fill(page, "/findings/accept", until=until, why="all are replaced")
    assert (stale.status, "page_stale" in stale.html) == (409, True)
    assert "3 open findings of 3 gateways" in stale.text
    assert {each.state for each in all_of(serving.site.desk, rule="psk-weak")} == {"open"}
    done = visitor.submit(stale, "/findings/accept", until=until, why="all are replaced")
    assert done.status == 200
    assert {each.state for each in all_of(serving.site.desk, rule="psk-weak")} == {"accepted"}


def test_rules_verdicts_and_trend(browser: Make, members: list[Member]) -> None:
    visitor = browser(Role.AUDITOR)
    rules = visitor.get("/findings/rules")
    assert "psk-weak" in rules.text
    assert "/findings?rule=psk-weak" in rules.links
    verdicts = visitor.get("/findings/verdicts")
    assert "/findings?baseline=rfc" in verdicts.links
    assert "gw1. example" in verdicts.text
    trend = visitor.get("/findings/trend")
    assert trend.html.count('type="application/json"') == 2
    assert not [each for each in trend.attributes if each[1] == "style"]


def test_a_token_of_one_gateway_sees_that_ones_alone(
    browser: Make, serving: Serving, members: list[Member]
) -> None:
    token = serving.site.token(Role.AUDITOR, name="tied", scope=Scope(gateway="gw2.example"))
    visitor = browser(token)
    page = visitor.get("/findings?state=all")
    assert "gw2. example" in page.text
    assert "gw1. example" not in page.text
    assert "/findings/rules" not in page.links
    other = number_of(serving, "gw1.example", "psk-weak")
    for path in (f"/findings/{other}", "/findings/rules", "/findings/verdicts", "/findings/trend"):
        assert visitor.get(path).status == 403, path
