"""Shared secrets from the command line, over a real listener; agents and the worker of rotations are the test's."""

import base64
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.secret import Secret
from fleet.rotation.runner import Runner
from ike.secrets import forms
from ikewarden.cli.commands.rotation import in_words, way
from ikewarden.cli.commands.secret import _as_written
from ikewarden.cli.commands.secret_policy import Every, Part, WindowType
from pki import authorities
from pki.actors import Role
from tests.api.conftest import module_directory, serving, site  # noqa: F401 - fixtures
from tests.api.serving import Client, Serving
from tests.api.site import CLOCKWORK
from tests.fixtures.served import Done, run

STRONG = b"7Hq!mZ7wXt2-LpVk_and-some-more"


class Terminal:
    """The program with an operator's token, and what gateways and workers do meanwhile."""

    def __init__(self, listening: Serving, directory: Path) -> None:
        self.serving = listening
        self.directory = directory
        token, root = directory / "token", directory / "root-ca.pem"
        token.write_text(listening.site.tokens[Role.OPERATOR])
        token.chmod(0o600)
        desk = listening.site.desk
        root.write_text(authorities.pem(authorities.load(desk, "root").certificate))
        self.url = f"https://localhost:{listening.port}"
        self.root = root
        self.options = ("--url", self.url, "--ca-file", str(root), "--token-file", str(token))
        self.runner = Runner(desk, CLOCKWORK, "test")
        self.clients: dict[str, Client] = {}

    def run(self, *words: str | Path, **options: Any) -> Done:
        return run(*words, *self.options, **options)

    def json(self, *words: str | Path, **options: Any) -> Any:
        done = self.run(*words, "--format", "json", **options)
        assert done.code == 0, done.err
        return done.document

    def enlist(self, name: str) -> str:
        self.json("gateway", "add", name)
        self.clients[name] = self.serving.client(self.serving.site.client_certificate(name))
        return name

    def work(self, *agents: str) -> None:
        """Let the worker look, then the agents apply and report."""
        self.serving.site.clock.ahead += timedelta(seconds=2)
        self.runner.run(self.serving.site.clock)
        for name in agents:
            client = self.clients[name]
            state = client.get("/v1/gateways/self/state").json
            reports = [_report(slot) for slot in state["secrets"]]
            report = {
                "version": state["version"],
                "agent_version": "0",
                "daemon": {"kind": "strongswan", "version": "6", "incarnation": "1"},
                "abilities": {"overlap": True, "ppk": True, "gapless": True},
                "secrets": reports,
            }
            assert client.post("/v1/gateways/self/applied", report).status == 204


def _report(slot: dict[str, Any]) -> dict[str, Any]:
    versions = [key["version"] for key in slot["keys"]]
    seen = None
    if slot["prove"] is not None:
        seen = {"version": slot["prove"]["version"], "at": "2026-11-28T12:00:00Z"}
    return {"name": slot["name"], "versions": versions, "held": versions, "authenticated": seen}


@pytest.fixture
def terminal(serving: Serving, tmp_path: Path) -> Iterator[Terminal]:  # noqa: F811 - a fixture
    made = Terminal(serving, tmp_path)
    yield made
    made.runner.close()
    for client in made.clients.values():
        client.connection.close()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "psk.txt"
    path.write_bytes(STRONG + b"\n")
    path.chmod(0o600)
    return path


def test_a_secret_is_imported_rotated_and_shown(terminal: Terminal, key_file: Path) -> None:
    left, right = terminal.enlist("one.cli.example"), terminal.enlist("two.cli.example")
    terminal.json("tunnel", "add", "cli-1", left, right)
    done = terminal.run("tunnel", "secrets", "cli-1")
    assert (done.code, "secret-add cli-1" in done.err) == (0, True)
    done = terminal.run("tunnel", "rotate", "cli-1")
    assert (done.code, "Next: Put it there with `tunnel secret-add cli-1`." in done.err) == (
        1,
        True,
    )
    added = terminal.run(
        *("tunnel", "secret-add", "cli-1", "--import", key_file, "--every", "30d"),
        *("--window", "Sat,Sun 02:00-04:00", "--zone", "Europe/Berlin", "--jitter", "20%"),
    )
    # Certificates are not what this tunnel lives by.
    assert terminal.run("tunnel", "list", "cli-1").out.splitlines()[1].split()[-1] == "-"
    assert added.code == 0, added.err
    assert "every 30 days; up to 20% earlier; sat,sun 02:00-04:00 Europe/Berlin" in added.out
    assert STRONG.decode() not in added.out + added.err
    done = terminal.run("tunnel", "policy", "cli-1", "--any-time", "--every", "12w")
    assert (done.code, "84" in done.out) == (0, True)
    kept = terminal.run("tunnel", "policy", "cli-1")
    assert (kept.code, kept.out) == (0, done.out)
    done = terminal.run("tunnel", "policy", "cli-1", "--kind", "ppk")
    assert (done.code, "(secret_unmanaged)" in done.err) == (1, True)
    terminal.work(left, right)
    plan = terminal.run("tunnel", "rotate", "cli-1", "--plan")
    assert (plan.code, plan.err) == (0, "Nothing was changed.\n")
    begun = terminal.json("tunnel", "rotate", "cli-1", "--reason", "an administrator left")
    [rotation] = begun["rotations"]
    for _ in range(12):
        terminal.work(left, right)
    done = terminal.run("rotation", "show", str(rotation["id"]), "--wait")
    assert (done.code, "retired" in done.err) == (0, True), done.err
    listed = terminal.run("rotation", "list", "--tunnel", "cli-1")
    assert "1 → 2" in listed.out
    shown = terminal.run("tunnel", "secrets", "cli-1").out
    assert "destroyed" in shown
    assert left in shown
    assert "Shared secret" in terminal.run("tunnel", "show", "cli-1").out
    terminal.json("tunnel", "freeze", "cli-1")
    assert "frozen" in terminal.run("tunnel", "secrets", "cli-1").out
    done = terminal.run("tunnel", "unfreeze", "cli-1")
    assert "cli-1.psk is not frozen any more: it is due on 20" in done.err
    done = terminal.run("tunnel", "rotate", "cli-1")
    number = done.out.split()[done.out.split().index("Error") + 1]
    done = terminal.run("rotation", "cancel", number)
    assert done.err == (
        f"Rotation {number} was cancelled before anything was made; the old key stays in force.\n"
    )
    assert terminal.json("tunnel", "secret-remove", "cli-1") == {"removed": "cli-1.psk"}


def test_a_key_is_handed_over(terminal: Terminal, key_file: Path, tmp_path: Path) -> None:
    left = terminal.enlist("three.cli.example")
    terminal.json("tunnel", "add", "cli-bank", left, "bank", "--peer-identity", "vpn.bank.example")
    terminal.json("tunnel", "secret-add", "cli-bank", "--import", key_file)
    out = tmp_path / "bank.psk"
    done = terminal.run("tunnel", "handover", "cli-bank", "--file", out)
    assert (done.code, done.out) == (0, "")
    assert "No new key yet: this is version 1 of cli-bank.psk, in force now" in done.err
    assert "rotation confirm" not in done.err
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert out.read_bytes() == STRONG + b"\n"
    again = terminal.run("tunnel", "handover", "cli-bank", "--file", out)
    assert (again.code, "(file_exists)" in again.err) == (1, True)
    nowhere = terminal.run("tunnel", "handover", "cli-bank", "--file", tmp_path / "no" / "psk")
    assert (nowhere.code, f"No file can be made in {tmp_path / 'no'}." in nowhere.err) == (2, True)
    done = terminal.run("tunnel", "handover", "cli-bank", "--hours", "2")
    token = done.out.strip()
    assert token.startswith("iwh1_")
    assert "ikewarden secret claim" in done.err
    assert token not in done.err
    words = ("secret", "claim", terminal.url, "--ca-file", terminal.root)
    claimed = run(*words, given=token + "\n")
    assert claimed.out == STRONG.decode() + "\n"
    spent = run(*words, given=token + "\n")
    assert (spent.code, "(handover_not_found)" in spent.err) == (1, True)
    assert run(*words).code == 2
    # A rotation with an outside peer waits until somebody says that it has the key.
    terminal.work(left)
    [rotation] = terminal.json("tunnel", "rotate", "cli-bank")["rotations"]
    for _ in range(4):
        terminal.work(left)
    done = terminal.run("rotation", "show", str(rotation["id"]), "--wait")
    assert (done.code, f"rotation confirm {rotation['id']}" in done.err) == (0, True), done.err
    number = str(rotation["id"])
    done = terminal.run("tunnel", "handover", "cli-bank", "--file", tmp_path / "new.psk")
    assert "This is version 2 of cli-bank.psk, the new key; version 1 is in force" in done.err
    assert f"then: `ikewarden rotation confirm {number}`" in done.err
    assert terminal.json("tunnel", "handover", "cli-bank")["in_force"] is False
    done = terminal.run("rotation", "confirm", number)
    assert done.err.startswith(f"Rotation {number}: noted that the outside peer has the new key")
    terminal.work(left)
    assert terminal.json("tunnel", "handover", "cli-bank")["in_force"] is True
    done = terminal.run("rotation", "cancel", number)
    assert done.err == f"Rotation {number} is being undone; the old key stays in force.\n"
    assert terminal.json("rotation", "show", number)["back"]
    done = terminal.run("tunnel", "freeze", "cli-bank")
    assert "cli-bank.psk is frozen: no rotation of it begins by itself." in done.err
    assert f"Rotation {number} is under way and goes on to its end." in done.err


def test_a_bad_key_file_is_refused(terminal: Terminal, tmp_path: Path) -> None:
    left, right = terminal.enlist("four.cli.example"), terminal.enlist("five.cli.example")
    terminal.json("tunnel", "add", "cli-2", left, right)
    path = tmp_path / "bad.psk"
    path.write_bytes(STRONG)
    path.chmod(0o644)
    done = terminal.run("tunnel", "secret-add", "cli-2", "--import", path)
    assert (done.code, "chmod 600" in done.err) == (2, True)
    path.chmod(0o600)
    for content in (b"", b"0x", b"0s\n", b"0xzz", b"0s!!"):
        path.write_bytes(content)
        done = terminal.run("tunnel", "secret-add", "cli-2", "--import", path)
        assert (done.code, "(secret_file_unusable)" in done.err) == (2, True)
    for content, told in (
        (b'@gw-a @vpn : PSK "Kj3n7f9-hidden-part"', "looks like a line of ipsec.secrets"),
        (b"secret = Kj3n7f9-hidden-part", "looks like a line of swanctl.conf"),
        (b'"Kj3n7f9-hidden-part"', "stands in quotes"),
        (b"# bank\nKj3n7f9-hidden-part", "several lines"),
    ):
        path.write_bytes(content + b"\n")
        done = terminal.run("tunnel", "secret-add", "cli-2", "--import", path)
        assert (done.code, told in done.err) == (2, True), done.err
        assert "Kj3n7f9" not in done.err
    for key in ("Kj3n7f9-hidden-part", "Kj3n7f9/hidden-part", "Kj3n7f9" * 50):
        done = terminal.run("tunnel", "secret-add", "cli-2", "--import", key)
        assert (done.code, "Next: Name a file" in done.err) == (2, True), done.err
        assert "Kj3n7f9" not in done.out + done.err
    done = terminal.run("tunnel", "secret-add", "cli-2", "--import", "-", given="secret\n")
    assert (done.code, "(secret_weak)" in done.err, "--accept-weak" in done.err) == (2, True, True)
    terminal.json(
        "tunnel", "secret-add", "cli-2", "--import", "-", "--accept-weak", given="secret\n"
    )
    text = base64.b64encode(STRONG).decode()
    done = terminal.run("tunnel", "secret-add", "cli-2", "--import", "-", given=f"0s{text}\n")
    assert (done.code, "(secret_exists)" in done.err) == (1, True)


def test_a_managed_tunnel_by_psk(terminal: Terminal) -> None:
    left, right = terminal.enlist("six.cli.example"), terminal.enlist("seven.cli.example")
    addresses = (
        *("--left-address", "192.0.2.1", "--right-address", "192.0.2.2"),
        *("--left-network", "10.1.0.0/16", "--right-network", "10.2.0.0/16"),
    )
    made = terminal.json(
        "tunnel",
        "add",
        "cli-3",
        left,
        right,
        "--managed",
        "--psk",
        "--ppk",
        "preferred",
        *addresses,
    )
    assert [each["kind"] for each in made["secrets"]] == ["psk", "ppk"]
    assert made["definition"]["authentication"] == "psk"
    assert "scheduled" in terminal.run("tunnel", "list", "cli-3").out
    ppk_only = ("--managed", "--ppk", "required", *addresses)
    terminal.json("tunnel", "add", "cli-5", left, right, *ppk_only)
    done = terminal.run("tunnel", "freeze", "cli-5")
    assert (done.code, "cli-5.ppk is frozen" in done.err) == (0, True), done.err
    assert terminal.json("tunnel", "policy", "cli-5", "--every", "never")["kind"] == "ppk"
    done = terminal.run("tunnel", "policy", "cli-5", "--kind", "psk")
    assert (done.code, "No psk of the tunnel cli-5" in done.err) == (1, True)
    done = terminal.run("tunnel", "add", "cli-4", left, right, "--psk")
    assert (done.code, "secret-add" in done.err) == (2, True)


def test_spans_parts_and_windows() -> None:
    assert [Every().convert(text, None, None) for text in ("90d", "12w", "never")] == [90, 84, 0]
    assert Part().convert("10%", None, None) == 0.1
    window = WindowType().convert("Fri-Sun,mon 22:00-05:00", None, None)
    assert window == {"days": ["fri", "sat", "sun", "mon"], "start": "22:00", "end": "05:00"}
    for kind, text in (
        *((Every(), text) for text in ("3m", "0d", "3651d", "999w")),
        *((Part(), text) for text in ("ten", "51%", "100%")),
        *(
            (WindowType(), text)
            for text in ("someday 02:00-03:00", "Sat 25:00-26:00", "Sat 02:60-03:00")
        ),
    ):
        with pytest.raises(click.BadParameter):
            kind.convert(text, None, None)


def test_the_way_of_a_rotation_is_shown() -> None:
    found = {"secret": "t.psk", "id": 7, "method": "overlap", "state": "staged"}
    lines = way(found)
    assert [line[2] for line in lines[1:]] == ["✓", "✓", "✓", "✓", "→", " ", " ", " "]
    assert lines[5].endswith("the other end is to take both too")
    at_once = way(
        {**found, "method": "emergency", "state": "promoted", "waits_for": "Waits for gw1."}
    )
    assert not any("staged" in line for line in at_once)
    outside = way({**found, "method": "manual", "confirmed_at": "2026-11-29T02:00:00Z"})
    assert outside[5].endswith("staged        the outside peer is to take the key")
    assert outside[6].endswith("our end is to prove itself by the new key")
    first = in_words({"method": "first", "state": "promoted", "back": False})
    assert first == "promoted: the ends are to take the key, and to authenticate by it"
    assert at_once[-1] == "  Waits for gw1."
    assert way({**found, "state": "rolled_back"})[1].startswith("  ! rolled_back: was undone")
    assert in_words({"state": "stuck"}).startswith("stuck: is stuck")


@given(st.binary(min_size=1, max_size=40) | st.sampled_from([b"0x41", b"0X41", b"0sQQ==", b"0tA"]))
def test_a_key_that_was_handed_over_means_the_same_in_a_file(value: bytes) -> None:
    written = _as_written(Secret(value)).reveal().decode()
    assert forms.strongswan(written)[0].reveal() == value
