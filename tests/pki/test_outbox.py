"""Work after commit, and the clock that carries it out: coalesced, paced, retried, never in each other's way."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from sqlalchemy import select

from ikewarden.logs import TextLines
from pki import expiry, history, publication, revocation
from pki.desk import Desk
from scheduler import clock
from scheduler.jobs import JOBS, Job
from scheduler.outbox import Drain
from store import outbox
from store.tables import crls, job_runs
from store.tables import outbox as outbox_table
from tests.fixtures.desk import ADMIN, CLOCKWORK, OPERATOR, Custody, drain, reopened
from tests.pki.acts import count, crl, issue, listed, number_of

DAY = timedelta(days=1)


class Receiver(HTTPServer):
    """A webhook's other end: keeps what it got, answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[dict[str, object]] = []
        self.status = 204


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(json.loads(body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def with_webhook(desk: Desk, receiver: Receiver) -> Desk:
    return reopened(desk, webhook=f"http://127.0.0.1:{receiver.server_port}/hook")


def test_a_notice_reaches_the_webhook(desk: Desk, receiver: Receiver, now: datetime) -> None:
    told = with_webhook(desk, receiver)
    one = issue(told, not_after=now + 5 * DAY)
    expiry.give_notice(told, CLOCKWORK, now=now)
    assert drain(told, now) == 1
    (got,) = receiver.got
    assert got["event"] == "notice.expiring"
    assert got["certificate"] == f"issuing:{one.serial}"
    assert got["days"] == 7
    assert drain(told, now + DAY) == 0


def test_a_webhook_that_refuses_is_asked_again(
    desk: Desk, receiver: Receiver, now: datetime
) -> None:
    told = with_webhook(desk, receiver)
    issue(told, not_after=now + 5 * DAY)
    expiry.give_notice(told, CLOCKWORK, now=now)
    receiver.status = 500
    assert drain(told, now) == 0
    receiver.status = 200
    assert drain(told, now) == 0  # not yet: it backs off
    assert drain(told, now + timedelta(seconds=10)) == 1
    assert len(receiver.got) == 2


def test_a_webhook_that_is_away_stops_nothing_else(
    desk: Desk, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    gone = reopened(desk, webhook="http://127.0.0.1:9/hook")
    one = issue(gone, not_after=now + 5 * DAY)
    expiry.give_notice(gone, CLOCKWORK, now=now)
    revocation.revoke(gone, OPERATOR, one.serial, "superseded", now=now)
    assert drain(gone, now) == 1
    assert set(listed(crl(gone))) == {one.serial}
    with desk.store.read() as connection:
        (error,) = connection.scalars(select(outbox_table.c.last_error)).all()
    assert error is not None
    assert error.startswith("webhook_failed")
    # Of many that fail at once, the log says what each is about.
    (record,) = (each for each in caplog.records if each.getMessage() == "outbox message failed")
    assert one.serial in vars(record)["key"]


def test_without_a_webhook_a_notice_is_a_log_line(
    desk: Desk, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    one = issue(desk, not_after=now + 5 * DAY)
    expiry.give_notice(desk, CLOCKWORK, now=now)
    assert drain(desk, now) == 1
    (record,) = (each for each in caplog.records if "expiring" in each.getMessage())
    assert vars(record)["certificate"] == f"issuing:{one.serial}"


def test_the_log_names_the_slot_of_a_rotation_that_failed(
    desk: Desk, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    payload = {"secret": "gw1-gw2.psk", "state": "stuck", "code": "end_silent"}
    with desk.store.write() as connection:
        outbox.put(connection, topic="rotation.failed", key="k", payload=payload, now=now)
    assert drain(desk, now) == 1
    (record,) = (each for each in caplog.records if each.getMessage() == "rotation failed")
    assert "slot=gw1-gw2.psk" in TextLines(tracebacks=False).format(record)


def test_a_message_of_a_newer_version_is_kept_for_it(desk: Desk, now: datetime) -> None:
    with desk.store.write() as connection:
        outbox.put(connection, topic="from.the.future", key="k", payload={}, now=now)
    assert drain(desk, now) == 0
    assert count(desk, outbox_table) == 1


def test_a_handler_with_a_bug_stops_no_other(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    with desk.store.write() as connection:
        outbox.put(connection, topic="crl.publish", key="a", payload={"nothing": 1}, now=now)
    revocation.revoke(desk, OPERATOR, one.serial, "superseded", now=now)
    assert drain(desk, now) == 1
    with desk.store.read() as connection:
        (error,) = connection.scalars(select(outbox_table.c.last_error)).all()
    assert error == "internal_error: KeyError"


def test_a_hundred_revocations_are_one_list(desk: Desk, keys: Custody, now: datetime) -> None:
    made = [issue(desk) for _ in range(30)]
    for each in made:
        revocation.revoke(desk, OPERATOR, each.serial, "superseded", now=now)
    before, signed = number_of(crl(desk)), keys.signatures
    assert drain(desk, now) == 30
    assert set(listed(crl(desk))) == {each.serial for each in made}
    assert number_of(crl(desk)) == before + 1
    assert keys.signatures == signed + 2  # the list and its delta


def test_a_list_that_takes_long_is_not_made_all_the_time(desk: Desk, now: datetime) -> None:
    # The clock tells that each full list takes two seconds: a fifth of the time may go into them.
    ticks = iter(range(0, 100_000, 2))
    slow = Drain(desk, "slow", lambda: now + timedelta(seconds=next(ticks)))
    numbers, at = [], now
    for _ in range(60):
        revocation.revoke(desk, OPERATOR, issue(desk).serial, "superseded", now=at)
        slow.run(at)
        numbers.append(number_of(crl(desk)))
        at += timedelta(seconds=1)
    assert 4 <= len(set(numbers)) <= 16
    slow.run(at + timedelta(minutes=5))
    assert len(listed(crl(desk))) == 60


def test_two_drains_share_the_work(desk: Desk, now: datetime) -> None:
    made = [issue(desk, profile="gateway-sharded", authority="sharded") for _ in range(12)]
    for each in made:
        revocation.revoke(desk, OPERATOR, each.serial, "superseded", now=now)
    drains = [Drain(reopened(desk), f"drain {n}", lambda: now) for n in range(3)]
    threads = [threading.Thread(target=each.run, args=(now,)) for each in drains]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    drain(desk, now)
    assert count(desk, outbox_table) == 0
    assert set(listed(crl(desk, "sharded"))) == {each.serial for each in made}


def test_a_new_authority_is_opened_even_when_it_takes_two_attempts(
    desk: Desk, keys: Custody, now: datetime
) -> None:
    from pki import founding
    from pki.founding import AuthorityRequest

    wanted = AuthorityRequest(name="new", kind="issuing", parent="root", subject="CN=New", shards=2)
    founding.create(desk, ADMIN, wanted, now=now)
    keys.fail()
    assert drain(desk, now) == 0
    keys.heal()
    later = now + timedelta(minutes=10)
    assert drain(desk, later) == 1
    assert publication.missing(desk, CLOCKWORK) == []
    assert count(desk, crls) == 3 * 2 + 4 + 2 + 2


# The clock


def test_the_clock_runs_every_job_at_once_and_ends_when_told(desk: Desk) -> None:
    ran: list[datetime] = []

    def extra(_: Desk, now: datetime) -> dict[str, int]:
        ran.append(now)
        return {}

    stop = threading.Event()
    intervals = {job.name: 3600.0 for job in JOBS} | {"cleanup": 0.0}
    thread = threading.Thread(
        target=clock.serve,
        args=(desk,),
        kwargs={
            "intervals": intervals,
            "outbox_seconds": 3600.0,
            "stop": stop,
            "more": [Job("extra", extra)],
            "clock": lambda: datetime.now(UTC),
        },
    )
    thread.start()
    wanted = {job.name for job in JOBS if job.name != "cleanup"} | {"extra"}
    done: dict[str, str | None] = {}
    for _ in range(12_000):
        with desk.store.read() as connection:
            rows = connection.execute(select(job_runs.c.job, job_runs.c.outcome)).all()
        done = {row.job: row.outcome for row in rows if row.outcome}
        if wanted <= set(done):
            break
        time.sleep(0.01)
    stop.set()
    thread.join()
    assert wanted <= set(done)
    assert "cleanup" not in done
    assert set(done.values()) == {"ok"}
    assert len(ran) == 1
    assert {each.job for each in history.job_states(desk, CLOCKWORK)} >= wanted


def test_processes_have_names_of_their_own() -> None:
    assert clock.owner_name() != clock.owner_name()
