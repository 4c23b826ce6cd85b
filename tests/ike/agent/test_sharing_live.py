"""A rotation between two agents with live charons: traffic goes on, and both ends see the same proof.

The connection is not the agent's, so a key is proven by a reauthentication of what carries the traffic.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.ike.agent.conftest import Place
from tests.ike.agent.miniservice import MiniService, mini_service
from tests.ike.agent.test_served import until
from tests.ike.agent.test_sharing import SITE, Slots
from tests.ike.daemons.charon_rig import adapter
from tests.ike.daemons.contract import OWN, PEER
from tests.ike.daemons.shared_charon_rig import by_secret
from tests.ike.daemons.sharedcontract import SHARED
from tests.lab import Lab
from tests.lab.traffic import pinging, strays


class End:
    """A gateway with an agent, and what its service says and hears."""

    def __init__(self, service: MiniService, place: Place, own: str, peer: str) -> None:
        self.slots, self.place = Slots(service), place
        self._ids = {"local_id": f"dns:{own}", "remote_id": f"dns:{peer}"}

    def want(self, *versions: int) -> None:
        """Change the list, and wait until the agent told that it is so."""
        self.slots.set(*versions, connection=SHARED, **self._ids)
        until(lambda: self.told["versions"] == list(versions))
        assert self.told["error_code"] == ""

    @property
    def told(self) -> dict[str, Any]:
        if not self.slots.service.applied:
            return {"versions": []}
        return self.slots.told.get(SITE, {"versions": []})


@pytest.fixture
def ends(lab: Lab, tmp_path: Path) -> Iterator[tuple[End, End, Any]]:
    settings = {"make_before_break": "yes", "filelog": {"lab": {"esp": 2}}}
    gateways = [lab.gateway(name, settings=settings) for name in ("gw-a", "gw-b")]
    names = [(OWN, PEER), (PEER, OWN)]
    with ExitStack() as stack:
        made = []
        for number, gateway in enumerate(gateways):
            by_secret(gateway, gateways[1 - number], *names[number])
            folder = tmp_path / str(number)
            folder.mkdir()
            service = stack.enter_context(mini_service(folder))
            place = Place(service, folder / "home", adapter(gateway))  # type: ignore[arg-type]
            place.enroll()
            stack.enter_context(place.running())
            made.append(End(service, place, *names[number]))
        yield made[0], made[1], gateways


def test_a_rotation_by_two_agents(ends: tuple[End, End, Any]) -> None:
    left, right, gateways = ends
    for end in (left, right):
        end.want(1)
    assert left.place.daemon.initiate(SHARED)
    until(lambda: left.told["authenticated"] and right.told["authenticated"])
    with pinging(*gateways) as pings:
        for old, new in ((1, 2), (2, 3)):
            for keys in ((old, new), (new, old)):
                for end in (left, right):
                    end.want(*keys)
            for end in (right, left):
                end.slots.prove(new, start=end is left)
            until(lambda v=new: _seen(left, v) is not None and _seen(left, v) == _seen(right, v))
            for end in (left, right):
                end.want(new)
    assert pings[0].lost <= strays(*gateways), pings[0].output


def _seen(end: End, version: int) -> tuple[str, str] | None:
    seen = end.told["authenticated"]
    if seen is None or seen["version"] != version:
        return None
    return seen["spi_initiator"], seen["spi_responder"]
