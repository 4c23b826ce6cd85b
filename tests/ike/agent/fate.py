"""Death at a chosen step: of every durable write in the home and every call of the daemon, the n-th ends the process.

In one process a `Killed` flies through everything, as nothing of the agent catches it. Half-written temporary files are
the one thing that this does not leave behind; test_kill.py does it with SIGKILL.
"""

from dataclasses import dataclass, field
from typing import Any

from ike.agent.clock import Clock
from ike.agent.enrollment import settled
from ike.agent.home import Home
from ike.agent.loop import Agent
from tests.ike.agent.conftest import Place


class Killed(BaseException):
    """The process is no more."""


@dataclass
class Fate:
    """Counts steps, and ends the process at step `at` (never for 0)."""

    at: int = 0
    steps: list[str] = field(default_factory=list)

    def step(self, name: str) -> None:
        self.steps.append(name)
        if len(self.steps) == self.at:
            raise Killed(name)


class Mortal:
    """A daemon whose caller may die before or after each call."""

    def __init__(self, daemon: Any, fate: Fate) -> None:
        self._daemon, self._fate = daemon, fate

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._daemon, name)

        def call(*given: Any, **named: Any) -> Any:
            self._fate.step(f"before {name}")
            answer = inner(*given, **named)
            self._fate.step(f"after {name}")
            return answer

        return call


def once(place: Place, fate: Fate, *, renew: bool = False) -> bool:
    """One round by a process with this fate; False when it died."""
    home = Home(place.path, fate.step)
    try:
        with home.locked():
            daemon: Any = Mortal(place.daemon, fate)
            clock = Clock(place.watch.wall)
            Agent(home, daemon, settled(home), clock).once(renew=renew)
    except Killed:
        return False
    return True
