"""Two schedulers in processes of their own, one of which is killed half-way: each tunnel is rotated exactly once."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleet.rotation.values import State
from pki.desk import Desk
from tests.fleet.rotating import Clock, Site, with_secrets
from tests.fleet.rotation_worker import Folder

_TUNNELS = 10
_LIMIT = 300.0


class RealClock(Clock):
    """The workers' time."""

    def __init__(self, ahead: Path) -> None:
        super().__init__()
        self._ahead = ahead

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(time.time() + float(self._ahead.read_text()), UTC)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "secrets"
    made.mkdir()
    (made / "ahead").write_text("5")  # the tunnels are of a moment ago
    return made


@pytest.fixture
def workers(place: Path, store_url: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    words = [sys.executable, "-m", "tests.fleet.rotation_worker", store_url, str(place)]
    started = [
        subprocess.Popen(
            [*words, name],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        for name in ("one", "two")
    ]
    yield started
    for each in started:
        each.kill()
        each.communicate()


def test_each_tunnel_is_rotated_once_though_a_replica_is_killed(
    desk: Desk, place: Path, workers: list[subprocess.Popen[bytes]]
) -> None:
    site = Site(with_secrets(desk, Folder(place)), clock=RealClock(place / "ahead"))
    for each in workers:
        assert each.stdout is not None
        assert each.stdout.readline() == b"ready\n"
    names = [site.slot(f"a{number}", f"b{number}") for number in range(_TUNNELS)]
    end, killed = time.monotonic() + _LIMIT, False
    while time.monotonic() < end:
        for agent in site.agents.values():
            agent.work()
        states = [each.state for name in names for each in site.all_of(name)]
        done = states.count(State.RETIRED)
        if not killed and done >= _TUNNELS // 4:
            workers[0].send_signal(signal.SIGKILL)
            workers[0].wait()
            killed = True
            # What it held is looked at again when its claims have ended.
            (place / "further").write_text("40")
            (place / "further").replace(place / "ahead")
        if done == _TUNNELS:
            break
    assert killed
    assert workers[1].poll() is None
    for name in names:
        assert [each.state for each in site.all_of(name)] == [State.RETIRED]
        assert len(site.secrets.versions(site.find(name).path)) == 1
        assert {agent.loaded[name] for agent in site.agents.values() if name in agent.loaded} == {
            (1,)
        }
