"""`make first`: the path of somebody who is new here, from a clone to a certificate and to a tunnel, with times.

The clone and its installation are made anew, so that the times are those of a stranger. For the first part nothing
but the standard library is imported: there is no `.venv` yet.
"""

import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_BEGAN = "IKEWARDEN_FIRST_BEGAN"


def main() -> int:
    """Walk the path; returns 1 where it leads nowhere."""
    if sys.argv[1:] == ["tunnel"]:
        return _tunnel()
    began = time.time()
    with tempfile.TemporaryDirectory(prefix="ikewarden-first-") as scratch:
        clone = Path(scratch) / "ikewarden"
        subprocess.run(["git", "clone", "-q", str(_ROOT), str(clone)], check=True)
        _say(began, "cloned")
        if not _certificate(clone, began):
            return 1
        command = [str(clone / ".venv/bin/python"), "-m", "tests.docs.first", "tunnel"]
        environment = {**os.environ, _BEGAN: str(began), "PYTHONPATH": str(clone)}
        return subprocess.run(command, cwd=clone, env=environment, check=False).returncode


def _certificate(clone: Path, began: float) -> bool:
    port, validation_port = _free_port(), _free_port()
    command = ["make", "run", f"PORT={port}", f"VALIDATION_PORT={validation_port}"]
    served = subprocess.Popen(command, cwd=clone, start_new_session=True)
    try:
        while not _ready(port):
            if served.poll() is not None:
                _say(began, "`make run` ended")
                return False
            time.sleep(0.1)
        _say(began, "the service is ready")
        program = str(clone / ".venv/bin/ikewarden")
        issued = subprocess.run(
            [program, "cert", "issue", "gw1.example.com", "192.0.2.1", "--out", "gw1"],
            cwd=clone,
            check=False,
        )
        _say(began, "the first certificate" if issued.returncode == 0 else "no certificate")
        return issued.returncode == 0
    finally:
        os.killpg(served.pid, signal.SIGTERM)
        served.wait()


def _tunnel() -> int:
    from tests.docs.playing import NotAsSaid, play
    from tests.lab.lab import Lab, usable

    began = float(os.environ[_BEGAN])
    if reason := usable():
        _say(began, f"no tunnel: {reason}")
        return 0
    with Lab() as lab:
        try:
            play(
                "docs/tutorials/first-tunnel.md",
                lab,
                enough=lambda block: "INSTALLED" in block.text,
            )
        except NotAsSaid as failure:
            _say(began, str(failure))
            return 1
        _say(began, "the first tunnel, and packets have passed through it")
    return 0


def _ready(port: int) -> bool:
    # What is asked is only whether somebody is there: the root that it is to prove itself by is being made.
    context = ssl._create_unverified_context()  # noqa: S323
    try:
        with urllib.request.urlopen(f"https://localhost:{port}/readyz", context=context, timeout=5):
            return True
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _say(began: float, text: str) -> None:
    sys.stdout.write(f"{time.time() - began:6.1f} s  {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
