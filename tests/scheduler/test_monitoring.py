"""Alerts reach the webhook, in order and none lost; silences end by the clock; old events go."""

import hmac
import logging
from datetime import datetime, timedelta
from typing import Any

import pytest

from core.secret import Secret
from fleet.monitoring import orders
from pki.desk import Desk
from scheduler import jobs
from tests.fixtures.desk import OPERATOR, drain, reopened
from tests.fleet.crew import enlist
from tests.fleet.monitoring import after, alerts_of, events_of, failures, sent, told
from tests.scheduler.test_jobs import receiver  # noqa: F401 - a fixture

HOSTILE = "\x1b[2J\r\nINFO all is well\u202e"


def test_a_condition_is_told_when_it_begins_and_when_it_ends(
    desk: Desk,
    now: datetime,
    receiver: Any,  # noqa: F811 - a fixture
    caplog: pytest.LogCaptureFixture,
) -> None:
    url, kind = receiver
    kind.answers.append(500)
    hooked = reopened(desk, webhook=url)
    member = enlist(hooked, "gw.example")
    sent(member, failures(identity=HOSTILE), until=after(60), desk=hooked)
    over = now + timedelta(hours=3)
    with caplog.at_level(logging.WARNING, "ikewarden.scheduler"):
        drain(hooked, now)
        drain(hooked, now + timedelta(minutes=1))
        sent(member, [], 10, until=over, now=over, desk=hooked)
        drain(hooked, over)
    # The first was refused once, and came again.
    assert [each["event"] for each in kind.got] == ["alert.opened", "alert.opened", "alert.ended"]
    first, last = kind.got[1], kind.got[2]
    assert (first["kind"], first["gateway"], first["state"]) == (
        "auth_failures",
        "gw.example",
        "open",
    )
    assert first["cause"]
    assert first["next_step"]
    assert first["page"].endswith("/docs/alerts/auth_failures")
    assert first["lines"]
    assert (last["alert"], last["state"]) == (first["alert"], "ended")
    assert last["ended"] is not None
    changed = [each for each in caplog.records if each.message == "alert changed"]
    assert HOSTILE not in "".join(str(vars(each)) for each in changed)


def test_the_job_ends_silences_and_forgets_old_events(desk: Desk, now: datetime) -> None:
    member = enlist(desk, "gw.example")
    member.report(now=now)
    sent(member, failures(), until=after(60))
    [alert] = alerts_of(desk)
    orders.silence(desk, OPERATOR, alert.id, now + timedelta(days=1), "known", now=now)
    job = next(job for job in jobs.JOBS if job.name == "monitoring")
    at = now + timedelta(days=40)
    assert jobs.run(desk, job, "me", at, lambda: at)
    assert events_of(desk) == []
    [alert] = alerts_of(desk)
    assert (alert.state, alert.silenced_until) == ("open", None)


def test_the_job_ends_alerts_of_a_device_that_fell_silent(desk: Desk, now: datetime) -> None:
    sent(enlist(desk, "gw.example"), failures(), until=after(60))
    [alert] = alerts_of(desk)
    orders.silence(desk, OPERATOR, alert.id, now + timedelta(hours=1), "known", now=now)
    job = next(job for job in jobs.JOBS if job.name == "monitoring")
    at = now + timedelta(hours=2)
    assert jobs.run(desk, job, "me", at, lambda: at)
    [alert] = alerts_of(desk)
    assert (alert.state, alert.silenced_until) == ("ended", None)
    assert [each for each, _ in told(desk)] == ["alert.opened", "alert.ended"]


def test_a_notice_is_signed_where_there_is_a_key(
    desk: Desk,
    now: datetime,
    receiver: Any,  # noqa: F811 - a fixture
) -> None:
    url, kind = receiver
    key = b"a key that only the receiver has"
    hooked = reopened(desk, webhook=url, webhook_key=Secret(key))
    sent(enlist(hooked, "gw.example"), failures(), until=after(60), desk=hooked)
    drain(hooked, now)
    [(body, header)] = kind.raw
    seconds, _, made = header.removeprefix("t=").partition(",v1=")
    assert seconds == str(int(now.timestamp()))
    expected = hmac.new(key, f"{seconds}.".encode() + body, "sha256").hexdigest()
    assert hmac.compare_digest(made, expected)
    assert key.decode() not in repr(hooked.rules)
    drain(reopened(desk, webhook=url), now)
    sent(enlist(hooked, "gw2.example"), failures(), until=after(60), desk=hooked)
    drain(reopened(desk, webhook=url), now)
    assert kind.raw[1][1] is None
