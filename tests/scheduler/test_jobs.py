"""Jobs: one replica at a time, failures visible and alone, work after commit done, retried, buried."""

import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from core.errors import Unavailable
from pki import history, issuance, publication, revocation
from pki.certificates import CertificateView
from pki.desk import Desk
from scheduler import jobs
from scheduler.clock import OutboxJob, serve
from scheduler.jobs import SCHEDULER, Job
from scheduler.outbox import LANES, Drain, Pace
from store import outbox, tables
from tests.fixtures.desk import ADMIN, CLOCKWORK, OPERATOR, custody, drain, reopened
from tests.pki.requests import request as csr

MINUTE = timedelta(minutes=1)


def _issue(desk: Desk, name: str, now: datetime, **fields: object) -> issuance.IssuedCertificate:
    request = issuance.IssueRequest(csr=csr([f"dns:{name}"]), profile="gateway", **fields)  # type: ignore[arg-type]
    return issuance.issue(desk, OPERATOR, request, now=now)


def _revoke(desk: Desk, serial: str, now: datetime) -> CertificateView:
    return revocation.revoke(desk, OPERATOR, serial, "superseded", now=now)


def _serials(desk: Desk) -> set[int]:
    from cryptography import x509

    crl = x509.load_der_x509_crl(publication.published(desk, "issuing", "full").der)
    return {entry.serial_number for entry in crl}


def _state(desk: Desk, job: str) -> Mapping[str, object]:
    return next(vars(state) for state in history.job_states(desk, ADMIN) if state.job == job)


def test_a_job_runs_in_one_replica_at_a_time(desk: Desk, now: datetime) -> None:
    inside, go_on, seen = threading.Event(), threading.Event(), []

    def slow(desk: Desk, now: datetime) -> Mapping[str, int]:
        seen.append("ran")
        inside.set()
        assert go_on.wait(10)
        return {}

    job = Job("slow", slow)
    first = threading.Thread(target=jobs.run, args=(desk, job, "one", now, lambda: now))
    first.start()
    assert inside.wait(10)
    assert jobs.run(desk, job, "two", now, lambda: now) is False
    go_on.set()
    first.join(10)
    assert seen == ["ran"]
    assert jobs.run(desk, Job("slow", lambda d, n: {}), "two", now + MINUTE, lambda: now) is True


def test_a_failing_job_is_visible_and_stops_no_other(desk: Desk, now: datetime) -> None:
    def known(desk: Desk, now: datetime) -> Mapping[str, int]:
        raise Unavailable("The signer is away.")

    def unknown(desk: Desk, now: datetime) -> Mapping[str, int]:
        raise ZeroDivisionError("secret words")

    for job in (Job("known", known), Job("unknown", unknown), Job("good", lambda d, n: {"x": 1})):
        assert jobs.run(desk, job, "me", now, lambda: now)
    assert _state(desk, "known")["last_error"] == "unavailable: The signer is away."
    assert _state(desk, "unknown")["last_error"] == "internal_error: ZeroDivisionError"
    good = _state(desk, "good")
    assert (good["outcome"], good["last_error"]) == ("ok", None)
    assert good["detail"] == {"x": 1}


def test_one_authority_whose_list_fails_does_not_keep_the_others_from_theirs(
    desk: Desk, now: datetime
) -> None:
    later = now + timedelta(hours=13)
    keys = custody(desk)
    broken = next(name for name in keys.raw if name.startswith("ca-root-"))

    def refuse(name: str) -> None:
        if name == broken:
            raise Unavailable("The signer is away.")

    keys.before = refuse
    job = next(job for job in jobs.JOBS if job.name == "crl_refresh")
    jobs.run(desk, job, "me", later, lambda: later)
    keys.before = None
    assert "failed" in str(_state(desk, "crl_refresh")["last_error"])
    assert publication.published(desk, "issuing", "full").this_update == later
    assert publication.published(desk, "root", "full").this_update < later


def test_a_revocation_is_on_the_list_after_one_drain(desk: Desk, now: datetime) -> None:
    made = _issue(desk, "gw1.example", now)
    _revoke(desk, made.serial, now)
    drain(desk, now)
    assert int(made.serial, 16) in _serials(desk)


def test_many_revocations_are_one_list(desk: Desk, now: datetime) -> None:
    serials = [_issue(desk, f"gw{n}.example", now).serial for n in range(20)]
    before = publication.published(desk, "issuing", "full").number
    for serial in serials:
        _revoke(desk, serial, now)
    drain(desk, now)
    assert {int(serial, 16) for serial in serials} <= _serials(desk)
    assert publication.published(desk, "issuing", "full").number <= before + 4


def test_a_signer_that_was_away_delays_a_revocation_no_longer_than_the_next_look(
    desk: Desk, now: datetime
) -> None:
    made = _issue(desk, "gw1.example", now)
    _revoke(desk, made.serial, now)
    custody(desk).fail()
    Drain(desk, "me", lambda: now).run(now)
    assert int(made.serial, 16) not in _serials(desk)
    depth = history.outbox_depth(desk, ADMIN, now=now)
    assert depth.delayed >= 1
    custody(desk).heal()
    job = next(job for job in jobs.JOBS if job.name == "crl_refresh")
    # Not the outbox, whose pauses grow to an hour, but the job that compares lists with revocations.
    jobs.run(desk, job, "me", now + MINUTE, lambda: now)
    assert int(made.serial, 16) in _serials(desk)
    assert ("issuing", "full", -1) not in publication.due(desk, CLOCKWORK, now=now + 2 * MINUTE)


def test_a_message_that_never_works_is_buried_where_it_can_be_seen(
    desk: Desk, now: datetime
) -> None:
    with desk.store.write() as connection:
        outbox.put(connection, topic="from.the.future", key="k", payload={}, now=now)
    worker, at = Drain(desk, "me", lambda: now), now
    for _ in range(20):
        worker.run(at)
        at += timedelta(hours=2)
    letters = history.dead_letters(desk, ADMIN)
    assert [letter.topic for letter in letters] == ["from.the.future"]
    assert history.outbox_depth(desk, ADMIN, now=at).dead == 1


class _Receiver(http.server.BaseHTTPRequestHandler):
    got: list[dict[str, object]]
    raw: list[tuple[bytes, str | None]]  # bodies and their signatures
    answers: list[int]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.raw.append((body, self.headers["Ikewarden-Signature"]))
        self.got.append(json.loads(body))
        self.send_response(self.answers.pop(0) if self.answers else 204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[tuple[str, type[_Receiver]]]:
    kind = type("Receiver", (_Receiver,), {"got": [], "answers": [], "raw": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/notices", kind
        server.shutdown()


def test_notices_reach_the_webhook_once_for_each_stage_and_are_sent_again_when_refused(
    desk: Desk, now: datetime, receiver: tuple[str, type[_Receiver]]
) -> None:
    url, kind = receiver
    kind.answers.append(500)
    hooked = reopened(desk, webhook=url, notice_stages=(30, 7))
    made = _issue(hooked, "gw1.example", now, not_after=now + timedelta(days=20))
    job = next(job for job in jobs.JOBS if job.name == "expiry_notices")
    for at in (now, now + MINUTE, now + timedelta(days=14)):
        jobs.run(hooked, job, "me", at, lambda: now)
        drain(hooked, at)
        drain(hooked, at + MINUTE)
    mine = [
        (notice["days"], notice["event"])
        for notice in kind.got
        if notice["certificate"] == f"issuing:{made.serial}"
    ]
    assert mine == [(30, "notice.expiring"), (30, "notice.expiring"), (7, "notice.expiring")]


def test_a_renewed_certificate_needs_no_notice(desk: Desk, now: datetime) -> None:
    made = _issue(desk, "gw1.example", now, not_after=now + timedelta(days=20))
    issuance.renew(desk, OPERATOR, made.serial, None, now=now)
    job = next(job for job in jobs.JOBS if job.name == "expiry_notices")
    jobs.run(desk, job, "me", now, lambda: now)
    with desk.store.read() as connection:
        told = list(connection.scalars(select(tables.notices.c.object)))
    assert f"issuing:{made.serial}" not in told


def test_the_running_scheduler_drains_within_a_second_and_stops_when_told(desk: Desk) -> None:
    stop = threading.Event()
    from scheduler.clock import read_clock

    made = _issue(desk, "gw1.example", read_clock())
    _revoke(desk, made.serial, read_clock())
    thread = threading.Thread(
        target=serve,
        args=(desk,),
        kwargs={
            "intervals": {job.name: 0 for job in jobs.JOBS},
            "outbox_seconds": 0.1,
            "stop": stop,
        },
    )
    thread.start()
    try:
        for _ in range(100):
            if int(made.serial, 16) in _serials(desk):
                break
            stop.wait(0.1)
        assert int(made.serial, 16) in _serials(desk)
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()
    assert all(_state(desk, lane)["outcome"] == "ok" for lane in LANES)


def test_the_drain_says_once_that_it_fails_and_once_that_it_works_again(
    desk: Desk, now: datetime
) -> None:
    times = iter(now + n * timedelta(seconds=1) for n in range(100))
    act = OutboxJob(desk, "me", lambda: next(times), "outbox_changes", Pace())
    act()
    act()
    with desk.store.read() as connection:
        runs = connection.execute(
            select(tables.job_runs.c.outcome).where(tables.job_runs.c.job == "outbox_changes")
        ).all()
    assert [run.outcome for run in runs] == ["ok"]
    assert SCHEDULER.role == "scheduler"


def test_a_slow_webhook_holds_up_no_revocation(desk: Desk, now: datetime) -> None:
    made = _issue(desk, "gw1.example", now)
    _revoke(desk, made.serial, now)
    with desk.store.write() as connection:
        outbox.put(connection, topic="from.the.future", key="k", payload={}, now=now)
    lanes = {lane: Drain(desk, lane, lambda: now, topics=topics) for lane, topics in LANES.items()}
    assert lanes["outbox_changes"].run(now) == 1
    assert int(made.serial, 16) in _serials(desk)
    assert lanes["outbox_lists"].run(now) == 0
    assert lanes["outbox_rest"].run(now) == 0  # claimed, not known, put back
    assert history.outbox_depth(desk, ADMIN, now=now).delayed == 1


def test_a_list_that_took_long_is_built_again_only_after_a_while(desk: Desk, now: datetime) -> None:
    times = iter([now, now + timedelta(seconds=2)] * 50)
    slow = Drain(desk, "slow", lambda: next(times))
    first = _issue(desk, "gw1.example", now)
    second = _issue(desk, "gw2.example", now)
    _revoke(desk, first.serial, now)
    slow.run(now)
    assert int(first.serial, 16) in _serials(desk)
    _revoke(desk, second.serial, now)
    slow.run(now)
    assert slow.run(now + timedelta(seconds=5)) == 0
    assert int(second.serial, 16) not in _serials(desk)
    assert slow.run(now + timedelta(seconds=11)) == 1  # 2 s of work in 10
    assert int(second.serial, 16) in _serials(desk)
