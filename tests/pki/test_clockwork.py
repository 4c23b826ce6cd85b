"""What happens by the clock: notices, clean-up, the service's own certificate, and jobs that say how they are."""

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from sqlalchemy import func, insert, select

from core.errors import IkewardenError
from core.secret import Secret
from hsm.errors import KeyNotFound
from pki import cleanup, expiry, founding, history, issuance, reconcile, revocation, tls_credential
from pki.actors import OutsideScope
from pki.certificates import find
from pki.desk import Desk
from pki.founding import AuthorityRequest
from pki.history import AuditQuery
from scheduler import jobs
from scheduler.jobs import JOBS, run
from store import leases, outbox
from store.tables import audit_events, idempotency, job_runs, notices, ocsp_answers, status_changes
from tests import judges
from tests.fixtures.desk import ADMIN, CLOCKWORK, NOW, OPERATOR, Custody, drain, reopened
from tests.pki.acts import certificate_of, count, issue, trail
from tests.pki.requests import DER

DAY = timedelta(days=1)


# Notices


def test_a_notice_is_given_once_for_each_stage(desk: Desk, now: datetime) -> None:
    one = issue(desk, not_after=now + 40 * DAY)
    issue(desk, not_after=now + 300 * DAY)
    given = []
    at = now
    while at < one.not_after + DAY:
        for each in (desk, reopened(desk)):
            given.append((at, expiry.give_notice(each, CLOCKWORK, now=at)))
        at += DAY / 2
    assert sum(number for _, number in given) == 4
    days = [round((one.not_after - at) / DAY) for at, number in given if number]
    assert days == [30, 14, 7, 1]
    with desk.store.read() as connection:
        rows = connection.execute(select(notices).order_by(notices.c.id)).all()
    assert [(row.kind, row.object, row.stage) for row in rows] == [
        ("expiring", f"issuing:{one.serial}", stage) for stage in ("30", "14", "7", "1")
    ]
    assert trail(desk, f"certificate:issuing:{one.serial}")[-1] == ("certificate.expiring", "ok")
    (first, *_) = outbox.claim(desk.store, owner="t", limit=9, lease=DAY, now=at)
    assert first.topic == "notice.expiring"
    assert first.payload["certificate"] == f"issuing:{one.serial}"


def test_who_comes_late_gets_the_nearest_stage_only(desk: Desk, now: datetime) -> None:
    issue(desk, not_after=now + 5 * DAY)
    assert expiry.give_notice(desk, CLOCKWORK, now=now) == 1
    with desk.store.read() as connection:
        assert list(connection.scalars(select(notices.c.stage))) == ["7"]


def test_what_was_renewed_revoked_or_has_ended_needs_no_notice(desk: Desk, now: datetime) -> None:
    old, gone = (issue(desk, not_after=now + 5 * DAY) for _ in range(2))
    ended = issue(desk, not_after=now + timedelta(hours=1))
    issuance.renew(desk, OPERATOR, old.serial, None, now=now)
    revocation.revoke(desk, OPERATOR, gone.serial, "superseded", now=now)
    assert expiry.give_notice(desk, CLOCKWORK, now=ended.not_after) == 0


def test_a_renewal_that_was_revoked_is_no_successor(desk: Desk, now: datetime) -> None:
    old = issue(desk, not_after=now + 5 * DAY)
    new = issuance.renew(desk, OPERATOR, old.serial, None, now=now)
    revocation.revoke(desk, OPERATOR, new.serial, "superseded", now=now)
    assert expiry.give_notice(desk, CLOCKWORK, now=now) == 1


def test_the_services_own_certificates_need_no_notice(desk: Desk, now: datetime) -> None:
    issue(desk, ["dns:localhost"], "service-tls", actor=CLOCKWORK)
    assert expiry.give_notice(desk, CLOCKWORK, now=now + 25 * DAY) == 0


# Clean-up


def test_clean_up_forgets_what_nobody_needs_and_nothing_else(desk: Desk, now: datetime) -> None:
    from pki import ocsp_answers as answers

    one = issue(desk)
    revocation.revoke(desk, OPERATOR, one.serial, "superseded", now=now)
    answers.presign(desk, CLOCKWORK, limit=100, now=now)
    with desk.store.write() as connection:
        for key, expires in (("old", now - DAY), ("new", now + 100 * DAY)):
            row = {"actor": "a", "key": key, "route": "r", "request_sha256": "", "state": "done"}
            row |= {"created_at": now, "expires_at": expires}
            connection.execute(insert(idempotency), row)
        for started in (now - 20 * DAY, now):
            row = {"job": "j", "owner": "o", "started_at": started, "finished_at": started}
            connection.execute(insert(job_runs), {**row, "outcome": "ok"})
    kept = count(desk, audit_events)
    assert cleanup.sweep(desk, CLOCKWORK, now=now) >= 2
    assert count(desk, idempotency) == 1
    assert count(desk, job_runs, job_runs.c.job == "j") == 1
    assert count(desk, status_changes) == 1
    assert count(desk, ocsp_answers) > 0
    cleanup.sweep(desk, CLOCKWORK, now=now + 2 * DAY)
    assert count(desk, status_changes) == 0
    assert count(desk, ocsp_answers) == 0
    assert count(desk, audit_events) >= kept
    with desk.store.read() as connection:
        assert (
            connection.execute(select(func.count()).select_from(audit_events)).scalar_one() >= kept
        )


def test_clean_up_twice_changes_nothing(desk: Desk, now: datetime) -> None:
    cleanup.sweep(desk, CLOCKWORK, now=now)
    assert cleanup.sweep(desk, CLOCKWORK, now=now) == 0


# The service's own certificate


class Blobs:
    """A place for small secrets, in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def put_blob(self, name: str, content: bytes | Secret) -> None:
        self.kept[name] = content.reveal() if isinstance(content, Secret) else content

    def get_blob(self, name: str) -> Secret:
        try:
            return Secret(self.kept[name])
        except KeyError:
            raise KeyNotFound("There is nothing.") from None


NAMES = ("pki.example", "192.0.2.1", "2001:db8::1")


def test_the_service_makes_its_certificate_and_keeps_it(desk: Desk, now: datetime) -> None:
    blobs = Blobs()
    assert tls_credential.ensure(desk, CLOCKWORK, blobs, NAMES, now=now)
    assert not tls_credential.ensure(desk, CLOCKWORK, blobs, NAMES, now=now)
    held = tls_credential.current(desk, CLOCKWORK, blobs)
    assert "PRIVATE KEY" in held.pem.reveal().decode()
    assert "PRIVATE KEY" not in repr(held)
    chain = x509.load_pem_x509_certificates(held.pem.reveal())
    assert [each.subject for each in chain[1:]] == [chain[0].issuer]
    judges.openssl_verify(
        chain[0].public_bytes(DER),
        "-x509_strict",
        "-purpose",
        "sslserver",
        "-verify_hostname",
        "pki.example",
        root=certificate_of(desk, "root"),
        between=[chain[1].public_bytes(DER)],
    )


@pytest.mark.parametrize("what", ["age", "names", "revoked", "held", "other records", "default"])
def test_the_service_makes_a_new_certificate_when_it_must(
    desk: Desk, now: datetime, what: str
) -> None:
    blobs = Blobs()
    tls_credential.ensure(desk, CLOCKWORK, blobs, NAMES, now=now)
    first = tls_credential.current(desk, CLOCKWORK, blobs).certificate
    serial = format(first.serial_number, "032x")
    at, names = now, NAMES
    if what == "default":
        # Lines for enrollment pin the root of that one.
        desk = reopened(desk, default_authority="sharded")
    elif what == "age":
        at = now + 19 * DAY
        assert not tls_credential.ensure(desk, CLOCKWORK, blobs, NAMES, now=at)
        at = now + 20 * DAY
    elif what == "names":
        names = (*NAMES, "other.example")
    elif what == "revoked":
        revocation.revoke(desk, OPERATOR, serial, "keyCompromise", now=now)
    elif what == "held":
        revocation.hold(desk, OPERATOR, serial, now=now)
    else:
        from store.tables import certificates

        with desk.store.write() as connection:
            connection.execute(certificates.delete().where(certificates.c.serial == serial))
    assert tls_credential.ensure(desk, CLOCKWORK, blobs, names, now=at)
    assert tls_credential.current(desk, CLOCKWORK, blobs).certificate != first


def test_the_one_that_was_replaced_ends_a_turn_later(desk: Desk, now: datetime) -> None:
    """In between, all processes have taken the new one up; and nothing of the old one hinders the end of a rollover."""
    blobs = Blobs()
    tls_credential.ensure(desk, CLOCKWORK, blobs, NAMES, now=now)
    first = format(tls_credential.current(desk, CLOCKWORK, blobs).certificate.serial_number, "032x")
    names = (*NAMES, "other.example")
    tls_credential.ensure(desk, CLOCKWORK, blobs, names, now=now)
    assert find(desk, first).status == "valid"
    for _ in range(2):
        assert not tls_credential.ensure(desk, CLOCKWORK, blobs, names, now=now)
        assert (find(desk, first).status, find(desk, first).reason) == ("revoked", "superseded")
    assert trail(desk, f"certificate:issuing:{first}")[-1] == ("certificate.revoke", "ok")
    made = tls_credential.current(desk, CLOCKWORK, blobs).certificate
    assert find(desk, format(made.serial_number, "032x")).status == "valid"


class Dying(Blobs):
    """The process ends before the new credential is kept."""

    def put_blob(self, name: str, content: bytes | Secret) -> None:
        if name == tls_credential.BLOB and self.kept.get(name):
            raise SystemExit
        super().put_blob(name, content)


def test_the_one_that_is_in_use_does_not_end(desk: Desk, now: datetime) -> None:
    blobs = Dying()
    tls_credential.ensure(desk, CLOCKWORK, blobs, NAMES, now=now)
    with pytest.raises(SystemExit):
        tls_credential.ensure(desk, CLOCKWORK, blobs, (*NAMES, "other.example"), now=now)
    assert not tls_credential.ensure(desk, CLOCKWORK, blobs, NAMES, now=now)
    held = tls_credential.current(desk, CLOCKWORK, blobs).certificate
    assert find(desk, format(held.serial_number, "032x")).status == "valid"


def test_only_its_own_certificates_are_superseded_by_the_service(desk: Desk, now: datetime) -> None:
    peer = issue(desk)
    with pytest.raises(OutsideScope):
        revocation.supersede(desk, CLOCKWORK, peer.serial, authority="issuing", now=now)
    assert find(desk, peer.serial).status == "valid"


def test_a_dead_signer_keeps_the_certificate_that_is_there(
    desk: Desk, keys: Custody, now: datetime
) -> None:
    blobs = Blobs()
    tls_credential.ensure(desk, CLOCKWORK, blobs, NAMES, now=now)
    before = blobs.kept.copy()
    keys.fail()
    with pytest.raises(IkewardenError):
        tls_credential.ensure(desk, CLOCKWORK, blobs, NAMES, now=now + 25 * DAY)
    assert blobs.kept == before


# Jobs


def test_all_jobs_run_on_an_idle_desk(desk: Desk, now: datetime) -> None:
    for job in JOBS:
        assert run(desk, job, "me", now, lambda: now)
    states = {each.job: each for each in history.job_states(desk, CLOCKWORK)}
    assert set(states) >= {job.name for job in JOBS}
    with desk.store.read() as connection:
        outcomes = set(connection.scalars(select(job_runs.c.outcome)))
    assert outcomes == {"ok"}


def test_an_authority_whose_time_is_over_is_no_failure(desk: Desk, now: datetime) -> None:
    short = AuthorityRequest("short", "issuing", "CN=Short", parent="root", lifetime=2 * DAY)
    founding.create(desk, ADMIN, short, now=now)
    drain(desk, now)
    later = now + 3 * DAY
    # The other signers are as good as they were: nothing is due.
    assert jobs.refresh_ocsp(desk, later)["signers"] == 0
    assert trail(desk, "ocsp-key:short") == [("ocsp.key", "ok")]


def test_a_job_that_fails_is_visible_and_stops_no_other(
    desk: Desk, keys: Custody, now: datetime
) -> None:
    keys.fail()
    later = now + timedelta(hours=13)
    for job in JOBS:
        assert run(desk, job, "me", later, lambda: later)
    with desk.store.read() as connection:
        rows = connection.execute(
            select(job_runs.c.job, job_runs.c.outcome, job_runs.c.error)
        ).all()
    outcomes = {row.job: row.outcome for row in rows}
    assert outcomes["crl_refresh"] == outcomes["ocsp_refresh"] == "failed"
    assert outcomes["reconcile"] == outcomes["cleanup"] == "ok"
    assert any("switched off" in (row.error or "") for row in rows)


def test_a_job_with_a_bug_is_visible_and_tells_nothing(
    desk: Desk, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Desk, __: datetime) -> dict[str, int]:
        raise ZeroDivisionError("the secret word")

    assert run(desk, jobs.Job("broken", broken), "me", now, lambda: now)
    with desk.store.read() as connection:
        row = connection.execute(select(job_runs).where(job_runs.c.job == "broken")).one()
    assert (row.outcome, row.error) == ("failed", "internal_error: ZeroDivisionError")


def test_a_job_runs_in_one_place_at_a_time(desk: Desk, now: datetime) -> None:
    lease = leases.take(desk.store, "job:cleanup", "other", timedelta(minutes=5), now)
    assert lease is not None
    (job,) = (each for each in JOBS if each.name == "cleanup")
    assert not run(desk, job, "me", now, lambda: now)
    leases.release(desk.store, lease)
    assert run(desk, job, "me", now, lambda: now)


def test_a_year_goes_by(desk: Desk, now: datetime) -> None:
    # Jobs and drain alone keep lists, answers and signers fresh, week by week, with the root's too.
    from pki import ocsp_answers as answers
    from pki import publication

    one = issue(desk, not_after=now + 398 * DAY)
    for week in range(0, 52, 4):
        at = now + week * 7 * DAY
        for job in JOBS:
            assert run(desk, job, "me", at, lambda: at)  # noqa: B023 - called in this round
        drain(desk, at)
        assert publication.due(desk, CLOCKWORK, now=at) == []
        for name in ("root", "issuing", "sharded"):
            assert publication.published(desk, name, "full").next_update > at
        kept = answers.kept(desk, one.authority.id, one.serial, "sha1", at)
        assert kept is not None
        assert kept.next_update > at
    with desk.store.read() as connection:
        assert set(connection.scalars(select(job_runs.c.outcome))) == {"ok"}
    assert reconcile.settle(desk, CLOCKWORK, now=now + 400 * DAY) == 0


# Looking back


def test_the_audit_log_is_read_in_pages(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    revocation.revoke(desk, OPERATOR, one.serial, "superseded", now=now)
    everything = history.audit_events(desk, ADMIN, AuditQuery(limit=1000))
    assert [each.id for each in everything] == sorted((e.id for e in everything), reverse=True)
    newest = everything[0]
    assert (newest.action, newest.actor, newest.role) == ("certificate.revoke", "oscar", "operator")
    assert newest.detail["reason"] == "superseded"
    page = history.audit_events(desk, ADMIN, AuditQuery(cursor=everything[4].id, limit=3))
    assert page == everything[5:8]
    about = AuditQuery(object=f"certificate:issuing:{one.serial}", action="certificate.issue")
    assert [each.outcome for each in history.audit_events(desk, ADMIN, about)] == ["ok"]


def test_the_outbox_is_seen(desk: Desk, now: datetime) -> None:
    one = issue(desk)
    revocation.revoke(desk, OPERATOR, one.serial, "superseded", now=now)
    assert history.outbox_depth(desk, CLOCKWORK, now=now).waiting == 1
    drain(desk, now)
    assert history.outbox_depth(desk, CLOCKWORK, now=now).waiting == 0
    assert history.dead_letters(desk, ADMIN) == []


def test_work_that_fails_for_good_is_kept_for_a_person(
    desk: Desk, keys: Custody, now: datetime
) -> None:
    one = issue(desk)
    revocation.revoke(desk, OPERATOR, one.serial, "superseded", now=now)
    keys.fail()
    at = now
    for _ in range(40):
        drain(desk, at)
        at += timedelta(hours=1)
    dead = history.dead_letters(desk, ADMIN)
    assert {each.topic for each in dead} == {"crl.publish"}
    assert "signer_unavailable" in (dead[0].last_error or "")
    # The refresh job finds the list that is behind all the same.
    keys.heal()
    jobs.refresh_crls(desk, at)
    from tests.pki.acts import crl, listed

    assert set(listed(crl(desk))) == {one.serial}


def test_now_is_near(now: datetime) -> None:
    assert now == NOW
