"""What the tables of operations and roles are held to, in whichever room they stand."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Collection, Mapping
from types import ModuleType
from typing import Any

import pytest

from core.errors import IkewardenError
from pki.actors import Actor, Role, RoleMayNot, Scope
from pki.desk import Desk

A, O, P, U, E, G, S = (  # noqa: E741 - one letter for each column
    Role.ADMIN,
    Role.OPERATOR,
    Role.APPROVER,
    Role.AUDITOR,
    Role.ENROLLER,
    Role.GATEWAY,
    Role.SCHEDULER,
)
READERS = {A, O, P, U, S}
NOWHERE = "77" * 16  # a serial number that nobody has
# It does no harm: it may fail for any reason but the role.
Call = Callable[[Desk, Actor], object]
# Operation, roles that may, and a call.
Table = Mapping[Any, tuple[set[Role], Call]]


def check_complete(table: Table, room: ModuleType, parts: Collection[str]) -> None:
    """Every function of the room's modules that takes an actor has a row, but `parts`: modules or parts of others."""
    found = {}
    for module in pkgutil.iter_modules(room.__path__):
        if module.ispkg:
            continue
        loaded = importlib.import_module(f"{room.__name__}.{module.name}")
        for name, value in vars(loaded).items():
            if (
                inspect.isfunction(value)
                and value.__module__ == loaded.__name__
                and not name.startswith("_")
                and "actor" in inspect.signature(value).parameters
                and not {loaded.__name__, f"{loaded.__name__}.{name}"} & set(parts)
            ):
                found[value] = f"{loaded.__name__}.{name}"
    assert found.keys() == table.keys(), sorted(
        name for value, name in found.items() if value not in table
    )


def name_of(operation: Any) -> str:
    """The id of a row."""
    return f"{operation.__module__.rpartition('.')[2]}.{operation.__name__}"


def check_row(desk: Desk, row: tuple[set[Role], Call], role: Role) -> None:
    """The role is let through, or told that it may not."""
    allowed, call = row
    scope = Scope(gateway="gw1") if role is Role.GATEWAY else Scope()
    actor = Actor("somebody", role, credential="token:1", scope=scope)
    if role in allowed:
        try:
            call(desk, actor)
        except IkewardenError as error:
            if isinstance(error, RoleMayNot):
                raise
        return
    with pytest.raises(RoleMayNot) as refused:
        call(desk, actor)
    assert refused.value.code == "role_not_permitted"
    assert refused.value.next_step


def check_asked_first(table: Table) -> None:
    """The role is asked for before anything is looked at: there is nothing to look at."""
    for role in Role:
        for allowed, call in table.values():
            if role not in allowed:
                with pytest.raises(RoleMayNot):
                    call(None, Actor("somebody", role))  # type: ignore[arg-type]  # on purpose
