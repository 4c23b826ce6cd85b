"""The overview: it says what REST says, each number leads to what it counts, a beginner is told what to do."""

from collections.abc import Callable, Iterator

import pytest

from api.console.overview import NEEDS, address
from fleet import overview
from pki.actors import Role, Scope
from pki.authorities import PROFILE as AUTHORITY_PROFILE
from tests.api.serving import Serving
from tests.api.site import CONSOLE
from tests.api.test_fleet import Fleet
from tests.console.browser import Browser
from tests.console.test_certificates import serials

Make = Callable[..., Browser]


@pytest.fixture
def fleet(serving: Serving) -> Iterator[Fleet]:
    """An operator over REST, and gateways."""
    made = Fleet(serving)
    yield made
    for client in made.clients:
        client.connection.close()


def test_a_beginner_is_told_what_to_do_first(browser: Make, fleet: Fleet) -> None:
    visitor = browser(Role.OPERATOR)
    page = visitor.get("/")
    assert page.text.count("To do") == 3
    assert {"/certificates/issue", "/gateways", "/tunnels"} <= set(page.links)
    assert "First steps" not in browser(Role.AUDITOR).get("/").text  # who does none of that
    mine, peer = fleet.gateway(), fleet.gateway()
    page = visitor.get("/")
    assert (page.text.count("Done"), page.text.count("To do")) == (2, 1)
    fleet.tunnel(mine.name, peer.name)
    assert "First steps" not in visitor.get("/").text


def test_every_need_has_its_words(serving: Serving) -> None:
    with serving.client(Role.ADMIN) as admin:
        needs = admin.get("/v1/overview").json["needs"]
    assert {each["kind"] for each in needs} <= set(NEEDS)


def test_what_needs_somebody_is_what_rest_says(browser: Make, fleet: Fleet) -> None:
    fleet.add()  # which never comes, and so needs nobody yet
    for role in (Role.ADMIN, Role.OPERATOR, Role.APPROVER, Role.AUDITOR):
        page = browser(role).get("/")
        with fleet.serving.client(role) as client:
            needs = client.get("/v1/overview").json["needs"]
        for need in needs:
            said = NEEDS[need["kind"]][1].format(number=need["count"])
            assert (said in page.text) == (need["count"] > 0), (role, need)
            assert (NEEDS[need["kind"]][0] in page.text) or need["count"], (role, need)


def test_every_need_leads_to_a_page(browser: Make, serving: Serving) -> None:
    desk, now = serving.site.desk, serving.site.clock()
    visitor = browser(Role.ADMIN)
    for need in overview.overview(desk, CONSOLE, now=now).needs:
        page = visitor.get(address(need))
        assert page.status == 200, (need, page.text)


def test_a_number_leads_to_what_it_counts(browser: Make, serving: Serving) -> None:
    visitor = browser(Role.AUDITOR)
    page = visitor.get("/")
    bars = [each for each in page.links if "expires_after=" in each]
    assert bars
    with serving.client(Role.AUDITOR) as auditor:
        spans = auditor.get("/v1/overview").json["expiry"]
    counts = [each["count"] for each in spans if each["end"] is not None and each["count"]]
    assert [len(serials(visitor.get(each))) for each in bars] == counts


def test_a_certificate_that_ends_soon_is_listed(browser: Make, serving: Serving) -> None:
    made = serving.site.issue("soon.console.example")
    serving.site.clock.ahead += made.not_after - serving.site.clock()
    serving.site.clock.ahead -= (made.not_after - made.not_before) / 10
    try:
        visitor = browser(Role.AUDITOR)
        page = visitor.get("/")
        [leads] = [each for each in page.links if "renewed=false" in each]
        assert "soon.console.example" in page.html.replace("<wbr>", "")
        assert made.serial in serials(visitor.get(leads))
    finally:
        serving.site.clock.ahead *= 0


def test_authorities_are_shown_with_their_lists(browser: Make, serving: Serving) -> None:
    page = browser(Role.AUDITOR).get("/")
    assert {"/authorities/issuing", "/authorities/root"} <= set(page.links)
    with serving.client(Role.AUDITOR) as auditor:
        known = auditor.get("/v1/overview").json["authorities"]
    late = sum(each["lists_until"] is None for each in known)
    assert page.text.count("Run out") >= late
    assert "until 20" in page.text  # not since


def test_a_token_of_one_gateway_sees_that_one(browser: Make, fleet: Fleet) -> None:
    mine, other = fleet.gateway(), fleet.gateway()
    token = fleet.site.token(Role.OPERATOR, scope=Scope(gateway=mine.name))
    page = browser(token).get("/")
    assert page.status == 200
    assert other.name not in page.text
    assert AUTHORITY_PROFILE not in page.links


def test_it_speaks_chinese(browser: Make) -> None:
    assert "现在需要处理的事项" in browser(Role.AUDITOR, language="zh").get("/").text
