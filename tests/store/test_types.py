"""Instants survive both databases; naive ones are refused."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import StatementError

from store.engine import Store
from store.tables import status_changes

INSTANTS = [
    datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    datetime(1950, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    # RFC 5280 §4.1.2.5: "no well-defined expiration date"
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(2030, 6, 1, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=-11, minutes=-30))),
]


@pytest.mark.parametrize("instant", INSTANTS, ids=str)
def test_instant_comes_back_in_utc(store: Store, instant: datetime) -> None:
    with store.write() as connection:
        connection.execute(
            insert(status_changes), {"authority_id": 1, "serial": "01", "at": instant}
        )
    with store.read() as connection:
        found = connection.execute(
            select(status_changes.c.at).where(status_changes.c.at == instant)
        ).scalar_one()
    assert found == instant
    assert found.tzinfo is UTC


def test_instants_sort_by_time(store: Store) -> None:
    with store.write() as connection:
        for instant in INSTANTS:
            connection.execute(
                insert(status_changes), {"authority_id": 1, "serial": "01", "at": instant}
            )
    with store.read() as connection:
        found = connection.scalars(select(status_changes.c.at).order_by(status_changes.c.at)).all()
    assert list(found) == sorted(INSTANTS)


def test_naive_datetime_is_refused(store: Store) -> None:
    naive = datetime(2030, 1, 1)  # noqa: DTZ001 - the point of the test
    with pytest.raises(StatementError, match="naive"), store.write() as connection:
        connection.execute(insert(status_changes), {"authority_id": 1, "serial": "01", "at": naive})
    with pytest.raises(StatementError, match="naive"), store.read() as connection:
        connection.execute(select(status_changes).where(status_changes.c.at < naive)).all()


def test_instants_are_kept_in_a_type_that_sorts(store: Store) -> None:
    with store.write() as connection:
        connection.execute(
            insert(status_changes), {"authority_id": 1, "serial": "01", "at": INSTANTS[0]}
        )
    query = {
        "sqlite": "SELECT at, typeof(at) FROM status_changes",
        "postgresql": "SELECT (extract(epoch FROM at) * 1000000)::bigint, pg_typeof(at)::text"
        " FROM status_changes",
    }[store.dialect]
    kind = {"sqlite": "integer", "postgresql": "timestamp with time zone"}[store.dialect]
    with store.read() as connection:
        assert tuple(connection.execute(text(query)).one()) == (1893553445678901, kind)
