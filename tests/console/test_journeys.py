"""What operators do at the console, in Debian's Chromium, on gateways of the lab: real daemons and their agents."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import vici
from playwright.sync_api import Browser, expect

from tests.api.site import new_csr
from tests.console.chromium import Visitor, chromium, required
from tests.fixtures.another_year import of_chromium
from tests.fixtures.served import Served, serving
from tests.fixtures.terminal import run_at_terminal
from tests.lab import Lab
from tests.lab.agents import TUNNEL, Fed, fleet, join, until
from tests.lab.rotating import bring_up, one_key, slot
from tests.lab.rotating import join as join_by_psk
from tests.lab.story import Warden
from tests.lab.traffic import ping_through, pinging

pytestmark = of_chromium
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
    expect(main).to_contain_text("revoked", ignore_case=True)


def test_rotate_a_key_under_traffic_read_an_alert_and_look_at_the_fleet(
    lab: Lab, tmp_path: Path
) -> None:
    with (
        fleet(lab, tmp_path / "instance", "gw-a", "gw-b") as (left, right),
        browsing(left.warden, tmp_path / "home") as browser,
        person(browser, left.warden, "operator", "tunnels") as visitor,
    ):
        child = {
            "name": TUNNEL,
            "left_networks": [str(left.gateway.inside.network)],
            "right_networks": [str(right.gateway.inside.network)],
            "rekey_seconds": 3600,
        }
        join_by_psk(left, right, children=[child])
        bring_up(left, right)
        rotate(visitor, left, right)
        read_an_alert(visitor, left)
        for room in ("Fleet map", "Gateways", "SAs", "Alerts", "Overview"):
            visitor.page.get_by_role("navigation", name="Rooms").get_by_role(
                "link", name=room, exact=True
            ).click()
            expect(visitor.page.get_by_role("heading", level=1)).to_be_visible()
            visitor.look(room.lower().replace(" ", "-"))


def rotate(visitor: Visitor, left: Fed, right: Fed) -> None:
    """Rotate the key of a tunnel, and watch the states go by while packets pass."""
    page = visitor.page
    page.get_by_role("navigation", name="Rooms").get_by_role("link", name="Tunnels").click()
    page.get_by_role("main").get_by_role("link", name=TUNNEL, exact=True).first.click()
    visitor.look("tunnel")
    page.get_by_role("link", name=re.compile("^Rotate")).first.click()
    visitor.look("plan")
    before = slot(left)["version"]
    with pinging(left.gateway, right.gateway) as counted:
        page.get_by_label("Why").fill("Yearly change, CHG-18")
        button(visitor, "Begin the rotation")
        main = page.get_by_role("main")
        expect(main).to_contain_text("Where it stands")
        if not re.search(r"/rotations/\d+", page.url):
            main.get_by_role("link", name=re.compile("Rotation")).first.click()
        # Nothing is loaded again: the states come by themselves.
        expect(page.locator("#stands")).to_contain_text("Done", timeout=120_000)
    visitor.look("rotated")
    assert counted[0].lost == 0, counted[0].output
    assert one_key(left, right) == before + 1
    assert all(value.hex() not in page.content() for value in secret_values(left))


@contextmanager
def rekeying(fed: Fed) -> Iterator[None]:
    """Have the tunnel rekeyed by something that has gone mad: without a pause, until the block ends."""
    over = threading.Event()

    def run() -> None:
        with fed.gateway.session() as session:
            while not over.wait(0.02):
                with suppress(vici.exception.CommandException):  # one is under way
                    session.rekey({"child": TUNNEL})

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def read_an_alert(visitor: Visitor, fed: Fed) -> None:
    """See an alert come, understand it, and silence it; a rotation of a moment ago hides none."""
    page = visitor.page
    main = page.get_by_role("main")
    rooms = page.get_by_role("navigation", name="Rooms")
    rooms.get_by_role("link", name="Alerts").click()
    row = page.locator("#alerts tr", has_text=fed.name).get_by_role("link", name="rekey too fast")
    with rekeying(fed):
        # Nothing is loaded again: it comes by itself, while it goes on.
        expect(row).to_be_visible(timeout=180_000)
    visitor.look("alerts")
    row.click()
    for heading in ("Likely cause", "Next step", "Evidence", "The events that show it"):
        expect(main).to_contain_text(heading)
    visitor.look("alert")
    page.get_by_label("Why").fill("Their controller went mad, it is being stopped: CHG-19")
    button(visitor, "Silence it")
    expect(page.get_by_role("status")).to_contain_text("Nobody is told of it until then")
    expect(main).to_contain_text("CHG-19")
    visitor.look("silenced")
    kept = fed.warden.call("GET", f"/v1/alerts/{page.url.rpartition('/')[2].partition('?')[0]}")
    assert (kept["kind"], kept["gateway"]) == ("rekey_too_fast", fed.name)
    assert kept["silenced"]["why"].endswith("CHG-19")
    rooms.get_by_role("link", name="SAs", exact=True).click()
    main.locator("table tr", has_text=fed.name).get_by_role("link", name=TUNNEL).first.click()
    expect(page.locator("#rekeys-child canvas, #rekeys-child svg").first).to_be_visible()
    expect(main).to_contain_text("Too early")
    visitor.look("rekeys")


def secret_values(fed: Fed) -> list[bytes]:
    """Keys that charon has, to look for them where they must not be."""
    folder = fed.gateway.directory / "agent"
    texts = [
        each.read_bytes() for each in folder.rglob("*") if each.is_file() and "psk" in each.name
    ]
    return [each for each in texts if each]


CEREMONY = Path(__file__).parents[2] / "docs/how-to/ceremony/root-and-issuing.toml"


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service under the two-person rule."""
    environ = {"IKEWARDEN_APPROVALS__REQUIRED": "authority.create,authority.issue,role.change"}
    with serving(tmp_path_factory.mktemp("ruled") / "instance", environ=environ) as service:
        yield service


def test_approve_a_ceremony_and_find_it_in_the_log_with_its_proof(
    ruled: Served, tmp_path: Path
) -> None:
    token = tmp_path / "bob.token"
    ruled.json("token", "create", "bob", "--role", "approver", "--out", token)
    hash_ = hashlib.sha256(CEREMONY.read_bytes()).hexdigest()

    def hold(*more: str) -> int:
        command = ("ca", "ceremony", CEREMONY, "--transcript", tmp_path / "transcript", *more)
        return run_at_terminal(
            *command, "--dir", ruled.directory, answers=(hash_[:16], hash_), environ=ruled.environ
        ).code

    assert hold() == 1  # another person must approve it
    with chromium(ruled.ca_file, tmp_path / "home") as browser:
        visitor = Visitor(browser, ruled.url, "ceremony")
        visitor.sign_in(token.read_text().strip())
        page = visitor.page
        main = page.get_by_role("main")
        page.get_by_role("navigation", name="Rooms").get_by_role("link", name="Approvals").click()
        visitor.look("approvals")
        main.get_by_role("link", name=re.compile("^Request ")).first.click()
        expect(main).to_contain_text(hash_)
        visitor.look("approval")
        number = page.url.rpartition("/")[2].partition("?")[0]
        main.get_by_label("Reason").fill("As agreed on Monday")
        button(visitor, "Approve exactly this")
        expect(main).to_contain_text("As agreed on Monday")
        assert hold("--approval", number) == 0
        page.get_by_role("navigation", name="Rooms").get_by_role("link", name="Audit log").click()
        visitor.look("log")
        visitor.go(f"/audit-log?object=approval:{number}")
        main.locator("table a").first.click()
        expect(main).to_contain_text("approval")
        visitor.look("event")
        for room in ("Jobs", "Settings"):
            page.get_by_role("navigation", name="Rooms").get_by_role("link", name=room).click()
            visitor.look(room.lower())
        chinese = page.locator("details.person")
        chinese.locator("summary").click()
        chinese.get_by_label("Language").select_option("zh")
        chinese.get_by_role("button", name="Apply").click()
        expect(page.locator("html")).to_have_attribute("lang", "zh")
        visitor.look("settings-zh")
        visitor.close()
