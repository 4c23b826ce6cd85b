"""Requests for approval reach the webhook; what the clock ends is written down by a job."""

import logging
from datetime import datetime, timedelta
from typing import Any

import pytest

from pki import decisions, tokens
from pki.actors import Role
from pki.desk import Desk
from pki.guarded import Guarded, Step
from pki.tokens import TokenRequest
from scheduler import jobs
from tests.fixtures.desk import ADMIN, drain, reopened
from tests.pki.approving import asked, guarded, hire, state_of
from tests.scheduler.test_jobs import receiver  # noqa: F401 - a fixture


def test_approvers_are_told_and_so_is_who_asked(
    desk: Desk,
    now: datetime,
    receiver: Any,  # noqa: F811 - a fixture
    caplog: pytest.LogCaptureFixture,
) -> None:
    url, kind = receiver
    alice, bob = hire(desk, "alice", Role.ADMIN), hire(desk, "bob", Role.APPROVER)
    hooked = reopened(guarded(desk, Guarded.ROLE_CHANGE), webhook=url)
    wanted = TokenRequest("dave", Role.ADMIN)
    number = asked(lambda: tokens.create(hooked, alice, wanted, now=now))
    with caplog.at_level(logging.WARNING, "ikewarden.scheduler"):
        drain(hooked, now)
    assert [record.message for record in caplog.records] == ["approval asked for"]
    decisions.decide(hooked, bob, number, Step.REFUSE, "who is dave?", now=now)
    drain(hooked, now)
    first, second = kind.got
    assert (first["event"], first["approval"], first["act"]) == (
        "approval.asked",
        number,
        "role.change",
    )
    assert first["parameters"]["name"] == "dave"
    assert (second["event"], second["state"], second["by"], second["reason"]) == (
        "approval.decided",
        "refused",
        "bob",
        "who is dave?",
    )


def test_the_job_writes_down_what_has_expired(desk: Desk, now: datetime) -> None:
    alice = hire(desk, "alice", Role.ADMIN)
    under = guarded(desk, Guarded.ROLE_CHANGE)
    wanted = TokenRequest("dave", Role.ADMIN)
    number = asked(lambda: tokens.create(under, alice, wanted, now=now))
    later = now + timedelta(hours=24)
    [job] = [each for each in jobs.JOBS if each.name == "approvals"]
    assert jobs.run(under, job, "me", later, lambda: later)
    assert state_of(under, number, now) == "expired"
    detail = {state.job: state.detail for state in _states(under)}["approvals"]
    assert detail == {"expired": 1}


def _states(desk: Desk) -> Any:
    from pki import history

    return history.job_states(desk, ADMIN)
