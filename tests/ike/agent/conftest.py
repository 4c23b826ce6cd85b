"""A small service, a fake daemon, a home, and a clock that the test holds."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.notify import Supervisor
from ike.agent.clock import Clock
from ike.agent.enrollment import enroll, read_line, settled
from ike.agent.home import Home, Notes
from ike.agent.loop import Agent
from ike.agent.settings import AgentSettings
from tests.ike.agent.miniservice import MiniService, mini_service
from tests.ike.daemons.fake import FakeDaemon


@dataclass
class Watch:
    """A wall clock that can be turned; the monotonic one goes on by itself."""

    offset: timedelta = timedelta()

    def wall(self) -> datetime:
        return datetime.now(UTC) + self.offset

    @property
    def clock(self) -> Clock:
        return Clock(self.wall)


@dataclass
class Place:
    """A gateway: home, daemon, clock, and the service it belongs to."""

    service: MiniService
    path: Path
    daemon: FakeDaemon = field(default_factory=FakeDaemon)
    watch: Watch = field(default_factory=Watch)
    settings: AgentSettings = field(default_factory=lambda: AgentSettings("", ""))

    @property
    def home(self) -> Home:
        return Home(self.path)

    def enroll(self, line: str | None = None, *, force: bool = False) -> None:
        home = self.home
        with home.locked(make=True):
            enroll(
                home,
                read_line(line or self.service.line()),
                self.settings,
                clock=self.watch.wall,
                force=force,
            )

    def agent(self) -> Agent:
        """An agent as a new process would make it; the caller holds the lock or does not care."""
        home = self.home
        return Agent(home, self.daemon, settled(home), self.watch.clock)

    def once(self, *, renew: bool = False) -> Notes:
        with self.home.locked():
            return self.agent().once(renew=renew)

    @contextmanager
    def running(self) -> Iterator[Agent]:
        """The agent at work beside the test."""
        with self.home.locked():
            agent = self.agent()
            thread = threading.Thread(target=agent.run, args=(Supervisor({}),))
            thread.start()
            try:
                yield agent
            finally:
                agent.stop()
                thread.join(60)
                assert not thread.is_alive()

    def codes(self) -> list[str]:
        """The codes of the errors of the last round."""
        return [each["code"] for each in self.home.notes().errors]

    def in_order(self) -> None:
        """What must hold whenever nothing is going on: one generation, loaded, and nothing else of ours."""
        generations = self.home.generations.all()
        assert [each.stage for each in generations] == ["current"]
        only = generations[0].credential
        assert self.daemon.in_use() == only.fingerprint
        assert self.daemon.certificates == [only.fingerprint]
        assert len(self.daemon.keys) == 1
        assert set(self.daemon.files.certificates) == {only.fingerprint}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[MiniService]:
    with mini_service(tmp_path) as made:
        yield made


@pytest.fixture
def place(service: MiniService, tmp_path: Path) -> Place:
    return Place(service, tmp_path / "home")
