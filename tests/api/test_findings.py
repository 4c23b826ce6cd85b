"""Findings over REST: reported, searched, accepted, and told of in every form."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from api.reporting import kinds
from api.v1.findings import MAX_ERRORS, MAX_FINDINGS
from fleet.findings import summary
from pki.actors import Role
from tests.api.serving import Client, Serving

NAME = "audited.example"


def entry(number: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"{number:016x}",
        "rule": "psk-weak",
        "area": "secrets",
        "severity": "high",
        "path": "/etc/ipsec.secrets",
        "line": 3,
        "subject": "",
        "title": "A pre-shared key can be guessed",
        "evidence": "The key of %any has about 20 bits.",
        "why": "Whoever records a handshake can try keys at leisure.",
        "fix": "Let the service make one.",
        "references": ["RFC 7296 §2.15"],
        **fields,
    }


def document(serving: Serving, *entries: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A report as the program writes it."""
    return {
        "version": 1,
        "host": "gw1",
        "root": None,
        "started": serving.site.clock().isoformat(),
        "seconds": 0.42,
        "policy": {"baseline": "rfc", "groups": [], "psk_bits": 112},
        "findings": list(entries),
        "suppressed": [],
        "known": 0,
        "errors": [],
        "summary": {"critical": 0, "high": 1, "files": 812, "items": 31},
        **fields,
    }


@pytest.fixture(scope="module")
def gateway(serving: Serving) -> Iterator[Client]:
    with serving.client(Role.OPERATOR) as operator:
        wanted = {"name": NAME, "identities": [f"dns:{NAME}"]}
        assert operator.post("/v1/gateways", wanted).status == 201
    with serving.client(serving.site.client_certificate(NAME)) as made:
        yield made


@pytest.fixture
def operator(serving: Serving) -> Iterator[Client]:
    with serving.client(Role.OPERATOR) as made:
        yield made


def send(gateway: Client, serving: Serving, *entries: dict[str, Any], **fields: Any) -> None:
    serving.site.clock.ahead += timedelta(seconds=1)
    reply = gateway.post("/v1/gateways/self/findings", document(serving, *entries, **fields))
    assert reply.status == 204, reply.json


def test_a_finding_from_report_to_fix(serving: Serving, gateway: Client, operator: Client) -> None:
    kept = {**entry(2, rule="psk-old", severity="low"), "accepted": {"reason": "old"}}
    send(gateway, serving, entry(1), suppressed=[kept])
    page = operator.get(f"/v1/findings?gateway={NAME}").json
    assert [each["rule"] for each in page["items"]] == ["psk-weak", "psk-old"]
    assert {each["state"] for each in page["items"]} == {"open"}
    number = page["items"][0]["id"]
    until = (serving.site.clock() + timedelta(days=30)).isoformat()
    accepted = operator.post(f"/v1/findings/{number}/accept", {"until": until, "why": "a lab"})
    assert (accepted.status, accepted.json["state"]) == (200, "accepted")
    assert accepted.json["accepted"]["why"] == "a lab"
    assert operator.get(f"/v1/findings?gateway={NAME}&state=accepted").json["items"] == [
        accepted.json
    ]
    metrics = operator.get("/metrics").body.decode()
    assert 'ikewarden_findings{severity="high",state="accepted"} 1.0' in metrics
    assert 'ikewarden_audited_gateways{which="reported"} 1.0' in metrics
    again = operator.post(f"/v1/findings/{number}/reopen", {"why": "in production now"})
    assert (again.json["state"], again.json["accepted"]) == ("open", None)
    assert operator.post(f"/v1/findings/{number}/reopen", {}).code == "finding_not_accepted"
    send(gateway, serving)
    whole = operator.get(f"/v1/findings/{number}").json
    assert [(each["state"], each["why"]) for each in whole["history"]] == [
        ("fixed", "not found any more"),
        ("open", "in production now"),
        ("accepted", "a lab"),
        ("open", "new"),
    ]
    refused = operator.post(f"/v1/findings/{number}/accept", {"until": until, "why": "late"})
    assert (refused.status, refused.code) == (409, "finding_fixed")
    assert operator.get("/v1/findings/none").code == "finding_not_found"


def test_pages_follow_each_other(serving: Serving, gateway: Client, operator: Client) -> None:
    severities = ("info", "low", "medium", "high", "critical")
    send(
        gateway,
        serving,
        *(entry(100 + n, severity=severities[n % 5], subject=str(n)) for n in range(25)),
    )
    path, seen = f"/v1/findings?gateway={NAME}&state=open&limit=10", []
    while path:
        reply = operator.get(path)
        seen += reply.json["items"]
        cursor = reply.json["next_cursor"]
        path = f"/v1/findings?gateway={NAME}&state=open&limit=10&cursor={cursor}" if cursor else ""
    assert len({each["id"] for each in seen}) == len(seen) == 25
    ranks = [severities.index(each["severity"]) for each in seen]
    assert ranks == sorted(ranks, reverse=True)
    assert operator.get("/v1/findings?cursor=abc").code == "cursor_invalid"


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"findings": [entry(n) for n in range(MAX_FINDINGS + 1)]},
        {"findings": [entry(severity="bad")]},
        {"findings": [entry(id="no")]},
        {"findings": [entry(path="/etc/\x1b[2J")]},
        {"findings": [entry(evidence="x" * 1001)]},
        {"findings": [entry(line=-1)]},
        {"errors": [{"path": "/a", "error": "b"}] * (MAX_ERRORS + 1)},
        {"started": "yesterday"},
        {"more": 1},
    ],
)
def test_a_report_that_is_none_is_refused(
    serving: Serving, gateway: Client, change: dict[str, Any]
) -> None:
    sent = document(serving, **{"findings": [], **change})
    reply = gateway.post("/v1/gateways/self/findings", sent)
    assert (reply.status, reply.code) == (422, "body_invalid")


class _Page(HTMLParser):
    """What a page would fetch or run, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [name for name, _ in attrs if name in {"src", "href", "style", "onload"}]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_reports_in_every_form(serving: Serving, gateway: Client, operator: Client) -> None:
    spoiled = "<script>alert(1)</script>"
    formula = entry(7, rule="formula", title='=HYPERLINK("http://evil.example")', severity="medium")
    send(gateway, serving, entry(1), entry(8, rule="spoiled", title=spoiled), formula)
    figures = operator.get("/v1/reports/audit").json
    rules = {each["rule"]: each for each in figures["rules"]}
    assert (rules["psk-weak"]["open"], rules["formula"]["gateways"]) == (1, 1)
    assert next(e for e in figures["worst"] if e["gateway"] == NAME)["verdict"] == "failing"
    verdicts = operator.get("/v1/reports/compliance?baseline=rfc").json
    assert [each["baseline"] for each in verdicts["baselines"]] == ["rfc"]
    assert verdicts["baselines"][0]["verdicts"]["failing"] == 1
    for kind in ("audit", "compliance"):
        reply = operator.get(f"/v1/reports/{kind}?format=html")
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
        page = _Page()
        page.feed(reply.body.decode())
        assert page.fetched == []
        assert not {"script", "link", "img", "iframe", "object", "form"} & set(page.tags)
        assert not re.search(r"url\(|@import", reply.body.decode())
        assert NAME in "".join(page.words)
    assert spoiled in "".join(_words(operator.get("/v1/reports/audit?format=html").body))
    table = operator.get("/v1/reports/audit?format=csv")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    rows = {each["rule"]: each for each in csv.DictReader(io.StringIO(table.body.decode()))}
    assert rows["formula"]["title"].startswith("'=HYPERLINK")
    lines = operator.get("/v1/reports/compliance?format=csv").body.decode().splitlines()
    assert lines[0].startswith("gateway,baseline,verdict,critical,high")
    assert any(line.startswith(f"{NAME},rfc,failing,0,2,1,") for line in lines)
    assert any(",finding,open,high,psk-weak,/etc/ipsec.secrets,3," in line for line in lines)
    details = figures["details"]
    assert {each["rule"] for each in details["findings"]} >= {"psk-weak", "formula", "spoiled"}
    assert "/etc/ipsec.secrets:3" in " ".join(page.words)
    assert operator.get("/v1/reports/audit?gateways=0").json["worst"] == []
    assert operator.get("/v1/reports/audit?findings=1").json["details"]["more"]["findings"] >= 2
    assert operator.get("/v1/reports/audit?format=csv&cursor=x").code == "cursor_invalid"
    assert operator.get("/v1/reports/nothing").status == 404


def test_what_turns_text_round_is_shown_and_does_not(
    serving: Serving, gateway: Client, operator: Client
) -> None:
    send(gateway, serving, entry(path="/a\x9b2J\u202eb\u2028c", subject="x\u200b"))
    for kind in ("audit", "compliance"):
        for form in ("html", "csv"):
            body = operator.get(f"/v1/reports/{kind}?format={form}").body.decode()
            assert not set("\x9b\u202e\u2028\u200b") & set(body), (kind, form)
    assert "\\x9b2J\\u202eb\\u2028c" in operator.get("/v1/reports/audit?format=csv").body.decode()


def test_tables_come_in_parts(
    serving: Serving, gateway: Client, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, value in (
        (kinds, "MAX_PAGE", 2),
        (summary, "MOST_FINDINGS", 4),
        (summary, "ACCOUNTS", 1),
    ):
        monkeypatch.setattr(module, name, value)
    send(gateway, serving, *(entry(200 + n, subject=str(n)) for n in range(11)))
    other = {"name": "second.example", "identities": ["dns:second.example"]}
    assert operator.post("/v1/gateways", other).status == 201
    numbers: list[str] = []
    for kind, rows in (("audit", 4), ("compliance", 100)):
        path = f"/v1/reports/{kind}?format=csv"
        parts = []
        while path:
            reply = operator.get(path)
            assert reply.status == 200
            parts.append(list(csv.DictReader(io.StringIO(reply.body.decode()))))
            assert len(parts[-1]) <= rows
            link = reply.headers.get("link", "")
            path = link.partition(">")[0].removeprefix("<")
        assert len(parts) >= 2
        told = [each for part in parts for each in part]
        numbers = [each["id"] for each in told if each["gateway"] == NAME and each["id"]]
        assert len(set(numbers)) == len(numbers) >= 11
    assert "second.example" in {each["gateway"] for each in told}


def test_known_ones_are_accepted_over_gateways(
    serving: Serving, gateway: Client, operator: Client
) -> None:
    send(gateway, serving, *(entry(300 + n, rule="known", subject=str(n)) for n in range(3)))
    until = (serving.site.clock() + timedelta(days=30)).isoformat()
    wanted = {"rule": "known", "path": "/etc/ipsec.secrets", "until": until, "why": "a lab"}
    assert operator.post("/v1/findings/accept", wanted).code == "body_invalid"
    counted = {**wanted, "gateway": None, "dry_run": True}
    for body, left in ((counted, 3), ({**wanted, "gateway": NAME}, 0)):
        reply = operator.post("/v1/findings/accept", body)
        assert (reply.status, reply.json) == (200, {"findings": 3, "gateways": 1, "left": 0})
        still = operator.get("/v1/findings?rule=known&state=open").json["items"]
        assert len(still) == left
    told = operator.get("/v1/reports/compliance?baseline=rfc").json
    mine = next(each for each in told["gateways"] if each["gateway"] == NAME)
    assert (mine["verdict"], mine["accepted"], mine["accepted_worst"]) == ("excepted", 3, "high")
    accepted = [each for each in told["details"]["exceptions"] if each["rule"] == "known"]
    assert {each["accepted"]["why"] for each in accepted} == {"a lab"}
    page = operator.get("/v1/reports/compliance?format=html").body.decode()
    assert "a lab" in page


def test_a_pattern_of_paths_is_refused(serving: Serving, gateway: Client, operator: Client) -> None:
    send(gateway, serving, entry(310, rule="odd", path="/etc/[a].secrets"))
    until = (serving.site.clock() + timedelta(days=30)).isoformat()
    wanted = {"rule": "odd", "gateway": NAME, "until": until, "why": "a lab"}
    for pattern in ("/etc/*", "/etc/?", "/etc/[ab].secrets"):
        for dry_run in (True, False):
            body = {**wanted, "path": pattern, "dry_run": dry_run}
            refused = operator.post("/v1/findings/accept", body)
            assert (refused.status, refused.code) == (422, "finding_path_pattern")
    for left in (1, 0):
        done = operator.post("/v1/findings/accept", {**wanted, "path": "/etc/[a].secrets"})
        assert (done.status, done.json["findings"]) == (200, left)


def test_a_page_tells_the_rule_why_and_how_and_shows_commands_as_code(
    serving: Serving, gateway: Client, operator: Client
) -> None:
    told = entry(
        320,
        title="A title & more",
        why="It `is` <b>.",
        fix="`chmod 600 /etc/<x>`, then anew; see `x",
    )
    send(gateway, serving, told)
    for kind in ("audit", "compliance"):
        page = operator.get(f"/v1/reports/{kind}?format=html").body.decode()
        assert "<b>A title &amp; more</b>" in page
        assert "<code>chmod 600 /etc/&lt;x&gt;</code>, then anew; see `x" in page
        assert '<td class="text" data-label="why">It <code>is</code> &lt;b&gt;.</td>' in page
        assert '<th scope="col">why</th><th scope="col">how it is mended</th>' in page
        assert "over a week" not in page


def test_what_an_audit_could_not_read_is_told(
    serving: Serving, gateway: Client, operator: Client
) -> None:
    send(gateway, serving, errors=[{"path": "/etc/swanctl", "error": "No <b> permission"}])
    told = operator.get(f"/v1/gateways/{NAME}/audit").json
    assert told["unread"] == [
        {"gateway": NAME, "path": "/etc/swanctl", "line": None, "error": "No <b> permission"}
    ]
    assert (told["baseline"], told["complete"], told["figures"]["files"]) == ("rfc", True, 812)
    assert operator.get("/v1/reports/audit").json["details"]["unread"] == told["unread"]
    page = operator.get("/v1/reports/audit?format=html").body.decode()
    assert "No &lt;b&gt; permission" in page
    assert operator.get("/v1/gateways/no.example/audit").code == "gateway_not_found"


def _words(body: bytes) -> list[str]:
    page = _Page()
    page.feed(body.decode())
    return page.words
