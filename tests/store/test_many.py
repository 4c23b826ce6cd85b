"""Many rows in one statement: what goes in comes out the same, on both databases."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from store.engine import Store
from store.errors import Duplicate
from store.many import insert_all
from store.monitoring_tables import sa_events
from tests.fixtures.desk import NOW

LATE = datetime(2026, 2, 3, 4, 5, 6, 789012, UTC)


def row(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "gateway_id": 7,
        "number": number,
        "stream": "a",
        "sequence": number,
        "at": LATE + timedelta(microseconds=number),
        "received_at": NOW,
        "clock": None,
        "kind": "cookie",
        "peer": None,
        "connection": "quote ' \" \\ \n \t \x01 \x7f \u2028 é 𝄞 $1 :name %s",
        "identity": "",
        "reason": None,
        "document": {"a": [1, 2.5, None, "x"], "é": {"deep": True}},
        **fields,
    }


def test_rows_come_out_as_they_went_in(store: Store) -> None:
    rows = [row(number) for number in range(300)] + [row(1 << 52)]
    with store.write() as connection:
        insert_all(connection, sa_events, rows)
        insert_all(connection, sa_events, [])
    with store.read() as connection:
        query = select(sa_events).order_by(sa_events.c.number)
        found = [dict(each) for each in connection.execute(query).mappings()]
    assert [{name: each[name] for name in rows[0]} for each in found] == rows


def test_a_key_that_is_there_is_refused(store: Store) -> None:
    with pytest.raises(Duplicate), store.write() as connection:
        insert_all(connection, sa_events, [row(1), row(1)])
    with store.read() as connection:
        assert connection.execute(select(sa_events.c.id)).first() is None
