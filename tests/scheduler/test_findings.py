"""Findings that are bad and new reach the webhook; acceptances end by the clock."""

import logging
from datetime import datetime, timedelta
from typing import Any

import pytest

from fleet.findings import orders
from ike.audit.values import Severity
from pki.desk import Desk
from scheduler import jobs
from tests.fixtures.desk import OPERATOR, drain, reopened
from tests.fleet.auditing import all_of, audited, found, states
from tests.fleet.crew import enlist
from tests.scheduler.test_jobs import receiver  # noqa: F401 - a fixture

MINUTE = timedelta(minutes=1)
BAD = found("secrets-file-open-to-others", Severity.CRITICAL)


def told(kind: Any) -> list[tuple[str, int, str]]:
    return [(each["gateway"], each["critical"], each["findings"][0]["reason"]) for each in kind.got]


def test_each_report_that_opens_something_bad_is_told_of(
    desk: Desk,
    now: datetime,
    receiver: Any,  # noqa: F811 - a fixture
    caplog: pytest.LogCaptureFixture,
) -> None:
    url, kind = receiver
    kind.answers.append(500)
    hooked = reopened(desk, webhook=url)
    member = enlist(hooked, "gw.example")
    audited(member, BAD)
    audited(member, BAD, found(), now=now + MINUTE)
    with caplog.at_level(logging.ERROR, "ikewarden.scheduler"):
        drain(hooked, now + MINUTE)
        drain(hooked, now + 2 * MINUTE)
    # The first was refused once, and no other was lost or merged with it.
    assert sorted(told(kind)) == [
        ("gw.example", 0, "new"),
        ("gw.example", 1, "new"),
        ("gw.example", 1, "new"),
    ] or sorted(told(kind)) == [
        ("gw.example", 0, "new"),
        ("gw.example", 0, "new"),
        ("gw.example", 1, "new"),
    ]
    assert {each["event"] for each in kind.got} == {"findings.opened"}
    opened = [each for each in caplog.records if each.message == "findings opened"]
    assert {vars(each)["gateway"] for each in opened} == {"gw.example"}
    assert drain(hooked, now + 3 * MINUTE) == 0


def test_the_job_opens_what_nobody_accepts_any_longer(
    desk: Desk,
    now: datetime,
    receiver: Any,  # noqa: F811 - a fixture
) -> None:
    url, kind = receiver
    hooked = reopened(desk, webhook=url)
    member = enlist(hooked, "gw.example")
    audited(member, BAD)
    drain(hooked, now)
    [one] = all_of(hooked)
    orders.accept(hooked, OPERATOR, one.id, now + timedelta(days=9), "a lab", now=now)
    job = next(job for job in jobs.JOBS if job.name == "findings")
    for days in (8, 9, 10):
        at = now + timedelta(days=days)
        assert jobs.run(hooked, job, "me", at, lambda at=at: at)  # type: ignore[misc]  # mypy cannot name it
        drain(hooked, at)
        assert states(hooked, member) == {BAD.rule: "accepted" if days == 8 else "open"}
    assert told(kind) == [("gw.example", 1, "new"), ("gw.example", 1, "the acceptance has ended")]
