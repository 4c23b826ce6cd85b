"""The audit log in the console: searched, proved step by step, and compared with heads that somebody kept."""

import base64
import json
from collections.abc import Callable

import pytest
from sqlalchemy import update

from pki.actors import Role
from pki.tlog import note
from pki.tlog.merkle import leaf_hash, verify_inclusion
from pki.tlog.note import VerifierKey
from store.tables import audit_events
from tests.api.serving import Serving
from tests.api.site import Site
from tests.console.browser import Browser
from tests.pki.logkeeping import Memory, sequence, write

Make = Callable[..., Browser]


@pytest.fixture(scope="module")
def memory(site: Site) -> Memory:
    return Memory()


@pytest.fixture
def auditor(browser: Make, serving: Serving, memory: Memory) -> Browser:
    """An auditor, where there is a log."""
    made = browser(Role.AUDITOR)
    sequence(serving.site.desk, memory, serving.site.clock())
    return made


def test_no_head_yet(browser: Make) -> None:
    visitor = browser(Role.AUDITOR)
    page = visitor.get("/audit-log/head")
    assert (page.status, "audit_log_not_begun" in page.html) == (404, True)
    page = visitor.get("/audit-log/1")
    assert page.status == 200  # the event is shown; its proof is not to be had yet
    assert "audit_log_not_begun" in page.html


def test_searched_by_its_form(auditor: Browser, serving: Serving) -> None:
    page = auditor.get("/audit-log?action=console.sign_in&actor=&object=&since=&until=")
    assert page.status == 200
    assert "a auditor (auditor)" in page.text
    assert "authority.create" not in page.text
    today = serving.site.clock().date()
    assert "There is no such event." in auditor.get("/audit-log?until=2001-01-01").text
    assert "console.sign_in" in auditor.get(f"/audit-log?since={today}&until={today}").text
    assert auditor.get("/audit-log?until=9999-12-31").status == 200
    assert auditor.get("/audit-log?since=yesterday").status == 422


def test_pages_follow_each_other_without_a_gap(auditor: Browser, serving: Serving) -> None:
    write(serving.site.desk.store, 60)
    seen: list[int] = []
    path = "/audit-log?action=note"
    while path:
        page = auditor.get(path)
        seen += [
            int(link.rpartition("/")[2])
            for link in page.links
            if link.startswith("/audit-log/") and link.rpartition("/")[2].isdigit()
        ]
        path = next((link for link in page.links if "cursor=" in link), "")
    assert len(seen) == len(set(seen)) >= 60
    assert seen == sorted(seen, reverse=True)


def test_an_event_with_its_proof_and_the_file_that_anybody_can_check(
    auditor: Browser, serving: Serving
) -> None:
    page = auditor.get("/audit-log/3")
    assert page.text.count("holds") >= 4
    assert "The event is in the signed log" in page.text
    kept = auditor.send("GET", "/audit-log/3/proof.json")
    assert "attachment" in kept.headers["content-disposition"]
    shown = json.loads(kept.html)
    said = note.verify(shown["head"]["note"], VerifierKey.parse(shown["head"]["key"]))
    path = [base64.b64decode(each) for each in shown["proof"]]
    verify_inclusion(leaf_hash(shown["entry"].encode()), shown["index"], said.size, path, said.root)
    assert auditor.get("/audit-log/999999").status == 404
    assert auditor.get("/audit-log/x").status == 404


def test_a_head_that_was_kept_is_compared(
    auditor: Browser, serving: Serving, memory: Memory
) -> None:
    kept = auditor.send("GET", "/audit-log/head.txt").html
    key = VerifierKey.parse(auditor.send("GET", "/audit-log/key.pub").html)
    assert note.verify(kept, key).size > 0
    write(serving.site.desk.store, 5)
    sequence(serving.site.desk, memory, serving.site.clock())
    page = auditor.get("/audit-log/head")
    # As a browser sends it.
    whole = auditor.fill(page, "/audit-log/head", note=kept.replace("\n", "\r\n"))
    assert "Nothing that was under that head was changed" in whole.text
    forged = kept.replace("\n", "x\n", 1)
    for text, status, told in (
        ("", 422, "audit_head_unreadable"),
        ("nonsense", 422, "audit_head_unreadable"),
        (forged, 200, "The log is not the one that the head is of"),
    ):
        answer = auditor.fill(page, "/audit-log/head", note=text)
        assert (answer.status, told in answer.html) == (status, True), text
    size = kept.split("\n")[1]
    other = kept.replace(f"\n{size}\n", f"\n{int(size) - 1}\n", 1)
    assert "The log is not the one" in auditor.fill(page, "/audit-log/head", note=other).text


def test_a_row_that_was_changed_is_seen(auditor: Browser, serving: Serving) -> None:
    number = 4
    changed = update(audit_events).where(audit_events.c.id == number)
    with serving.site.desk.store.write() as connection:
        connection.execute(changed.values(actor="nobody at all"))
    page = auditor.get(f"/audit-log/{number}")
    assert "wrong" in page.text
    assert "The event is not as it was signed." in page.text
    assert "The event is in the signed log" not in page.text
