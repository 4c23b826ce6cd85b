"""The watch with a real charon and a real service: by its log, over VICI, through deaths of agent and service."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.notify import Supervisor
from ike.agent.channel import Service
from ike.agent.enrollment import enroll, read_line
from ike.agent.home import Home
from ike.agent.loop import Agent
from ike.agent.settings import AgentSettings, StrongswanSettings, WatchSettings
from ike.agent.watching.threads import Pace, begin
from tests.fixtures.served import Served
from tests.ike.agent.conftest import Watch
from tests.ike.daemons.fake import FakeDaemon
from tests.ike.sas.pair import pair, share
from tests.lab import Gateway, Lab, Refused

PACE = Pace(settle=0.05, beat=0.2)


def until(condition: Callable[[], object], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.05)


class Watched:
    """A gateway of the service, with a home; what the service has of its SAs."""

    def __init__(self, served: Served, home: Path, name: str) -> None:
        self.served, self.home, self.name = served, Home(home), name
        self.watch = Watch()
        served.client.post("/v1/gateways", {"name": name, "identities": [f"dns:{name}"]})
        made = served.client.post(f"/v1/gateways/{name}/enrollment", {"hours": 1})
        with self.home.locked(make=True):
            line = read_line(str(made["enrollment"]))
            enroll(self.home, line, AgentSettings("", ""), clock=self.watch.wall)

    def settings(self, **watch: Any) -> AgentSettings:
        socket = StrongswanSettings(socket=watch.pop("socket", "/nonexistent"))
        watch.setdefault("counters_seconds", 0)
        stored = self.home.settings()
        return AgentSettings(stored.url, self.name, strongswan=socket, watch=WatchSettings(**watch))

    def connect(self) -> Service:
        settings = self.home.settings()
        return Agent(self.home, FakeDaemon(), settings, self.watch.clock).connect()

    @contextmanager
    def watching(self, settings: AgentSettings) -> Iterator[None]:
        stop = threading.Event()
        clock = self.watch.clock
        threads = begin(self.home, settings, clock, connect=self.connect, stop=stop, pace=PACE)
        try:
            yield
        finally:
            stop.set()
            for each in threads:
                each.join(60)
                assert not each.is_alive()

    def events(self) -> list[dict[str, Any]]:
        """What the service has, the oldest first."""
        found = self.served.client.get(f"/v1/sa-events?gateway={self.name}&limit=500")["items"]
        return list(reversed(found))

    def kinds(self) -> list[str]:
        return [each["event"] for each in self.events()]

    def told_at(self) -> str | None:
        """When the service was last told; where there is no event, up to when nothing has happened: by then the source
        listens.
        """
        found: str | None = self.home.watch_notes().get("told_at")
        return found

    def ready(self) -> bool:
        """Whether the place to begin at is on disk."""
        file = self.home.path / "watch/events.jsonl"
        return file.exists() and b'"p"' in file.read_bytes()


@pytest.fixture
def watched(served: Served, tmp_path: Path, request: pytest.FixtureRequest) -> Watched:
    name = f"w{abs(hash(request.node.name)) % 10**8}.example.com"
    return Watched(served, tmp_path / "home", name)


def play(left: Gateway) -> None:
    """An SA comes up, its child is rekeyed, and it ends."""
    left.initiate("net")
    with left.session() as session:
        session.rekey({"child": "net"})
    until(lambda: any(child.number == 2 for sa in left.list_sas() for child in sa.children))
    with left.session() as session:
        session.rekey({"ike": "site"})
    until(lambda: any(sa.number == 2 and sa.established for sa in left.list_sas()))
    left.terminate("site")


def test_by_the_log(watched: Watched, lab: Lab) -> None:
    left, right = pair(lab)
    with watched.watching(watched.settings(log=str(left.log.path))):
        until(watched.ready)
        play(left)
        share(right, "another-key")
        with pytest.raises(Refused):
            left.initiate("net")
        until(lambda: "auth_failed" in watched.kinds())
    found = watched.events()
    kinds = watched.kinds()
    for kind in ("ike_initiate", "ike_established", "child_closed", "ike_rekeyed", "ike_deleted"):
        assert kind in kinds, kinds
    up = next(each for each in found if each["event"] == "child_established")
    assert (up["connection"], up["clock"]) == ("site", None)
    assert len(up["detail"]["spi_in"]) == 8


def test_over_vici(watched: Watched, lab: Lab) -> None:
    left, _ = pair(lab)
    with watched.watching(watched.settings(socket=str(left.vici_socket))):
        until(watched.ready)
        until(watched.told_at)  # charon was asked for events
        play(left)
        until(lambda: "child_closed" in watched.kinds())
        left.stop()
        left.start()
        until(lambda: "daemon_started" in watched.kinds())
    found = [each for each in watched.events() if each["event"] not in ("algorithms",)]
    assert [each["event"] for each in found] == [
        *("ike_established", "child_established", "child_rekeyed", "ike_rekeyed"),
        *("ike_deleted", "child_closed", "daemon_started"),
    ]
    assert {each["peer"] for each in found[:-1]} == {"192.0.2.2"}
    assert found[0]["identity"] == "right.example.net"
    assert (found[2]["detail"]["child_id"], found[2]["detail"]["new_child_id"]) == (1, 2)


def test_a_guess_at_a_key_becomes_an_alert(watched: Watched, lab: Lab) -> None:
    left, right = pair(lab)
    share(right, "a-guess")
    with watched.watching(watched.settings(log=str(left.log.path))):
        until(watched.ready)
        for _ in range(12):
            with pytest.raises(Refused):
                right.initiate("net")
        path = f"/v1/alerts?state=open&gateway={watched.name}"
        until(lambda: watched.served.client.get(path)["items"])
    (alert,) = watched.served.client.get(path)["items"]
    assert (alert["kind"], alert["peer"]) == ("auth_failures", "192.0.2.2")


LINE = (
    "2026-11-29T10:{:02}:{:02} 05[IKE] <site|{}> IKE_SA site[{}] established between a[a]...b[b]\n"
)
_AGENT = """
import sys, threading
from pathlib import Path
from tests.ike.agent.watching.test_live import Watched, PACE
from ike.agent.home import Home
from ike.agent.watching.threads import begin
from tests.ike.agent.conftest import Watch
watched = object.__new__(Watched)
watched.home, watched.name, watched.watch = Home(Path(sys.argv[1])), sys.argv[2], Watch()
settings = watched.settings(log=sys.argv[3])
begin(watched.home, settings, watched.watch.clock, connect=watched.connect, stop=threading.Event(), pace=PACE)
threading.Event().wait()
"""


def test_killed_at_any_moment_nothing_is_lost_and_nothing_comes_twice(
    watched: Watched, tmp_path: Path
) -> None:
    log = tmp_path / "charon.log"
    log.write_text("")
    command = [sys.executable, "-c", _AGENT, watched.home.path, watched.name, log]
    total = 0
    for round_ in range(5):
        agent = subprocess.Popen(command, start_new_session=True)
        try:
            until(watched.ready)
            for _ in range(60):
                total += 1
                with log.open("a") as file:
                    file.write(LINE.format(total // 60, total % 60, total, total))
                time.sleep(0.005 * round_)
        finally:
            os.kill(agent.pid, signal.SIGKILL)
            agent.wait()
    with watched.watching(watched.settings(log=str(log))):
        until(lambda: len(watched.events()) >= total)
        time.sleep(0.5)
    numbers = [each["detail"]["ike_id"] for each in watched.events()]
    assert numbers == list(range(1, total + 1))


def test_the_service_is_away(own_served: Served, tmp_path: Path) -> None:
    watched = Watched(own_served, tmp_path / "home", "away.example.com")
    log = tmp_path / "charon.log"
    log.write_text("")
    with watched.watching(watched.settings(log=str(log))):
        until(watched.ready)
        own_served.stop()
        log.write_text("".join(LINE.format(0, n, n, n) for n in range(1, 40)))
        until(lambda: b'"ike_id": 39' in (watched.home.path / "watch/events.jsonl").read_bytes())
        until(lambda: watched.home.watch_notes()["errors"])
        assert "server_unreachable" in watched.home.watch_notes()["errors"][0]
    own_served.start()
    with watched.watching(watched.settings(log=str(log))):
        until(lambda: len(watched.events()) == 39)
        until(lambda: not watched.home.watch_notes()["errors"])
    assert [each["detail"]["ike_id"] for each in watched.events()] == list(range(1, 40))


@pytest.mark.usefixtures("needs_pluto")
def test_by_the_log_of_a_pluto(watched: Watched, lab: Lab) -> None:
    left, right = lab.gateway("left"), lab.pluto("right")
    right.write_secrets('@right.example.net @left.example.net : PSK "a-key-of-the-lab"')
    right.whack("--rereadsecrets")
    right.add_connection(
        "site",
        {
            "left": right.outside,
            "right": left.outside,
            "leftid": "@right.example.net",
            "rightid": "@left.example.net",
            "authby": "secret",
            "ikev2": "insist",
            "auto": "add",
        },
    )
    section = {
        "version": 2,
        "remote_addrs": right.outside,
        "childless": "force",
        "local": {"auth": "psk", "id": "left.example.net"},
        "remote": {"auth": "psk", "id": "right.example.net"},
    }
    left.add_connection("site", section)
    share(left, "a-key-of-the-lab")
    with watched.watching(watched.settings(log=str(right.log.path))):
        until(watched.ready)
        with left.session() as session:
            list(session.initiate({"ike": "site"}))
        until(lambda: "ike_established" in watched.kinds())
        left.terminate("site")
        until(lambda: "ike_deleted" in watched.kinds())
    up = next(each for each in watched.events() if each["event"] == "ike_established")
    assert up["clock"] is None
    assert {each["detail"]["daemon"] for each in watched.events()} == {"pluto"}


def test_a_running_agent_watches(watched: Watched, tmp_path: Path) -> None:
    log = tmp_path / "charon.log"
    log.write_text("")
    settings = watched.settings(log=str(log))
    with watched.home.locked():
        agent = Agent(watched.home, FakeDaemon(), settings, watched.watch.clock)
        thread = threading.Thread(target=agent.run, args=(Supervisor({}),))
        thread.start()
        try:
            until(watched.ready)
            log.write_text(LINE.format(0, 1, 1, 1))
            until(lambda: watched.kinds() == ["ike_established"])
            until(lambda: watched.home.watch_notes().get("told_at"))
        finally:
            agent.stop()
            thread.join(60)
        assert not thread.is_alive()


def test_a_log_that_is_not_there_is_told_of(watched: Watched, tmp_path: Path) -> None:
    """It may come later; a folder never does."""
    with watched.watching(watched.settings(log=str(tmp_path))):
        until(lambda: watched.home.watch_notes().get("errors"))
    assert "directory" in watched.home.watch_notes()["errors"][0]


def test_another_source_for_a_while(watched: Watched, lab: Lab) -> None:
    left, right = pair(lab)
    by_log = watched.settings(log=str(left.log.path))
    with watched.watching(by_log):
        until(watched.ready)
        left.initiate("net")
        until(lambda: "child_established" in watched.kinds())
    with watched.watching(watched.settings(log=f"{left.log.path}.typo")):
        with left.session() as session:
            session.rekey({"child": "net"})
        until(lambda: any(child.number == 2 for sa in left.list_sas() for child in sa.children))
        until(lambda: watched.home.watch_notes()["errors"])
    with watched.watching(by_log):
        until(lambda: "child_closed" in watched.kinds())
    before = watched.told_at()
    with watched.watching(watched.settings(socket=str(left.vici_socket))):
        until(lambda: watched.told_at() != before)  # charon was asked for events
        with left.session() as session:
            session.rekey({"ike": "site"})
        until(lambda: "ike_rekeyed" in watched.kinds())
        left.terminate("site")
        share(right, "another-key")
        with pytest.raises(Refused):  # which charon 5.9.8 does not tell over VICI
            left.initiate("net")
        share(left, "another-key")
        left.initiate("net")
        until(lambda: watched.kinds().count("ike_established") == 2)
    told = watched.kinds()
    assert "auth_failed" not in told
    with watched.watching(by_log):
        until(lambda: "auth_failed" in watched.kinds())
    for kind in ("ike_rekeyed", "ike_established", "ike_deleted"):
        assert watched.kinds().count(kind) == told.count(kind), (told, watched.kinds())
