"""SAs, connections and alerts: found, watched, plotted beside their bounds; what peers chose is harmless."""

import json
import re
from collections.abc import Callable, Iterator

import pytest

from fleet.monitoring import intervals, shown
from fleet.monitoring.shown import AlertQuery
from pki.actors import Role, Scope
from tests.api.serving import Serving
from tests.console.browser import Browser, Page
from tests.console.fleet import REKEY, Fleet, Watcher, failed, rekeyed
from tests.fixtures.desk import OPERATOR

Make = Callable[..., Browser]
HOSTILE = "CN=<script>alert(1)</script>\u202egnp\x1b[31m" + "x" * 900


@pytest.fixture(scope="module")
def fleet(serving: Serving) -> Iterator[Fleet]:
    """The gateways of this module."""
    made = Fleet(serving.site, "sa")
    yield made
    made.close()


@pytest.fixture(scope="module")
def tunnel(fleet: Fleet) -> str:
    """A managed tunnel, whose bounds are known."""
    return fleet.tunnel("a", "b")


@pytest.fixture(scope="module")
def guessed(fleet: Fleet, tunnel: str) -> int:
    """The number of an alert about an identity that somebody chose with care."""
    fleet.events("sa-a.example", failed("guarded", fleet.watch(), 14, HOSTILE))
    found = shown.alerts(fleet.site.desk, OPERATOR, AlertQuery(gateway="sa-a.example"))
    return next(each.id for each in found if each.connection == "guarded")


def refusal(page: Page) -> str:
    """The code that a page shows."""
    found = re.search(r'class="quiet">([a-z_]+) ·', page.html)
    assert found is not None, page.text
    return found[1]


def plain(page: Page) -> str:
    """The page without the places at which names may be broken."""
    return page.html.replace("<wbr>", "")


def option(page: Page, name: str) -> dict[str, object]:
    """What a chart is drawn from."""
    found = re.search(f'id="{name}-option">(.*?)</script>', page.html)
    assert found is not None
    return dict(json.loads(found[1]))


def test_sas_are_found_by_gateway_connection_and_peer(
    browser: Make, fleet: Fleet, tunnel: str
) -> None:
    two = (
        {"connection": tunnel, "remote_address": "198.51.100.7", "remote_id": "sa-b.example"},
        {"connection": "branch", "remote_address": "2001:db8::7", "remote_id": "CN=branch"},
    )
    fleet.sas("sa-a.example", *two)
    fleet.sas("sa-b.example", {"connection": tunnel, "remote_address": "192.0.2.7"})
    visitor = browser(Role.AUDITOR)

    def addresses(query: str) -> set[str]:
        page = visitor.get(f"/sas?{query}")
        assert page.status == 200
        return {
            each for each in ("198.51.100.7", "2001:db8::7", "192.0.2.7") if each in plain(page)
        }

    assert addresses("gateway=sa-a.example") == {"198.51.100.7", "2001:db8::7"}
    assert addresses(f"connection={tunnel}") == {"198.51.100.7", "192.0.2.7"}
    assert addresses("connection=branch") == {"2001:db8::7"}
    assert addresses("peer=2001:db8::7") == addresses("peer=CN%3Dbranch") == {"2001:db8::7"}
    assert addresses("peer=198.51.100") == set()
    assert "No SA fits" in visitor.get("/sas?connection=none").text
    assert refusal(visitor.get("/sas?gateway=nobody")) == "gateway_not_found"
    assert f"/tunnels/{tunnel}" in visitor.get(f"/sas?connection={tunnel}").links


def test_who_watches_sees_sas_come_and_go(
    browser: Make, fleet: Fleet, serving: Serving, tunnel: str
) -> None:
    fleet.sas("sa-b.example", {"connection": tunnel, "remote_address": "192.0.2.7"})
    visitor = browser(Role.OPERATOR)
    watcher = Watcher(visitor, serving.site, "/sas?gateway=sa-b.example")
    watcher.wait("192.0.2.7")
    fleet.sas("sa-b.example", {"connection": tunnel, "remote_address": "192.0.2.8"})
    watcher.wait("192.0.2.8")
    watcher.close()


def test_what_a_gateway_reports_is_taken_for_nothing_granted(browser: Make, fleet: Fleet) -> None:
    strange = fleet.gateway("strange")
    fleet.sas(
        strange,
        {
            "connection": "<b>c</b>",
            "remote_address": HOSTILE,
            "established_at": "yesterday",
            "children": ["none", {"name": 7, "spi_in": None}],
            "secrets": "all",
        },
    )
    page = browser(Role.OPERATOR).get(f"/sas?gateway={strange}")
    assert page.status == 200
    assert "<script>alert" not in page.html
    assert "<b>c</b>" not in page.html
    assert "\u202e" not in page.html
    assert "\x1b" not in page.html


def test_rekeys_stand_beside_the_bounds_of_the_definition(
    browser: Make, fleet: Fleet, tunnel: str
) -> None:
    usual = [REKEY * 0.95, REKEY * 0.98, REKEY * 0.93]
    early = [200.0, 180.0]
    fleet.events("sa-a.example", rekeyed(tunnel, fleet.watch(), [*usual, *early]))
    known = intervals.of_connection(fleet.site.desk, OPERATOR, "sa-a.example", tunnel)
    assert [round(each.seconds) for each in known.found] == [*map(round, usual), 200, 180]
    page = browser(Role.AUDITOR).get(f"/sas/connection?gateway=sa-a.example&connection={tunnel}")
    assert page.status == 200
    # charon draws from the last tenth before the time that the definition says, and lives a tenth longer; the rules
    # grant a minute.
    assert "5 rekeys, after 180 to 3,528 s; allowed are 3,240 to 4,020 s. Too early: 2" in page.text
    drawn = option(page, "rekeys-child")
    series = {each["name"]: each for each in drawn["series"]}  # type: ignore[attr-defined]
    assert len(series["within"]["data"]) == 3
    assert [point[1] for point in series["too early"]["data"]] == early
    lines = next(each["markLine"]["data"] for each in series.values() if "markLine" in each)
    assert [line["yAxis"] for line in lines] == [3240, 3600, 4020]
    assert {each["symbol"] for each in series.values()} == {"circle", "triangle"}
    assert "too early" in page.text  # the same as a table
    assert page.text.count("child rekeyed") == 5


def test_without_a_definition_no_bound_is_drawn(browser: Make, fleet: Fleet) -> None:
    name = fleet.gateway("watched")
    fleet.events(name, rekeyed("theirs", fleet.watch(), [900.0, 1000.0]))
    page = browser(Role.AUDITOR).get(f"/sas/connection?gateway={name}&connection=theirs")
    assert "2 rekeys, after 900 to 1,000 s" in page.text
    assert "no bound is drawn" in page.text
    empty = browser(Role.AUDITOR).get(f"/sas/connection?gateway={name}&connection=nothing")
    assert empty.status == 200
    assert "No rekey of this connection was seen yet" in empty.text


def test_an_alert_tells_evidence_cause_and_next_step(browser: Make, guessed: int) -> None:
    visitor = browser(Role.AUDITOR)
    listed = visitor.get("/alerts?gateway=sa-a.example")
    assert f"/alerts/{guessed}" in listed.links
    page = visitor.get(f"/alerts/{guessed}")
    assert page.status == 200
    for heading in ("Likely cause", "Next step", "Evidence", "The events that show it"):
        assert heading in page.text
    assert "/docs/alerts/auth_failures" in page.links
    assert page.text.count("auth failed") >= 5
    for each in (listed, page):
        assert "<script>alert" not in each.html
        assert "\u202e" not in each.html
        assert "\x1b" not in each.html
    assert "/silence" not in page.html  # an auditor may not
    assert refusal(visitor.get("/alerts/4711")) == "alert_not_found"


def test_an_alert_is_told_in_chinese(browser: Make, guessed: int) -> None:
    visitor = browser(Role.AUDITOR, language="zh")
    page = visitor.get(f"/alerts/{guessed}")
    assert "<h1>认证失败</h1>" in page.html
    assert "<dt>尝试次数</dt>" in page.html
    listed = visitor.get("/alerts?gateway=sa-a.example")
    assert ">认证失败</a>" in listed.html
    assert "auth failures" not in page.text + listed.text
    report = visitor.send("GET", "/reports/sa-health?format=html&lang=zh&gateway=sa-a.example")
    assert "认证失败&nbsp;1" in report.html
    assert ">Auth" not in report.html


def test_the_list_of_alerts_is_live(
    browser: Make, fleet: Fleet, serving: Serving, tunnel: str
) -> None:
    name = fleet.gateway("stormy")
    watcher = Watcher(browser(Role.OPERATOR), serving.site, f"/alerts?gateway={name}")
    watcher.wait("No alert fits")
    fleet.events(name, failed("guarded", fleet.watch(), 14, "CN=branch"))
    watcher.wait("auth failures")
    watcher.close()


def test_open_alerts_stand_where_they_are_looked_for(
    browser: Make, fleet: Fleet, tunnel: str
) -> None:
    """Who looks at a gateway, a tunnel or a connection sees what is wrong with it, and not with another."""
    fleet.events("sa-a.example", failed(tunnel, fleet.watch(), 14, "CN=branch"))
    fleet.events(fleet.gateway("b"), failed("another", fleet.watch(), 14, "CN=other"))
    wanted = AlertQuery("open", gateway="sa-a.example", connection=tunnel)
    numbers = [each.id for each in shown.alerts(fleet.site.desk, OPERATOR, wanted)]
    assert numbers
    others = AlertQuery("open", connection="another")
    [other] = shown.alerts(fleet.site.desk, OPERATOR, others)
    connection = f"/sas/connection?gateway=sa-a.example&connection={tunnel}"
    for path in ("/gateways/sa-a.example", f"/tunnels/{tunnel}", connection):
        links = browser(Role.OPERATOR).get(path).links
        assert {f"/alerts/{each}" for each in numbers} <= set(links), path
        assert f"/alerts/{other.id}" not in links, path


def test_who_may_not_read_events_sees_the_alert_without_them(browser: Make, guessed: int) -> None:
    visitor = browser(Role.APPROVER)
    page = visitor.get(f"/alerts/{guessed}")
    assert page.status == 200
    assert "not for you to see" in page.text
    # No link leads to what is refused.
    for path in (f"/alerts/{guessed}", "/gateways/sa-a.example"):
        assert [each for each in visitor.get(path).links if each.startswith("/sas")] == []
    assert "auth failed" not in page.text


def test_an_alert_is_silenced_for_a_reason_and_told_of_again(
    browser: Make, fleet: Fleet, guessed: int
) -> None:
    visitor = browser(Role.OPERATOR)
    page = visitor.get(f"/alerts/{guessed}")
    refused = visitor.fill(page, f"/alerts/{guessed}/silence", hours="168", why=" ")
    assert (refused.status, refusal(refused)) == (422, "silence_refused")
    assert refused.form(f"/alerts/{guessed}/silence").fields["hours"] == "168"
    done = visitor.submit(refused, f"/alerts/{guessed}/silence", why="the <line> is replaced")
    assert "Nobody is told of it until then" in done.text
    assert "the <line> is replaced" in done.text
    assert "the <line>" not in done.html
    kept = shown.alert(fleet.site.desk, OPERATOR, guessed).alert
    assert kept.silenced_why == "the <line> is replaced"
    assert "Silenced" in visitor.get("/alerts?gateway=sa-a.example").text
    back = visitor.submit(done, f"/alerts/{guessed}/unsilence")
    assert "The silence was taken back" in back.text
    stale = visitor.fill(done, f"/alerts/{guessed}/unsilence")
    assert stale.status in {303, 409}  # a second click, or a page of before: it is as it was
    assert shown.alert(fleet.site.desk, OPERATOR, guessed).alert.silenced_until is None


def test_a_credential_of_one_gateway_sees_its_own_only(
    browser: Make, fleet: Fleet, serving: Serving, guessed: int
) -> None:
    token = serving.site.token(Role.OPERATOR, scope=Scope(gateway=fleet.gateway("b")))
    visitor = browser(token)
    assert f"/alerts/{guessed}" not in visitor.get("/alerts?state=all").links
    assert refusal(visitor.get(f"/alerts/{guessed}")) == "outside_scope"
    assert refusal(visitor.get("/sas?gateway=sa-a.example")) == "outside_scope"
    page = visitor.get("/sas/connection?gateway=sa-a.example&connection=guarded")
    assert refusal(page) == "outside_scope"
    assert "sa-strange" not in visitor.get("/sas").text
