"""Who may do what with findings: every operation and every role, as a table written by hand."""

from typing import Any

import pytest

from fleet import findings
from fleet.findings import expiry, filing, known, orders, shown, summary, told, trend
from fleet.findings.known import Known
from fleet.findings.shown import FindingQuery
from fleet.findings.summary import ReportQuery
from pki.actors import Role
from pki.desk import Desk
from tests.fixtures.desk import NOW
from tests.fleet.auditing import report
from tests.role_table import (
    READERS,
    A,
    Call,
    G,
    O,
    S,
    check_asked_first,
    check_complete,
    check_row,
    name_of,
)

KNOWN = Known("psk-weak", "/etc/ipsec.secrets", None)
MAY_READ = READERS - {S}
TABLE: dict[Any, tuple[set[Role], Call]] = {
    expiry.forget_fixed: ({S}, lambda d, a: expiry.forget_fixed(d, a, now=NOW)),
    expiry.reopen_ended: ({S}, lambda d, a: expiry.reopen_ended(d, a, now=NOW)),
    filing.file: ({G}, lambda d, a: filing.file(d, a, report(), now=NOW)),
    known.accept: ({A, O}, lambda d, a: known.accept(d, a, KNOWN, NOW, "why", now=NOW)),
    known.count: ({A, O}, lambda d, a: known.count(d, a, KNOWN)),
    orders.accept: ({A, O}, lambda d, a: orders.accept(d, a, 1, NOW, "why", now=NOW)),
    orders.reopen: ({A, O}, lambda d, a: orders.reopen(d, a, 1, "why", now=NOW)),
    shown.finding: (MAY_READ, lambda d, a: shown.finding(d, a, 1)),
    shown.search: (MAY_READ, lambda d, a: shown.search(d, a, FindingQuery())),
    summary.accounts: (MAY_READ, lambda d, a: summary.accounts(d, a, None, 0, now=NOW)),
    summary.audit: (MAY_READ, lambda d, a: summary.audit(d, a, ReportQuery(), now=NOW)),
    summary.compliance: (MAY_READ, lambda d, a: summary.compliance(d, a, ReportQuery(), now=NOW)),
    told.last_report: (MAY_READ, lambda d, a: told.last_report(d, a, "gw1")),
    trend.weeks: (MAY_READ, lambda d, a: trend.weeks(d, a, 13, now=NOW)),
    summary.figures: (READERS, lambda d, a: summary.figures(d, a, now=NOW)),
}
# Parts of operations, which have asked before.
PARTS = {"fleet.findings.changes.write", "fleet.findings.changes.trail"} | {
    f"fleet.findings.orders.{name}" for name in ("acceptance", "trail")
}


def test_every_operation_has_a_row() -> None:
    check_complete(TABLE, findings, PARTS)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("operation", TABLE, ids=name_of)
def test_operations_and_roles(shared_desk: Desk, operation: Any, role: Role) -> None:
    check_row(shared_desk, TABLE[operation], role)


def test_the_role_is_asked_for_before_anything_is_looked_at() -> None:
    check_asked_first(TABLE)
