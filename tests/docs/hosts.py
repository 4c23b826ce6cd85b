"""Hosts on which the commands of a page are run as they stand: with the usual paths, ports and names, each in a network
and a view of the files of its own.
"""

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.blocks import ROOT
from tests.lab.charon import Gateway
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.namespaces import Namespace, Process, run

_SYSTEMCTL = ROOT / "tests" / "docs" / "systemctl.sh"
# What is written to is this host's own; the rest of the machine is seen as it is.
_OWN = ("/run", "/srv", "/mnt", "/var/log", "/var/lib")
_VIEW = """
set -e
mount --make-rprivate /
cp -a /etc "$1/etc"
mount --bind "$1/etc" /etc
shift
for folder in "$@"; do mkdir -p "$folder" && mount -t tmpfs -o mode=755 tmpfs "$folder"; done
mkdir -p /etc/ikewarden /etc/systemd/system
touch /run/a-view-of-its-own
exec sleep infinity
"""
# Nothing is ever run in the view of the machine itself, where it would change the machine's files.
_GUARD = "[ -e /run/a-view-of-its-own ] || exit 99\n"
# What a session leaves behind for the next block: variables, the directory, and the state of a virtual environment.
_BLOCK = """
cd {work}
[ ! -e {state}/variables ] || . {state}/variables
[ ! -e {state}/folder ] || cd "$(cat {state}/folder)"
{commands}
declare -px | grep -vE '^declare -[a-z]*(r|x) (BASHOPTS|SHELLOPTS|EUID|UID|PPID|BASH_VERSINFO)=' > {state}/variables
pwd > {state}/folder
"""


@dataclass
class Ran:
    """What one command did: its words on both outputs, and how it ended."""

    text: str
    said: str
    status: int


@dataclass
class Host:
    """One machine. `folder` is its own, `work` where its user is; `charon` is the daemon that runs on it, if any."""

    name: str
    namespace: Namespace
    folder: Path
    work: Path
    charon: Gateway | None = None
    _holder: Process | None = field(default=None, repr=False)

    def boot(self) -> None:
        """Make its view of the files."""
        for folder in ("home", "state", "bin", "files"):
            (self.folder / folder).mkdir(parents=True)
        if not self.work.exists():
            self.work.mkdir(parents=True)
            (self.work / ".venv").symlink_to(sys.prefix)
        (self.folder / "bin" / "systemctl").symlink_to(_SYSTEMCTL)
        files = str(self.folder / "files")
        self._holder = self.namespace.start(
            ["unshare", "-m", "bash", "-c", _VIEW, "view", files, *_OWN],
            output=self.folder / "boot.log",
        )
        self._wait_for_view()
        if self.charon is not None:
            self.shell(
                f"ln -sf {self.charon.vici_socket} /run/charon.vici && "
                f"mkdir -p /etc/swanctl && "
                f"mount --bind {self.charon.swanctl_folder} /etc/swanctl"
            )

    def run(self, commands: list[str]) -> list[Ran]:
        """Run the commands of one block in a shell that goes on where the last one was; it ends with the first that
        fails. A service that is started goes to the background, and the next command waits until it is ready.
        """
        marked = "\n".join(
            f"printf '\\n::%s\\n' begins; {{ {_patient(text)}\n}} 2>&1; said=$?; "
            f"printf '\\n::ended %s\\n' $said; [ $said = 0 ] || exit 0"
            for text in commands
        )
        state = self.folder / "state"
        script = _BLOCK.format(work=self.work, state=state, commands=marked)
        done = self.shell(script)
        found = []
        for text, part in zip(commands, done.split("\n::begins\n")[1:], strict=False):
            said, ended, rest = part.rpartition("\n::ended ")
            found.append(Ran(text, said, int(rest.split()[0]) if ended else -1))
        return found

    def shell(self, script: str) -> str:
        """Run a script to its end inside; returns what it printed."""
        return run(
            self._inside(["bash", "-c", _GUARD + script]),
            timeout=300,
            check=False,
            env=self._environment,
        ).stdout

    @property
    def _environment(self) -> dict[str, str]:
        path = [self.folder / "bin", Path(sys.executable).parent]
        return {
            "PATH": ":".join([*map(str, path), os.environ["PATH"], "/usr/sbin", "/sbin"]),
            "HOME": str(self.folder / "home"),
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "100",
            "LANG": "C.UTF-8",
            **({} if self.charon is None else {"SWANCTL_DIR": "/etc/swanctl"}),
            **{"IKEWARDEN_LAB": self.namespace.claim.lab},
        }

    def _inside(self, command: list[str]) -> list[str]:
        assert self._holder is not None
        # `ip netns exec` has a view of /sys of its own: the holder's network and files, and nothing else.
        return ["nsenter", "-t", str(self._holder.popen.pid), "-m", "-n", "--", *command]

    def _wait_for_view(self) -> None:
        deadline = time.monotonic() + 60
        while "yes" not in self.shell("echo yes"):
            if time.monotonic() > deadline or (self._holder and not self._holder.running):
                said = (self.folder / "boot.log").read_text()
                raise LabError(f"{self.name} has no view of its own: {said}")
            time.sleep(0.02)


_READY = (
    "until curl -ks --fail https://localhost:8443/readyz >/dev/null; do kill -0 $! || "
    "{ cat serve.log; exit 9; }; sleep 0.1; done"
)


def _patient(text: str) -> str:
    if text.split()[:2] == ["ikewarden", "serve"]:
        return f"{text} < /dev/null > serve.log 2>&1 & {_READY}"
    return text


@contextlib.contextmanager
def hosts(lab: Lab, *names: str, charons: Sequence[str] = ()) -> Iterator[dict[str, Host]]:
    """Hosts of a lab that know each other by name, as NAME.example.com; on some of them a charon runs. The first
    charon has 192.0.2.1, the second 192.0.2.2. All have the same user's folder: what is to be brought from one to
    another is there. Raises LabError where the project is in a folder that each host has for itself.
    """
    needed = [ROOT, Path(sys.prefix), Path(sys.base_prefix)]
    if hidden := [path for path in needed for own in _OWN if path.is_relative_to(own)]:
        raise LabError(f"{hidden[0]} would be hidden from the hosts: clone the project elsewhere")
    made: dict[str, Host] = {}
    for name in (*charons, *names):
        gateway = lab.gateway(name, start=False) if name in charons else None
        namespace = gateway.namespace if gateway else lab.namespace(name)
        folder = lab.directory / f"host-{name}"
        made[name] = Host(name, namespace, folder, lab.directory / "work", gateway)
    known = {f"{host.name}.example.com": host.namespace.address for host in made.values()}
    with contextlib.ExitStack() as closing:
        for host in made.values():
            # `ip netns exec` lays what is here over /etc: charon looks names up there as well.
            own = Path("/etc/netns") / host.namespace.name
            own.mkdir(parents=True)
            closing.callback(shutil.rmtree, own)
            lines = [f"{address} {name}" for name, address in known.items()]
            (own / "hosts").write_text("\n".join(["127.0.0.1 localhost", *lines]) + "\n")
            if host.charon is not None:
                host.charon.start()
            host.boot()
        yield made
