"""Who may do what with monitoring: every operation and every role, as a table written by hand."""

from typing import Any

import pytest

from fleet import monitoring
from fleet.monitoring import (
    expiry,
    health,
    hours,
    intake,
    intervals,
    orders,
    shown,
    standing,
    undoing,
)
from fleet.monitoring.health import HealthQuery
from fleet.monitoring.shown import AlertQuery, EventQuery
from pki.actors import Actor, OutsideScope, Role, Scope
from pki.desk import Desk
from tests.fixtures.desk import NOW
from tests.fleet.crew import enlist
from tests.fleet.monitoring import after, alerts_of, batch, failures, sent
from tests.role_table import (
    READERS,
    A,
    Call,
    G,
    O,
    S,
    U,
    check_asked_first,
    check_complete,
    check_row,
    name_of,
)

TABLE: dict[Any, tuple[set[Role], Call]] = {
    expiry.end_silences: ({S}, lambda d, a: expiry.end_silences(d, a, now=NOW)),
    expiry.end_unheard: ({S}, lambda d, a: expiry.end_unheard(d, a, now=NOW)),
    expiry.forget_old: ({S}, lambda d, a: expiry.forget_old(d, a, now=NOW)),
    health.report: ({A, O, U}, lambda d, a: health.report(d, a, HealthQuery(), now=NOW)),
    intervals.of_connection: (
        {A, O, U},
        lambda d, a: intervals.of_connection(d, a, "gw1", "gw1-gw2"),
    ),
    hours.sum_up: ({S}, lambda d, a: hours.sum_up(d, a, now=NOW)),
    intake.take: ({G}, lambda d, a: intake.take(d, a, batch([]), now=NOW)),
    orders.silence: ({A, O}, lambda d, a: orders.silence(d, a, 1, NOW, "why", now=NOW)),
    orders.unsilence: ({A, O}, lambda d, a: orders.unsilence(d, a, 1, now=NOW)),
    shown.alert: (READERS - {S}, lambda d, a: shown.alert(d, a, 1)),
    shown.alerts: (READERS - {S}, lambda d, a: shown.alerts(d, a, AlertQuery())),
    shown.events: ({A, O, U}, lambda d, a: shown.events(d, a, EventQuery())),
    shown.figures: (READERS, shown.figures),
    standing.latest: ({S}, lambda d, a: standing.latest(d, a, [1], now=NOW)),
    standing.standing: ({S}, lambda d, a: standing.standing(d, a, 0, now=NOW)),
    undoing.undo: ({S}, lambda d, a: undoing.undo(d, a, "gw1", None, NOW, now=NOW)),
}


def test_every_operation_has_a_row() -> None:
    check_complete(TABLE, monitoring, ())


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("operation", TABLE, ids=name_of)
def test_operations_and_roles(shared_desk: Desk, operation: Any, role: Role) -> None:
    check_row(shared_desk, TABLE[operation], role)


def test_the_role_is_asked_for_before_anything_is_looked_at() -> None:
    check_asked_first(TABLE)


def test_a_credential_of_one_gateway_reads_nothing_of_another(desk: Desk) -> None:
    for name in ("gw.example", "other.example"):
        sent(enlist(desk, name), failures(), until=after(60))
    [theirs] = alerts_of(desk, gateway="gw.example")
    tied = Actor("olga", Role.AUDITOR, scope=Scope(gateway="other.example"))
    for read in (
        lambda: shown.alert(desk, tied, theirs.id),
        lambda: shown.alerts(desk, tied, AlertQuery(gateway="gw.example")),
        lambda: shown.events(desk, tied, EventQuery(gateway="gw.example")),
        lambda: health.report(desk, tied, HealthQuery("gw.example"), now=NOW),
    ):
        with pytest.raises(OutsideScope):
            read()
    for own in (None, "other.example"):
        [alert] = shown.alerts(desk, tied, AlertQuery(gateway=own))
        assert alert.gateway == "other.example"
        events = shown.events(desk, tied, EventQuery(gateway=own))
        assert {each.gateway for each in events} == {"other.example"}
        found = health.report(desk, tied, HealthQuery(own), now=NOW)
        assert {each.gateway for each in found.worst} == {found.gateway} == {"other.example"}
    assert shown.alert(desk, tied, alert.id).alert == alert
    counted = shown.figures(desk, tied)
    assert counted.events == {"auth_failed": 10}
    assert sum(counted.open.values()) == 1
