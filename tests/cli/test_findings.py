"""Findings and reports of them from the command line, over a real listener."""

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
    assert "No such finding." in terminal.run("finding", "list", "nothing of the kind").err
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
    assert terminal.run("report", "audit", "--format", "csv").out.startswith("rule,area,severity")
    assert terminal.run("report", "audit", "--out", tmp_path / "x").code == 2
    assert terminal.run("report", "audit", "--format", "csv", "--gateways", "-1").code == 2


@pytest.mark.parametrize("words", [("finding", "show", "99999"), ("finding", "reopen", "99999")])
def test_what_is_not_there_is_told(
    terminal: Terminal,  # noqa: F811 - a fixture
    words: tuple[str, ...],
) -> None:
    done = terminal.run(*words)
    assert (done.code, "finding_not_found" in done.err) == (1, True)
