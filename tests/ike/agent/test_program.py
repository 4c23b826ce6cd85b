"""The program as an operator and systemd use it, with files in the place of a daemon."""

import json
import os
import random
import resource
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    pkcs12,
)

from ike.agent.settings import AgentSettings, WatchSettings
from ike.agent.unit import unit
from tests.fixtures.served import PROGRAM, Done, Served, run, surroundings
from tests.ike.agent.test_served import until

_SPKI = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@dataclass
class Installed:
    """A gateway whose agent is the real program."""

    served: Served
    name: str
    home: Path
    out: Path

    def line(self) -> str:
        made = self.served.client.post(f"/v1/gateways/{self.name}/enrollment", {"hours": 1})
        return str(made["enrollment"])

    def agent(self, *arguments: str | Path, **options: Any) -> Done:
        command, *rest = arguments
        return run("agent", command, "--home", self.home, *rest, **options)

    def enroll(self, *more: str | Path, **options: Any) -> Done:
        options.setdefault("given", self.line())
        return self.agent("enroll", "--render", "pem", "--out", self.out, *more, **options)

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = self.agent("status", "--format", "json").document
        return document

    def pair(self) -> str:
        """The serial number of the certificate in the files, after checking that the key belongs to it."""
        return pair_in(self.out / "key.pem", self.out / "certificate.pem")

    @contextmanager
    def running(self, *more: str, environ: dict[str, str] | None = None) -> Iterator[Any]:
        """`agent run`, ended by SIGTERM."""
        command = [*PROGRAM, "agent", "run", "--home", str(self.home), *more]
        with (self.home.parent / "run.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=surroundings(environ), stderr=log, stdout=log, start_new_session=True
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.wait(10) == 0

    @property
    def log(self) -> str:
        return (self.home.parent / "run.log").read_text()


def pair_in(key: Path, certificate: Path) -> str:
    private = load_pem_private_key(key.read_bytes(), None)
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    assert private.public_key().public_bytes(*_SPKI) == found.public_key().public_bytes(*_SPKI)
    return format(found.serial_number, "x")


@pytest.fixture
def installed(served: Served, tmp_path: Path, request: pytest.FixtureRequest) -> Installed:
    name = f"p{abs(hash(request.node.name)) % 10**8}.example.com"
    served.client.post("/v1/gateways", {"name": name, "identities": [f"dns:{name}"]})
    return Installed(served, name, tmp_path / "home", tmp_path / "out")


def test_enroll_once_status(installed: Installed) -> None:
    done = installed.enroll("--format", "json")
    assert done.code == 0, done.err
    assert done.document["state"] == "working"
    assert done.document["gateway"] == installed.name
    serial = installed.pair()
    assert done.document["certificate"]["serial"].lstrip("0") == serial
    assert stat.S_IMODE((installed.out / "key.pem").stat().st_mode) == 0o600
    again = installed.agent("once")
    assert (again.code, again.err) == (0, "")
    status = installed.status()
    assert status["drift"] == status["errors"] == []
    assert status["generations"] == [
        {
            "number": 1,
            "stage": "current",
            "serial": status["certificate"]["serial"],
            "not_after": status["certificate"]["not_after"],
        }
    ]
    text = installed.agent("status")
    assert text.code == 0
    assert installed.name in text.out
    renewed = installed.agent("once", "--renew")
    assert renewed.code == 0, renewed.err
    assert installed.pair() != serial


def test_what_comes_next_names_the_home_and_the_end_is_told(installed: Installed) -> None:
    done = installed.enroll()
    assert f"agent unit --home {installed.home} >" in done.err
    serial = installed.status()["certificate"]["serial"]
    revoke = ("cert", "revoke", serial, "--reason", "superseded")
    assert installed.served.run(*revoke).code == 0
    installed.agent("once")
    assert installed.status()["state"] == "refused"
    assert installed.agent("status").code == 1


def test_the_enrollment_is_refused_in_the_arguments_and_not_repeated(installed: Installed) -> None:
    line = installed.line()
    done = installed.agent("enroll", line)
    assert done.code == 2
    assert "enrollment_exposed" in done.err
    assert line[:20] not in done.err + done.out


def test_a_file_with_the_enrollment_that_others_may_read_is_told_of(
    installed: Installed, tmp_path: Path
) -> None:
    file = tmp_path / "enrollment"
    file.write_text("iwe1_nonsense")
    for mode, told in ((0o644, True), (0o640, True), (0o600, False)):
        file.chmod(mode)
        done = installed.enroll("--enrollment-file", file)
        assert done.code == 2
        assert (f"{mode:04o}" in done.err) is told


def test_enrolling_twice_wrong_lines_and_no_service(installed: Installed) -> None:
    assert installed.enroll(given="iwe1_abc").code == 2
    assert installed.enroll().code == 0
    second = installed.enroll()
    assert second.code == 1
    assert "--force" in second.err
    assert installed.enroll("--force").code == 0
    assert len(installed.status()["generations"]) == 1
    installed.pair()


@pytest.mark.parametrize("form", ["swanctl", "ipsec", "pem", "pkcs12"])
def test_every_format_and_the_program_afterwards(
    installed: Installed, form: str, tmp_path: Path
) -> None:
    assert installed.enroll().code == 0
    out, mark = tmp_path / "rendered", tmp_path / "mark"
    hook = tmp_path / "hook"
    hook.write_text(f'#!/bin/sh\nenv > {mark}\necho "$@" >> {mark}\n')
    hook.chmod(0o755)
    arguments = ("once", "--render", form, "--out", out, "--after", hook, "--x", "a b; touch y")
    done = installed.agent(*arguments)
    assert done.code == 0, done.err
    said = mark.read_text()
    assert "--x a b; touch y" in said
    assert f"IKEWARDEN_OUT={out}" in said
    assert "IKEWARDEN_AGENT" not in said
    mark.unlink()
    assert installed.agent(*arguments).code == 0
    assert not mark.exists()  # nothing changed
    if form == "pkcs12":
        passphrase = (out / "credential.pass").read_bytes()
        key, certificate, chain = pkcs12.load_key_and_certificates(
            (out / "credential.p12").read_bytes(), passphrase
        )
        assert key is not None
        assert certificate is not None
        assert len(chain) == 1
    elif form == "pem":
        pair_in(out / "combined.pem", out / "combined.pem")
    else:
        folder = out / ("x509" if form == "swanctl" else "certs")
        pair_in(out / "private/ikewarden.pem", folder / "ikewarden.pem")
    for path in out.rglob("*"):
        if path.is_file() and b"PRIVATE" in path.read_bytes():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_program_that_fails_keeps_the_old_files(installed: Installed) -> None:
    assert installed.enroll().code == 0
    before = installed.pair()
    done = installed.agent(
        "once", "--renew", "--render", "pem", "--out", installed.out, "--after", "false"
    )
    assert done.code == 1
    assert "false ended with code 1" in done.out
    assert installed.pair() == before
    assert installed.agent("once").code in (0, 1)
    assert installed.status()["state"] == "working"


def test_a_program_that_hangs_is_ended(installed: Installed) -> None:
    assert installed.enroll().code == 0
    settings = installed.home / "agent.toml"
    settings.write_text(
        settings.read_text()
        .replace("after = []", 'after = ["sleep", "600"]')
        .replace("after_seconds = 30", "after_seconds = 1")
    )
    began = time.monotonic()
    done = installed.agent("once", "--renew")
    assert time.monotonic() - began < 300
    assert "did not end within 1 s" in done.out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("daemon = 5", "daemon is a text"),
        ('daemon = "racoon"', "one of: strongswan"),
        ("surprise = 1", "no setting surprise"),
        ("wait_seconds = 9999", "from 1 to 300"),
        ("= 3", "not TOML"),
    ],
)
def test_settings_that_cannot_be_understood_are_named(
    installed: Installed, line: str, words: str
) -> None:
    assert installed.enroll().code == 0
    settings = installed.home / "agent.toml"
    name = line.partition(" ")[0]
    kept = [each for each in settings.read_text().splitlines() if not each.startswith(name + " =")]
    settings.write_text("\n".join([line, *kept]))
    done = installed.agent("once")
    assert done.code == 2
    assert words in done.err
    assert "agent_settings_invalid" in done.err


def test_a_watch_that_fails_is_something_wrong(installed: Installed) -> None:
    assert installed.enroll().code == 0
    assert installed.agent("once").code == 0
    notes = {"source": "/no/log", "told_at": None, "waiting": 0, "errors": ["No such file"]}
    watched = installed.home / "watch.json"
    watched.touch(0o600)
    watched.write_text(json.dumps(notes))
    shown = installed.agent("status")
    assert shown.code == 1
    assert "No such file" in shown.out


def test_without_a_home(installed: Installed) -> None:
    for command in ("once", "status", "run"):
        done = installed.agent(command)
        assert done.code == 1
        assert "agent_not_enrolled" in done.err
        assert "agent enroll" in done.err


def test_run_tells_systemd_how_it_is_and_ends_in_order(
    installed: Installed, tmp_path: Path
) -> None:
    assert installed.enroll().code == 0
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(20)
        environ = {
            "NOTIFY_SOCKET": address,
            "WATCHDOG_USEC": "120000000",
            "RUNTIME_DIRECTORY": str(tmp_path),
        }
        with installed.running(environ=environ) as process:
            said = listener.recv(4096).decode()
            assert "WATCHDOG_USEC=" in said
            said = listener.recv(4096).decode()
            assert "READY=1" in said
            assert f"STATUS={installed.name}: renews" in said
            assert "WATCHDOG=1" in listener.recv(4096).decode()
            public = json.loads((tmp_path / "status.json").read_text())
            assert public["state"] == "working"
            assert "PRIVATE" not in json.dumps(public)
            second = installed.agent("once")
            assert second.code == 1
            assert f"process {process.pid}" in second.err
            settings = installed.home / "agent.toml"
            sound = settings.read_text()
            settings.write_text("nonsense = 1")  # is not used, and does not end the agent
            process.send_signal(signal.SIGHUP)
            until(lambda: b"STOPPING=1" in listener.recv(4096))
            until(lambda: b"READY=1" in listener.recv(4096))
            assert "agent.toml is not used" in installed.log
            settings.write_text(sound)
            process.send_signal(signal.SIGHUP)
            until(lambda: b"STOPPING=1" in listener.recv(4096))
            until(lambda: b"READY=1" in listener.recv(4096))
        until(lambda: b"STOPPING=1" in listener.recv(4096))
    assert "PRIVATE" not in installed.log
    assert "Traceback" not in installed.log


def test_a_full_disk_changes_nothing_and_is_mended(installed: Installed) -> None:
    assert installed.enroll().code == 0

    def small(size: int) -> Any:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        return limit

    # Every size between nothing and the largest file stops at another write.
    for size in (0, 100, 300, 700, 1100, 1500):
        command = [*PROGRAM, "agent", "once", "--renew", "--home", str(installed.home)]
        done = subprocess.run(
            command,
            env=surroundings({"PYTHONDONTWRITEBYTECODE": "1"}),
            preexec_fn=small(size),
            capture_output=True,
            check=False,
        )
        assert done.returncode in (1, 3), done.stderr
        assert b"Traceback" not in done.stderr
        pair_in(installed.out / "combined.pem", installed.out / "combined.pem")
    notes = json.loads((installed.home / "state.json").read_text())
    notes["retry_at"] = None
    (installed.home / "state.json").write_text(json.dumps(notes))
    done = installed.agent("once")
    assert done.code == 0, done.out + done.err
    assert len(installed.status()["generations"]) == 1
    installed.pair()


def test_killed_at_random_moments_the_gateway_is_never_without_a_pair(
    installed: Installed,
) -> None:
    assert installed.enroll().code == 0
    rounds = int(os.environ.get("IKEWARDEN_SOAK_KILLS", "12"))
    chance = random.Random(7)
    killed = 0
    command = [*PROGRAM, "agent", "once", "--renew", "--home", str(installed.home)]
    # How long a whole one takes here: moments of a fixed clock would all come too late on a fast machine.
    begun = time.monotonic()
    subprocess.run(command, env=surroundings(), check=True, capture_output=True)
    whole = time.monotonic() - begun
    for _ in range(rounds):
        process = subprocess.Popen(
            command,
            env=surroundings(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(chance.uniform(0.1, 1.1) * whole)
        late = process.poll() is not None
        killed += not late
        # The machine may have been slower when it was measured.
        whole *= 0.8 if late else 1
        process.kill()
        process.wait()
        # The one file that changes key and certificate together is whole at every moment.
        pair_in(installed.out / "combined.pem", installed.out / "combined.pem")
    assert killed
    done = installed.agent("once")
    assert done.code == 0, done.out + done.err
    status = installed.status()
    assert [each["stage"] for each in status["generations"]] == ["current"]
    assert installed.pair() == status["certificate"]["serial"].lstrip("0")
    kept = list((installed.out / ".ikewarden/credentials").iterdir())
    assert [each.name for each in kept] == [status["certificate"]["fingerprint"]]
    assert not list(installed.home.rglob(".*"))
    left = {path for path in installed.out.rglob(".*") if path.name != ".ikewarden"}
    assert not left


@pytest.mark.parametrize(
    "program", ["/root/ikewarden/.venv/bin/ikewarden", "/home/a/bin/ikewarden"]
)
def test_the_unit_lets_the_program_be_read_where_it_is(program: str, tmp_path: Path) -> None:
    assert "ProtectHome=read-only\n" in unit(program, tmp_path, None)
    system, own = Path("/usr"), Path("/root/.pyenv/versions/3.12")
    assert "ProtectHome=yes\n" in unit("/opt/bin/ikewarden", tmp_path, None, python=system)
    listens = AgentSettings("https://a", "g", watch=WatchSettings(kernel="manual"))
    assert "BoundingSet=CAP_NET_ADMIN\n" in unit("/opt/bin/ikewarden", tmp_path, listens)
    assert "AF_INET6 AF_NETLINK\n" in unit("/opt/bin/ikewarden", tmp_path, listens)
    assert "ProtectHome=read-only\n" in unit("/opt/bin/ikewarden", tmp_path, None, python=own)


def test_the_unit_is_what_systemd_understands(installed: Installed, tmp_path: Path) -> None:
    assert installed.enroll().code == 0
    done = installed.agent("unit")
    assert done.code == 0
    path = tmp_path / "ikewarden-agent.service"
    path.write_text(done.out)
    assert str(installed.out) in done.out
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ikewarden-agent" not in verified.stderr, verified.stderr
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=30", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-2000:]
