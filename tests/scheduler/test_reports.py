"""Reports by the clock: into folders and to addresses, each once for each period."""

import os
import stat
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from core.receivers import Mail
from core.schedules import ReportSchedule
from fleet.reporting.periods import Period
from ikewarden.reporting import make
from pki.desk import Desk
from scheduler import reporting
from scheduler.jobs import SomeFailed, run
from scheduler.outbox import Drain
from scheduler.reporting import MadeReport
from store.tables import audit_events, job_runs, outbox
from tests.fixtures.desk import NOW, reopened
from tests.fixtures.ports import free_ports
from tests.fixtures.receivers import Mailbox
from tests.fleet.crew import enlist
from tests.pki.test_clockwork import Blobs

TO = "auditor@example.com"
# The morning of the second day of a month, after the authorities of the tests were made.
THEN = (NOW.replace(day=1) + timedelta(days=63)).replace(day=2, hour=7, minute=30)
FIRST = THEN.replace(day=1, hour=0, minute=0, second=0)
MONTH = f"{FIRST - timedelta(days=1):%Y-%m}"
JOB = reporting.job(make)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where reports go."""
    made = tmp_path / "reports"
    made.mkdir()
    return made


def scheduled(desk: Desk, *schedules: ReportSchedule, mail: Mail | None = None) -> Desk:
    return reopened(desk, reports=schedules, mail=mail, blobs=Blobs())


def plan(**fields: Any) -> ReportSchedule:
    return replace(ReportSchedule("ends", "expiring", "monthly", "csv"), **fields)


def told(desk: Desk) -> list[dict[str, Any]]:
    with desk.store.read() as connection:
        query = select(audit_events.c.detail).where(audit_events.c.action == "report.made")
        return list(connection.scalars(query.order_by(audit_events.c.id)))


def queued(desk: Desk) -> int:
    with desk.store.read() as connection:
        query = select(func.count()).where(outbox.c.topic == "report.mail")
        return connection.scalar(query) or 0


def sent(desk: Desk, now: datetime) -> None:
    Drain(desk, "test", lambda: now, more=reporting.handlers(desk, make)).run(now)


@pytest.mark.parametrize(("every", "name"), [("daily", f"{FIRST:%Y-%m-%d}"), ("monthly", MONTH)])
def test_each_period_is_reported_once(desk: Desk, folder: Path, every: Any, name: str) -> None:
    enlist(desk, "gw.example")
    kept = scheduled(desk, plan(kind="compliance", every=every, folder=folder))
    assert JOB.run(kept, THEN) == {"made": 1}
    assert JOB.run(kept, THEN + timedelta(hours=9)) == {"made": 0}
    [file] = folder.iterdir()
    assert file.name == f"ends-ikewarden-compliance-{name}.csv"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert "gw.example" in file.read_text()
    [made] = told(kept)
    assert (made["kind"], made["period"], made["file"]) == ("compliance", name, file.name)
    content = file.read_bytes()
    # The next one stands beside it, however long the service was away.
    assert JOB.run(kept, THEN + timedelta(days=70)) == {"made": 1}
    assert len(list(folder.iterdir())) == 2
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    "kind", ["inventory", "expiring", "revocations", "psk-age", "sa-health", "audit"]
)
def test_every_kind_is_as_of_the_end_of_the_period(desk: Desk, folder: Path, kind: str) -> None:
    kept = scheduled(desk, plan(kind=kind, format="json", folder=folder))
    assert JOB.run(kept, THEN) == {"made": 1}
    [file] = folder.iterdir()
    assert '"made_at":"' + f"{FIRST:%Y-%m-%d}T00:00:00Z" in file.read_text()
    day = f"{FIRST:%Y-%m-%d}"
    named = {"revocations": MONTH, "sa-health": MONTH, "expiring": f"{day}-next-90d"}
    assert file.name == f"ends-ikewarden-{kind}-{named.get(kind, day)}.json"


def test_what_cannot_be_written_is_told_and_made_later(desk: Desk, folder: Path) -> None:
    gone = folder / "gone"
    kept = scheduled(desk, plan(folder=gone), plan(name="other", folder=folder))
    assert run(kept, JOB, "me", THEN, lambda: THEN)
    with kept.store.read() as connection:
        state = connection.execute(select(job_runs).where(job_runs.c.job == "reports")).one()
    assert (state.outcome, "ends" in state.error) == ("failed", True)
    # One that fails holds up no other.
    assert [each.name.partition("-")[0] for each in folder.iterdir()] == ["other"]
    assert len(told(kept)) == 1
    gone.mkdir()
    assert JOB.run(kept, THEN + timedelta(minutes=1)) == {"made": 1}
    assert len(list(gone.iterdir())) == 1
    (folder / "file").touch()
    with pytest.raises(SomeFailed) as failed:
        JOB.run(scheduled(desk, plan(name="third", folder=folder / "file")), THEN)
    assert "[[reports]] folder" in failed.value.next_step


def test_a_report_is_mailed_once_and_again_while_the_server_is_away(desk: Desk) -> None:
    [port] = free_ports(1)
    away = Mail("127.0.0.1", "ikewarden@example.com", (TO,), port, "none")
    report = plan(kind="inventory", format="pdf", signed=True, mail_to=(TO, "two@example.com"))
    kept = scheduled(desk, report, mail=away)
    assert JOB.run(kept, THEN) == {"made": 1}
    assert queued(kept) == 2
    sent(kept, THEN)
    assert queued(kept) == 2  # nobody is there: they stay
    with Mailbox() as mailbox:
        heard = reopened(kept, mail=replace(away, port=mailbox.port), blobs=kept.blobs)
        assert JOB.run(heard, THEN + timedelta(hours=1)) == {"made": 0}
        sent(heard, THEN + timedelta(hours=1))
        sent(heard, THEN + timedelta(hours=2))
        assert queued(heard) == 0
        assert sorted(str(each["To"]) for each in mailbox.mails) == [TO, "two@example.com"]
        one = mailbox.mails[0]
        assert one["Subject"] == f"[ikewarden] inventory {MONTH} (ends)"
        assert one["Auto-Submitted"] == "auto-generated"
        [attached] = one.iter_attachments()
        assert attached.get_filename() == f"ends-ikewarden-inventory-{FIRST:%Y-%m-%d}.pdf"
        content = attached.get_payload(decode=True)
        assert isinstance(content, bytes)
        assert content.startswith(b"%PDF")
        assert b"ETSI.CAdES.detached" in content
        assert len({str(each["Message-ID"]) for each in mailbox.mails}) == 2


def test_one_that_was_taken_out_of_the_settings_is_not_sent(desk: Desk) -> None:
    with Mailbox() as mailbox:
        post = Mail("127.0.0.1", "ikewarden@example.com", (TO,), mailbox.port, "none")
        kept = scheduled(desk, plan(mail_to=(TO,)), mail=post)
        JOB.run(kept, THEN)
        sent(scheduled(desk, mail=post), THEN)
        assert (queued(kept), mailbox.mails) == (0, [])


def test_one_that_is_too_large_for_a_mail_is_told_of(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "_MOST_BYTES", 100)
    with Mailbox() as mailbox:
        post = Mail("127.0.0.1", "ikewarden@example.com", (TO,), mailbox.port, "none")
        kept = scheduled(desk, plan(kind="inventory", mail_to=(TO,)), mail=post)
        JOB.run(kept, THEN)
        sent(kept, THEN)
        [one] = mailbox.mails
        assert not list(one.iter_attachments())
        assert "ikewarden report inventory" in one.get_content()


def test_what_a_process_that_died_had_begun_goes_with_the_next_one(
    desk: Desk, folder: Path
) -> None:
    hour, names = 3600, {}
    for name, age in (
        (".ends-ikewarden-expiring-2026-09.csv.0123456789ab", 2 * hour),
        (".ends-ikewarden-expiring-2026-10.csv.0123456789ab", 0),  # another replica's
        (".ends-of-somebody.0123456789ab", 2 * hour),
        ("ends-ikewarden-expiring-2026-09.csv", 2 * hour),
    ):
        (folder / name).write_text("half")
        os.utime(folder / name, (time.time() - age, time.time() - age))
        names[name] = age
    first, *others = names
    assert JOB.run(scheduled(desk, plan(folder=folder)), THEN) == {"made": 1}
    left = {each.name for each in folder.iterdir()}
    assert first not in left
    assert set(others) < left
    assert len(left) == len(others) + 1


def test_a_fault_in_one_holds_up_no_other(desk: Desk, folder: Path) -> None:
    def faulty(desk: Desk, schedule: ReportSchedule, period: Period, now: datetime) -> MadeReport:
        if schedule.name == "ends":
            raise IndexError(0)  # as a library may that sets pages
        return make(desk, schedule, period, now)

    kept = scheduled(desk, plan(folder=folder), plan(name="other", folder=folder))
    with pytest.raises(SomeFailed) as failed:
        reporting.job(faulty).run(kept, THEN)
    assert "first ends" in failed.value.message
    assert [each.name.partition("-")[0] for each in folder.iterdir()] == ["other"]
