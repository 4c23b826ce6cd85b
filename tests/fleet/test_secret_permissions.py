"""Who may do what with shared secrets: every operation and every role, as a table written by hand."""

from typing import Any

import pytest

from fleet import rotation
from fleet.rotation import ages, delivery, due, handover, imports, orders, retire, shown, slots
from fleet.rotation.orders import Order
from fleet.rotation.policies import PolicyChange
from fleet.rotation.shown import RotationQuery
from fleet.rotation.slots import SlotRequest
from fleet.rotation.values import Kind
from pki.actors import Role
from pki.desk import Desk
from tests.fixtures.desk import NOW
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

TABLE: dict[Any, tuple[set[Role], Call]] = {
    ages.figures: (READERS, lambda d, a: ages.figures(d, a, now=NOW)),
    delivery.value: ({G}, lambda d, a: delivery.value(d, a, 1, now=NOW)),
    due.begin_due: ({S}, lambda d, a: due.begin_due(d, a, now=NOW)),
    handover.create: ({A, O}, lambda d, a: handover.create(d, a, "nope", Kind.PSK, 1, now=NOW)),
    imports.undo: ({S}, lambda d, a: imports.undo(d, a, [], now=NOW)),
    orders.cancel: ({A, O}, lambda d, a: orders.cancel(d, a, 1, now=NOW)),
    orders.confirm: ({A, O}, lambda d, a: orders.confirm(d, a, 1, now=NOW)),
    orders.plan: ({A, O}, lambda d, a: orders.plan(d, a, Order("nope"))),
    orders.rotate: ({A, O}, lambda d, a: orders.rotate(d, a, Order("nope"), now=NOW)),
    retire.destroy: ({S}, lambda d, a: retire.destroy(d, a, [])),
    shown.figures: (READERS, lambda d, a: shown.figures(d, a, now=NOW)),
    shown.of_tunnel: (READERS, lambda d, a: shown.of_tunnel(d, a, "nope")),
    shown.rotation: (READERS, lambda d, a: shown.rotation(d, a, 1, now=NOW)),
    shown.search: (READERS, lambda d, a: shown.search(d, a, RotationQuery())),
    slots.change: ({A, O}, lambda d, a: slots.change(d, a, "nope", PolicyChange(), now=NOW)),
    slots.create: ({A, O}, lambda d, a: slots.create(d, a, "nope", SlotRequest(), now=NOW)),
    slots.remove: ({A, O}, lambda d, a: slots.remove(d, a, "nope", now=NOW)),
}
# Parts of operations, which have asked before.
PARTS = {"fleet.rotation.imports.take"}


def test_every_operation_has_a_row() -> None:
    check_complete(TABLE, rotation, PARTS)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("operation", TABLE, ids=name_of)
def test_operations_and_roles(shared_desk: Desk, operation: Any, role: Role) -> None:
    check_row(shared_desk, TABLE[operation], role)


def test_the_role_is_asked_for_before_anything_is_looked_at() -> None:
    check_asked_first(TABLE)
