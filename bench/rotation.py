"""Rotation: many tunnels due at once, two schedulers of which one is killed half-way, OpenBao as the store.

What is compared: the peer is a bare loop, one thread with one hvac client, that asks the same OpenBao for the calls of
each rotation in their order with nothing around them: a value put with check-and-set, read by two gateways, and the old
one destroyed. Ours are two scheduler processes on PostgreSQL, each with a real runner, from the moment when
all are due until the last has retired; gateways are simulated (bench.rotation_agents), on the same cores. The loop runs
before and after; then a part is due again under the default limits, which must hold.
"""

import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
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
from pki.desk import RotationRules

_QUICK_TUNNELS = 60
_BARE = 1_500
_CAPPED = 400
_LIMIT = 3_600
_POLICY = f"""
path "{MOUNT}/*" {{ capabilities = ["create", "read", "update", "delete"] }}
path "sys/internal/ui/mounts/{MOUNT}" {{ capabilities = ["read"] }}
"""


def run(bench: Bench) -> list[Row]:
    """Let all be due, kill a replica half-way, see that each was rotated once and how fast."""
    count = _QUICK_TUNNELS if bench.options.quick else bench.options.tunnels
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
    bare = [] if bench.options.ours_only else [_bare(bench, service, 0, count)]
    agents = _start(bench, service, "rotation_agents")
    bench.say("rotating all of them")
    whole = _rotate(bench, service, agents, count)
    checked = _side(service, "check", str(count))
    if not checked["once"]:
        raise LoadFailed(f"{checked['good']} of {count} were rotated exactly once")
    capped = min(count, _CAPPED)
    bench.say(f"rotating {capped:,} under the default limits")
    _side(service, "again", str(capped))
    calm = _rotate(bench, service, agents, capped, base=count)
    begun = _side(service, "begun", "3")
    if begun["all"] != capped or begun["most"] > RotationRules().per_second:
        raise LoadFailed(f"{begun['most']} rotations began within a second")
    _end(agents)
    if bare:
        bare.append(_bare(bench, service, count, count))
    return _rows(bench, count, whole, calm, int(begun["most"]), bare)


@dataclass(frozen=True)
class _Turn:
    """Rotations per second, requests to the store for each, and the most of them in any second."""

    rate: float
    requests: float
    peak: int


def _rows(
    bench: Bench, count: int, whole: _Turn, calm: _Turn, begun: int, bare: list[float]
) -> list[Row]:
    note = f"{count:,} tunnels due at once, one of two schedulers killed half-way"
    bench.say(
        f"{whole.rate:.1f} rotations/s with {whole.requests:.2f} requests each to the store, "
        f"at most {whole.peak}/s; a bare loop {', '.join(f'{each:.1f}/s' for each in bare)}"
    )
    default = f"by default: {RotationRules().per_second:g} begin in a second"
    bench.say(f"{default}; {begun} did, with at most {calm.peak} requests/s, {calm.rate:.1f}/s")
    what = ("rotation", "rotations", "/s")
    against = f"bare loop of the same calls of {openbao.name()}"
    first = compare(what, [whole.rate], against, bare, note=note) if bare else None
    return [
        first or alone(what, [whole.rate], note=note),
        alone(("rotation", "peak_requests_to_the_store", "/s"), [float(whole.peak)], note=note),
        alone(("rotation", "peak_requests_by_default", "/s"), [float(calm.peak)], note=default),
    ]


def _rotate(
    bench: Bench, service: Ours, agents: subprocess.Popen[bytes], count: int, *, base: int = 0
) -> _Turn:
    """Let two schedulers rotate what is due. With nothing retired before (`base`) at no limits, and one is killed."""
    rules = "default" if base else "bench"
    replicas = [
        _start(bench, service, "rotation_side", "replica", f"{name}-{rules}", rules)
        for name in ("one", "two")
    ]
    begun = time.time()
    for each in replicas:
        assert each.stdin is not None
        each.stdin.write(b"go\n")
        each.stdin.flush()
    victim = None if base else replicas[0]
    ended = _watch(bench, agents, victim, base + count, base + count // 2)
    for each in replicas:
        _end(each)
    seconds = _requests(bench.directory / "openbao" / "audit.log", begun, ended)
    return _Turn(
        rate=count / (ended - begun),
        requests=sum(seconds.values()) / count,
        peak=max(seconds.values(), default=0),
    )


def _end(program: subprocess.Popen[bytes]) -> None:
    program.kill()
    program.wait()


def _mount(peer: OpenBao, service: Ours) -> None:
    peer.call("POST", f"sys/mounts/{MOUNT}", {"type": "kv", "options": {"version": "2"}})
    peer.call("PUT", "sys/policies/acl/rotation", {"policy": _POLICY})
    made = peer.call("POST", "auth/token/create", {"policies": ["rotation"], "ttl": "24h"})
    file = service.directory / "openbao.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps({"url": peer.plain_url, "token": made["auth"]["client_token"]}))


def _bare(bench: Bench, service: Ours, first: int, count: int) -> float:
    calls = min(count, _BARE)
    bench.say(f"the calls of {calls:,} rotations alone")
    return float(calls / _side(service, "bare", str(first), str(calls))["seconds"])


def _words(service: Ours, module: str, *words: str) -> list[str]:
    return [sys.executable, "-m", f"bench.{module}", str(service.directory), *words]


def _side(service: Ours, *words: str) -> dict[str, float]:
    return dict(json.loads(service.run(_words(service, "rotation_side", *words)).splitlines()[-1]))


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
        raise LoadFailed(f"{' '.join(words)} did not start")
    return made


def _watch(
    bench: Bench,
    agents: subprocess.Popen[bytes],
    victim: subprocess.Popen[bytes] | None,
    count: int,
    half: int,
) -> float:
    """When so many had retired; the victim is killed when `half` had."""
    assert agents.stdout is not None
    start = time.time()
    for line in agents.stdout:
        told = json.loads(line)
        if victim is not None and told["done"] >= half:
            bench.say("killing one of the two schedulers")
            _end(victim)
            victim = None
        if told["done"] >= count:
            return float(told["at"])
        if told["at"] - start > _LIMIT:
            raise LoadFailed(f"{told['done']} of {count} after {_LIMIT} s")
    raise LoadFailed("the agents broke off")


def _requests(log: Path, begun: float, ended: float) -> Counter[str]:
    """How many requests the store had in each second, by its own audit log."""
    first = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(begun))
    last = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ended))
    seconds: Counter[str] = Counter()
    with log.open() as lines:
        for line in lines:
            entry = json.loads(line)
            second = entry["time"][: len(first)]
            if entry["type"] == "request" and first <= second <= last:
                seconds[second] += 1
    return seconds
