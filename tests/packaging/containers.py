"""Images built with buildah, and containers of them run with runc, as compose.yaml would have them run."""

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_BASE = "localhost/debian-base"
_PATIENCE = 300


@dataclass(frozen=True)
class Image:
    """One that was built, and its files."""

    name: str
    files: Path
    configuration: dict[str, Any]


@dataclass(frozen=True)
class Builder:
    """buildah with a store of its own, in a directory on disk: a base has 170 MB, an image 800 MB."""

    directory: Path

    def make_base(self) -> None:
        """Install Debian into a base, from its packages."""
        base = self.directory / "base.tar"
        subprocess.run(["mmdebstrap", "--variant=minbase", "bookworm", base], check=True)
        container = self._buildah("from", "scratch")
        self._buildah("add", container, str(base), "/")
        self._buildah("commit", container, _BASE)
        self._buildah("rm", container)

    def image(self, name: str) -> Image:
        """Build an image by its Dockerfile, in a chroot and with the network of this machine."""
        options = ["--isolation", "chroot", "--network", "host", "--pull-never"]
        options += ["--format", "docker", "--build-arg", f"BASE={_BASE}"]
        options += shlex.split(os.environ.get("IKEWARDEN_IMAGE_OPTIONS", ""))
        self._buildah(
            "build", *options, "-f", f"docker/{name}.Dockerfile", "-t", f"localhost/{name}", "."
        )
        said = json.loads(self._buildah("inspect", "--type", "image", f"localhost/{name}"))
        container = self._buildah("from", "--pull-never", f"localhost/{name}")
        return Image(name, Path(self._buildah("mount", container)), said["Docker"]["config"])

    def remove(self) -> None:
        """Take all of it away."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _buildah(self, *arguments: str) -> str:
        store = ["--root", f"{self.directory}/store", "--runroot", f"{self.directory}/run"]
        command = ["buildah", *store, "--storage-driver", "vfs", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout.strip()


@dataclass(frozen=True)
class Container:
    """How one is run: read-only, with nothing to write but `volumes` (by their places) and /tmp.

    `program` is what runs in the place of the image's own, `network` the name of a network namespace.
    """

    image: Image
    arguments: Sequence[str] = ()
    program: Sequence[str] = ()
    volumes: Mapping[str, Path] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    uid: int | None = None
    capabilities: Sequence[str] = ()
    network: str = ""

    def write(self, bundle: Path) -> None:
        """Write it down for runc."""
        bundle.mkdir()
        subprocess.run(["runc", "spec"], check=True, cwd=bundle)
        spec = json.loads((bundle / "config.json").read_text())
        said = self.image.configuration
        uid = int(said["User"].partition(":")[0]) if self.uid is None else self.uid
        rights = list(self.capabilities)
        spec["root"] = {"path": str(self.image.files), "readonly": True}
        spec["process"] |= {
            "terminal": False,
            "user": {"uid": uid, "gid": uid},
            "env": [*said["Env"], *(f"{name}={value}" for name, value in self.environ.items())],
            "cwd": said.get("WorkingDir") or "/",
            "args": [*(self.program or said["Entrypoint"]), *self.arguments],
            "noNewPrivileges": True,
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), rights),
            "rlimits": [],
        }
        # What a container may use of processor and memory is not tried: it needs a manager of such groups.
        kept = [
            each
            for each in spec["linux"]["namespaces"]
            if each["type"] not in {"cgroup", "network"}
        ]
        if self.network:
            kept.append({"type": "network", "path": f"/run/netns/{self.network}"})
        spec["linux"] = {"namespaces": kept}
        mounts = [each for each in spec["mounts"] if not each["destination"].startswith("/sys")]
        mounts.append(_memory("/tmp"))
        if self.image.name == "agent":
            mounts.append(_memory("/run/ikewarden-agent"))
        for place, path in self.volumes.items():
            mounts.append(
                {"destination": place, "type": "bind", "source": str(path), "options": ["bind"]}
            )
        spec["mounts"] = mounts
        (bundle / "config.json").write_text(json.dumps(spec))


def _memory(place: str) -> dict[str, Any]:
    return {"destination": place, "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]}


@dataclass
class Running:
    """A container that runs, or has run; `log` is what it wrote."""

    name: str
    directory: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.directory / f"{self.name}.log").read_text()

    def asked(self, *command: str) -> tuple[int, str]:
        """Run something in it; give its exit code and what it wrote."""
        done = subprocess.run(
            [*_runc(self.directory), "exec", self.name, *command],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def until(self, *command: str, says: str = "") -> str:
        """Wait until something ends well in it, and says what it should; give what it wrote."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            code, said = self.asked(*command)
            if code == 0 and says in said:
                return said
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, said + self.log
            time.sleep(0.5)


@contextmanager
def running(name: str, container: Container, directory: Path) -> Iterator[Running]:
    """Run one until the block ends; it must end well."""
    container.write(directory / name)
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [*_runc(directory), "run", "--bundle", str(directory / name), name],
            stdout=log,
            stderr=log,
        )
    found = Running(name, directory, process)
    try:
        yield found
    finally:
        for signal in ("TERM", "KILL"):
            if process.poll() is None:
                kill = [*_runc(directory), "kill", name, signal]
                subprocess.run(kill, check=False, capture_output=True)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    continue
    assert process.returncode == 0, found.log


def run_once(name: str, container: Container, directory: Path) -> str:
    """Run one that ends by itself, and well; give what it wrote."""
    with running(name, container, directory) as found:
        found.process.wait(_PATIENCE)
    return found.log


def _runc(directory: Path) -> list[str]:
    return ["runc", "--root", str(directory / "runc")]
