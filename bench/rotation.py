"""Rotation: many tunnels due at once, two schedulers of which one is killed half-way, OpenBao as the store.

The peer is the same store asked for the same four calls of each rotation with nothing around them: one value put, read
by two gateways, and one destroyed.
"""

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from bench import openbao
from bench.load import LoadFailed
from bench.openbao import OpenBao
from bench.ours import Ours
from bench.postgresql import Postgresql
from bench.processes import ending_with_us
from bench.rotation_side import MOUNT
from bench.rounds import Bench, Row, alone, compare
from bench.sides import start_openbao, start_ours

TUNNELS = 10_000
_QUICK_TUNNELS = 60
_BARE = 2_000
_LIMIT = 3_600
_POLICY = f"""
path "{MOUNT}/*" {{ capabilities = ["create", "read", "update", "delete"] }}
path "sys/internal/ui/mounts/{MOUNT}" {{ capabilities = ["read"] }}
"""


def run(bench: Bench) -> list[Row]:
    """Let all be due, kill a replica half-way, see that each was rotated once and how fast."""
    count = _QUICK_TUNNELS if bench.options.quick else TUNNELS
    if bench.database_url is None:
        # Two schedulers are a matter of PostgreSQL, whatever the others are measured on.
        place = bench.directory / "postgresql"
        place.mkdir()
        server = Postgresql(place)
        bench.stack.callback(server.stop)
        bench.database_url = server.url
    service, peer = start_ours(bench, serving=False), start_openbao(bench)
    _mount(peer, service)
    bench.say(f"preparing {count:,} tunnels with a key each")
    _side(service, "prepare", str(count))
    bare = _bare(bench, service, count)
    agents = _start(bench, service, "agents")
    bench.say("rotating all of them")
    begun = time.time()
    replicas = [_start(bench, service, "replica", name) for name in ("one", "two")]
    ended = _watch(bench, agents, replicas[0], count)
    for each in (*replicas, agents):
        each.kill()
        each.wait()
    checked = _side(service, "check", str(count))
    if not checked["once"]:
        raise LoadFailed(f"{checked['good']} of {count} were rotated exactly once")
    rate = count / (ended - begun)
    peak = _peak(bench.directory / "openbao" / "audit.log", begun, ended)
    note = f"{count:,} tunnels due at once, one of two schedulers killed half-way"
    bench.say(f"{rate:.1f} rotations/s, {bare:.1f}/s bare, up to {peak} requests/s to the store")
    against = f"bare calls of {openbao.name()}"
    return [
        compare(("rotation", "rotations", "/s"), [rate], against, [bare], note=note),
        alone(("rotation", "peak_requests_to_the_store", "/s"), [float(peak)], note=note),
    ]


def _mount(peer: OpenBao, service: Ours) -> None:
    peer.call("POST", f"sys/mounts/{MOUNT}", {"type": "kv", "options": {"version": "2"}})
    peer.call("PUT", "sys/policies/acl/rotation", {"policy": _POLICY})
    made = peer.call("POST", "auth/token/create", {"policies": ["rotation"], "ttl": "24h"})
    file = service.directory / "openbao.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps({"url": peer.plain_url, "token": made["auth"]["client_token"]}))


def _bare(bench: Bench, service: Ours, count: int) -> float:
    calls = min(count, _BARE)
    bench.say(f"the calls of {calls:,} rotations alone")
    return float(calls / _side(service, "bare", str(calls))["seconds"])


def _words(service: Ours, *words: str) -> list[str]:
    return [sys.executable, "-m", "bench.rotation_side", str(service.directory), *words]


def _side(service: Ours, *words: str) -> dict[str, float]:
    return dict(json.loads(service.run(_words(service, *words)).splitlines()[-1]))


def _start(bench: Bench, service: Ours, *words: str) -> subprocess.Popen[bytes]:
    made = subprocess.Popen(
        _words(service, *words),
        cwd=Path(__file__).parents[1],
        env=service.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=ending_with_us(),  # noqa: PLW1509 - no thread runs meanwhile
    )
    bench.stack.callback(made.kill)
    if made.stdout is None or made.stdout.readline() != b"ready\n":
        raise LoadFailed(f"{words[0]} did not start")
    return made


def _watch(
    bench: Bench, agents: subprocess.Popen[bytes], victim: subprocess.Popen[bytes], count: int
) -> float:
    """When the last rotation had retired; the victim is killed when half of them had."""
    assert agents.stdout is not None
    start, killed = time.time(), False
    for line in agents.stdout:
        told = json.loads(line)
        if not killed and told["done"] >= count // 2:
            bench.say("killing one of the two schedulers")
            victim.kill()
            killed = True
        if told["done"] >= count:
            return float(told["at"])
        if told["at"] - start > _LIMIT:
            raise LoadFailed(f"{told['done']} of {count} after {_LIMIT} s")
    raise LoadFailed("the agents broke off")


def _peak(log: Path, begun: float, ended: float) -> int:
    """The most requests to the store in any second, by its own audit log."""
    first = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(begun))
    last = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ended))
    seconds: Counter[str] = Counter()
    with log.open() as lines:
        for line in lines:
            entry = json.loads(line)
            second = entry["time"][: len(first)]
            if entry["type"] == "request" and first <= second <= last:
                seconds[second] += 1
    return max(seconds.values(), default=0)
