"""The map of the fleet: every tunnel with its state, the worst first, bounded."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from fleet import topology
from fleet.rotation import slots
from fleet.rotation.slots import SlotRequest
from fleet.topology import FleetMap, MapQuery
from fleet.tunnels import Peer
from pki.actors import Actor, OutsideScope, Role, Scope
from pki.certificates import BadQuery
from pki.desk import Desk
from tests.fixtures.desk import ADMIN, NOW, OPERATOR
from tests.fleet.crew import connect, enlist, later, sa
from tests.fleet.monitoring import after, failures, sent

BANK = Peer("bank", ("dns:vpn.bank.example",))


def look(desk: Desk, actor: Actor = OPERATOR, **query: object) -> FleetMap:
    return topology.look(desk, actor, MapQuery(**query), now=NOW)  # type: ignore[arg-type]


def states(found: FleetMap) -> Mapping[str, str]:
    return {each.tunnel: each.state for each in found.edges}


@pytest.fixture
def fleet(desk: Desk) -> Desk:
    """Four gateways on two sites, and a tunnel in each state."""
    a, b = enlist(desk, "a.north.example"), enlist(desk, "b.north.example")
    c, d = enlist(desk, "c.south.example"), enlist(desk, "d.south.example")
    enlist(desk, "idle")
    connect(desk, "alert", a, b)
    connect(desk, "down", a, c)
    connect(desk, "rotating", b, c)
    connect(desk, "up", c, BANK)
    connect(desk, "unknown", d, Peer("shop", ("dns:vpn.shop.example",)))
    slots.create(desk, ADMIN, "rotating", SlotRequest(), now=NOW)
    for member in (a, b, c):
        member.report()
    d.report(now=later(-900))
    a.sas(sa("b.north.example", connection="alert"))
    b.sas(sa("c.south.example", connection="rotating"))
    c.sas(
        sa("vpn.bank.example", connection="anything"),
        replace(sa("a.north.example", connection="down", number="2"), state="CONNECTING"),
    )
    d.sas(sa("vpn.shop.example"), now=later(-900))
    bad = [each._replace(connection="alert", name="alert") for each in failures()]
    sent(b, bad, until=after(60))
    return desk


def test_every_tunnel_has_its_state(fleet: Desk) -> None:
    found = look(fleet)
    assert list(states(found).items()) == [(name, name) for name in topology.TunnelState]
    assert found.states == dict.fromkeys(topology.TunnelState, 1)
    assert (found.tunnels, found.gateways, found.alone, found.more) == (5, 4, 1, 0)
    edges = {each.tunnel: each for each in found.edges}
    assert edges["alert"].alert is not None
    assert (edges["up"].is_peer, edges["up"].right, edges["up"].sas) == (True, "bank", 1)
    assert (edges["down"].sas, edges["rotating"].rotating) == (0, True)
    nodes = {each.name: each for each in found.nodes}
    assert {name: each.state for name, each in nodes.items()} == {
        "a.north.example": "ok",
        "b.north.example": "alert",
        "c.south.example": "ok",
        "d.south.example": "silent",
        "bank": "peer",
        "shop": "peer",
    }
    assert nodes["c.south.example"].tunnels == {"down": 1, "rotating": 1, "up": 1}
    assert nodes["a.north.example"].site == "north.example"


def test_sites_stand_for_what_is_too_much(fleet: Desk) -> None:
    found = look(fleet, limit=2)
    assert (list(states(found)), found.more, found.tunnels) == (["alert", "down"], 3, 5)
    assert {each.name for each in found.nodes} == {
        *("a.north.example", "b.north.example", "c.south.example")
    }
    assert [(each.left, each.right, dict(each.tunnels)) for each in found.trunks] == [
        ("north.example", "north.example", {"alert": 1}),
        ("north.example", "south.example", {"down": 1, "rotating": 1}),
    ]


def test_only_what_is_asked_for(fleet: Desk) -> None:
    assert set(states(look(fleet, gateway="b.north.example"))) == {"alert", "rotating"}
    assert set(states(look(fleet, site="north.example"))) == {"alert", "down", "rotating"}
    assert set(states(look(fleet, state="up"))) == {"up"}
    assert set(states(look(fleet, q="BANK"))) == {"up"}
    assert set(states(look(fleet, q="own"))) == {"down", "unknown"}
    assert look(fleet, q="nothing").edges == ()
    assert look(fleet, gateway="nothing").edges == ()


def test_a_credential_of_one_gateway_sees_where_it_ends(fleet: Desk) -> None:
    tied = Actor("t", Role.OPERATOR, scope=Scope(gateway="d.south.example"))
    found = look(fleet, tied)
    assert (set(states(found)), found.gateways, found.alone) == ({"unknown"}, 1, 0)
    with pytest.raises(OutsideScope):
        look(fleet, tied, gateway="a.north.example")


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 501}, {"state": "fine"}])
def test_queries_that_make_no_sense(shared_desk: Desk, query: dict[str, object]) -> None:
    with pytest.raises(BadQuery):
        look(shared_desk, **query)


def test_an_empty_fleet(desk: Desk) -> None:
    found = look(desk)
    assert (found.tunnels, found.nodes, found.edges, found.trunks) == (0, (), (), ())
