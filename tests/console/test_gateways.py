"""Gateways: registered, enrolled by one line that is shown once, told something, removed after a look."""

import base64
import json
import re
from collections.abc import Callable, Iterator

import pytest

from api.console.language import load
from fleet import reports
from fleet.gateways import GatewayQuery, search
from fleet.reports import AppliedReport
from pki import certificates
from pki.actors import Role, Scope
from pki.certificates import CertificateQuery
from tests.api.serving import Serving
from tests.api.site import new_csr
from tests.console.browser import Browser, Page
from tests.console.fleet import Fleet
from tests.fixtures.desk import OPERATOR

Make = Callable[..., Browser]


@pytest.fixture(scope="module")
def fleet(serving: Serving) -> Iterator[Fleet]:
    """The gateways of this module."""
    made = Fleet(serving.site, "gw")
    yield made
    made.close()


def refusal(page: Page) -> str:
    """The code that a page shows."""
    found = re.search(r'class="quiet">([a-z_]+) ·', page.html)
    assert found is not None, page.text
    return found[1]


def register(visitor: Browser, name: str, identities: str) -> Page:
    """Fill in the form of a new gateway."""
    page = visitor.get("/gateway-new")
    return visitor.fill(page, "/gateway-new", name=name, identities=identities)


def test_a_gateway_is_registered_and_enrolls_by_a_line_that_is_shown_once(
    browser: Make, serving: Serving
) -> None:
    visitor = browser(Role.OPERATOR)
    made = register(visitor, "new.example", "dns:new.example\r\nip:192.0.2.77\r\n")
    assert made.status == 303
    page = visitor.follow(made)
    assert "The gateway is registered" in page.text
    assert "ip:192.0.2.77" in page.text
    wrong = visitor.fill(page, "/gateways/new.example/enroll", hours="9999")
    assert (wrong.status, refusal(wrong)) == (422, "enrollment_refused")
    shown = visitor.fill(page, "/gateways/new.example/enroll", hours="2")
    assert shown.status == 200
    assert shown.headers["cache-control"] == "no-store"
    [line] = set(re.findall(r"iwe1_[\w-]+", shown.html))
    content = line.removeprefix("iwe1_")
    document = json.loads(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)))
    assert document["n"] == "new.example"
    with serving.client(document["t"]) as agent:
        wanted = {"csr": new_csr("new.example"), "profile": "gateway"}
        assert agent.post("/v1/certificates", wanted).status == 201
        assert agent.post("/v1/certificates", wanted).status in {401, 403}  # it is used up
    for path in ("/gateways/new.example", "/gateways/new.example/enroll"):
        assert line not in visitor.get(path).html
    assert "It has a valid certificate already" in visitor.get("/gateways/new.example/enroll").text


def test_a_form_that_does_not_fit_is_shown_again_as_it_was_typed(browser: Make) -> None:
    visitor = browser(Role.OPERATOR)
    page = register(visitor, "odd.example", "dns:odd.example\nno identity at all")
    assert page.status == 422
    form = page.form("/gateway-new")
    assert form.fields["name"] == "odd.example"
    assert form.fields["identities"].split() == ["dns:odd.example", "no", "identity", "at", "all"]
    hostile = register(visitor, "<script>alert(1)</script>\u202e", "dns:x.example")
    assert hostile.status == 422
    assert "<script>alert" not in hostile.html
    assert register(visitor, "once.example", "dns:once.example").status == 303
    assert refusal(register(visitor, "once.example", "dns:two.example")) == "gateway_exists"


def test_a_name_that_urls_must_quote_is_led_to(browser: Make) -> None:
    visitor = browser(Role.OPERATOR)
    name = "50% of <b> & äöü?#"
    made = register(visitor, name, "dns:quoted.example")
    assert made.status == 303, made.text
    listed = visitor.get("/gateways?q=quoted.example")
    [there] = [each for each in listed.links if each.startswith("/gateways/")]
    page = visitor.get(there)
    assert page.status == 200
    assert name in page.text
    assert "<b> &" not in page.html


def test_the_list_says_who_is_there_and_who_drifts(browser: Make, fleet: Fleet) -> None:
    name = fleet.gateway("a")
    visitor = browser(Role.AUDITOR)
    page = visitor.get(f"/gateways?q={name}")
    assert "In order" in page.text
    assert "Drifts" in page.text
    assert f"/gateways/{name}" in visitor.get("/gateways?status=ok&drift=true").links
    assert f"/gateways/{name}" not in visitor.get("/gateways?status=new").links
    assert f"/gateways/{name}" not in visitor.get("/gateways?expiring=1").links
    assert "New gateway" not in page.text
    whole = visitor.get(f"/gateways/{name}")
    assert "should be there and is not" in whole.text
    assert "strongswan" in whole.text
    assert refusal(visitor.get("/gateways/nobody")) == "gateway_not_found"


def test_a_gateway_is_told_to_renew_and_to_authenticate_afresh(browser: Make, fleet: Fleet) -> None:
    tunnel = fleet.tunnel("b", "c")
    name = fleet.gateway("b")
    visitor = browser(Role.OPERATOR)
    page = visitor.get(f"/gateways/{name}")
    forms = [each for each in page.forms if each.action.endswith(("/renew", "/afresh"))]
    assert len(forms) == 2
    for form in forms:
        told = visitor.follow(visitor.send("POST", form.action, form.fields))
        assert "The gateway learns of it within a second" in told.text
    assert "Renew its certificate" in told.text
    assert "Waits for the agent" in told.text
    assert tunnel in told.text
    no_connection = {**forms[1].fields, "connection": "", "once": "another"}
    assert refusal(visitor.send("POST", forms[1].action, no_connection)) == "command_refused"


def test_a_gateway_is_removed_after_a_look_and_its_certificates_with_it(
    browser: Make, fleet: Fleet
) -> None:
    tunnel, name = fleet.tunnel("d", "e"), fleet.gateway("d")
    visitor = browser(Role.OPERATOR)
    asked = visitor.get(f"/gateways/{name}/remove")
    assert f"/tunnels/{tunnel}" in asked.links
    assert not [each for each in asked.forms if each.action.endswith("/remove")]
    visitor.submit(visitor.get(f"/tunnels/{tunnel}/remove"), f"/tunnels/{tunnel}/remove")
    asked = visitor.get(f"/gateways/{name}/remove")
    assert "Valid certificates: 1." in asked.text
    form = asked.form(f"/gateways/{name}/remove")
    other = visitor.send("POST", form.action, {**form.fields, "number": "1"})
    assert (other.status, refusal(other)) == (409, "page_stale")
    done = visitor.submit(other, f"/gateways/{name}/remove", revoke="cessationOfOperation")
    assert "The gateway was removed" in done.text, done.text
    assert not search(fleet.site.desk, OPERATOR, GatewayQuery(q=name), now=fleet.watch())
    wanted = CertificateQuery(gateway=name)
    found = certificates.search(fleet.site.desk, OPERATOR, wanted, now=fleet.watch())
    assert [each.status for each in found] == ["revoked"]


def test_a_credential_of_one_gateway_sees_that_one(
    browser: Make, fleet: Fleet, serving: Serving
) -> None:
    mine, other = fleet.gateway("f"), fleet.gateway("g")
    visitor = browser(serving.site.token(Role.OPERATOR, scope=Scope(gateway=mine)))
    listed = visitor.get("/gateways")
    assert f"/gateways/{mine}" in listed.links
    assert other not in listed.html
    for path in ("", "/enroll", "/remove"):
        assert refusal(visitor.get(f"/gateways/{other}{path}")) == "outside_scope"
    page = visitor.get(f"/gateways/{mine}/enroll")
    form = page.form(f"/gateways/{mine}/enroll")
    sent = visitor.send("POST", f"/gateways/{other}/enroll", form.fields)
    assert refusal(sent) == "outside_scope"


def test_what_an_agent_could_not_do_is_said_in_the_language_of_the_page(
    browser: Make, serving: Serving, fleet: Fleet
) -> None:
    name = fleet.gateway("hindered")
    said = {"code": "daemon_unreachable", "message": "Nothing answers at 'charon.vici'."}
    report = AppliedReport(
        version=0,
        agent_version="1",
        daemon_kind="strongswan",
        daemon_version="6",
        incarnation="a",
        certificate=None,
        proof=None,
        inventory={},
        errors=(said, {"code": "of_a_newer_agent", "message": "Something else."}),
        commands=(),
    )
    actor = fleet.agents[name].actor
    reports.applied(serving.site.desk, actor, report, now=serving.site.clock())
    chinese = browser(Role.AUDITOR, language="zh").get(f"/gateways/{name}")
    english = browser(Role.AUDITOR).get(f"/gateways/{name}")
    means = load("zh").codes["daemon_unreachable"]
    assert f'<span lang="zh">{means}</span>' in chinese.html
    for page in (chinese, english):
        assert "Nothing answers at 'charon.vici'." in page.text
        assert "of_a_newer_agent Something else." in page.text
    assert means not in english.html
