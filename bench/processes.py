"""Programs that a benchmark starts: they end with it, whatever happens, and nothing else is touched."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class ProgramDied(Exception):
    """A program that should be running is not; the message has the end of its log."""


@dataclass(frozen=True)
class Peak:
    """The most memory that one process ever had resident (VmHWM), in bytes."""

    pid: int
    command: str
    resident: int


class Program:
    """A started program and everything it started. Its output goes to `log`."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        cwd: Path,
        environment: Mapping[str, str] | None = None,
        end_with: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.log = log
        self._end_with = end_with
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(word) for word in command],
                cwd=cwd,
                env=dict(environment or plain_environment()),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches the benchmark, which then ends this in order
                preexec_fn=ending_with_us(end_with),  # noqa: PLW1509 - no thread runs meanwhile
            )

    def check(self) -> None:
        """Raise ProgramDied if it is gone."""
        if self._process.poll() is not None:
            end = self.log.read_text("utf-8", "replace")[-2000:]
            raise ProgramDied(f"exit code {self._process.returncode}; its log ends with:\n{end}")

    def tree(self) -> list[int]:
        """Process ids: the program's own, then those of its descendants."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (parent := _parent(int(entry.name))) is not None:
                children.setdefault(parent, []).append(int(entry.name))
        found = [self._process.pid]
        for pid in found:
            found.extend(children.get(pid, ()))
        return found

    def pause(self) -> None:
        """Stop it where it is, the parent first, so that none of its work falls into another's time."""
        for pid in self.tree():
            _signal(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on, the parent last."""
        for pid in reversed(self.tree()):
            _signal(pid, signal.SIGCONT)

    def peaks(self) -> list[Peak]:
        """Peak memory of each process that is running."""
        found = []
        for pid in self.tree():
            with contextlib.suppress(OSError, StopIteration):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                kilobytes = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                command = " ".join(word.decode(errors="replace") for word in words if word)
                found.append(Peak(pid, command, int(kilobytes) * 1024))
        return found

    def stop(self, grace: float = 20.0) -> None:
        """End it, and whatever of it is left after `grace` seconds by force."""
        pids = self.tree()
        if self._process.poll() is None:
            self.resume()
            self._process.send_signal(self._end_with)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        # Its process group is its own, so nobody else's process can have this number in it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for pid in pids[1:]:
            if _session(pid) == self._process.pid:
                _signal(pid, signal.SIGKILL)
        self._process.wait()


def ending_with_us(number: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """For `preexec_fn`: the kernel sends the signal to the new process when this one dies, however it dies."""
    parent = os.getpid()

    def wish() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)

    return wish


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on: state, parent, group, session, …"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _parent(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def _session(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[3]) if fields else None


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def plain_environment(**more: str) -> dict[str, str]:
    """What a program needs of our environment, without proxies, tokens and library settings."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "USER", "LOGNAME")
    return {name: os.environ[name] for name in kept if name in os.environ} | more


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def wait_until(
    ready: Callable[[], bool], *, seconds: float, what: str, program: Program | None = None
) -> None:
    """Ask again and again until `ready`. Raises TimeoutError, and ProgramDied if the program ended."""
    end = time.monotonic() + seconds
    while not ready():
        if program is not None:
            program.check()
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(0.05)
