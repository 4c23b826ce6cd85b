"""Who may do what with reports: every operation and every role, as a table written by hand."""

from datetime import timedelta
from typing import Any

import pytest

from core.schedules import ReportSchedule
from fleet import reporting
from fleet.reporting import controls, evidence, expiring, inventory, psk_age, revocations, schedules
from fleet.reporting.evidence import Ground
from fleet.reporting.periods import Period
from pki.actors import Actor, OutsideScope, Role, RoleMayNot, Scope
from pki.desk import Desk
from tests.fixtures.desk import NOW
from tests.role_table import READERS, A, Call, O, P, S, U, check_complete, check_row, name_of

PERIOD = Period("now", NOW, NOW + timedelta(days=1))
TABLE: dict[Any, tuple[set[Role], Call]] = {
    controls.figures: (READERS - {S}, lambda d, a: controls.figures(d, a, PERIOD, now=NOW)),
    expiring.figures: (READERS, lambda d, a: expiring.figures(d, a, PERIOD, 1, now=NOW)),
    expiring.page: (READERS, lambda d, a: expiring.page(d, a, PERIOD, None, 1, now=NOW)),
    inventory.figures: (READERS, lambda d, a: inventory.figures(d, a, 1, now=NOW)),
    inventory.page: (READERS, lambda d, a: inventory.page(d, a, None, 1, now=NOW)),
    psk_age.figures: (READERS, lambda d, a: psk_age.figures(d, a, 1, now=NOW)),
    psk_age.page: (READERS, lambda d, a: psk_age.page(d, a, None, 1, now=NOW)),
    revocations.figures: (READERS, lambda d, a: revocations.figures(d, a, PERIOD, 1, now=NOW)),
    revocations.page: (READERS, lambda d, a: revocations.page(d, a, PERIOD, None, 1)),
}
# Parts of operations, which have asked before.
PARTS = {
    "fleet.reporting.listing.require_all",
    "fleet.reporting.evidence.facts",
    "fleet.reporting.schedules.due",  # see the last test
    "fleet.reporting.schedules.done",
}


def test_every_operation_has_a_row() -> None:
    check_complete(TABLE, reporting, PARTS)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("operation", TABLE, ids=name_of)
def test_operations_and_roles(shared_desk: Desk, operation: Any, role: Role) -> None:
    check_row(shared_desk, TABLE[operation], role)


@pytest.mark.parametrize("operation", TABLE, ids=name_of)
@pytest.mark.parametrize(
    "scope", [Scope(gateway="gw"), Scope(names=("dns:*",)), Scope(profiles=("gateway",))]
)
def test_who_is_limited_is_told_of_nothing(shared_desk: Desk, operation: Any, scope: Scope) -> None:
    with pytest.raises(OutsideScope):
        TABLE[operation][1](shared_desk, Actor("x", Role.AUDITOR, scope=scope))


def test_evidence_is_withheld_from_who_may_not_read_it(shared_desk: Desk) -> None:
    withheld = {}
    with shared_desk.store.read() as connection:
        ground = Ground(connection, shared_desk, PERIOD, NOW)
        for role in (A, O, P, U):
            found = evidence.facts(ground, Actor("x", role))
            withheld[role] = {name for name, fact in found.items() if fact.withheld}
            assert all(bool(fact.values) != fact.withheld for fact in found.values())
    assert withheld == {A: set(), U: set(), O: {"audit_log"}, P: {"access"}}


@pytest.mark.parametrize("role", [role for role in Role if role is not S])
def test_only_the_scheduler_makes_reports_by_the_clock(shared_desk: Desk, role: Role) -> None:
    actor, schedule = Actor("x", role), ReportSchedule("weekly", "audit", "weekly")
    with pytest.raises(RoleMayNot):
        schedules.due(shared_desk, actor, schedule, now=NOW)
    with pytest.raises(RoleMayNot):
        schedules.done(shared_desk, actor, schedule, PERIOD, "audit.html", now=NOW)
