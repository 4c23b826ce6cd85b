"""The audit log is written with the act and read page by page."""

from datetime import timedelta

from store import audit
from store.engine import Store
from tests.store.writers import NOW

SECOND = timedelta(seconds=1)


def record(store: Store, number: int, **changes: object) -> None:
    fields = {
        "at": NOW + number * SECOND,
        "actor": "alice",
        "role": "operator",
        "action": "certificate.issue",
        "object": f"certificate:{number}",
        "outcome": "ok",
        "detail": {"n": number},
        "request_id": f"r{number}",
    }
    store.together(lambda unit: audit.record(unit, **{**fields, **changes}))


def page(store: Store, **filters: object) -> list[int]:
    with store.read() as connection:
        events = audit.page(connection, **{"after": None, "limit": 100, **filters})
    return [event.detail["n"] for event in events]


def test_event_comes_back_whole(store: Store) -> None:
    record(store, 1)
    with store.read() as connection:
        (event,) = audit.page(connection, after=None, limit=1)
    assert event.id > 0
    assert event == audit.AuditEvent(
        id=event.id,
        at=NOW + SECOND,
        actor="alice",
        role="operator",
        action="certificate.issue",
        object="certificate:1",
        outcome="ok",
        detail={"n": 1},
        request_id="r1",
    )


def test_pages_go_from_newest_to_oldest_without_gap_or_repeat(store: Store) -> None:
    for number in range(7):
        record(store, number)
    found, after = [], None
    while True:
        with store.read() as connection:
            events = audit.page(connection, after=after, limit=3)
        if not events:
            break
        assert len(events) <= 3
        found += [event.detail["n"] for event in events]
        after = events[-1].id
    assert found == [6, 5, 4, 3, 2, 1, 0]


def test_filters(store: Store) -> None:
    for number in range(4):
        record(
            store,
            number,
            actor="bob" if number % 2 else "alice",
            action="a.x" if number < 2 else "a.y",
        )
    assert page(store, actor="bob") == [3, 1]
    assert page(store, action="a.x") == [1, 0]
    assert page(store, action="a.x", actor="bob") == [1]
    assert page(store, object="certificate:2") == [2]
    assert page(store, object="certificate:") == []
    assert page(store, since=NOW + SECOND, until=NOW + 3 * SECOND) == [2, 1]


def test_text_that_a_database_refuses_does_not_stop_the_act(store: Store) -> None:
    record(store, 1, object="name\x00 \ud800", actor="Zoë")
    with store.read() as connection:
        (event,) = audit.page(connection, after=None, limit=1)
    assert (event.object, event.actor) == ("name\ufffd ?", "Zoë")


def test_event_can_be_written_at_once(store: Store) -> None:
    with store.write() as connection:
        audit.record(
            connection,
            at=NOW,
            actor="a",
            role="r",
            action="x",
            object="o",
            outcome="refused",
            detail={"n": 9},
            request_id="",
        )
        assert audit.page(connection, after=None, limit=5)[0].detail == {"n": 9}
