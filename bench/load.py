"""Load on one server: wrk with a prepared list of requests. The same for every side."""

import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.processes import ending_with_us, plain_environment

CONNECTIONS = 16
THREADS = 2
_SCRIPT = Path(__file__).with_name("load.lua")


class LoadFailed(Exception):
    """A run in which a request failed counts for nothing."""


class RanDry(Exception):
    """The list of requests ended before the time did."""


@dataclass(frozen=True)
class Request:
    """One prepared request; `path` begins with a slash."""

    method: str
    path: str
    body: bytes = b""


@dataclass(frozen=True)
class Load:
    """What wrk measured: answered requests, seconds, and milliseconds of latency."""

    requests: int
    seconds: float
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds


def write(path: Path, headers: Mapping[str, str], requests: Iterable[Request]) -> Path:
    """Write requests for `run`; the file may hold a token, so only we can read it."""
    path.touch(mode=0o600)
    with path.open("w", encoding="ascii") as file:
        for name, value in headers.items():
            file.write(f"H\t{name}\t{value}\n")
        for one in requests:
            file.write(f"R\t{one.method}\t{one.path}\t{one.body.hex()}\n")
    return path


def run(url: str, file: Path, *, seconds: int, once: bool = False) -> Load:
    """Send the requests of `file` over 16 kept-alive connections for some seconds.

    With `once` each is sent once; else they are sent round and round. Raises LoadFailed for any status above 399,
    broken connection or timeout, RanDry when there were not enough.
    """
    program = shutil.which("wrk")
    if program is None:
        raise LoadFailed("wrk is not installed (Debian: apt-get install wrk)")
    if not url.startswith(("http://127.0.0.1:", "https://127.0.0.1:")):
        raise LoadFailed(f"{url} is not on this machine")
    options = [f"-t{THREADS}", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s"]
    arguments = [str(file), "once" if once else "cycle", str(THREADS)]
    done = subprocess.run(
        [program, *options, "-s", str(_SCRIPT), url, "--", *arguments],
        capture_output=True,
        text=True,
        env=plain_environment(),
        timeout=seconds + 60,
        preexec_fn=ending_with_us(),
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode != 0 or not lines:
        raise LoadFailed(f"wrk failed: {done.stdout[-500:]} {done.stderr[-500:]}")
    got = json.loads(lines[0].removeprefix("RESULT "))
    if got["status"] or got["transport"] or got["timeouts"]:
        raise LoadFailed(
            f"{url}: {got['status']} refusals, {got['transport']} broken connections, "
            f"{got['timeouts']} timeouts among {got['requests']} requests"
        )
    if got["dry"]:
        raise RanDry
    return Load(got["requests"], got["microseconds"] / 1e6, got["p50"], got["p99"])
