"""Periods as people write them."""

from datetime import UTC, datetime, timedelta

import pytest

from fleet.reporting.periods import latest, parse

# A Monday.
NOW = datetime(2026, 11, 2, 7, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("2026", "2026-01-01", "2027-01-01"),
        ("2026-Q1", "2026-01-01", "2026-04-01"),
        ("2026-Q4", "2026-10-01", "2027-01-01"),
        ("2026-12", "2026-12-01", "2027-01-01"),
        ("2028-02", "2028-02-01", "2028-03-01"),
        ("2026-W01", "2025-12-29", "2026-01-05"),
        ("2026-W53", "2026-12-28", "2027-01-04"),
        ("2026-10-05", "2026-10-05", "2026-10-06"),
        ("2026-10-05..2026-11-01", "2026-10-05", "2026-11-01"),
        ("2026-10-05T12:00:00+02:00..2026-11-01T00:00Z", "2026-10-05T10:00", "2026-11-01"),
        ("last-30d", "2026-10-03T07:30", "2026-11-02T07:30"),
        ("next-7d", "2026-11-02T07:30", "2026-11-09T07:30"),
    ],
)
def test_a_period_has_two_ends(text: str, since: str, until: str) -> None:
    found = parse(text, NOW)
    ends = (found.since, found.until)
    assert ends == tuple(
        datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (since, until)
    )
    assert found.moment(NOW) == min(found.until, NOW)


@pytest.mark.parametrize(
    ("every", "at", "name"),
    [
        ("daily", NOW, "2026-11-01"),
        ("weekly", NOW, "2026-W44"),
        ("weekly", NOW - timedelta(days=1), "2026-W43"),
        ("weekly", datetime(2027, 1, 5, tzinfo=UTC), "2026-W53"),
        ("monthly", NOW, "2026-10"),
        ("monthly", datetime(2027, 1, 1, tzinfo=UTC), "2026-12"),
    ],
)
def test_the_latest_one_that_is_over(every: str, at: datetime, name: str) -> None:
    found = latest(every, at)
    assert found.name == name
    assert found == parse(name, at)
    assert found.until <= at < found.until + (found.until - found.since)
