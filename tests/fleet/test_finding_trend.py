"""The trend of findings, compared with a count by hand over the same story."""

from datetime import timedelta

import pytest

from fleet.findings import trend
from ike.audit.values import Severity
from pki.actors import Actor, OutsideScope, Role, Scope
from pki.certificates import BadQuery
from pki.desk import Desk
from tests.fixtures.desk import NOW, OPERATOR
from tests.fleet.auditing import audited, found
from tests.fleet.crew import enlist

WEAK = found()
OPEN_FILE = found("secrets-file-open-to-others", Severity.CRITICAL)
WEEK = timedelta(weeks=1)


def test_each_week_has_what_was_there_at_its_end(desk: Desk) -> None:
    gw = enlist(desk, "gw.example")
    audited(gw, WEAK, now=NOW)
    audited(gw, WEAK, OPEN_FILE, now=NOW + 2 * WEEK)
    audited(gw, OPEN_FILE, now=NOW + 3 * WEEK)
    told = trend.weeks(desk, OPERATOR, 4, now=NOW + 4 * WEEK - timedelta(days=1))
    assert [week.at for week in told][-1] == NOW + 4 * WEEK - timedelta(days=1)
    present = [(week.present["critical"], week.present["high"]) for week in told]
    assert present == [(0, 1), (0, 1), (1, 1), (1, 0)]
    assert [(week.opened, week.fixed) for week in told] == [(1, 0), (0, 0), (1, 0), (0, 1)]


def test_what_was_fixed_before_is_not_counted_and_what_is_older_is_there_from_the_start(
    desk: Desk,
) -> None:
    gw = enlist(desk, "gw.example")
    audited(gw, WEAK, OPEN_FILE, now=NOW)
    audited(gw, WEAK, now=NOW + WEEK)
    (first, last) = trend.weeks(desk, OPERATOR, 2, now=NOW + 10 * WEEK)
    for week in (first, last):
        assert (week.present["critical"], week.present["high"]) == (0, 1)
        assert (week.opened, week.fixed) == (0, 0)


def test_an_empty_fleet_and_bounds(desk: Desk) -> None:
    assert all(not any(week.present.values()) for week in trend.weeks(desk, OPERATOR, 53, now=NOW))
    for number in (0, 54):
        with pytest.raises(BadQuery):
            trend.weeks(desk, OPERATOR, number, now=NOW)
    tied = Actor("t", Role.AUDITOR, scope=Scope(gateway="gw.example"))
    with pytest.raises(OutsideScope):
        trend.weeks(desk, tied, 1, now=NOW)
