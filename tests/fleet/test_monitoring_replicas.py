"""Two replicas on one database, given the same events at once, in both orders, one of them killed: all of it once."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pki.desk import Desk
from tests.fixtures.desk import reopened
from tests.fleet.crew import enlist
from tests.fleet.monitoring import (
    CONNECTION,
    after,
    alerts_of,
    counts,
    events_of,
    failures,
    sent,
    told,
)

_SIZE, _BATCHES = 3, 6
Worker = subprocess.Popen[str]


def start(url: str) -> Worker:
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.fleet.monitoring_worker", url],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    return worker


@pytest.fixture
def workers(store_url: str) -> Iterator[list[Worker]]:
    started = [start(store_url), start(store_url)]
    yield started
    for each in started:
        each.kill()
        each.communicate()


def ask(worker: Worker, gateway: str, part: int) -> dict[str, int]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    line = {"gateway": gateway, "first": part * _SIZE, "size": _SIZE}
    worker.stdin.write(json.dumps(line) + "\n")
    worker.stdin.flush()
    answer: dict[str, int] = json.loads(worker.stdout.readline())
    return answer


def check(desk: Desk, gateways: int) -> None:
    """All events are there once, and one alert of each gateway, told once."""
    number = _SIZE * _BATCHES
    events = events_of(desk)
    assert len(events) == number * gateways
    assert {(each.gateway, each.number) for each in events} == {
        (name, place) for name in {each.gateway for each in events} for place in range(number)
    }
    alerts = alerts_of(desk)
    assert [each.kind for each in alerts] == ["auth_failures"] * gateways
    assert len({each.gateway for each in alerts}) == gateways
    assert told(desk) == [("alert.opened", "auth_failures")] * gateways
    assert counts(desk) == {
        (CONNECTION, "auth_failed", "psk"): (number * gateways, number * gateways)
    }


def test_both_replicas_get_all_of_it_in_both_orders(desk: Desk, workers: list[Worker]) -> None:
    names = [f"gw{number}.example" for number in range(3)]
    for name in names:
        enlist(desk, name)

    def send(worker: Worker, parts: list[int]) -> int:
        return sum(ask(worker, name, part)["stored"] for part in parts for name in names)

    forth = list(range(_BATCHES))
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(send, workers[0], forth), pool.submit(send, workers[1], forth[::-1])]
        stored = sum(job.result() for job in jobs)
    assert stored == _SIZE * _BATCHES * len(names)
    check(desk, len(names))
    # Again, the other way around: nothing is new.
    assert send(workers[0], forth[::-1]) == send(workers[1], forth) == 0
    check(desk, len(names))


def test_a_replica_that_is_killed_loses_and_doubles_nothing(
    desk: Desk, store_url: str, workers: list[Worker]
) -> None:
    """It is killed while it works on a batch; whoever sent that sends it to the other one."""
    enlist(desk, "gw.example")
    luck = random.Random(6)
    for part in range(_BATCHES):
        victim = workers[0]
        assert victim.stdin is not None
        line = {"gateway": "gw.example", "first": part * _SIZE, "size": _SIZE}
        victim.stdin.write(json.dumps(line) + "\n")
        victim.stdin.flush()
        # Somewhere between its beginning and a moment after its end.
        try:
            victim.wait(luck.uniform(0, 0.06))
        except subprocess.TimeoutExpired:
            victim.send_signal(signal.SIGKILL)
        victim.communicate()
        assert ask(workers[1], "gw.example", part)["next"] == (part + 1) * _SIZE
        workers[0] = start(store_url)
    check(desk, 1)


def test_whatever_the_order_the_rules_see_one_order(desk: Desk) -> None:
    """What they say is the same in the end, to the last number."""
    orders = [list(range(_BATCHES)), list(reversed(range(_BATCHES))), [3, 0, 5, 1, 4, 2]]
    for number, order in enumerate(orders):
        member = enlist(desk, f"gw{number}.example")
        other = reopened(desk)
        for part in order * 2:
            made = failures(_SIZE * _BATCHES)[part * _SIZE : part * _SIZE + _SIZE]
            sent(member, made, part * _SIZE, desk=other)
        sent(member, [], _SIZE * _BATCHES, until=after(60))
    check(desk, len(orders))
    said = {
        (each.began, each.updates, json.dumps(each.evidence), each.lines, each.cause)
        for each in alerts_of(desk)
    }
    assert len(said) == 1
