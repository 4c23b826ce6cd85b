"""`Unit.change`: many updates in one statement, and each caller told of his own."""

import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import bindparam, select, update

from core.errors import Conflict
from store.engine import Store, Unit
from store.tables import leases
from store.unit import insert

AT = datetime(2026, 1, 1, tzinfo=UTC)
_RENAME = (
    update(leases)
    .where(leases.c.name == bindparam("of"), leases.c.owner == "nobody")
    .values(owner=bindparam("to"))
)


class Missed(Conflict):
    """The row was not there."""

    code = "test_missed"


def _fill(store: Store, names: list[str]) -> None:
    with store.write() as connection:
        for name in names:
            insert(connection, leases, {"name": name, "owner": "nobody", "until": AT, "fence": 1})


def _rename(store: Store, name: str, to: str) -> None:
    def work(unit: Unit) -> None:
        unit.change(_RENAME, {"of": name, "to": to}, otherwise=Missed(name))

    store.together(work)


def _owners(store: Store) -> dict[str, str]:
    with store.read() as connection:
        return dict(connection.execute(select(leases.c.name, leases.c.owner)).all())  # type: ignore[arg-type]


def test_a_change_that_finds_its_row_is_made(store: Store) -> None:
    _fill(store, ["a", "b"])
    _rename(store, "a", "me")
    assert _owners(store) == {"a": "me", "b": "nobody"}


def test_a_change_that_finds_no_row_fails_and_changes_nothing(store: Store) -> None:
    _fill(store, ["a"])
    with pytest.raises(Missed, match="gone"):
        _rename(store, "gone", "me")
    assert _owners(store) == {"a": "nobody"}


def test_of_many_at_once_only_those_without_a_row_fail_with_their_own_error(store: Store) -> None:
    there = [f"n{number}" for number in range(40)]
    _fill(store, there)
    wanted = [*there, *(f"missing{number}" for number in range(10))]
    failed: dict[str, str] = {}

    def act(name: str) -> None:
        try:
            _rename(store, name, "me")
        except Missed as error:
            failed[name] = error.message

    threads = [threading.Thread(target=act, args=(name,)) for name in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert set(_owners(store).values()) == {"me"}
    assert failed == {f"missing{number}": f"missing{number}" for number in range(10)}
