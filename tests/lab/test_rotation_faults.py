"""Whatever fails in the middle of a rotation: the tunnel stays or comes back, both ends end on one key, by themselves.

A fault is brought about when the rotation has come to a state, seen in the database, and lifted again. A few of the
table's cases here; IKEWARDEN_SOAK_FAULTS=1 runs them all (`make soak`).
"""

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.openbao import OpenBao
from tests.lab import Lab
from tests.lab.agents import TUNNEL, Fed, fleet, until
from tests.lab.errors import LabError
from tests.lab.rotating import ENDED, bring_up, ended, in_openbao, join, one_key, rotate, slot
from tests.lab.traffic import ping

STATES = ("generated", "stored", "staged_first", "staged", "promoted", "proven")
# What does not make sense is not in the table: a sealed store hurts only where a value is made, fetched or destroyed.
TABLE = {
    "service": STATES,
    "left_agent": STATES[1:],
    "right_agent": STATES[1:],
    "openbao": ("generated", "stored", "staged_first", "proven"),
    "left_network": STATES[1:],
    "right_network": STATES[1:],
    "left_charon": STATES[1:],
    "left_agent+openbao": ("stored", "staged_first", "proven"),
    "service+right_agent": ("staged_first", "promoted", "proven"),
    "service+openbao": ("generated", "proven"),
}
ALL = [(fault, state) for fault, states in TABLE.items() for state in states]
# Each fault and each state at least once.
FEW = [
    ("service", "generated"),
    ("openbao", "stored"),
    ("left_agent", "staged_first"),
    ("right_network", "staged"),
    ("right_agent", "promoted"),
    ("left_charon", "promoted"),
    ("service+openbao", "proven"),
]
CASES = ALL if os.environ.get("IKEWARDEN_SOAK_FAULTS") else FEW
HOLD = 1.0
# A rotation may be quicker than the fault, or be undone by itself, on a slow machine.
ATTEMPTS = 5


@dataclass
class World:
    """All that can fail."""

    left: Fed
    right: Fed
    openbao: OpenBao
    database: Path

    def state(self, number: int) -> str:
        """Where a rotation stands, from the records: the service may be what has failed."""
        with contextlib.closing(
            sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        ) as found:
            query = "select state, back from rotations where id = ?"
            state, back = found.execute(query, (number,)).fetchone()
        return "back:" + str(state) if back else str(state)

    def rests(self, number: int) -> str:
        """Where a rotation stands that goes no further; nothing while it does."""
        state = self.state(number).removeprefix("back:")
        return state if state in {"stuck", *ENDED} else ""

    def proven(self, number: int) -> bool:
        """Whether a rotation has come as far as to be proven."""
        with contextlib.closing(
            sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        ) as found:
            query = "select detail from audit_events where action = 'rotation.proven'"
            told = [json.loads(detail) for (detail,) in found.execute(query)]
        return number in [each["rotation"] for each in told]

    def reach(self, number: int, state: str) -> str:
        """Wait until a rotation has come to a state, or is past it; gives where it is."""
        deadline = time.monotonic() + 90
        order = [*STATES, "retired"]
        while time.monotonic() < deadline:
            now = self.state(number)
            if now not in order and now != "scheduled":
                return now
            if now in order and order.index(now) >= order.index(state):
                return now
            time.sleep(0.002)
        raise LabError(f"rotation {number} did not come to {state}")

    @contextlib.contextmanager
    def fault(self, name: str) -> Iterator[None]:
        """Bring about one or more faults, and lift them at the end."""
        with contextlib.ExitStack() as stack:
            for each in name.split("+"):
                stack.enter_context(self._faults[each]())
            yield

    @property
    def _faults(self) -> dict[str, Callable[[], contextlib.AbstractContextManager[None]]]:
        return {
            "service": self._service,
            "left_agent": lambda: self._agent(self.left),
            "right_agent": lambda: self._agent(self.right),
            "openbao": self.openbao.sealed,
            "left_network": lambda: self._network(self.left),
            "right_network": lambda: self._network(self.right),
            "left_charon": self._charon,
        }

    @contextlib.contextmanager
    def _service(self) -> Iterator[None]:
        warden = self.left.warden
        warden.kill(alone=True)
        yield
        warden.start()
        warden.wait_until_ready()

    @contextlib.contextmanager
    def _agent(self, fed: Fed) -> Iterator[None]:
        fed.kill()
        yield
        fed.start()

    @contextlib.contextmanager
    def _charon(self) -> Iterator[None]:
        self.left.gateway.kill()
        yield
        self.left.gateway.start()

    @contextlib.contextmanager
    def _network(self, fed: Fed) -> Iterator[None]:
        """To the peer and to the service: both go the same way."""
        inside = fed.gateway.namespace
        device = _device(fed)
        inside.run(["ip", "link", "set", device, "down"])
        yield
        inside.run(["ip", "link", "set", device, "up"])


def _device(fed: Fed) -> str:
    """The interface with the outside address."""
    told = fed.gateway.namespace.run(["ip", "-o", "-4", "address"]).stdout
    (found,) = {line.split()[1] for line in told.splitlines() if fed.gateway.outside in line}
    return found


def live(world: World, mount: str) -> int:
    """How many versions of the key the store still has a value of."""
    path = f"{mount}/metadata/ikewarden/{TUNNEL}/psk"
    told = world.openbao.call("GET", path)["data"]["versions"]
    return sum(not each["destroyed"] for each in told.values())


def check(world: World, mount: str, where: str) -> None:
    """The tunnel passes packets, both ends have one key and it is the same, and the store has no other."""
    until(lambda: _settled(world), f"{where}: both ends have the one key")
    assert one_key(world.left, world.right) == slot(world.left)["version"], where
    until(lambda: live(world, mount) == 1, f"{where}: the store has one value")
    bring_up(world.left, world.right)


def _settled(world: World) -> bool:
    with contextlib.suppress(LabError):
        return one_key(world.left, world.right) > 0
    return False


@contextlib.contextmanager
def world_of(
    lab: Lab, tmp_path: Path, openbao: OpenBao, **more: str
) -> Iterator[tuple[World, str]]:
    settings = {**in_openbao(openbao, tmp_path / "store"), **more}
    names = ("gw-a", "gw-b")
    with fleet(lab, tmp_path / "instance", *names, service=settings) as (left, right):
        join(left, right)
        bring_up(left, right)
        database = tmp_path / "instance" / "ikewarden.db"
        yield World(left, right, openbao, database), settings["IKEWARDEN_SECRETS__MOUNT"]


def test_a_fault_at_each_transition_is_survived(lab: Lab, tmp_path: Path, openbao: OpenBao) -> None:
    with world_of(lab, tmp_path, openbao) as (world, mount):
        for fault, state in CASES:
            number = rotate(world.left)
            found = world.reach(number, state)
            began = time.monotonic()
            with world.fault(fault):
                time.sleep(HOLD)
                if fault in {"openbao", "left_agent", "right_agent", "service"}:
                    # By the packets alone: at the peer of whoever proved a key there is another SA for a moment.
                    # One of three may be lost where the machine starves charon, which carries the packets itself.
                    assert ping(world.left.gateway, world.right.gateway, 3).received, (fault, state)
            end = ended(world.left, number)
            where = f"{fault} at {state} ({found})"
            assert end["state"] in {"retired", "rolled_back"}, (where, end)
            check(world, mount, where)
            print(f"{where}: {end['state']} after {time.monotonic() - began:.1f} s")


@pytest.mark.parametrize(
    ("fault", "state"),
    [("right_agent", "staged_first"), ("left_network", "promoted"), ("right_agent", "proven")],
)
def test_a_fault_that_outlasts_the_deadline_is_undone_or_gone_through(
    lab: Lab, tmp_path: Path, openbao: OpenBao, fault: str, state: str
) -> None:
    quick = {"IKEWARDEN_ROTATION__STEP_MINUTES": "0.1", "IKEWARDEN_ROTATION__PROOF_MINUTES": "0.1"}
    with world_of(lab, tmp_path, openbao, **quick) as (world, mount):
        stuck = False
        for _ in range(ATTEMPTS):
            number = rotate(world.left)
            world.reach(number, state)
            with world.fault(fault):
                until(lambda n=number: world.rests(n), "it is stuck")  # type: ignore[misc]
                stuck = world.rests(number) == "stuck"
                if stuck:
                    told = slot(world.left)["rotation"]
                    assert told["error_code"]
                    assert told["next_step"]
            end = ended(world.left, number)
            # What was proven is not taken back.
            assert end["state"] == ("retired" if world.proven(number) else "rolled_back")
            if stuck:
                break
        assert stuck, "each was over before the fault was there"
        check(world, mount, f"{fault} at {state} beyond the deadline")
