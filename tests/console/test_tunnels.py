"""Tunnels and keys: what is in force, rotations from the plan to the end, what a stale page may not do."""

import base64
import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from fleet.rotation import orders, shown
from fleet.rotation.orders import Order
from fleet.rotation.shown import RotationQuery
from fleet.tunnels import TunnelQuery, search
from pki import history
from pki.actors import Role, Scope
from pki.history import AuditQuery
from tests.api.serving import Serving
from tests.api.site import CONSOLE
from tests.console.browser import Browser, Page
from tests.console.fleet import OUTSIDE, Fleet, Watcher
from tests.fixtures.desk import OPERATOR

Make = Callable[..., Browser]


@pytest.fixture(scope="module")
def fleet(serving: Serving) -> Iterator[Fleet]:
    """The gateways of this module."""
    made = Fleet(serving.site, "key")
    yield made
    made.close()


def refusal(page: Page) -> str:
    """The code that a page shows."""
    found = re.search(r'class="quiet">([a-z_]+) ·', page.html)
    assert found is not None, page.text
    return found[1]


def rotations_of(fleet: Fleet, tunnel: str) -> list[shown.RotationView]:
    """The rotations of a tunnel, the newest first."""
    return shown.search(fleet.site.desk, OPERATOR, RotationQuery(tunnel=tunnel))


def with_key(fleet: Fleet, left: str, right: str) -> str:
    """A tunnel whose first key is in force."""
    name = fleet.tunnel(left, right)
    fleet.go_on()
    assert rotations_of(fleet, name)[0].state == "retired"
    return name


def test_a_tunnel_is_found_and_shows_both_ends_and_no_value(browser: Make, fleet: Fleet) -> None:
    name = with_key(fleet, "a", "b")
    visitor = browser(Role.AUDITOR)
    listed = visitor.get(f"/tunnels?q={name}")
    assert f"/tunnels/{name}" in listed.links
    assert "PSK version 1" in listed.text
    page = visitor.get(f"/tunnels/{name}")
    assert page.status == 200
    assert {"/gateways/key-a.example", "/gateways/key-b.example"} <= set(page.links)
    assert page.text.count("Confirmed") == 2
    assert "In force" in page.text
    [slot] = shown.of_tunnel(fleet.site.desk, OPERATOR, name)
    assert slot.versions[0].fingerprint
    assert slot.versions[0].fingerprint in page.html
    for value in fleet.values(slot.name):
        for written in (value.hex(), base64.b64encode(value).decode(), value.decode("latin-1")):
            assert written not in page.html
    assert "No tunnel fits" in visitor.get("/tunnels?q=nobody-has-this").text
    # Nothing that an auditor may not do is offered.
    assert not [each for each in page.links if each.endswith(("/rotate", "/remove"))]


def test_a_rotation_from_its_plan_to_its_end(browser: Make, fleet: Fleet) -> None:
    name = with_key(fleet, "c", "d")
    visitor = browser(Role.OPERATOR)
    plan = visitor.get(f"/tunnels/{name}/rotate")
    assert "key-c.example gets the new key beside the old one" in plan.text
    assert "What users notice: nothing" in plan.text
    form = plan.form(f"/tunnels/{name}/rotate")
    begun = visitor.send("POST", form.action, {**form.fields, "why": "an administrator left"})
    assert begun.status == 303
    page = visitor.follow(begun)
    assert "The rotation has begun" in page.text
    assert "Waits for its turn" in page.text
    # A second click does nothing: it leads to the same one.
    again = visitor.send("POST", form.action, {**form.fields, "why": "an administrator left"})
    assert again.headers["location"] == begun.headers["location"]
    assert len(rotations_of(fleet, name)) == 2
    fleet.go_on()
    here = page.path.partition("?")[0]
    ended = visitor.get(here)
    assert "Old key destroyed" in ended.text
    assert "Done" in ended.text
    whole = visitor.get(f"/tunnels/{name}")
    assert "PSK 1 → 2" in whole.text
    assert "Destroyed" in whole.text
    assert log_of(fleet, name)["why"] == "an administrator left"


def log_of(fleet: Fleet, tunnel: str) -> dict[str, object]:
    """What the audit log says of the last beginning of a rotation."""
    wanted = AuditQuery(action="rotation.begin", object=f"secret:{tunnel}.psk", limit=1)
    [event] = history.audit_events(fleet.site.desk, CONSOLE, wanted)
    return dict(event.detail)


def test_who_watches_sees_the_states_go_on(browser: Make, fleet: Fleet, serving: Serving) -> None:
    name = with_key(fleet, "e", "f")
    [begun] = orders.rotate(fleet.site.desk, OPERATOR, Order(name), now=fleet.watch())
    visitor = browser(Role.AUDITOR)
    watcher = Watcher(visitor, serving.site, f"/rotations/{begun.id}")
    watcher.wait("Waits for its turn")
    assert b"<html" not in watcher.seen  # the part alone
    fleet.go_on()
    watcher.wait('Where it stands <span class="state good">Done')
    watcher.close()


def test_a_plan_that_is_not_so_any_more_begins_nothing(browser: Make, fleet: Fleet) -> None:
    name = with_key(fleet, "g", "h")
    visitor = browser(Role.OPERATOR)
    plan = visitor.get(f"/tunnels/{name}/rotate")
    orders.rotate(fleet.site.desk, OPERATOR, Order(name), now=fleet.watch())
    fleet.go_on()
    page = visitor.fill(plan, f"/tunnels/{name}/rotate", why="typed before")
    assert (page.status, refusal(page)) == (409, "page_stale")
    assert page.form(f"/tunnels/{name}/rotate").fields["why"] == "typed before"
    assert len(rotations_of(fleet, name)) == 2
    # What is under way already is said, and the page is kept.
    orders.rotate(fleet.site.desk, OPERATOR, Order(name), now=fleet.watch())
    plan = visitor.get(f"/tunnels/{name}/rotate")
    assert "It would not go on now" in plan.text
    page = visitor.fill(plan, f"/tunnels/{name}/rotate")
    assert (page.status, refusal(page)) == (409, "rotation_under_way")
    fleet.go_on()


def test_an_emergency_says_what_it_breaks(browser: Make, fleet: Fleet) -> None:
    name = with_key(fleet, "i", "j")
    visitor = browser(Role.OPERATOR)
    plan = visitor.get(f"/tunnels/{name}/rotate?emergency=1")
    assert "There is no way back" in plan.text
    assert "Interrupts" in plan.text
    page = visitor.submit(plan, f"/tunnels/{name}/rotate", why="it was on a wiki")
    assert "Emergency: both ends at once" in page.text
    assert rotations_of(fleet, name)[0].method == "emergency"
    fleet.go_on()
    assert rotations_of(fleet, name)[0].state == "retired"


def test_a_key_is_handed_over_and_confirmed(browser: Make, fleet: Fleet, serving: Serving) -> None:
    name = fleet.tunnel("k", OUTSIDE)
    visitor = browser(Role.OPERATOR)
    early = visitor.get(f"/tunnels/{name}/handover")
    page = visitor.fill(early, f"/tunnels/{name}/handover", hours="24")
    assert (page.status, refusal(page)) == (409, "nothing_to_hand_over")
    fleet.go_on(6)
    page = visitor.fill(early, f"/tunnels/{name}/handover", hours="many")
    assert (page.status, refusal(page)) == (422, "hours_refused")
    assert page.form(f"/tunnels/{name}/handover").fields["hours"] == "many"
    page = visitor.fill(page, f"/tunnels/{name}/handover", hours="2")
    assert page.status == 200
    assert "shown this once" in page.text
    [token] = set(re.findall(r"iwh1_[\w-]+", page.html))
    with serving.client() as outside:
        claimed = outside.post("/v1/handovers/claim", {"token": token}).json
    assert base64.b64decode(claimed["value"]) in fleet.values(f"{name}.psk")
    assert token not in visitor.get(f"/tunnels/{name}/handover").html
    assert token not in visitor.get(f"/tunnels/{name}").html


def test_an_outside_peers_word_and_the_way_back(browser: Make, fleet: Fleet) -> None:
    name = fleet.tunnel("l", OUTSIDE)
    agent = fleet.agents["key-l.example"]
    fleet.go_on(4)
    fleet.wire.authenticate(f"{name}.psk")
    fleet.go_on(8)
    assert rotations_of(fleet, name)[0].state == "retired"
    visitor = browser(Role.OPERATOR)
    page = visitor.submit(visitor.get(f"/tunnels/{name}/rotate"), f"/tunnels/{name}/rotate")
    here = page.path.partition("?")[0]
    fleet.go_on(6)
    waiting = visitor.get(here)
    assert "hand the key over" in waiting.text
    assert waiting.form(f"{here}/confirm").fields["state"] == "staged"
    stale = {**waiting.form(f"{here}/confirm").fields, "state": "stored"}
    refused = visitor.send("POST", f"{here}/confirm", stale)
    assert (refused.status, refusal(refused)) == (409, "page_stale")
    asked = visitor.get(f"{here}/cancel")
    back = visitor.submit(asked, f"{here}/cancel")
    assert "The rotation is being undone" in back.text
    fleet.go_on(8)
    assert rotations_of(fleet, name)[0].state == "rolled_back"
    assert "Old key in force" in visitor.get(here).text
    # It is over: the page of before does nothing any more.
    late = visitor.fill(asked, f"{here}/cancel")
    assert late.status in {303, 409}
    assert rotations_of(fleet, name)[0].state == "rolled_back"
    page = visitor.submit(visitor.get(f"/tunnels/{name}/rotate"), f"/tunnels/{name}/rotate")
    here = page.path.partition("?")[0]
    fleet.go_on(6)
    confirmed = visitor.submit(visitor.get(here), f"{here}/confirm")
    assert "Noted: the outside peer has the key" in confirmed.text
    fleet.go_on(4)
    assert agent.loaded[f"{name}.psk"][0] == 3


def test_a_silent_end_is_named_with_its_deadline(browser: Make, fleet: Fleet) -> None:
    name = with_key(fleet, "m", "n")
    fleet.agents["key-n.example"].error_code = "daemon_unreachable"
    [begun] = orders.rotate(fleet.site.desk, OPERATOR, Order(name), now=fleet.watch())
    fleet.go_on(4)
    page = browser(Role.AUDITOR).get(f"/rotations/{begun.id}")
    assert "Waits for key-n.example to take its keys until" in page.text
    assert "Tries again" in page.text
    assert "Deadline" in page.text
    running = browser(Role.AUDITOR).get(f"/rotations?state=running&tunnel={name}")
    assert f"/rotations/{begun.id}" in running.links
    fleet.agents["key-n.example"].error_code = ""
    fleet.site.clock.ahead += timedelta(hours=1)
    fleet.go_on()
    assert "Rolled back" in browser(Role.AUDITOR).get(f"/tunnels/{name}").text
    ended = fleet.watch().strftime("%Y-%m-%dT00:00:00Z")
    lately = f"/rotations?state=rolled_back&ended_after={ended}"
    assert f"/rotations/{begun.id}" in browser(Role.AUDITOR).get(lately).links
    chinese = browser(Role.AUDITOR, language="zh").get(lately)
    assert "未按时确认密钥" in chinese.html.replace("<wbr>", "")


def test_a_tunnel_is_removed_after_a_look_at_what_ends(browser: Make, fleet: Fleet) -> None:
    name = with_key(fleet, "o", "p")
    visitor = browser(Role.OPERATOR)
    asked = visitor.get(f"/tunnels/{name}/remove")
    assert "All versions of its PSK are destroyed" in asked.text
    form = asked.form(f"/tunnels/{name}/remove")
    other = visitor.send("POST", form.action, {**form.fields, "number": "4711"})
    assert (other.status, refusal(other)) == (409, "page_stale")
    page = visitor.submit(asked, f"/tunnels/{name}/remove")
    assert "The tunnel was removed" in page.text
    assert not search(fleet.site.desk, OPERATOR, TunnelQuery(q=name))
    assert visitor.get(f"/tunnels/{name}").status == 404


def test_a_credential_of_one_gateway_sees_its_tunnels_only(
    browser: Make, fleet: Fleet, serving: Serving
) -> None:
    mine, others = with_key(fleet, "q", "r"), with_key(fleet, "s", "t")
    token = serving.site.token(Role.OPERATOR, scope=Scope(gateway="key-q.example"))
    visitor = browser(token)
    listed = visitor.get("/tunnels")
    assert f"/tunnels/{mine}" in listed.links
    assert others not in listed.html
    page = visitor.get(f"/tunnels/{others}")
    assert (page.status, refusal(page)) == (403, "outside_scope")
    foreign = rotations_of(fleet, others)[0].id
    assert visitor.get(f"/rotations/{foreign}").status == 403
