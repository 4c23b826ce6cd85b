"""The units, judged by systemd itself, and the program held to what they allow it."""

import configparser
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from ike.agent.home import DEFAULT
from ike.agent.unit import unit
from tests.fixtures.needs import program
from tests.fixtures.served import Served

UNITS = Path(__file__).resolve().parents[2] / "systemd"
# What `systemd-analyze security` may rate each at most; docs/how-to/systemd.md says what is left and why.
EXPOSURE = {
    "ikewarden.service": 1.2,
    "ikewarden@.service": 1.2,
    "ikewarden-init.service": 1.2,
    "ikewarden-backup.service": 1.2,
    "ikewarden-agent.service": 2.0,
}


def _asked(name: str, *arguments: str | Path) -> str:
    command = [program(name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_every_unit_is_rated() -> None:
    assert {path.name for path in UNITS.glob("*.service")} == set(EXPOSURE)


@pytest.mark.parametrize("name", EXPOSURE)
def test_how_exposed_a_unit_is(name: str) -> None:
    said = _asked("systemd-analyze", "security", "--offline=yes", "--no-pager", UNITS / name)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found is not None, said
    assert float(found[1]) <= EXPOSURE[name]


def test_systemd_finds_nothing_wrong_with_them(tmp_path: Path) -> None:
    """Everything at once, since they name each other. The program stands where they look for it."""
    program = tmp_path / "ikewarden"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    names = []
    for path in [*UNITS.glob("*.service"), *UNITS.glob("*.timer")]:
        text = path.read_text().replace("/usr/bin/ikewarden", str(program))
        name = path.name.replace("@.", "@api.")
        (tmp_path / name).write_text(text)
        names.append(tmp_path / name)
    said = _asked("systemd-analyze", "verify", "--man=no", *names)
    # What other packages of this machine have wrong is not ours.
    assert [line for line in said.splitlines() if "ikewarden" in line] == []


def test_user_and_directories_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    root = f"--root={tmp_path}"
    _asked("systemd-sysusers", root, UNITS / "ikewarden.sysusers")
    assert re.search(r"^ikewarden:x:\d+:\d+:", (tmp_path / "etc/passwd").read_text(), re.M)
    _asked("systemd-tmpfiles", "--create", root, UNITS / "ikewarden.tmpfiles")
    assert (tmp_path / "etc/ikewarden").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "var/backups/ikewarden").stat().st_mode & 0o777 == 0o700


def test_the_agents_unit_is_what_the_program_writes() -> None:
    expected = unit("/usr/bin/ikewarden", DEFAULT, None, python=Path("/usr"))
    assert (UNITS / "ikewarden-agent.service").read_text() == expected


@pytest.mark.parametrize("name", ["ikewarden@.service", "ikewarden-init.service"])
def test_the_units_are_closed_alike(name: str) -> None:
    """One list in several files: a line that is added to one belongs into all."""
    marker = "# What it may do"
    ours, others = ((UNITS / each).read_text() for each in ("ikewarden.service", name))
    assert ours.partition(marker)[2].partition("[Install]")[0].strip() == (
        others.partition(marker)[2].partition("[Install]")[0].strip()
    )


def _allowed() -> set[str]:
    """The system calls that the unit's filter lets through, as this systemd knows its sets."""
    reader = configparser.RawConfigParser(strict=False)
    reader.read(UNITS / "ikewarden.service")
    assert reader["Service"]["MemoryDenyWriteExecute"] == "yes"
    allowed = _calls("@system-service")
    for refused in ("@privileged", "@resources"):
        assert refused in (UNITS / "ikewarden.service").read_text()
        allowed -= _calls(refused)
    return allowed


def _calls(name: str) -> set[str]:
    found: set[str] = set()
    for line in _asked("systemd-analyze", "syscall-filter", "--no-pager", name).splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            found |= _calls(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


def test_the_service_makes_no_call_that_its_unit_refuses(
    own_served: Served, tmp_path: Path
) -> None:
    """The unit cannot be run without systemd as the first process. What its filter would refuse can be looked for."""
    own_served.stop()
    trace = tmp_path / "trace"
    # As LimitNOFILE= of the unit: nothing is left to raise. -D: the service is our own child.
    most = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 65_536)
    limits = ("prlimit", f"--nofile={most}:{most}")
    own_served.start(
        under=(*limits, program("strace"), "-D", "-f", "-qq", "-s", "0", "-o", str(trace))
    )
    try:
        own_served.json("cert", "issue", "gw1.example.com", "--out", tmp_path / "gw1")
        own_served.json("cert", "list")
        serial = own_served.json("cert", "list")["items"][0]["serial"]
        own_served.json("cert", "revoke", serial, "--reason", "superseded")
        own_served.public("/crl/issuing.crl")
    finally:
        assert own_served.stop() == 0
    text = trace.read_text(errors="replace")
    calls = set(re.findall(r"^\d+ +([a-z0-9_]+)\(", text, re.M))
    assert calls >= {"openat", "socket", "listen", "clone"}
    # SQLite gives its files to the database's owner where it runs as root, as this test does and the unit does not.
    assert calls - _allowed() - {"fchown"} == set()
    writable = re.findall(r"^\d+ +(?:mmap|mprotect)\(.*PROT_WRITE\|PROT_EXEC.*", text, re.M)
    assert writable == []


def test_the_python_that_runs_the_tests_is_no_part_of_it() -> None:
    """Units name one program, where packages put it."""
    for path in UNITS.glob("*.service"):
        assert sys.prefix not in path.read_text()
        assert "/usr/bin/ikewarden" in path.read_text()
