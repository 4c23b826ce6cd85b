"""Which adapter is built, and from what."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.errors import IkewardenError
from ike.agent.daemons import build, detect
from ike.agent.errors import AgentSettingsInvalid, HomeNotPrivate
from ike.agent.settings import AgentSettings, FilesSettings, parse, render, with_changes
from ike.daemons.files import FilesDaemon
from ike.daemons.port import DaemonUnreachable

BASE = AgentSettings("https://pki.example", "gw1")


def now() -> datetime:
    return datetime.now(UTC)


def test_the_daemon_that_runs_is_found() -> None:
    assert detect(lambda path: path == "/run/charon.vici") == "strongswan"
    assert detect(lambda path: path == "/run/pluto/pluto.ctl") == "libreswan"


def test_strongswan_with_its_paths(tmp_path: Path) -> None:
    changes = [f"strongswan.socket={tmp_path / 'no'}", f"strongswan.swanctl={tmp_path}"]
    daemon = build(with_changes(BASE, changes), now)
    with pytest.raises(DaemonUnreachable):
        daemon.describe()


def test_libreswan_with_its_paths(tmp_path: Path) -> None:
    changes = [
        "daemon=libreswan",
        *(f"libreswan.{name}={tmp_path / name}" for name in ("nss", "control", "connections")),
        f"libreswan.whack={tmp_path}/whack",
    ]
    daemon = build(with_changes(BASE, changes), now)
    with pytest.raises(IkewardenError):
        daemon.describe()


def test_files_with_a_passphrase_file(tmp_path: Path) -> None:
    secret = tmp_path / "pass"
    secret.write_text("well chosen\n")
    files = FilesSettings(render="pkcs12", out=str(tmp_path), passphrase_file=str(secret))
    settings = replace(BASE, daemon="files", files=files)
    secret.chmod(0o644)
    with pytest.raises(HomeNotPrivate):
        build(settings, now)
    secret.chmod(0o600)
    assert isinstance(build(settings, now), FilesDaemon)


@pytest.mark.parametrize("daemon", ["strongswan", "libreswan", "files"])
def test_settings_are_read_as_they_were_written(daemon: str) -> None:
    files = FilesSettings(out='/a "b" \\ c', after=("x", "y z", "ä"))
    settings = replace(BASE, daemon=daemon, files=files if daemon == "files" else FilesSettings())
    assert parse(render(settings), Path("agent.toml")) == settings


@pytest.mark.parametrize(
    "change",
    [
        "surprise=1",
        "files.surprise=1",
        "daemon",
        "daemon=racoon",
        "proof_seconds=x",
        'audit.paths=["/x"]',
        "wait_seconds=0",
    ],
)
def test_changes_that_cannot_be(change: str) -> None:
    with pytest.raises(AgentSettingsInvalid):
        with_changes(BASE, [change])


def test_changes_that_can() -> None:
    changed = with_changes(BASE, ["proof=reauthenticate", "proof_seconds=5", "files.after=a,b"])
    assert (changed.proof, changed.proof_seconds) == ("reauthenticate", 5)
    assert changed.files.after == ("a", "b")
