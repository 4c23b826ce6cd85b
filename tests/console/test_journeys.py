"""What operators do at the console, in Debian's Chromium, on gateways of the lab: real daemons and their agents."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.api.site import new_csr
from tests.console.chromium import Visitor, chromium, required
from tests.lab import Lab
from tests.lab.agents import TUNNEL, Fed, fleet, join, until
from tests.lab.story import Warden
from tests.lab.traffic import ping_through

LATER = datetime.now(UTC).date() + timedelta(days=90)


@pytest.fixture(autouse=True)
def needs_chromium() -> None:
    """Nothing here goes without."""
    required()


@contextmanager
def browsing(warden: Warden, folder: Path) -> Iterator[Browser]:
    """A Chromium that trusts the service's root."""
    with chromium(warden.instance.directory / "root-ca.pem", folder) as browser:
        yield browser


@contextmanager
def person(browser: Browser, warden: Warden, role: str, journey: str) -> Iterator[Visitor]:
    """Somebody who has signed in with a token of a role of his own."""
    made = warden.call("POST", "/v1/tokens", {"name": f"{role} of {journey}", "role": role})
    visitor = Visitor(browser, f"https://localhost:{warden.api_port}", journey)
    visitor.sign_in(made["token"])
    yield visitor
    visitor.close()


def button(visitor: Visitor, name: str) -> None:
    """Press a button of the page, not of its head."""
    visitor.page.get_by_role("main").get_by_role("button", name=name, exact=True).click()


def test_issue_a_certificate_find_it_and_revoke_another_into_the_tunnel(
    lab: Lab, tmp_path: Path
) -> None:
    old = tmp_path / "ipsec.secrets"
    old.write_text('192.0.2.1 192.0.2.99 : PSK "summer"\n')
    old.chmod(0o644)
    watched = {"audit.paths": str(old)}
    with (
        fleet(lab, tmp_path / "instance", "gw-a", "gw-b", agent=watched) as (left, right),
        browsing(left.warden, tmp_path / "home") as browser,
        person(browser, left.warden, "operator", "certificates") as visitor,
    ):
        join(left, right)
        left.gateway.initiate(TUNNEL)
        ping_through(left.gateway, right.gateway)
        visitor.look("overview")
        issue(visitor)
        accept_a_finding(visitor, left, old)
        revoke(visitor, left, right)


def issue(visitor: Visitor) -> None:
    """Issue a certificate, and find it by its serial number and by a part of its name."""
    page = visitor.page
    page.get_by_role("navigation", name="Rooms").get_by_role("link", name="Certificates").click()
    visitor.look("list")
    page.get_by_role("link", name="Issue a certificate").first.click()
    page.get_by_label("Certificate signing request").fill("no request at all")
    button(visitor, "Issue")
    alert = page.get_by_role("alert")
    expect(alert).to_be_visible()
    expect(alert).to_be_focused()  # it is read aloud
    visitor.look("issue-refused")
    page.get_by_label("Certificate signing request").fill(new_csr("branch7.example.com"))
    button(visitor, "Issue")
    expect(page.get_by_role("status")).to_contain_text("issued")
    expect(page.get_by_role("heading", level=1)).to_contain_text("branch7.example.com")
    visitor.look("certificate")
    serial = re.search(r"/certificates/([0-9a-f]+)", page.url)
    assert serial is not None
    for words in (serial[1].upper(), "branch7"):
        find = page.get_by_role("searchbox", name="Search certificates")
        find.fill(words)
        find.press("Enter")
        row = page.get_by_role("main").get_by_role("link", name="branch7.example.com")
        expect(row.first).to_be_visible()


def accept_a_finding(visitor: Visitor, fed: Fed, old: Path) -> None:
    """Accept what a gateway's agent found on it."""
    fed.stop()
    fed.agent("once", "--audit")
    fed.start()
    found = fed.warden.call("GET", f"/v1/findings?gateway={fed.name}")["items"]
    (number,) = [each["id"] for each in found if each["path"] == str(old)][:1]
    page = visitor.page
    page.get_by_role("navigation", name="Rooms").get_by_role("link", name="Findings").click()
    visitor.look("findings")
    page.locator(f"#findings a[href='/findings/{number}']").click()
    visitor.look("finding")
    page.get_by_label("Until the end of").fill(LATER.isoformat())
    page.locator("#accept").get_by_label("Reason").fill("Until the new image is rolled out: CHG-17")
    button(visitor, "Accept")
    expect(page.get_by_role("main")).to_contain_text("CHG-17")
    kept = fed.warden.call("GET", f"/v1/findings/{number}")
    assert kept["state"] == "accepted"
    assert kept["accepted"]["until"].startswith((LATER + timedelta(days=1)).isoformat())


def revoke(visitor: Visitor, left: Fed, right: Fed) -> None:
    """Revoke a gateway's certificate: see what ends with it, and watch it end."""
    page = visitor.page
    (serial,) = right.serials
    until(
        lambda: left.warden.call("GET", f"/v1/sas?gateway={left.name}")["items"],
        "the SA is reported",
    )
    visitor.go(f"/certificates/{serial}")
    page.get_by_role("link", name="Revoke", exact=False).first.click()
    main = page.get_by_role("main")
    expect(main).to_contain_text(TUNNEL)
    visitor.look("revoke")
    page.get_by_label("Reason").select_option("keyCompromise")
    button(visitor, "Revoke for ever")
    expect(page.get_by_role("status")).to_contain_text("revoked")
    # Nothing is loaded again: what is told comes by itself.
    expect(page.locator("#confirmed")).to_have_text("1", timeout=120_000)
    expect(main).to_contain_text("Published", timeout=120_000)
    visitor.look("cut")
    until(lambda: left.gateway.established(TUNNEL) is None, "the tunnel has ended")
    assert left.warden.call("GET", f"/v1/certificates/{serial}")["status"] == "revoked"
    visitor.go(f"/certificates/{serial}/revoke")
    expect(main).to_contain_text("revoked")
