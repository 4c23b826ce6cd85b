"""Findings and reports of them from the command line, over a real listener."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import module_directory, serving, site  # noqa: F401 - fixtures
from tests.api.test_findings import document, entry
from tests.cli.test_secrets import Terminal, terminal  # noqa: F401 - a fixture

NAME = "found.cli.example"


def report(terminal: Terminal, *entries: dict[str, Any]) -> None:  # noqa: F811 - a fixture's name
    if NAME not in terminal.clients:
        if terminal.run("gateway", "show", NAME).code:
            terminal.json("gateway", "add", NAME)
        site = terminal.serving.site
        terminal.clients[NAME] = terminal.serving.client(site.client_certificate(NAME))
    sent = document(terminal.serving, *entries)
    assert terminal.clients[NAME].post("/v1/gateways/self/findings", sent).status == 204


def test_a_finding_is_listed_shown_accepted_and_reopened(
    terminal: Terminal,  # noqa: F811 - a fixture
) -> None:
    assert "No finding matches." in terminal.run("finding", "list", "nothing of the kind").err
    report(terminal, entry(1), entry(2, rule="psk-old", severity="low", path="/etc/other"))
    done = terminal.run("finding", "list", "--gateway", NAME)
    assert done.code == 0, done.err
    header, first, second = done.out.splitlines()
    assert header.split()[:3] == ["Finding", "Severity", "Gateway"]
    assert ("psk-weak" in first, "/etc/ipsec.secrets:3" in first) == (True, True)
    number = first.split()[0]
    assert second.split()[1] == "low"
    one = terminal.json("finding", "list", "other", "--gateway", NAME, "--severity", "low")
    assert [each["rule"] for each in one["items"]] == ["psk-old"]
    accepted = terminal.json("finding", "accept", number, "--until", "30d", "--why", "a lab")
    assert (accepted["state"], accepted["accepted"]["why"]) == ("accepted", "a lab")
    assert number not in [
        str(each["id"]) for each in terminal.json("finding", "list", "--gateway", NAME)["items"]
    ]
    everything = terminal.json("finding", "list", "--gateway", NAME, "--state", "all")
    assert len(everything["items"]) == 2
    shown = terminal.run("finding", "show", number).out
    assert "a lab" in shown
    assert "Let the service make one." in shown
    assert terminal.json("finding", "reopen", number, "--why", "no lab")["state"] == "open"
    refused = terminal.run("finding", "reopen", number)
    assert (refused.code, "finding_not_accepted" in refused.err) == (1, True)
    assert terminal.run("finding", "accept", number, "--until", "30d").code == 2


def test_reports_on_the_screen_and_in_files(
    terminal: Terminal,  # noqa: F811 - a fixture
    tmp_path: Path,
) -> None:
    report(terminal, entry(1), entry(3, severity="medium"))
    for kind in ("audit", "compliance"):
        done = terminal.run("report", kind)
        assert (done.code, NAME in done.out) == (0, True), done.err
        assert terminal.json("report", kind, "--gateways", "0")["made_at"]
        for form, begin in (("html", "<!doctype html>"), ("csv", ""), ("json", "{")):
            path = tmp_path / f"{kind}.{form}"
            done = terminal.run("report", kind, "--format", form, "--out", path)
            assert done.code == 0, done.err
            assert path.read_text().startswith(begin)
    assert "failing" in terminal.run("report", "compliance", "--baseline", "rfc").out
    assert terminal.run("report", "compliance", "--baseline", "bsi").code == 0
    assert terminal.run("report", "audit", "--format", "csv").out.startswith("gateway,state,")
    assert terminal.run("report", "audit", "--out", tmp_path / "x").code == 2
    assert terminal.run("report", "audit", "--format", "csv", "--gateways", "-1").code == 2


def test_a_list_of_findings_is_no_wider_than_a_screen_and_a_table_for_others(
    terminal: Terminal,  # noqa: F811 - a fixture
) -> None:
    spoiled = '=HYPERLINK("http://evil.example")'
    long = entry(5, rule="secrets-file-open-to-others", path="/etc/swanctl/conf.d/site-b.conf")
    report(terminal, long, entry(6, title=spoiled), entry(7, evidence="Long words. " * 20))
    done = terminal.run("finding", "list", "--gateway", NAME)
    assert max(map(len, done.out.splitlines())) <= 120, done.out
    assert "State" not in done.out
    assert "State" in terminal.run("finding", "list", "--gateway", NAME, "--state", "all").out
    done = terminal.run("finding", "list", "--gateway", NAME, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert len(rows) == 3
    assert {each["title"] for each in rows} >= {"'" + spoiled}
    assert rows[0]["fix"] == "Let the service make one."
    done = terminal.run(
        "finding", "list", "--gateway", NAME, "--format", "csv", "--limit", "2", "--state", "all"
    )
    assert len(list(csv.DictReader(io.StringIO(done.out)))) == 2
    assert "more than these 2" in done.err


def test_what_could_not_be_read_is_told_by_name(
    terminal: Terminal,  # noqa: F811 - a fixture
) -> None:
    report(terminal, entry(1))
    assert "could look at everything" in terminal.run("finding", "unread", NAME).err
    errors = [{"path": f"/etc/part-{n}", "line": None, "error": "No permission"} for n in range(4)]
    sent = document(terminal.serving, entry(1), errors=errors)
    assert terminal.clients[NAME].post("/v1/gateways/self/findings", sent).status == 204
    told = terminal.run("finding", "unread", NAME)
    assert (told.code, told.out.count("No permission")) == (0, 4), told.err
    assert "4 places could not be" in terminal.run("finding", "list", "--gateway", NAME).err
    assert terminal.json("finding", "unread", NAME)["unread"][0]["path"] == "/etc/part-0"
    for kind in ("audit", "compliance"):
        assert "/etc/part-3" in terminal.run("report", kind).out
        assert "/etc/part-3" in terminal.run("report", kind, "--format", "html").out
    table = terminal.run("report", "compliance", "--format", "csv").out
    assert [each["what"] for each in csv.DictReader(io.StringIO(table))].count("unread") == 4
    terminal.json("gateway", "add", "mute.cli.example")
    assert "not reported yet" in terminal.run("finding", "unread", "mute.cli.example").err
    assert terminal.run("finding", "unread", "no.example").code == 1


def test_what_many_gateways_have_is_accepted_at_once(
    terminal: Terminal,  # noqa: F811 - a fixture
) -> None:
    path = "/etc/many.secrets"
    two = [entry(n, rule="many", path=path, subject=str(n)) for n in (11, 12)]
    report(terminal, *two, entry(13, rule="many", path="/etc/else"))
    words = ("finding", "accept", "--rule", "many", "--path", path)
    ends = ("--until", "30d", "--why", "the old router")
    for wrong in (
        (*words, *ends),
        (*words, *ends, "--gateway", NAME, "--all-gateways"),
        ("finding", "accept", "--rule", "many", "--all-gateways", *ends),
        ("finding", "accept", "1", "--rule", "many", *ends),
        ("finding", "accept", *ends),
    ):
        assert terminal.run(*wrong).code == 2, wrong
    counted = terminal.json(*words, "--all-gateways", *ends, "--dry-run")
    assert counted == {"would_accept": 2, "gateways": 1}
    done = terminal.run(*words, "--gateway", NAME, *ends)
    assert (done.code, "2 open findings on 1 gateways" in done.err) == (0, True)
    found = terminal.json("finding", "list", "--rule", "many", "--state", "all")["items"]
    assert sorted(each["state"] for each in found) == ["accepted", "accepted", "open"]
    told = terminal.run("report", "compliance").out
    assert "the old router" in told
    assert "2 (up to high)" in told
    assert terminal.json(*words, "--all-gateways", *ends) == {"accepted": 0}


@pytest.mark.parametrize("words", [("finding", "show", "99999"), ("finding", "reopen", "99999")])
def test_what_is_not_there_is_told(
    terminal: Terminal,  # noqa: F811 - a fixture
    words: tuple[str, ...],
) -> None:
    done = terminal.run(*words)
    assert (done.code, "finding_not_found" in done.err) == (1, True)


@pytest.mark.parametrize(("name", "code"), [("", "usage"), ("\udcff", "gateway_not_found")])
def test_names_that_cannot_be(
    terminal: Terminal,  # noqa: F811 - a fixture
    name: str,
    code: str,
) -> None:
    done = terminal.run("finding", "unread", name)
    assert done.code
    assert f"({code})" in done.err
