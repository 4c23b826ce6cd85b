"""Alerts from the command line, over a real listener."""

from collections.abc import Iterator

import pytest

from tests.api.conftest import module_directory, serving, site  # noqa: F401 - fixtures
from tests.api.test_monitoring import HOSTILE, Gateway
from tests.cli.test_secrets import Terminal, terminal  # noqa: F401 - a fixture

NAME = "alarmed.cli.example"


@pytest.fixture
def gateway(terminal: Terminal) -> Iterator[Gateway]:  # noqa: F811 - a fixture
    made = Gateway(terminal.serving, NAME)
    yield made
    made.client.connection.close()


def test_an_alert_is_listed_shown_and_silenced(
    terminal: Terminal,  # noqa: F811 - a fixture
    gateway: Gateway,
) -> None:
    assert "No alert is open." in terminal.run("alert", "list").err
    assert terminal.run("gateway", "list", NAME).out.splitlines()[1].endswith("-")
    chosen = terminal.run("alert", "list", "--severity", "critical", "--state", "ended")
    assert "No alert of those asked for is ended." in chosen.err
    nowhere = terminal.run("alert", "show", "9" * 23)
    assert "There is no such alert." in nowhere.err
    gateway.fail(HOSTILE)
    done = terminal.run("alert", "list", "--gateway", NAME, "--severity", "high")
    assert done.code == 0, done.err
    header, first = done.out.splitlines()
    assert header.split()[:3] == ["Alert", "Severity", "Gateway"]
    assert "auth_failures" in first
    assert not {"\x1b", "\u202e", "\x00"} & set(done.out)
    # Two peers of one connection have an alert each: the list tells them apart.
    gateway.fail("CN=second")
    both = terminal.json("alert", "list", "--gateway", NAME)["items"]
    assert len({each["identity"] for each in both}) == 2, both
    assert "CN=second" in " ".join(terminal.run("alert", "list", "--gateway", NAME).out.split())
    number = first.split()[0]
    # It has no agent, and is heard all the same.
    heard = terminal.json("gateway", "show", NAME)["last_heard_at"]
    assert terminal.json("alert", "show", number)["last_heard_at"] == heard
    assert heard[:10] in terminal.run("gateway", "list", NAME).out.splitlines()[1][-20:]
    shown = terminal.run("alert", "show", number)
    assert shown.code == 0
    assert "auth_failed" in shown.out
    # Whatever a peer calls itself, it is text on one line.
    assert "\x1b" not in shown.out
    assert "\u202e" not in shown.out
    assert not any(line.startswith("CN=") for line in shown.out.splitlines())
    assert terminal.json("alert", "show", number)["events"]
    silenced = terminal.json("alert", "silence", number, "--until", "12h", "--why", "known")
    assert silenced["silenced"]["why"] == "known"
    past = terminal.run("alert", "silence", number, "--until", "2020-01-01", "--why", "known")
    assert "in the past" in past.err
    odd = terminal.run("alert", "silence", number, "--until", "12h", "--why", "a\x07b")
    assert "without line ends and control characters" in odd.err
    assert "open, silenced" in terminal.run("alert", "list").out
    assert terminal.json("alert", "unsilence", number)["silenced"] is None
    refused = terminal.run("alert", "unsilence", number)
    assert (refused.code, "alert_not_silenced" in refused.err) == (1, True)
    assert terminal.json("alert", "list", "--state", "ended")["items"] == []
    assert terminal.run("alert", "silence", number, "--until", "12h").code == 2
    assert terminal.run("alert", "show", "999").code == 1
