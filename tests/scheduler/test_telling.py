"""Alerts reach Alertmanager, mail and syslog: each by itself, none lost, whatever the receiver does."""

import base64
import contextlib
import json
import logging
import re
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from core import deadline
from core.errors import Unavailable
from core.receivers import Alertmanager, Mail, Syslog
from core.secret import Secret
from fleet.monitoring import orders, standing
from fleet.monitoring.standing import latest
from ike.events.event import SaEvent
from pki import history
from pki.actors import RoleMayNot
from pki.desk import Desk
from scheduler import alertmanager, mail, syslog, telling
from scheduler.jobs import SCHEDULER
from scheduler.outbox import LANES, Drain
from store.monitoring_tables import sa_alerts
from store.tables import outbox
from tests.fixtures.desk import ADMIN, OPERATOR, drain, reopened
from tests.fixtures.needs import left_out
from tests.fixtures.openbao import Identity, make_identity
from tests.fixtures.ports import free_ports
from tests.fixtures.receivers import Api, Collector, Mailbox, RealAlertmanager, serving
from tests.fleet.crew import Member, enlist
from tests.fleet.monitoring import after, alerts_of, event, failures, sent

HOSTILE = '\x1b[2J\r\nBcc: all@example.com\r\n\r\n<b>"]\\\u202e\ud800'
LATER = timedelta(minutes=1)
HOURS = 5 * 3600
BEGINS, ENDS = "alert.opened", "alert.ended"
MAILED = "ops@example.com"


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return make_identity(tmp_path, "receiver")


def begun(desk: Desk, name: str = "gw.example", identity: str = "CN=branch") -> Member:
    """A gateway with an alert that began hours ago."""
    member = enlist(desk, name)
    sent(member, failures(after=-HOURS, identity=identity), until=after(60 - HOURS), desk=desk)
    return member


def over(member: Member) -> None:
    """Now nothing happens any longer."""
    sent(member, [], 10, until=after(0))


def waiting(desk: Desk) -> dict[str, int]:
    """Messages by topic that are not done."""
    with desk.store.read() as connection:
        query = select(outbox.c.topic, func.count()).group_by(outbox.c.topic)
        return {topic: number for topic, number in connection.execute(query)}


def errors(desk: Desk) -> str:
    with desk.store.read() as connection:
        return " ".join(each or "" for each in connection.scalars(select(outbox.c.last_error)))


def told(event: str = BEGINS, **fields: Any) -> dict[str, Any]:
    """What a message about an alert holds."""
    made = {
        "event": event,
        "alert": 17,
        "gateway": "gw.example",
        "kind": "auth_failures",
        "severity": "high",
        "state": "open",
        "connection": "branch",
        "peer": "198.51.100.7",
        "identity": "CN=branch",
        "began": "2027-01-01T00:00:00+00:00",
        "ended": None,
        "changed_at": "2027-01-01T00:00:01+00:00",
        "evidence": {"failures": 10},
        "lines": [1],
        "cause": "A wrong secret.",
        "next_step": "Compare the secrets.",
    }
    return {**made, **fields}


# ---------------------------------------------------------------- Alertmanager


@pytest.fixture
def real(tmp_path: Path) -> Iterator[RealAlertmanager]:
    if not RealAlertmanager.is_here():
        left_out("needs prometheus-alertmanager (Debian: prometheus-alertmanager)")
    made = RealAlertmanager(tmp_path)
    try:
        made.wait()
        yield made
    finally:
        made.stop()


def test_a_real_alertmanager_shows_an_alert_from_its_begin_to_its_end(
    desk: Desk, real: RealAlertmanager
) -> None:
    # Alertmanager has a clock of its own, and ends what was told too long ago.
    now = datetime.now(UTC).replace(microsecond=0)
    if now - real.now() > timedelta(hours=1):
        pytest.skip("a Go program takes no part in the tests of another year")
    heard = reopened(desk, alertmanager=Alertmanager(real.url))
    member = begun(heard, identity=HOSTILE)
    drain(heard, now)
    drain(heard, now)
    [shown] = real.alerts()
    assert shown["labels"]["alertname"] == "auth_failures"
    assert shown["labels"]["gateway"] == "gw.example"
    assert {"severity", "connection", "peer", "identity"} <= set(shown["labels"])
    assert {"cause", "next_step", "evidence", "identity"} <= set(shown["annotations"])
    assert re.search(r"/v1/alerts/\d+$", shown["generatorURL"])
    assert shown["annotations"]["runbook_url"].endswith("/docs/alerts/auth_failures")
    assert "\x1b" not in json.dumps(shown, ensure_ascii=False)
    # Told again, it is the same one, and stays longer.
    assert telling.tell_standing(heard, now + LATER) == {"told": 1}
    [again] = real.alerts()
    assert (again["fingerprint"], again["startsAt"]) == (shown["fingerprint"], shown["startsAt"])
    assert again["endsAt"] > shown["endsAt"]
    over(member)
    drain(heard, now)
    assert real.alerts() == []
    # What came late and opened it again is put right a minute later.
    [view] = alerts_of(heard, state="ended")
    with heard.store.write() as connection:
        connection.execute(update(sa_alerts).values(state="open", ended_at=None, ended=None))
    telling.tell_standing(heard, now)
    assert len(real.alerts()) == 1
    with heard.store.write() as connection:
        values = {"state": "ended", "ended_at": now, "ended": view.ended}
        connection.execute(update(sa_alerts).values(**values))
    telling.tell_standing(heard, now)
    assert real.alerts() == []


def test_an_alert_about_many_stays_the_same_one(desk: Desk, now: datetime) -> None:
    def asked(source: str, first: int) -> list[SaEvent]:
        who = {"source": source, "peer": source, "connection": None, "name": None}
        return [
            event("unknown_peer", first - HOURS + step, ike_id=first + step, **who)
            for step in range(6)
        ]

    with serving(Api()) as api:
        heard = reopened(desk, alertmanager=Alertmanager(api.url))
        member = enlist(heard, "gw.example")
        sent(member, asked("203.0.113.1", 0), until=after(60 - HOURS), desk=heard)
        drain(heard, now)
        sent(member, asked("203.0.113.2", 100), 6, until=after(160 - HOURS), desk=heard)
        telling.tell_standing(heard, now)
        [first], *_, [last] = api.got
    assert first["labels"] == last["labels"]
    assert "peer" not in first["labels"]
    assert first["annotations"]["peer"] == "203.0.113.1"
    assert json.loads(last["annotations"]["evidence"])["sources"] == 2


def test_what_is_silenced_here_is_not_told_again(desk: Desk, now: datetime) -> None:
    with serving(Api()) as api:
        heard = reopened(desk, alertmanager=Alertmanager(api.url))
        begun(heard)
        drain(heard, now)
        [alert] = alerts_of(heard)
        orders.silence(heard, OPERATOR, alert.id, now + timedelta(days=1), "known", now=now)
        assert telling.tell_standing(heard, now) == {"told": 0}
        assert latest(heard, SCHEDULER, [alert.id], now=now) == []
        assert len(api.got) == 1
        assert telling.tell_standing(heard, now + timedelta(days=2)) == {"told": 1}
    with pytest.raises(RoleMayNot):
        standing.standing(desk, OPERATOR, 0, now=now)


def test_of_one_condition_only_the_last_alert_is_told(desk: Desk, now: datetime) -> None:
    with serving(Api()) as api:
        heard = reopened(desk, alertmanager=Alertmanager(f"{api.url}/prefix"))
        member = begun(heard)
        over(member)
        sent(member, failures(after=10), 10, until=after(100))
        drain(heard, now)
        assert api.paths == ["/prefix/api/v2/alerts"]
        [[one]] = api.got
        assert one["endsAt"] > now.isoformat()
        numbers = [view.id for view in alerts_of(heard)]
        assert [view.id for view in latest(heard, SCHEDULER, numbers, now=now)] == [max(numbers)]


@pytest.mark.parametrize("answer", [400, 500, 302, "garbage"])
def test_an_alertmanager_that_does_not_take_it_is_asked_again(
    desk: Desk, now: datetime, answer: int | str
) -> None:
    with serving(Api()) as api, Mailbox() as mailbox:
        api.answer = answer
        post = Mail("127.0.0.1", "ikewarden@example.com", (MAILED,), mailbox.port, "none")
        heard = reopened(desk, alertmanager=Alertmanager(api.url), mail=post)
        begun(heard)
        drain(heard, now)
        drain(heard, now + timedelta(seconds=15))
        # The other receiver knows already.
        assert len(mailbox.mails) == 1
        assert waiting(heard) == {"alert.alertmanager": 1}
        with pytest.raises(Unavailable):
            telling.tell_standing(heard, now)
        assert "alertmanager_failed" in errors(heard)
        api.answer = 200
        api.got.clear()
        drain(heard, now + LATER)
        assert [len(each) for each in api.got] == [1]
        assert waiting(heard) == {}
        assert len(mailbox.mails) == 1


def test_a_receiver_that_never_takes_it_leaves_a_dead_letter(desk: Desk, now: datetime) -> None:
    [port] = free_ports(1)
    heard = reopened(desk, alertmanager=Alertmanager(f"http://127.0.0.1:{port}"))
    begun(heard)
    at = now
    for _ in range(14):
        drain(heard, at)
        at += timedelta(hours=2)
    [letter] = history.dead_letters(heard, ADMIN)
    assert (letter.topic, letter.attempts) == ("alert.alertmanager", 12)
    assert letter.last_error is not None
    assert "ConnectionRefusedError" in letter.last_error


def test_a_receiver_that_is_slow_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadline, "WHOLE", 0.3)
    with serving(Api()) as api:
        api.answer = "drip"
        with pytest.raises(Unavailable, match="failed"):
            alertmanager.send(Alertmanager(api.url), [])


def test_a_webhook_that_is_slow_is_cut_off(
    desk: Desk, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "WHOLE", 0.3)
    with serving(Api()) as api:
        heard = reopened(desk, webhook=f"{api.url}/hook?of=all")
        begun(heard)
        api.answer = "drip"
        drain(heard, now)
        assert "webhook_failed" in errors(heard)
        api.answer = 200
        drain(heard, now + LATER)
    assert api.paths == ["/hook?of=all"]
    assert waiting(heard) == {}


def test_lanes_keep_receivers_apart(desk: Desk, now: datetime) -> None:
    with Collector() as collector:
        [port] = free_ports(1)
        gone = Alertmanager(f"http://127.0.0.1:{port}")
        line = Syslog("127.0.0.1", collector.port, "tcp")
        heard = reopened(desk, alertmanager=gone, syslog=line)
        begun(heard)
        lanes = {
            name: Drain(heard, name, lambda: now, topics=topics) for name, topics in LANES.items()
        }
        done = {name: lanes[name].run(now) for name in ("outbox_rest", "outbox_alerts")}
        assert done == {"outbox_rest": 0, "outbox_alerts": 1}
        done = {name: lane.run(now) for name, lane in lanes.items()}
        assert {name for name, number in done.items() if number} == {"outbox_syslog"}
    assert len(collector.frames) == 1
    assert waiting(heard) == {"alert.alertmanager": 1}


def test_who_serves_must_prove_its_name(identity: Identity, tmp_path: Path) -> None:
    other = make_identity(tmp_path, "other")
    with serving(Api(identity)) as api:
        trusted = Alertmanager(api.url, identity.certificate, token=Secret("a-token"))
        alertmanager.send(trusted, [])
        assert api.headers[0]["Authorization"] == "Bearer a-token"
        login = Alertmanager(api.url, identity.certificate, login=Secret("u:p:w"))
        alertmanager.send(login, [])
        assert api.headers[1]["Authorization"] == f"Basic {base64.b64encode(b'u:p:w').decode()}"
        for ca_file in (other.certificate, None, tmp_path / "missing.pem"):
            with pytest.raises(Unavailable) as refusal:
                alertmanager.send(Alertmanager(api.url, ca_file, token=Secret("a-token")), [])
            assert "a-token" not in str(vars(refusal.value))
        assert len(api.headers) == 2
        assert "a-token" not in repr(trusted)


# ------------------------------------------------------------------------ mail


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as made:
        yield made


def posting(mailbox: Mailbox, *to: str, **fields: Any) -> Mail:
    return Mail(
        "localhost",
        "ikewarden@example.com",
        to or (MAILED,),
        **{"port": mailbox.port, "security": "none", **fields},
    )


def test_begin_and_end_are_a_mail_each(desk: Desk, now: datetime, mailbox: Mailbox) -> None:
    heard = reopened(desk, mail=posting(mailbox))
    member = begun(heard)
    drain(heard, now)
    assert mailbox.mails == []  # more may come
    drain(heard, now + timedelta(seconds=15))
    over(member)
    drain(heard, now + timedelta(seconds=15))
    drain(heard, now + LATER)
    first, second = mailbox.mails
    assert first["Subject"] == "[ikewarden] high: auth_failures began on gw.example"
    assert second["Subject"] == "[ikewarden] high: auth_failures ended on gw.example"
    assert first["From"] == "ikewarden@example.com"
    assert re.fullmatch(r"<alert\.\d+\.began\.[0-9a-f]{32}@example\.com>", first["Message-ID"])
    assert re.fullmatch(r"<alert\.\d+\.ended\.[0-9a-f]{32}@example\.com>", second["Message-ID"])
    assert first.get_content_type() == "text/plain"
    text = first.get_content()
    for word in ("Likely cause:", "Next step:", "Evidence:", "/v1/alerts/", "CN=branch"):
        assert word in text
    assert re.search(r"What it means: https://\S+/docs/alerts/auth_failures\s", text)


def test_several_at_once_are_one_mail_and_stay_one(
    desk: Desk, now: datetime, mailbox: Mailbox
) -> None:
    heard = reopened(desk, mail=posting(mailbox, MAILED, "two@example.com"))
    mailbox.said = "451 later"
    for number in range(3):
        begun(heard, f"gw{number}.example")
    drain(heard, now)
    drain(heard, now + timedelta(seconds=15))
    assert waiting(heard) == {"alert.mail": 6}
    assert "answered 451" in errors(heard)
    mailbox.said = None
    drain(heard, now + LATER)
    assert mailbox.to == [[MAILED], ["two@example.com"]]
    assert mailbox.mails[0]["Subject"].strip() == (
        "[ikewarden] high: auth_failures and 2 more: 3 began, 0 ended, on gw0.example"
    )
    assert all(f"gw{number}.example" in mailbox.mails[1].get_content() for number in range(3))


def test_an_address_that_is_refused_holds_up_no_other(
    desk: Desk, now: datetime, mailbox: Mailbox
) -> None:
    heard = reopened(desk, mail=posting(mailbox, "gone@example.com", MAILED))
    mailbox.refuses.add("gone@example.com")
    begun(heard)
    drain(heard, now)
    drain(heard, now + timedelta(seconds=15))
    assert mailbox.to == [[MAILED]]
    assert waiting(heard) == {"alert.mail": 1}
    assert "refuses the address: [550]" in errors(heard)
    # Who is taken out of the settings is not written to any more.
    drain(reopened(desk, mail=posting(mailbox)), now + LATER)
    assert waiting(heard) == {}
    assert len(mailbox.mails) == 1


def test_a_server_that_is_away_is_waited_for_once(
    desk: Desk, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    [port] = free_ports(1)
    away = Mail("127.0.0.1", "i@example.com", (MAILED, "two@example.com"), port, "none")
    heard = reopened(desk, mail=away)
    begun(heard)
    drain(heard, now)
    drain(heard, now + timedelta(seconds=15))
    assert waiting(heard) == {"alert.mail": 2}
    assert errors(heard).count("ConnectionRefusedError") == 2


@pytest.mark.filterwarnings("ignore:Requiring AUTH:UserWarning")  # TLS is there from the first byte
@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_mail_over_tls_with_a_login(
    identity: Identity, tmp_path: Path, now: datetime, security: str
) -> None:
    other = make_identity(tmp_path, "other")
    with Mailbox(identity, security) as mailbox:
        good = posting(
            mailbox,
            security=security,
            ca_file=identity.certificate,
            login=Secret("user:pass:word"),
        )
        made = mail.mail(good, MAILED, [told()], "https://x", now)
        mail.send(good, made)
        assert len(mailbox.mails) == 1
        assert mailbox.logins == [(b"user", b"pass:word")]
        for changes, said in (
            ({"ca_file": other.certificate}, "SSLCertVerificationError"),
            ({"ca_file": None}, "SSLCertVerificationError"),
            ({"login": Secret("user:wrong")}, "answered 535"),
        ):
            fields = {"security": security, "ca_file": identity.certificate, **changes}
            bad = posting(mailbox, **fields)
            with pytest.raises(Unavailable, match=said) as refusal:
                mail.send(bad, made)
            assert "wrong" not in str(vars(refusal.value))
    assert len(mailbox.mails) == 1


def test_without_starttls_nothing_is_sent(mailbox: Mailbox, now: datetime) -> None:
    wanted = posting(mailbox, security="starttls", login=Secret("user:pass:word"))
    made = mail.mail(wanted, MAILED, [told()], "https://x", now)
    with pytest.raises(Unavailable, match="SMTPNotSupportedError"):
        mail.send(wanted, made)
    assert (mailbox.mails, mailbox.logins) == ([], [])


def test_a_server_that_talks_nonsense_fails(now: datetime) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        wanted = Mail("127.0.0.1", "i@example.com", (MAILED,), server.getsockname()[1], "none")

        def answer() -> None:
            line, _ = server.accept()
            with contextlib.suppress(OSError), line:
                line.sendall(b"\x00\xff" * 10_000 + b"\r\n")

        import threading

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Unavailable):
            mail.send(wanted, mail.mail(wanted, MAILED, [told()], "https://x", now))
        thread.join()


def test_nothing_that_a_peer_chose_makes_a_header_or_a_line(
    mailbox: Mailbox, now: datetime
) -> None:
    receiver = posting(mailbox)
    hostile = told(
        gateway=HOSTILE, connection=HOSTILE, peer=HOSTILE, identity=HOSTILE, cause=HOSTILE
    )
    for several in ([hostile], [hostile] * 60):
        mail.send(receiver, mail.mail(receiver, MAILED, several, "https://x", now))
        got = mailbox.mails[-1]
        assert got["Bcc"] is None
        assert set(map(str.lower, got.keys())) <= {
            *("from", "to", "subject", "date", "message-id", "auto-submitted", "mime-version"),
            *("content-type", "content-transfer-encoding", "x-peer"),
        } | {"x-mailfrom", "x-rcptto"}
        text = got.get_content()
        assert not set("\x1b\u202e") & set(text)
        assert not any(line.startswith("Bcc:") for line in text.splitlines())
    assert mailbox.to == [[MAILED], [MAILED]]


def test_the_same_changes_have_the_same_message_id(now: datetime) -> None:
    receiver = Mail("localhost", "i@example.com", (MAILED,))

    def number(changes: Sequence[dict[str, Any]], at: datetime = now) -> str:
        return str(mail.mail(receiver, MAILED, changes, "https://x", at)["Message-ID"])

    assert number([told()]) == number([told()], now + LATER)
    different = [[told()], [told(ENDS)], [told(alert=18)], [told(), told(ENDS)]]
    assert len({number(each) for each in different}) == 4


# ---------------------------------------------------------------------- syslog

SYSLOG = re.compile(
    rb"<(?P<priority>\d+)>1 \S+ \S+ ikewarden - (?P<event>\S+) "
    rb'\[alert@32473(?P<values>( [a-z]+="(\\["\\\]]|[^"\\\]])*")*)\] (?P<text>[\x20-\x7e]*)'
)


def values_of(frame: bytes) -> dict[str, str]:
    found = SYSLOG.fullmatch(frame)
    assert found is not None, frame
    pairs = re.findall(r' ([a-z]+)="((?:\\.|[^"\\\]])*)"', found["values"].decode())
    return {name: re.sub(r"\\(.)", r"\1", value) for name, value in pairs}


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_a_collector_gets_counted_messages(
    desk: Desk, now: datetime, identity: Identity, transport: str
) -> None:
    with Collector(identity if transport == "tls" else None) as collector:
        ca_file = identity.certificate if transport == "tls" else None
        line = Syslog("localhost", collector.port, transport, ca_file)  # type: ignore[arg-type]
        heard = reopened(desk, syslog=line)
        members = [begun(heard, f"gw{number}.example", HOSTILE) for number in range(2)]
        drain(heard, now)
        over(members[0])
        drain(heard, now)
        assert waiting(heard) == {}
    [first, second], [third] = collector.frames
    assert b'/docs/alerts/auth_failures"' in first
    assert SYSLOG.fullmatch(first)["priority"] == b"35"  # type: ignore[index]
    assert SYSLOG.fullmatch(third)["priority"] == b"37"  # type: ignore[index]
    assert values_of(first)["gateway"] == "gw0.example"
    assert values_of(second)["gateway"] == "gw1.example"
    assert values_of(third)["state"] == "ended"
    assert values_of(first)["id"] == values_of(third)["id"]


def test_a_message_is_bounded_and_nothing_in_it_ends_it(now: datetime) -> None:
    long = HOSTILE * 100 + "é" * 500 + '"]' * 300
    hostile = told(gateway=long, connection=long, peer=long, identity=long, cause=long)
    made = syslog.message(hostile, now)
    assert len(made) <= 2_048
    assert b"\n" not in made
    assert values_of(made)["peer"].startswith("\\x1b[2J\\r\\nBcc: all@example.com")
    plain = values_of(syslog.message(told(identity='a"b\\c]d'), now))
    assert plain["identity"] == 'a"b\\c]d'


def test_syslog_over_udp(now: datetime) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(10)
        receiver = Syslog("127.0.0.1", collector.getsockname()[1], "udp")
        syslog.send(receiver, [syslog.message(told(), now), syslog.message(told(ENDS), now)])
        got = [collector.recv(4096) for _ in range(2)]
    assert [SYSLOG.fullmatch(each)["event"] for each in got] == [b"alert.opened", b"alert.ended"]  # type: ignore[index]


def test_a_collector_that_cuts_the_line_is_told_again(desk: Desk, now: datetime) -> None:
    with Collector(rude=True) as collector:
        heard = reopened(desk, syslog=Syslog("127.0.0.1", collector.port, "tcp"))
        begun(heard)
        drain(heard, now)
        assert waiting(heard) == {"alert.syslog": 1}
        assert "syslog_failed" in errors(heard)
        collector.rude = False
        drain(heard, now + LATER)
    assert [len(each) for each in collector.frames] == [1]
    assert waiting(heard) == {}


def test_a_collector_must_prove_its_name(identity: Identity, tmp_path: Path, now: datetime) -> None:
    other = make_identity(tmp_path, "other")
    with Collector(identity) as collector:
        receiver = Syslog("localhost", collector.port, "tls", other.certificate)
        with pytest.raises(Unavailable, match="SSLCertVerificationError"):
            syslog.send(receiver, [syslog.message(told(), now)])
    assert collector.frames == []


def test_a_collector_without_tls_gets_nothing(now: datetime) -> None:
    with Collector() as collector:
        receiver = Syslog("127.0.0.1", collector.port, "tls")
        with pytest.raises(Unavailable):
            syslog.send(receiver, [syslog.message(told(), now)])
    assert not any(b"alert" in frame for frames in collector.frames for frame in frames)


# ------------------------------------------------------------------------- all


def test_nobody_to_tell_is_a_line_in_the_log(
    desk: Desk, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    begun(desk)
    with caplog.at_level(logging.WARNING, "ikewarden.scheduler"):
        drain(desk, now)
    assert waiting(desk) == {}
    assert [each.message for each in caplog.records].count("alert changed") == 1


def test_an_alert_whose_gateway_is_gone_stops_nothing(desk: Desk, now: datetime) -> None:
    with serving(Api()) as api:
        heard = reopened(desk, alertmanager=Alertmanager(api.url))
        begun(heard)
        with heard.store.write() as connection:
            connection.execute(delete(sa_alerts))
        drain(heard, now)
        assert waiting(heard) == {}
        assert api.got == []
