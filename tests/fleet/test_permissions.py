"""Who may do what with the fleet: every operation and every role, as a table written by hand."""

from typing import Any

import pytest

import fleet
from core.errors import IkewardenError
from fleet import (
    census,
    commands,
    enrollment,
    gateways,
    inventory,
    lists,
    loaded,
    overview,
    reach,
    removal,
    reports,
    revoking,
    sas,
    state,
    successions,
    topology,
    tunnels,
)
from fleet.changes import Changes
from fleet.gateways import GatewayQuery, GatewayRequest
from fleet.reports import AppliedReport
from fleet.sas import SaQuery
from fleet.topology import MapQuery
from fleet.tunnels import TunnelQuery, TunnelRequest
from pki.actors import Actor, Role, RoleMayNot, Scope
from pki.desk import Desk
from pki.rollover.phases import Order
from tests.fixtures.desk import NOW
from tests.role_table import (
    NOWHERE,
    READERS,
    A,
    Call,
    E,
    G,
    O,
    S,
    U,
    check_asked_first,
    check_complete,
    check_row,
    name_of,
)

_REPORT = AppliedReport(1, "", "", "", "", None, None, {}, (), ())
TABLE: dict[Any, tuple[set[Role], Call]] = {
    census.figures: (READERS, lambda d, a: census.figures(d, a, now=NOW)),
    commands.give: ({A, O}, lambda d, a: commands.give(d, a, "nope", "renew", None, now=NOW)),
    enrollment.enroll: ({A, O}, lambda d, a: enrollment.enroll(d, a, "nope", 1, now=NOW)),
    gateways.create: (
        {A, O},
        lambda d, a: gateways.create(d, a, GatewayRequest("", ()), now=NOW),
    ),
    gateways.get: (READERS, lambda d, a: gateways.get(d, a, "nope", now=NOW)),
    gateways.remove: ({A, O}, lambda d, a: gateways.remove(d, a, "nope", now=NOW)),
    gateways.search: (READERS, lambda d, a: gateways.search(d, a, GatewayQuery(), now=NOW)),
    inventory.look: (READERS, lambda d, a: inventory.look(d, a, "nope", now=NOW)),
    lists.get: ({*READERS, E, G}, lambda d, a: lists.get(d, a, "nope")),
    loaded.trusting: (READERS, lambda d, a: loaded.trusting(d, a, "nope")),
    loaded.where: (READERS, lambda d, a: loaded.where(d, a, NOWHERE, now=NOW)),
    overview.overview: (READERS, lambda d, a: overview.overview(d, a, now=NOW)),
    reach.progress: (READERS, lambda d, a: reach.progress(d, a, NOWHERE, now=NOW)),
    reach.refresh: ({S}, lambda d, a: reach.refresh(d, a, share=1.0, now=NOW)),
    reach.tell: ({S}, lambda d, a: reach.tell(d, a, "nope", [], 1, now=NOW)),
    reach.tell_own: ({S}, lambda d, a: reach.tell_own(d, a, 1, now=NOW)),
    removal.remove: ({A, O}, lambda d, a: removal.remove(d, a, "nope", now=NOW)),
    reports.applied: ({G}, lambda d, a: reports.applied(d, a, _REPORT, now=NOW)),
    reports.sas: ({G}, lambda d, a: reports.sas(d, a, NOW, [], now=NOW)),
    revoking.preview: ({A, O}, lambda d, a: revoking.preview(d, a, NOWHERE, now=NOW)),
    revoking.hold: ({A, O}, lambda d, a: revoking.hold(d, a, NOWHERE, now=NOW)),
    revoking.revoke: ({A, O}, lambda d, a: revoking.revoke(d, a, NOWHERE, "nope", now=NOW)),
    revoking.revoke_all: (
        {A, O},
        lambda d, a: revoking.revoke_all(d, a, [], "nope", now=NOW),
    ),
    sas.of_tunnel: (READERS, lambda d, a: sas.of_tunnel(d, a, "nope")),
    sas.search: ({A, O, U}, lambda d, a: sas.search(d, a, SaQuery())),
    successions.move: (
        {A},
        lambda d, a: successions.move(d, a, 0, Order("published"), now=NOW),
    ),
    successions.spread: ({S}, lambda d, a: successions.spread(d, a, 0, now=NOW)),
    state.current: ({G}, lambda d, a: state.current(d, a, frozenset(), now=NOW)),
    topology.look: (READERS, lambda d, a: topology.look(d, a, MapQuery(), now=NOW)),
    tunnels.create: (
        {A, O},
        lambda d, a: tunnels.create(d, a, TunnelRequest("", "nope", "nope"), now=NOW),
    ),
    tunnels.get: (READERS, lambda d, a: tunnels.get(d, a, "nope")),
    tunnels.remove: ({A, O}, lambda d, a: tunnels.remove(d, a, "nope", now=NOW)),
    tunnels.search: (READERS, lambda d, a: tunnels.search(d, a, TunnelQuery())),
}
# Parts of operations, which have asked before.
PARTS = {"fleet.state.own_name", "fleet.gateways.end_token", "fleet.scopes"}


def test_every_operation_has_a_row() -> None:
    check_complete(TABLE, fleet, PARTS)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("operation", TABLE, ids=name_of)
def test_operations_and_roles(shared_desk: Desk, operation: Any, role: Role) -> None:
    check_row(shared_desk, TABLE[operation], role)


def test_the_role_is_asked_for_before_anything_is_looked_at() -> None:
    check_asked_first(TABLE)


def test_only_the_service_watches() -> None:
    for role in set(Role) - {S}:
        changes = Changes(None, Actor("somebody", role))  # type: ignore[arg-type]  # on purpose
        with pytest.raises(RoleMayNot):
            changes.look(NOW)
        with pytest.raises(RoleMayNot):
            changes.seen([1], NOW)


def test_a_limited_operator_stays_within_his_limits(desk: Desk) -> None:
    mine = Actor("oscar", Role.OPERATOR, scope=Scope(names=("dns:*.mine.example",)))
    gateways.create(desk, mine, GatewayRequest("a", ("dns:a.mine.example",)), now=NOW)
    tied = Actor("olga", Role.OPERATOR, scope=Scope(gateway="a"))
    for actor, request in (
        (mine, GatewayRequest("b", ("dns:b.other.example",))),
        (tied, GatewayRequest("c", ("dns:c.mine.example",))),
    ):
        with pytest.raises(IkewardenError) as refused:
            gateways.create(desk, actor, request, now=NOW)
        assert refused.value.code == "outside_scope"
    with pytest.raises(IkewardenError) as refused:
        commands.give(desk, tied, "b", "renew", None, now=NOW)
    assert refused.value.code == "outside_scope"
