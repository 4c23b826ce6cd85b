"""Network namespaces of one lab: commands, processes and sockets in them.

A socket stays in the network namespace it was made in, whichever process uses it.
`Namespace.listen` makes use of that: the returned socket is held by the calling process in the root
namespace, yet it is reached at the lab's address. No interface is ever added to the root namespace.
"""

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.lab.errors import LabError
from tests.lab.ownership import MARK, NAMESPACES, Claim, ProcessId

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


def run(
    command: Sequence[str],
    *,
    timeout: float = 90.0,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; raises LabError with its output when it fails."""
    try:
        done = subprocess.run(
            list(command),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(env or {})},
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise LabError(f"{' '.join(command)} had not ended after {timeout:.0f} s") from late
    if check and done.returncode != 0:
        said = (done.stderr + done.stdout).strip()
        raise LabError(f"{' '.join(command)} ended with {done.returncode}: {said}")
    return done


@dataclass(frozen=True)
class Process:
    """A process that the lab started and will end."""

    popen: "subprocess.Popen[bytes]"
    id: ProcessId | None

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def ask_to_end(self) -> None:
        """Send SIGTERM without waiting, so that several processes end side by side."""
        self.popen.terminate()

    def stop(self, *, grace: float = 30.0) -> int:
        """Ask it to end, after `grace` seconds make it; returns its exit status."""
        self.ask_to_end()
        try:
            return self.popen.wait(grace)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait(grace)


@dataclass(frozen=True)
class Namespace:
    """One network namespace: its name in `ip netns`, its address on the lab's network."""

    name: str
    address: str
    claim: Claim
    started: list[Process] = field(default_factory=list, compare=False)

    def argv(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` inside, under the same process id."""
        return ["ip", "netns", "exec", self.name, *command]

    def run(
        self,
        command: Sequence[str],
        *,
        timeout: float = 90.0,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end; raises LabError when it fails."""
        marked = {**(env or {}), MARK: self.claim.lab}
        return run(self.argv(command), timeout=timeout, check=check, env=marked)

    def start(
        self, command: Sequence[str], *, output: Path, env: Mapping[str, str] | None = None
    ) -> Process:
        """Start a process that lives until stopped or the lab ends; `output` takes its words."""
        with output.open("ab") as sink:
            popen = subprocess.Popen(
                self.argv(command),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {}), MARK: self.claim.lab},
            )
        self.started.append(Process(popen, self.claim.add_process(popen.pid)))
        return self.started[-1]

    def listen(self, port: int = 0) -> socket.socket:
        """A TCP socket listening at this namespace's address; the caller serves and closes it."""

        def bound() -> socket.socket:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((self.address, port))
                listener.listen(64)
            except OSError:
                listener.close()
                raise
            return listener

        return self.within(bound)

    def within(self, act: Callable[[], T]) -> T:
        """Call `act` in a thread inside this namespace; returns its result or raises its error."""
        results: list[T] = []
        errors: list[BaseException] = []

        def enter_and_act() -> None:
            try:
                _enter(self.name)
                results.append(act())
            except BaseException as error:  # noqa: BLE001 - handed to the caller below
                errors.append(error)

        # setns(2) moves one thread; this one ends afterwards, so no other code ever runs in it.
        thread = threading.Thread(target=enter_and_act, name=f"within {self.name}")
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]


def _enter(name: str) -> None:
    handle = os.open(NAMESPACES / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # os.setns exists from Python 3.12 on; we support 3.11.
        if _libc.setns(handle, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), name)
    finally:
        os.close(handle)


def create(claim: Claim, label: str, address: str) -> Namespace:
    """Make an empty namespace with its loopback up; `address` is noted, not yet assigned."""
    name = f"ikewarden-{claim.lab}-{label}"
    claim.add_namespace(name)
    run(["ip", "netns", "add", name])
    run(["ip", "-n", name, "link", "set", "lo", "up"])
    return Namespace(name, address, claim)


def make_bridge(namespace: Namespace, prefix: int) -> None:
    """Give the namespace a bridge `br0` that holds its address; others are plugged into it."""
    ip_batch(
        namespace.name,
        "link add br0 type bridge",
        "link set br0 up",
        f"addr add {namespace.address}/{prefix} dev br0",
    )


def plug(bridge: Namespace, namespace: Namespace, *, port: str, prefix: int, inside: str) -> None:
    """Connect a namespace to the bridge with `eth0`; `inside` (or "") goes on its lo."""
    ip_batch(
        bridge.name,
        f"link add {port} type veth peer name eth0 netns {namespace.name}",
        f"link set {port} master br0 up",
    )
    own = [f"addr add {namespace.address}/{prefix} dev eth0", "link set eth0 up"]
    if inside:
        own.append(f"addr add {inside} dev lo")
    ip_batch(namespace.name, *own)


def ip_batch(name: str, *lines: str) -> None:
    """Run several `ip` commands in one namespace, stopping at the first that fails."""
    run(["ip", "-n", name, "-batch", "-"], stdin="\n".join(lines) + "\n")
