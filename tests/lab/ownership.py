"""Who owns which lab on this machine, so that what a dead owner left behind can be removed.

Every lab keeps one claim, `/run/ikewarden-lab/<id>.json`: its owner (process id and start time),
its directory, its namespaces and the processes it started. A namespace or directory is written down
before it is made. A process can only be written down after it was started; for that gap each one
carries `IKEWARDEN_LAB=<id>` in its environment.
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CLAIMS = Path("/run/ikewarden-lab")
NAMESPACES = Path("/run/netns")
MARK = "IKEWARDEN_LAB"
DIRECTORY_PREFIX = "ikewarden-lab-"


@dataclass(frozen=True)
class ProcessId:
    """A process for good: an id is used again, an id with its start (clock ticks) is not."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """The process that has this id now, or None; a zombie is no process any more."""
        try:
            # proc(5): the name in parentheses may hold anything, so count from its last closing
            # one.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]))

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return ProcessId.of(self.pid) == self


def send(process: ProcessId, number: signal.Signals, *, wait: float = 0.0) -> bool:
    """Signal exactly this process and wait up to `wait` seconds; True when it is gone."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        # The handle pins whatever has the id now, so the start time is compared after opening it.
        if not process.alive:
            return True
        signal.pidfd_send_signal(handle, number)
        return bool(select.select([handle], [], [], wait)[0])
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)


def end(process: ProcessId, *, grace: float = 5.0) -> None:
    """Ask the process to end, and after `grace` seconds make it."""
    if not send(process, signal.SIGTERM, wait=grace):
        send(process, signal.SIGKILL, wait=grace)


@dataclass
class Claim:
    """What one lab holds on this machine; each change is on disk before the call returns."""

    lab: str
    owner: ProcessId
    directory: Path
    namespaces: list[str] = field(default_factory=list)
    processes: list[ProcessId] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return CLAIMS / f"{self.lab}.json"

    def write(self) -> None:
        """Replace the claim file in one step, so that no reader ever sees half of it."""
        CLAIMS.mkdir(mode=0o700, exist_ok=True)
        document = {
            "owner": [self.owner.pid, self.owner.started],
            "directory": str(self.directory),
            "namespaces": self.namespaces,
            "processes": [[each.pid, each.started] for each in self.processes],
        }
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(document))
        fresh.replace(self.path)

    @classmethod
    def read(cls, path: Path) -> "Claim":
        """The claim in a file; raises ValueError, KeyError or TypeError for anything else."""
        document = json.loads(path.read_text())
        return cls(
            lab=path.stem,
            owner=ProcessId(*document["owner"]),
            directory=Path(document["directory"]),
            namespaces=[str(name) for name in document["namespaces"]],
            processes=[ProcessId(*each) for each in document["processes"]],
        )

    def add_namespace(self, name: str) -> None:
        self.namespaces.append(name)
        self.write()

    def add_process(self, pid: int) -> ProcessId | None:
        """Write down a process just started; None when it has already ended."""
        process = ProcessId.of(pid)
        if process is not None:
            self.processes.append(process)
            self.write()
        return process

    def release(self) -> None:
        """End the processes, remove the namespaces and the directory, drop the claim."""
        ours = [*self.processes, *_marked(self.lab)]
        for process in ours:
            send(process, signal.SIGTERM)
        for process in ours:
            end(process)
        for name in self.namespaces:
            if (NAMESPACES / name).exists():
                subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        if self.directory.name == f"{DIRECTORY_PREFIX}{self.lab}":
            shutil.rmtree(self.directory, ignore_errors=True)
        self.path.unlink(missing_ok=True)


def _marked(lab: str) -> list[ProcessId]:
    """Every live process whose environment says that this lab started it."""
    mark = f"{MARK}={lab}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                process = ProcessId.of(int(entry.name))
                if process is not None:
                    found.append(process)
    return found


@contextlib.contextmanager
def exclusively() -> Iterator[None]:
    """Hold the machine-wide lock under which labs are set up and swept."""
    CLAIMS.mkdir(mode=0o700, exist_ok=True)
    with (CLAIMS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sweep() -> list[str]:
    """Remove what labs of dead owners left behind; returns the ids of those labs.

    Call it under `exclusively()`. A lab whose owner lives is never touched, and neither is a claim
    that cannot be read (it may come from another version).
    """
    swept = []
    for path in sorted(CLAIMS.glob("*.json")):
        try:
            claim = Claim.read(path)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            continue
        if not claim.owner.alive:
            claim.release()
            swept.append(claim.lab)
    return swept
