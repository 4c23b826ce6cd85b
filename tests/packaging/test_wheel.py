"""The wheel by itself: outside of the checkout, on a read-only disk, as somebody who may do nothing."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3

from tests.fixtures.needs import left_out
from tests.fixtures.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
_NOBODY = 65534
# What `make future` sets beside LD_PRELOAD.
_CLOCK = ("FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC", "FAKETIME_FORCE_MONOTONIC_FIX")
# What pip installs is bound into a place that everybody may enter; then all of it is read-only, but `state` and `tmp`.
_INSIDE = """
set -e
mount -t tmpfs -o mode=0755 tmpfs /mnt
mkdir /mnt/venv /mnt/needed /mnt/state /mnt/tmp /mnt/base
mount --bind "$VENV" /mnt/venv
mount --bind "$NEEDED" /mnt/needed
mount --bind "$STATE" /mnt/state
mount -t tmpfs -o mode=1777 tmpfs /mnt/tmp
case "$BASE" in
/usr | /usr/*) ;;
*) # a Python in somebody's home, which nobody else may enter
  mount --bind "$BASE" /mnt/base
  top=/$(echo "$BASE" | cut -d / -f 2)
  mount -t tmpfs -o mode=0755 tmpfs "$top"
  mkdir -p "$BASE"
  mount --bind /mnt/base "$BASE"
  mount -o remount,bind,ro "$BASE"
  ;;
esac
for each in / /mnt /mnt/venv /mnt/needed; do mount -o remount,bind,ro "$each"; done
cd /mnt/state
exec setpriv --pdeathsig=SIGTERM --reuid=65534 --regid=65534 --clear-groups --no-new-privs --bounding-set=-all \\
  env -i PATH=/usr/bin:/bin HOME=/nonexistent TMPDIR=/mnt/tmp IKEWARDEN_DIR=/mnt/state/instance $CLOCK \\
  /mnt/venv/bin/python -m ikewarden.main "$@"
"""


def _let_through() -> list[str]:
    return re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.M)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of what an image is built of."""
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in _let_through():
        if (ROOT / name).is_dir():
            unwanted = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(ROOT / name, source / name, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(made), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = made.glob("ikewarden-*-py3-none-any.whl")
    return found


def test_it_has_all_that_the_rooms_have(wheel: Path) -> None:
    """Templates, styles, migrations, profiles, languages: what the code reads beside itself."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    rooms = [name for name in _let_through() if (ROOT / name / "__init__.py").is_file()]
    assert len(rooms) == 9
    expected = {
        str(path.relative_to(ROOT))
        for room in rooms
        for path in (ROOT / room).rglob("*")
        if path.is_file() and path.suffix != ".pyc" and path.name != ".gitignore"
    }
    assert expected - names == set()
    data = f"{wheel.name.removesuffix('-py3-none-any.whl')}.data/data/share"
    assert f"{data}/man/man1/ikewarden.1" in names
    assert {name.partition("/")[0] for name in names} == {
        *rooms,
        f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info",
        f"{wheel.name.removesuffix('-py3-none-any.whl')}.data",
    }


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel alone; what it needs is read from that of the tests."""

    venv: Path
    state: Path

    def command(self, *arguments: str) -> list[str]:
        return ["unshare", "--mount", "sh", "-c", _INSIDE, "sh", *arguments]

    @property
    def environ(self) -> dict[str, str]:
        needed = sysconfig.get_path("purelib")
        places = {"VENV": str(self.venv), "NEEDED": needed, "STATE": str(self.state)}
        # In another year, too (`make future`).
        kept = {name: os.environ[name] for name in _CLOCK if name in os.environ}
        if preload := os.environ.get("LD_PRELOAD"):
            kept["LD_PRELOAD"] = preload.replace(needed, "/mnt/needed")
        clock = " ".join(f"{name}={value}" for name, value in kept.items())
        return {"PATH": os.environ["PATH"], "BASE": sys.base_prefix, "CLOCK": clock, **places}

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            self.command(*arguments), env=self.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def serving(self, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        with log.open("wb") as out:
            process = subprocess.Popen(
                self.command("serve"), env=self.environ, stdout=out, stderr=out
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(90)


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Installed:
    if os.geteuid() != 0:
        left_out("only root makes a disk read-only and becomes somebody else")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    command = [sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "install"]
    options = ["--quiet", "--no-index", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*command, *options, wheel], check=True, capture_output=True)
    (site,) = venv.glob("lib/python3*/site-packages")
    (site / "needed.pth").write_text("/mnt/needed\n")
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, _NOBODY, _NOBODY)
    return Installed(venv, state)


def test_it_serves_where_it_may_write_its_state_alone(installed: Installed, tmp_path: Path) -> None:
    port, validation_port = map(str, free_ports(2))
    made = installed.run("init", "--port", port, "--validation-port", validation_port)
    assert f"https://localhost:{port}" in made
    instance = installed.state / "instance"
    assert instance.stat().st_uid == _NOBODY
    root = str(instance / "root-ca.pem")
    with (
        installed.serving(tmp_path / "log") as process,
        urllib3.PoolManager(ca_certs=root, retries=False, timeout=30.0) as http,
    ):
        deadline = time.monotonic() + 180
        while not _is_ready(http, port):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        assert installed.run("health") == "ok\n"
        document = http.request("GET", f"https://localhost:{port}/v1/openapi.json").json()
        assert document["openapi"].startswith("3.1")
        installed.run("cert", "issue", "gw1.example.com", "--out", "/mnt/state/gw1")
        assert "gw1.example.com" in installed.run("cert", "list")
        crl = f"http://127.0.0.1:{validation_port}/crl/issuing.crl"
        assert http.request("GET", crl).status == 200
    assert process.returncode == 0
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said
    assert "Read-only" not in said


def _is_ready(http: urllib3.PoolManager, port: str) -> bool:
    try:
        return http.request("GET", f"https://localhost:{port}/readyz").status == 200
    except urllib3.exceptions.HTTPError:
        return False


def test_it_is_the_wheel_that_ran_and_the_disk_was_closed(installed: Installed) -> None:
    """The checkout is not looked into, and what must not be written cannot be."""
    question = (
        "import ikewarden, os; print(ikewarden.__file__, os.geteuid(), os.access('/mnt', os.W_OK), "
        "os.access('/mnt/venv', os.W_OK), open('/proc/self/status').read().split('CapEff:')[1].split()[0])"
    )
    script = _INSIDE.replace('-m ikewarden.main "$@"', f'-c "{question}"')
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        env=installed.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    file, uid, *closed, capabilities = done.stdout.split()
    assert file.startswith("/mnt/venv/")
    assert (uid, closed, int(capabilities, 16)) == ("65534", ["False", "False"], 0)
