"""Runs a command as root under User-Mode Linux: a kernel with ESP, as a process, on a machine whose kernel has none.

The guest sees this machine's files, and cannot write them. It boots in some seconds, has one processor, and is slow
at starting processes.
"""

import contextlib
import os
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab import ownership
from tests.lab.errors import LabError
from tests.lab.ownership import MARK, Claim, ProcessId
from tests.lab.unpacked import CACHE, UML

_INIT = Path(__file__).with_name("uml_init.sh")
_TREE = Path(__file__).resolve().parent.parent.parent
_HIDDEN = ("/tmp/", "/run/")  # what the guest has of its own


@dataclass(frozen=True)
class Ran:
    """What a command in the guest gave: its exit status, and all that the guest's console said."""

    status: int
    output: str


def run(
    command: Sequence[str],
    *,
    timeout: float,
    memory: str = "1G",
    env: Mapping[str, str] | None = None,
) -> Ran:
    """Boot a guest, run one command in the tree's folder, power off; raises LabError if it does not come so far."""
    if reason := UML.missing():
        raise LabError(reason)
    identifier = secrets.token_hex(3)
    owner = ProcessId.of(os.getpid())
    assert owner is not None
    directory = Path(f"/tmp/{ownership.DIRECTORY_PREFIX}{identifier}")
    claim = Claim(identifier, owner, directory)
    with ownership.exclusively():
        ownership.sweep()
        claim.write()
        directory.mkdir(mode=0o700)
    try:
        _write_command(directory, command, env or {})
        output = _boot(claim, memory, timeout)
        status = directory / "status"
        if not status.exists():
            raise LabError(f"the guest ended before the command did:\n{output[-4000:]}")
        return Ran(int(status.read_text()), output)
    finally:
        with ownership.exclusively():
            claim.release()


def _write_command(directory: Path, command: Sequence[str], env: Mapping[str, str]) -> None:
    settings = {
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
        "IKEWARDEN_LAB_CACHE": str(CACHE),
        **env,
    }
    lines = [f"export {key}={shlex.quote(value)}" for key, value in settings.items()]
    lines += [f"cd {shlex.quote(str(_TREE))}", f"exec {shlex.join(command)}"]
    (directory / "command").write_text("\n".join(lines) + "\n")


def _boot(claim: Claim, memory: str, timeout: float) -> str:
    shown = [str(_TREE), sys.prefix, sys.base_prefix, str(CACHE)]
    kernel = [
        str(UML.tree / "usr/bin/linux.uml"),
        *(f"mem={memory}", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"),
        *(f"init={_INIT}", "con=null", "con0=fd:0,fd:1", "quiet", f"umid={claim.lab}"),
        f"uml_dir={claim.directory}",
        f"IKEWARDEN_OUT={claim.directory}",
        f"IKEWARDEN_UML={UML.tree}",
        "IKEWARDEN_SHOW=" + ":".join(each for each in shown if each.startswith(_HIDDEN)),
    ]
    with subprocess.Popen(
        kernel,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # Not under libfaketime: the guest has the machine's own clock.
        env={"PATH": os.environ["PATH"], MARK: claim.lab, "TMPDIR": "/dev/shm"},
        start_new_session=True,  # so that all of the guest's processes can be ended together
    ) as guest:
        claim.add_process(guest.pid)
        try:
            said, _ = guest.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as late:
            _end(guest.pid)
            said, _ = guest.communicate()
            words = said.decode(errors="replace")[-4000:]
            raise LabError(f"the guest had not ended after {timeout:.0f} s:\n{words}") from late
        finally:
            _end(guest.pid)
    return said.decode(errors="replace")


def _end(session: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(session, signal.SIGKILL)
