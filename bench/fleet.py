"""The fleet: agents that wait for news on one node, while the state of some of them changes."""

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.load import LoadFailed
from bench.ours import Ours
from bench.processes import Program, ending_with_us
from bench.rounds import Bench, Row, alone, compare
from bench.sides import start_ours

AGENTS = 10_000
RATE = 200
_QUICK_AGENTS = 300
_IDLE_SECONDS = 5
_SECONDS = 20
_LIMIT = "limit"
_LIMIT_SECONDS = 1.0


@dataclass(frozen=True)
class Usage:
    """Seconds of CPU so far, and resident bytes, of the service's API processes and of all of it."""

    at: float
    cpu: float
    resident: int


def run(bench: Bench) -> list[Row]:
    """Let agents wait, change states, and see how soon each hears of it."""
    quick = bench.options.quick
    agents, seconds = (_QUICK_AGENTS, 1) if quick else (AGENTS, _SECONDS)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    service = start_ours(bench)
    place = bench.directory / "clients"
    bench.say(f"preparing {agents:,} gateways with a certificate each")
    _records(service, "prepare", str(agents), str(place))
    before = _usage(service.program)
    bench.say("connecting their agents")
    heard, changed = bench.directory / "heard.json", bench.directory / "changed.json"
    crowd = _crowd(service, place, agents, heard)
    bench.stack.callback(crowd.kill)
    if crowd.stdout is None or crowd.stdout.readline() != b"ready\n":
        raise LoadFailed("the agents did not all connect")
    time.sleep(1)
    idle = [_usage(service.program)]
    time.sleep(_IDLE_SECONDS)
    idle.append(_usage(service.program))
    bench.say(f"changing {RATE} states a second for {seconds} s")
    busy = [_usage(service.program)]
    done = _records(service, "change", str(RATE), str(seconds), str(changed))
    busy.append(_usage(service.program))
    time.sleep(5)
    crowd.communicate(timeout=60)
    if crowd.returncode != 0:
        raise LoadFailed("the agents broke off")
    delays = _delays(changed, heard)
    waiting = (idle[1].resident - before.resident) / agents / 1024
    note = f"{agents:,} agents waiting over TLS, {len(delays) / done['seconds']:.0f} changes/s"
    bench.say(note)
    return [
        _against_limit("change_to_delivery_p99", delays[int(len(delays) * 0.99)], note),
        _against_limit("change_to_delivery_p50", delays[len(delays) // 2], note),
        alone(
            ("fleet", "memory_per_waiting_gateway", "KiB"),
            [waiting],
            note="growth of all processes of the service, with TLS and its buffers",
        ),
        alone(("fleet", "cpu_of_waiting", "cores"), [_cores(*idle)], note=f"{agents:,} waiting"),
        alone(
            ("fleet", "cpu_of_changes", "cores"),
            [(busy[1].cpu - busy[0].cpu) / done["seconds"]],
            note=f"{note}; of the service alone",
        ),
    ]


def _against_limit(metric: str, seconds: float, note: str) -> Row:
    what = ("fleet", metric, "s")
    return compare(what, [seconds], _LIMIT, [_LIMIT_SECONDS], less_is_better=True, note=note)


def _records(service: Ours, *words: str) -> dict[str, float]:
    program = [sys.executable, "-m", "bench.fleet_records", str(service.directory), *words]
    return dict(json.loads(service.run(program).splitlines()[-1]))


def _crowd(service: Ours, place: Path, count: int, file: Path) -> subprocess.Popen[bytes]:
    words = [str(urlsplit(service.url).port), str(service.directory / "root-ca.pem"), str(place)]
    return subprocess.Popen(
        [sys.executable, "-m", "bench.fleet_clients", *words, str(count), str(file)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=ending_with_us(),  # noqa: PLW1509 - no thread runs meanwhile
    )


def _delays(changed: Path, heard: Path) -> list[float]:
    """Seconds from before each change until its gateway had the news, sorted. Raises LoadFailed if one had none."""
    changes = json.loads(changed.read_text())
    news = json.loads(heard.read_text())
    lost = [name for name in changes if name not in news]
    if lost:
        raise LoadFailed(f"{len(lost)} of {len(changes)} changes did not arrive")
    return sorted(news[name] - moment for name, moment in changes.items())


def _cores(first: Usage, last: Usage) -> float:
    return (last.cpu - first.cpu) / (last.at - first.at)


def _usage(program: Program) -> Usage:
    ticks, pages = 0, 0
    for pid in program.tree():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
        pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    cpu = ticks / os.sysconf("SC_CLK_TCK")
    return Usage(time.monotonic(), cpu, pages * os.sysconf("SC_PAGE_SIZE"))
