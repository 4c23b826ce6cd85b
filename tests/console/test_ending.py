"""Certificates stopped from the console: shown before, done only as shown, watched until all gateways have cut."""

import http.client
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pki.actors import Role
from pki.desk import ApprovalRules
from pki.guarded import Guarded
from tests.api.serving import Serving, serve
from tests.api.site import Site
from tests.api.test_fleet import Fleet, sa
from tests.console.browser import Browser
from tests.console.test_certificates import seen

Make = Callable[..., Browser]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def serving(site: Site) -> Iterator[Serving]:
    """A listener of an installation where another person approves when a CA or a third certificate in an hour ends."""
    acts = frozenset({Guarded.AUTHORITY_REVOKE, Guarded.MASS_REVOKE})
    rules = ApprovalRules(acts, mass_revocation=1000)
    site.desk = replace(site.desk, rules=replace(site.desk.rules, approvals=rules))
    with serve(site) as running:
        yield running


@pytest.fixture
def fleet(serving: Serving) -> Iterator[Fleet]:
    """An operator over REST, and gateways."""
    made = Fleet(serving)
    yield made
    for client in made.clients:
        client.connection.close()


def status(serving: Serving, serial: str) -> tuple[str, str | None]:
    """What REST says of a certificate: its status, and the reason."""
    with serving.client(Role.OPERATOR) as operator:
        found = operator.get(f"/v1/certificates/{serial}").json
        return found["status"], found["reason"]


def a_name() -> str:
    """A name that no other test has."""
    return f"e{next(_numbers)}.console.example"


def test_a_revocation_is_shown_before_done_and_watched(browser: Make, fleet: Fleet) -> None:
    mine, peer = fleet.gateway(), fleet.gateway()
    tunnel = fleet.tunnel(mine.name, peer.name)
    peer.sas(sa(mine))
    visitor = browser(Role.OPERATOR)
    at = f"/certificates/{mine.serial}/revoke"
    page = visitor.get(at)
    assert "Tunnels that end: 1" in page.text
    assert f"{tunnel} {peer.name} {mine.name} 1" in seen(page)
    assert status(fleet.serving, mine.serial) == ("valid", None)  # looking does nothing
    done = visitor.submit(page, at, reason="superseded")
    assert "The certificate is revoked." in done.text
    assert status(fleet.serving, mine.serial) == ("revoked", "superseded")
    assert done.path.startswith(f"/certificates/{mine.serial}/reach")
    with watching(visitor, done.path) as events:
        assert "Gateways are told as soon as the list is published." in next(events)
        fleet.work()
        told = until(events, peer.name)
        assert "Pending" in told
        state = peer.state().json
        [command] = state["commands"]
        cut = {
            "connection": tunnel,
            "remote_id": mine.name,
            "matched_by": "certificate",
            "ended": True,
            "error": "",
            "sa_id": "1",
        }
        now = datetime.now(UTC).isoformat()
        report = {"id": command["id"], "at": now, "cuts": [cut], "outcome": "done"}
        assert peer.applied(state["version"], commands=[report]).status == 204
        confirmed = until(events, '<strong id="confirmed">1</strong>')
        assert "Confirmed" in confirmed
    rest = fleet.operator.get(f"/v1/certificates/{mine.serial}/reach").json
    assert [each["state"] for each in rest["gateways"]] == ["confirmed"]


class watching:  # noqa: N801 - used as a context
    """The events of a page, as a browser that watches it gets them."""

    def __init__(self, visitor: Browser, path: str) -> None:
        self._visitor, self._path = visitor, path

    def __enter__(self) -> Iterator[str]:
        cookie = "; ".join(f"{name}={value}" for name, value in self._visitor.cookies.items())
        used = self._visitor.connection
        self._connection = http.client.HTTPSConnection(
            "localhost",
            used.port,
            context=used._context,  # type: ignore[attr-defined]
            timeout=60,
        )
        headers = {"Accept": "text/event-stream", "Cookie": cookie}
        self._connection.request("GET", self._path, headers=headers)
        answer = self._connection.getresponse()
        assert (answer.status, answer.getheader("content-type")) == (200, "text/event-stream")
        return self._events(answer)

    def _events(self, answer: http.client.HTTPResponse) -> Iterator[str]:
        data: list[str] = []
        while line := answer.readline().decode():
            if line.startswith("data: "):
                data.append(line.removeprefix("data: "))
            elif line == "\n" and data:
                yield "".join(data)
                data = []

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def until(events: Iterator[str], text: str) -> str:
    """The first event that says this."""
    return next(each for each in events if text in each)


def test_a_page_that_is_not_so_any_more_does_nothing(browser: Make, fleet: Fleet) -> None:
    mine, peer = fleet.gateway(), fleet.gateway()
    visitor = browser(Role.OPERATOR)
    at = f"/certificates/{mine.serial}/revoke"
    shown = visitor.get(at)
    fleet.tunnel(mine.name, peer.name)  # meanwhile
    refused = visitor.fill(shown, at, reason="superseded")
    assert (refused.status, "page_stale" in refused.html) == (409, True)
    assert status(fleet.serving, mine.serial) == ("valid", None)
    shown = visitor.get(at)
    held = fleet.operator.post(f"/v1/certificates/{mine.serial}/hold")
    assert held.status == 200
    refused = visitor.fill(shown, at, reason="superseded")
    assert (refused.status, "page_stale" in refused.html) == (409, True)
    assert status(fleet.serving, mine.serial) == ("held", "certificateHold")
    done = visitor.submit(refused, at, reason="superseded")  # which shows how it is now
    assert status(fleet.serving, mine.serial) == ("revoked", "superseded"), done.text


def test_what_ends_beyond_the_limit_is_confirmed_by_its_number(browser: Make, fleet: Fleet) -> None:
    hub = fleet.gateway()
    number = fleet.site.desk.rules.cut_limit + 1
    for each in range(number):
        fleet.tunnel(hub.name, {"name": f"p{each}", "identities": [f"dns:q{each}.example"]})
    visitor = browser(Role.OPERATOR)
    at = f"/certificates/{hub.serial}/revoke"
    page = visitor.get(at)
    assert f"type how much ends: {number}" in page.text
    for confirmed, code in (("", "cut_needs_approval"), ("1", "cut_needs_approval")):
        refused = visitor.fill(page, at, reason="superseded", confirmed=confirmed)
        assert (refused.status, code in refused.html) == (409, True), refused.text
    refused = visitor.fill(page, at, reason="superseded", confirmed="many")
    assert (refused.status, "form_invalid" in refused.html) == (422, True)
    assert status(fleet.serving, hub.serial) == ("valid", None)
    visitor.submit(page, at, reason="superseded", confirmed=str(number))
    assert status(fleet.serving, hub.serial) == ("revoked", "superseded")


def test_a_lost_key_has_its_date_and_its_other_certificates(browser: Make, fleet: Fleet) -> None:
    name = a_name()
    first = fleet.site.issue(name)
    renewed = fleet.operator.post(f"/v1/certificates/{first.serial}/renew", {}).json
    visitor = browser(Role.OPERATOR)
    at = f"/certificates/{first.serial}/revoke"
    page = visitor.get(at)
    assert "Other certificates with the same key" in page.text
    assert renewed["serial"] in page.text
    later = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
    refused = visitor.fill(page, at, reason="keyCompromise", invalidity=later)
    assert (refused.status, "invalidity_date_refused" in refused.html) == (422, True)
    assert refused.form(at).fields["invalidity"] == later
    done = visitor.submit(page, at, reason="keyCompromise", invalidity="2026-05-01T10:00")
    found = fleet.operator.get(f"/v1/certificates/{first.serial}").json
    assert found["invalidity_date"] == "2026-05-01T10:00:00Z"
    assert found["reason"] == "keyCompromise"
    assert renewed["serial"] in done.html  # which is to be revoked too


def test_the_reason_may_only_become_worse(browser: Make, fleet: Fleet) -> None:
    serial = fleet.site.issue(a_name()).serial
    visitor = browser(Role.OPERATOR)
    at = f"/certificates/{serial}/revoke"
    page = visitor.get(at)
    assert page.form(at).fields["reason"] == ""  # nobody chose one yet
    visitor.submit(page, at, reason="superseded")
    page = visitor.get(at)
    assert page.form(at).fields["reason"] == "keyCompromise"
    assert "Superseded:" not in page.text
    refused = visitor.fill(page, at, reason="unspecified")
    assert (refused.status, "already_revoked" in refused.html) == (409, True)
    visitor.submit(page, at)
    assert status(fleet.serving, serial) == ("revoked", "keyCompromise")
    shown = visitor.get(f"/certificates/{serial}")
    assert not [link for link in shown.links if link.startswith(at)]


@pytest.mark.parametrize("reason", ["", "nonsense", "certificateHold", "cACompromise"])
def test_only_reasons_of_the_list(browser: Make, fleet: Fleet, reason: str) -> None:
    serial = fleet.site.issue(a_name()).serial
    visitor = browser(Role.OPERATOR)
    at = f"/certificates/{serial}/revoke"
    refused = visitor.fill(visitor.get(at), at, reason=reason)
    assert (refused.status, "revocation_reason_unknown" in refused.html) == (422, True)
    assert status(fleet.serving, serial) == ("valid", None)


def test_a_hold_is_for_a_while(browser: Make, fleet: Fleet) -> None:
    serial = fleet.site.issue(a_name()).serial
    visitor = browser(Role.OPERATOR)
    hold, release = f"/certificates/{serial}/hold", f"/certificates/{serial}/release"
    done = visitor.submit(visitor.get(hold), hold)
    assert "The certificate is on hold." in done.text
    assert status(fleet.serving, serial) == ("held", "certificateHold")
    assert any(link.startswith(release) for link in done.links)
    assert "already_on_hold" in visitor.fill(visitor.get(hold), hold).html
    done = visitor.submit(visitor.get(release), release)
    assert "The certificate is valid again." in done.text
    assert status(fleet.serving, serial) == ("valid", None)
    assert "not_on_hold" in visitor.fill(visitor.get(release), release).html


def test_a_ca_takes_two_people(browser: Make, serving: Serving) -> None:
    with serving.client(Role.ADMIN) as admin, serving.client(Role.APPROVER) as approver:
        name = f"branch{next(_numbers)}"
        body = {"name": name, "kind": "issuing", "parent": "root", "subject": f"CN={name}"}
        made = admin.post("/v1/authorities", body).json
        visitor = browser(Role.ADMIN)
        at = f"/certificates/{made['serial']}/revoke"
        page = visitor.get(at)
        assert "This is the certificate of a CA." in page.text
        waiting = visitor.submit(page, at, reason="cACompromise", invalidity="2026-05-01T10:00")
        assert "Another person must approve this." in waiting.text
        assert status(serving, made["serial"]) == ("valid", None)
        fields = waiting.form(at).fields
        assert (fields["reason"], fields["invalidity"]) == ("cACompromise", "2026-05-01T10:00")
        number = fields["approval"]
        assert f"/approvals/{number}" in waiting.links
        again = visitor.fill(waiting, at)
        assert (again.status, "approval_not_usable" in again.html) == (409, True)
        decided = {"decision": "approve", "reason": "planned"}
        assert approver.post(f"/v1/approvals/{number}", decided).status == 200
        ready = visitor.get(waiting.path)
        assert "approved this" in ready.text
        other = visitor.fill(ready, at, reason="superseded")
        assert (other.status, "approval_mismatch" in other.html) == (403, True)
        visitor.submit(ready, at)
        assert status(serving, made["serial"]) == ("revoked", "cACompromise")


def test_an_operator_does_not_end_a_ca(browser: Make, serving: Serving) -> None:
    with serving.client(Role.OPERATOR) as operator:
        serial = operator.get("/v1/authorities/issuing").json["serial"]
    visitor = browser(Role.OPERATOR)
    for verb in ("hold", "revoke"):
        at = f"/certificates/{serial}/{verb}"
        refused = visitor.fill(visitor.get(at), at, reason="superseded", confirmed="100000")
        assert (refused.status, "outside_scope" in refused.html) == (403, True), refused.text
    assert status(serving, serial) == ("valid", None)
