"""The images, built and run: `make soak`, as root. They are made of Debian's packages and those that pip fetches.

No base is pulled: mmdebstrap makes one of the same release. buildah builds (in a chroot) and runc runs, neither needs a
daemon. IKEWARDEN_IMAGE_OPTIONS has more options for `buildah build`: a mirror's certificate, say.
"""

import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
_BASE = "localhost/debian-base"
_USER = {"service": 10001, "agent": 10002}


@dataclass(frozen=True)
class Builder:
    """buildah with a store of its own."""

    directory: Path

    def __call__(self, *arguments: str) -> str:
        store = ["--root", f"{self.directory}/store", "--runroot", f"{self.directory}/run"]
        command = ["buildah", *store, "--storage-driver", "vfs", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout.strip()


@pytest.fixture(scope="module")
def builder() -> Iterator[Builder]:
    """One that has the base. Some gigabytes: on disk, and not in memory, where other tests write."""
    directory = Path(tempfile.mkdtemp(prefix="ikewarden-images-", dir="/var/tmp"))
    try:
        yield _with_base(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _with_base(directory: Path) -> Builder:
    made = Builder(directory)
    base = directory / "base.tar"
    subprocess.run(["mmdebstrap", "--variant=minbase", "bookworm", base], check=True)
    container = made("from", "scratch")
    made("add", container, str(base), "/")
    made("commit", container, _BASE)
    made("rm", container)
    return made


@dataclass(frozen=True)
class Image:
    """One that was built, and its files."""

    name: str
    files: Path
    configuration: dict[str, Any]


@pytest.fixture(scope="module", params=["service", "agent"])
def image(request: pytest.FixtureRequest, builder: Builder) -> Image:
    name: str = request.param
    options = ["--isolation", "chroot", "--network", "host", "--pull-never", "--format", "docker"]
    options += shlex.split(os.environ.get("IKEWARDEN_IMAGE_OPTIONS", ""))
    options += ["--build-arg", f"BASE={_BASE}", "-f", f"docker/{name}.Dockerfile"]
    builder("build", *options, "-t", f"localhost/{name}", ".")
    said = json.loads(builder("inspect", "--type", "image", f"localhost/{name}"))
    container = builder("from", "--pull-never", f"localhost/{name}")
    return Image(name, Path(builder("mount", container)), said["Docker"]["config"])


@contextmanager
def _container(
    image: Image, directory: Path, *arguments: str, ends: bool = False
) -> Iterator[list[str]]:
    """Run the image's program as Compose would: its user, no capability, nothing to write but its state and /tmp.

    Gives the command by which something else is run in it. `ends`: it does so by itself.
    """
    bundle = directory / "-".join(["bundle", *arguments[:1]])
    bundle.mkdir()
    subprocess.run(["runc", "spec"], check=True, cwd=bundle)
    spec = json.loads((bundle / "config.json").read_text())
    uid = int(image.configuration["User"].partition(":")[0])
    state = directory / "state"
    if not state.exists():
        state.mkdir()
        os.chown(state, uid, uid)
    spec["root"] = {"path": str(image.files), "readonly": True}
    spec["process"] |= {
        "terminal": False,
        "user": {"uid": uid, "gid": uid},
        "env": image.configuration["Env"],
        "cwd": image.configuration["WorkingDir"],
        "args": [*image.configuration["Entrypoint"], *arguments],
        "noNewPrivileges": True,
        "capabilities": {},
        "rlimits": [],
    }
    shared = {"network", "cgroup"}
    kept = [each for each in spec["linux"]["namespaces"] if each["type"] not in shared]
    spec["linux"] = {"namespaces": kept}
    spec["mounts"] = [
        each for each in spec["mounts"] if not each["destination"].startswith("/sys")
    ] + [
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]},
        {
            "destination": image.configuration["WorkingDir"],
            "type": "bind",
            "source": str(state),
            "options": ["bind", "rw"],
        },
    ]
    (bundle / "config.json").write_text(json.dumps(spec))
    number = f"ikewarden-{os.getpid()}-{time.monotonic_ns()}"
    runc = ["runc", "--root", str(directory / "runc")]
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            [*runc, "run", "--bundle", str(bundle), number], stdout=log, stderr=log
        )
    try:
        yield [*runc, "exec", number]
        if ends:
            process.wait(300)
    finally:
        if process.poll() is None:
            subprocess.run([*runc, "kill", number, "TERM"], check=False, capture_output=True)
        code = process.wait(90)
    assert code == 0, (directory / "log").read_text()


def _asked(command: list[str]) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_what_the_image_says_of_itself(image: Image) -> None:
    uid = _USER[image.name]
    assert image.configuration["User"] == f"{uid}:{uid}"
    assert image.configuration["Healthcheck"]["Test"][:2] == ["CMD", "ikewarden"]
    assert image.configuration["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    # What built it stayed behind.
    assert not (image.files / "usr/bin/gcc").exists()
    assert not (image.files / "src").exists()
    assert not list(image.files.glob("opt/ikewarden/lib/python3*/site-packages/pip"))


def test_the_program_in_it(image: Image, tmp_path: Path) -> None:
    if image.name == "agent":
        with _container(image, tmp_path, "agent", "--help", ends=True):
            pass
        assert "enroll" in (tmp_path / "log").read_text()
        return
    port, validation_port = map(str, free_ports(2))
    ports = ("--port", port, "--validation-port", validation_port)
    with _container(image, tmp_path, "init", *ports, ends=True):
        pass
    with _container(image, tmp_path, "serve") as inside:
        deadline = time.monotonic() + 180
        while (found := _asked([*inside, *image.configuration["Healthcheck"]["Test"][1:]]))[0]:
            assert time.monotonic() < deadline, found
            time.sleep(0.5)
        assert found == (0, "ok\n")
        code, said = _asked([*inside, "sh", "-c", "id -u; touch /opt/x /usr/x /etc/x"])
        assert code != 0
        assert said.splitlines()[0] == "10001"
        assert said.count("Read-only file system") == 3
        status = _asked([*inside, "grep", "-E", "^Cap(Eff|Bnd)|^NoNewPrivs", "/proc/self/status"])
        assert [line.split()[1] for line in status[1].splitlines()] == ["0" * 16, "0" * 16, "1"]
        pdf = "import weasyprint; weasyprint.HTML(string='<p>报告</p>').write_pdf('/tmp/x.pdf')"
        assert _asked([*inside, "python", "-c", pdf]) == (0, "")
