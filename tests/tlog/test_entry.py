"""A row of the audit log as a line: the same for the same row, another for another, and one for whatever there is."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pki.tlog.entry import FIELDS, entry

AT = datetime(2026, 11, 29, 1, 2, 3, 4000, tzinfo=UTC)
ROW = {
    "id": 7,
    "at": AT,
    "actor": "Zoë",
    "role": "admin",
    "action": "certificate.issue",
    "object": "certificate:issuing:0a",
    "outcome": "ok",
    "detail": '{"profile": "gateway", "a": [1, 2.5, null]}',
    "request_id": "r1",
}


def test_the_line() -> None:
    assert entry(7, ROW) == (
        b'{"action":"certificate.issue","actor":"Zo\\u00eb","at":"2026-11-29T01:02:03.004000Z",'
        b'"detail":{"a":[1,2.5,null],"profile":"gateway"},"id":7,'
        b'"object":"certificate:issuing:0a","outcome":"ok","request_id":"r1","role":"admin"}'
    )


def test_every_column_is_in_it() -> None:
    from store.tables import audit_events

    assert set(FIELDS) == set(audit_events.c.keys())
    for name in FIELDS:
        other: object = 8 if name == "id" else "other"
        if name == "at":
            other = AT + timedelta(microseconds=1)
        assert entry(7, {**ROW, name: other}) != entry(7, ROW)


def test_how_a_database_writes_the_detail_and_the_time_does_not_matter() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=5)))
    other = {**ROW, "at": elsewhere, "detail": '{"a":[1,2.5,null],\n"profile":"g\\u0061teway"}'}
    assert entry(7, other) == entry(7, ROW)


@pytest.mark.parametrize(
    "detail",
    [
        "",
        "{",
        "[NaN]",
        '{"a": Infinity}',
        "9" * 10_000,
        "[" * 100_000,
        '"\\ud800"',
        b"\xff",
        None,
        5,
    ],
)
def test_a_detail_that_nobody_of_ours_writes_has_a_line_too(detail: object) -> None:
    line = entry(7, {**ROW, "detail": detail})
    assert json.loads(line)["id"] == 7
    assert line != entry(7, ROW)


def test_values_of_another_kind_have_a_line_too() -> None:
    for name in FIELDS:
        for odd in (b"\xff", None, 5, 2.5, "\ud800\x00"):
            line = entry(7, {**ROW, name: odd})
            assert b"\n" not in line
            json.loads(line)
    assert json.loads(entry(7, None)) == {"id": 7, "unreadable": True}


@settings(max_examples=30)
@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=8,
        ),
    ),
    st.text(),
)
def test_a_line_says_what_the_row_says(detail: dict[str, object], actor: str) -> None:
    said = json.loads(entry(7, {**ROW, "detail": json.dumps(detail), "actor": actor}))
    assert said["detail"] == detail
    assert said["actor"] == actor
