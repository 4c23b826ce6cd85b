"""How tunnels fared, from the command line, over a real listener."""

import re
from pathlib import Path

from tests.api.conftest import module_directory, serving, site  # noqa: F401 - fixtures
from tests.api.test_monitoring import HOSTILE, Gateway
from tests.cli.test_secrets import Terminal, terminal  # noqa: F401 - a fixture

NAME = "health.cli.example"


def test_the_health_of_tunnels_is_reported(
    terminal: Terminal,  # noqa: F811 - a fixture
    tmp_path: Path,
) -> None:
    gateway = Gateway(terminal.serving, NAME)
    name = "tunnel\x1b[2J\u202e"
    failed = {"ike_id": 7, "identity": HOSTILE, "reason": "psk", "connection": name, "name": name}
    gateway.send(*(gateway.event("auth_failed", after=n, **failed) for n in range(10)))
    gateway.client.connection.close()
    shown = terminal.run("report", "sa-health")
    assert shown.code == 0, shown.err
    assert "auth_failed/psk 10" in shown.out
    assert re.search(r"none seen since \d{4}-\d\d-\d\d \d\d:00Z", shown.out)
    assert not re.search(r"\d\.\d{3,}", shown.err + shown.out)  # no microseconds
    assert not set("\x1b\u202e") & set(shown.out)
    found = terminal.json("report", "sa-health", "--gateway", NAME)
    assert name in {each["connection"] for each in found["worst"]}
    for form in ("html", "csv"):
        file = tmp_path / f"health.{form}"
        done = terminal.run("report", "sa-health", "--format", form, "--out", str(file))
        assert done.code == 0, done.err
        content = file.read_text()
        assert "auth_failed/psk" in content
        assert not set("\x1b\u202e") & set(content)
    assert terminal.run("report", "sa-health", "--out", str(file)).code == 2
    past = ("--since", "2020-01-01T00:00:00Z", "--until", "2020-01-02T00:00:00Z")
    for form in ([], ["--format", "csv"]):
        empty = terminal.run("report", "sa-health", "--gateway", NAME, *past, *form)
        assert empty.code == 0, empty.err
        assert "There is nothing to report" in empty.err
        assert "--since" in empty.err
    assert terminal.run("report", "sa-health", "--since", "yesterday").code != 0
