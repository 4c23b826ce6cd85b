"""Who may do what with findings: every operation and every role, as a table written by hand."""

import importlib
import inspect
import pkgutil
from typing import Any

import pytest

from core.errors import IkewardenError
from fleet import findings
from fleet.findings import expiry, filing, orders, shown, summary
from fleet.findings.shown import FindingQuery
from fleet.findings.summary import ReportQuery
from pki.actors import Actor, Role, RoleMayNot, Scope
from pki.desk import Desk
from tests.fixtures.desk import NOW
from tests.fleet.auditing import report
from tests.pki.test_permissions import READERS, A, Call, G, O, S

MAY_READ = READERS - {S}
TABLE: dict[Any, tuple[set[Role], Call]] = {
    expiry.forget_fixed: ({S}, lambda d, a: expiry.forget_fixed(d, a, now=NOW)),
    expiry.reopen_ended: ({S}, lambda d, a: expiry.reopen_ended(d, a, now=NOW)),
    filing.file: ({G}, lambda d, a: filing.file(d, a, report(), now=NOW)),
    orders.accept: ({A, O}, lambda d, a: orders.accept(d, a, 1, NOW, "why", now=NOW)),
    orders.reopen: ({A, O}, lambda d, a: orders.reopen(d, a, 1, "why", now=NOW)),
    shown.finding: (MAY_READ, lambda d, a: shown.finding(d, a, 1)),
    shown.search: (MAY_READ, lambda d, a: shown.search(d, a, FindingQuery())),
    summary.audit: (MAY_READ, lambda d, a: summary.audit(d, a, ReportQuery(), now=NOW)),
    summary.compliance: (MAY_READ, lambda d, a: summary.compliance(d, a, ReportQuery(), now=NOW)),
    summary.figures: (READERS, lambda d, a: summary.figures(d, a, now=NOW)),
}
# Parts of operations, which have asked before.
PARTS = {"fleet.findings.changes.write", "fleet.findings.changes.trail"}


def test_every_operation_has_a_row() -> None:
    found = {}
    for module in pkgutil.iter_modules(findings.__path__):
        loaded = importlib.import_module(f"fleet.findings.{module.name}")
        for name, value in vars(loaded).items():
            if (
                inspect.isfunction(value)
                and value.__module__ == loaded.__name__
                and not name.startswith("_")
                and "actor" in inspect.signature(value).parameters
                and f"{loaded.__name__}.{name}" not in PARTS
            ):
                found[value] = f"{loaded.__name__}.{name}"
    assert found.keys() == TABLE.keys(), sorted(
        name for value, name in found.items() if value not in TABLE
    )


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "operation", TABLE, ids=lambda each: f"{each.__module__.rpartition('.')[2]}.{each.__name__}"
)
def test_operations_and_roles(shared_desk: Desk, operation: Any, role: Role) -> None:
    allowed, call = TABLE[operation]
    scope = Scope(gateway="gw1") if role is Role.GATEWAY else Scope()
    actor = Actor("somebody", role, credential="token:1", scope=scope)
    if role in allowed:
        try:
            call(shared_desk, actor)
        except IkewardenError as error:
            if isinstance(error, RoleMayNot):
                raise
        return
    with pytest.raises(RoleMayNot):
        call(shared_desk, actor)


def test_the_role_is_asked_for_before_anything_is_looked_at() -> None:
    for role in Role:
        for allowed, call in TABLE.values():
            if role not in allowed:
                with pytest.raises(RoleMayNot):
                    call(None, Actor("somebody", role))  # type: ignore[arg-type]  # on purpose
