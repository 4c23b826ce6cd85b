"""Events of gateways: stored, counted and judged once, whatever comes twice, late, from the future or from an enemy."""

import itertools
import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.event import listen, remove

from core.errors import IkewardenError
from fleet import gateways
from fleet.monitoring import alerts, counting, expiry, intake, orders, pace, shown
from fleet.monitoring.rows import LARGEST
from fleet.monitoring.values import (
    MAX_EVENTS,
    MAX_STREAMS,
    PER_MINUTE,
    AlertNotFound,
    AlertNotSilenced,
    Batch,
    EventsRefused,
    EventsTooFast,
    SilenceRefused,
    TooManyStreams,
)
from ike.events.event import SaEvent
from pki.actors import Actor, OutsideScope, Role, Scope
from pki.desk import Desk, Retention
from store.monitoring_tables import sa_alerts, sa_counts, sa_days, sa_events, sa_watches
from store.tables import audit_events
from tests.fixtures.desk import CLOCKWORK, NOW, OPERATOR
from tests.fleet.crew import Member, enlist, later
from tests.fleet.monitoring import (
    CONNECTION,
    PEER,
    START,
    after,
    alerts_of,
    batch,
    counts,
    event,
    events_of,
    failures,
    sent,
    told,
)

QUIET = timedelta(hours=2)
MINUTE = timedelta(minutes=1)
HOSTILE = [
    "\x1b]0;owned\x07\x1b[2J",
    "<script>alert(1)</script>",
    '=HYPERLINK("http://192.0.2.1")',
    "a\r\nNov 29 charon: 01[IKE] IKE_SA gw[1] established",
    "nul\x00 and more",
    "\ud800 alone",
    "\u202edrow siht",
    "'; DROP TABLE sa_events; --",
    "%s %n {0} ${x}",
    "x" * 1024,
]


@pytest.fixture
def gw(desk: Desk) -> Member:
    return enlist(desk, "gw.example")


def test_a_batch_is_stored_and_shown_the_latest_first(desk: Desk, gw: Member) -> None:
    rekeyed = event("child_rekeyed", 9, child="net", spi_in="c0ffee01", new_child_id=4)
    taken = sent(gw, [event(), rekeyed])
    assert (taken.stored, taken.repeated, taken.next, taken.missing) == (2, 0, 2, ())
    first, second = events_of(desk)
    assert (first.kind, first.number, first.gateway) == ("child_rekeyed", 1, gw.name)
    assert (second.kind, second.number, second.at) == ("ike_established", 0, START)
    assert (first.peer, first.connection) == (PEER, CONNECTION)
    assert first.document["spi_in"] == "c0ffee01"
    assert (first.document["child"], first.document["new_child_id"]) == ("net", 4)


def test_what_comes_twice_or_overlaps_is_stored_once(desk: Desk, gw: Member) -> None:
    made = [event(after=number) for number in range(10)]
    assert sent(gw, made[:6]).stored == 6
    assert sent(gw, made[:6]).repeated == 6
    taken = sent(gw, made[4:], 4)
    assert (taken.stored, taken.repeated, taken.next) == (4, 2, 10)
    assert [each.number for each in events_of(desk)] == list(range(9, -1, -1))
    assert counts(desk) == {(CONNECTION, "ike_established", ""): (10, 10)}


def test_gaps_are_told_until_they_are_filled_or_given_up(desk: Desk, gw: Member) -> None:
    made = [event(after=number) for number in range(30)]
    assert sent(gw, made[10:20], 10).missing == ((0, 10),)
    taken = sent(gw, made[25:], 25)
    assert (taken.next, taken.missing) == (0, ((0, 10), (20, 25)))
    taken = sent(gw, made[:10])
    assert (taken.stored, taken.next, taken.missing, taken.lost) == (10, 20, ((20, 25),), 0)
    taken = sent(gw, [], 30, oldest=30)
    assert (taken.next, taken.missing, taken.lost) == (30, (), 5)
    assert shown.figures(desk, OPERATOR).counters == {(gw.name, "lost"): 5}
    [alert] = alerts_of(desk)
    assert (alert.kind, alert.evidence["events"]) == ("events_lost", 5)
    assert sent(gw, made[20:25], 20).repeated == 5
    assert len(events_of(desk)) == 25


def test_the_rules_wait_a_while_for_what_is_missing(desk: Desk, gw: Member) -> None:
    sent(gw, failures(), 5, until=after(60))
    assert alerts_of(desk) == []
    sent(gw, [], 15, until=after(70), now=later(200))
    assert alerts_of(desk) == []
    taken = sent(gw, [], 15, until=after(80), now=later(400))
    assert (taken.next, taken.missing, taken.lost) == (15, (), 5)
    assert {each.kind for each in alerts_of(desk)} == {"auth_failures", "events_lost"}


def test_streams_and_gateways_are_told_apart(desk: Desk, gw: Member) -> None:
    other = enlist(desk, "other.example")
    for member, stream in itertools.product((gw, other), ("a", "b")):
        assert sent(member, [event()], stream=stream).stored == 1
    assert len(events_of(desk, gateway=gw.name)) == 2
    assert [each.number for each in events_of(desk, gateway=other.name)] == [LARGEST, 0]


def test_a_gateway_speaks_for_itself_only(desk: Desk, gw: Member) -> None:
    enlist(desk, "other.example")
    sent(gw, [event(host="other.example")])
    assert {each.gateway for each in events_of(desk)} == {gw.name}
    assert events_of(desk, gateway="other.example") == []
    nobody = Actor("nobody", Role.GATEWAY)
    with pytest.raises(OutsideScope):
        intake.take(desk, nobody, batch([event()]), now=NOW)
    stranger = Actor("x", Role.GATEWAY, scope=Scope(gateway="x.example"))
    with pytest.raises(gateways.GatewayNotFound):
        intake.take(desk, stranger, batch([event()]), now=NOW)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 0, 1, 1), (1, 0, 1, 0)])
def test_an_alert_is_opened_and_told_once_in_whatever_order(
    desk: Desk, gw: Member, order: tuple[int, ...]
) -> None:
    made = failures(12)
    for part in order:
        sent(gw, made[part * 6 : part * 6 + 6], part * 6, until=after(6 * part + 20))
    [alert] = alerts_of(desk)
    assert (alert.kind, alert.state, alert.gateway) == ("auth_failures", "open", gw.name)
    assert told(desk) == [("alert.opened", "auth_failures")]
    assert counts(desk) == {(CONNECTION, "auth_failed", "psk"): (12, 12)}


def test_an_alert_goes_on_ends_once_and_begins_anew(desk: Desk, gw: Member) -> None:
    sent(gw, failures(6), until=after(20))
    sent(gw, failures(6, 20), 6, until=after(40))
    [alert] = alerts_of(desk)
    first = alert.updates
    assert alert.lines
    whole = shown.alert(desk, OPERATOR, alert.id)
    assert {each.kind for each in whole.events} == {"auth_failed"}
    assert {each.number for each in whole.events} == set(alert.lines)
    for _ in range(2):
        sent(gw, [], 12, until=NOW + QUIET, now=NOW + QUIET)
    [alert] = alerts_of(desk)
    assert (alert.state, alert.ended_at) == ("ended", NOW + QUIET)
    assert alert.began is not None
    assert alert.ended is not None
    assert alert.began <= alert.ended < NOW
    assert told(desk) == [("alert.opened", alert.kind), ("alert.ended", alert.kind)]
    again = NOW + 2 * QUIET
    anew = failures(6, (again - START).total_seconds())
    sent(gw, anew, 12, now=again + MINUTE, until=again + MINUTE)
    assert [each.state for each in alerts_of(desk)] == ["open", "ended"]
    assert told(desk)[2:] == [("alert.opened", alert.kind)]
    assert first > 0


def test_an_alert_on_record_speaks_of_what_it_is_by_now(desk: Desk, gw: Member) -> None:
    def rejected(first: int, reason: str) -> list[SaEvent]:
        those = range(first, first + 3)
        return [event("cert_invalid", 60 * n, ike_id=n, reason=reason) for n in those]

    sent(gw, rejected(1, "expired"), until=after(200))
    [alert] = alerts_of(desk)
    assert "expired" in shown.alert(desk, OPERATOR, alert.id).alert.cause
    sent(gw, rejected(4, "issuer"), 3, until=after(400), now=later(400))
    [alert] = alerts_of(desk)
    told_now = shown.alert(desk, OPERATOR, alert.id).alert
    assert "does not trust" in told_now.cause
    assert "authority" in told_now.next_step


def test_a_gateway_that_is_not_heard_of_misses_nothing(desk: Desk, gw: Member) -> None:
    """Only what the gateway itself vouches for makes time go on, and only where nothing is missing."""
    sent(gw, failures(), until=after(60))
    sent(gw, [event(after=60)], 15, until=NOW + QUIET, now=NOW + QUIET)
    [alert] = alerts_of(desk)
    assert alert.state == "open"
    sent(gw, [event(after=50)] * 5, 10, until=NOW + QUIET, now=NOW + QUIET)
    [alert] = alerts_of(desk)
    assert alert.state == "ended"


def test_times_are_of_now_where_they_are_missing_or_to_come(desk: Desk, gw: Member) -> None:
    ahead = (NOW - START).total_seconds()
    made = [
        event(after=None),
        event(after=ahead + 86_400 * 4000),
        event(after=ahead + 200),
        event(after=-4e9),
    ]
    sent(gw, made)
    listed = {each.number: each for each in events_of(desk)}
    assert (listed[0].at, listed[0].clock) == (NOW, "none")
    assert (listed[1].at, listed[1].clock) == (NOW, "ahead")
    assert listed[1].document["said"] == made[1].time
    assert (listed[2].at, listed[2].clock) == (later(200), None)
    assert listed[3].at.year == 1970


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_a_peer_calls_itself_is_kept_and_breaks_nothing(
    desk: Desk, gw: Member, text: str
) -> None:
    named = [each._replace(name=text[:255], connection=text[:255]) for each in failures()]
    sent(gw, [each._replace(identity=text, reason=text[:255], thread=text[:255]) for each in named])
    sent(gw, [event("unknown_peer", identity=text)], 10, until=NOW)
    listed = events_of(desk, limit=500)
    assert len(listed) == 11
    expected = text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    assert {each.identity for each in listed} == {expected}
    assert {kind for _, kind, _ in counts(desk)} == {"auth_failed", "unknown_peer"}
    assert alerts_of(desk)
    for alert in alerts_of(desk):
        json.dumps(alert.evidence).encode()
        shown.alert(desk, OPERATOR, alert.id)
    assert sum(shown.figures(desk, OPERATOR).events.values()) == 11


@pytest.mark.parametrize(
    "made",
    [
        batch([event()] * (MAX_EVENTS + 1)),
        batch([], -1),
        batch([], LARGEST),
        batch([], 3, oldest=4),
        batch([], 3, oldest=-1),
    ],
    ids=["many", "before", "beyond", "oldest", "negative"],
)
def test_what_no_stream_can_hold_is_refused(desk: Desk, gw: Member, made: Batch) -> None:
    with pytest.raises(EventsRefused):
        intake.take(desk, gw.actor, made, now=NOW)
    assert events_of(desk) == []


def test_a_gateway_that_is_too_fast_is_told_to_wait(
    desk: Desk, gw: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PER_MINUTE > 10 * MAX_EVENTS
    monkeypatch.setattr(pace, "PER_MINUTE", 15)
    sent(gw, [event()] * 10)
    other = enlist(desk, "other.example")
    with pytest.raises(EventsTooFast) as caught:
        sent(gw, [event()] * 10, 10, now=later(20))
    assert caught.value.details == {"retry_after": 40}
    assert len(events_of(desk)) == 10
    sent(other, [event()] * 10, now=later(20))
    assert sent(gw, [event()] * 10, 10, now=later(60)).next == 20


def test_streams_are_remembered_as_long_as_they_may_come_again(desk: Desk, gw: Member) -> None:
    for number in range(MAX_STREAMS):
        sent(gw, [event()], stream=f"s{number}", now=later(number))
    with pytest.raises(TooManyStreams):
        sent(gw, [event()], stream="more", now=later(1800))
    assert sent(gw, [event()], stream="s0", now=later(1800)).repeated == 1
    assert sent(gw, [event()], stream="more", now=later(3600 + 10)).stored == 1
    assert sent(gw, [event()], stream="s2", now=later(3600 + 10)).repeated == 1


def test_names_without_end_are_counted_together(
    desk: Desk, gw: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "MOST", 10)
    for part in range(3):
        made = [event(name=f"c{part}-{number}") for number in range(4)]
        sent(gw, made, part * 4)
    sent(gw, [event(name="c0-0"), event("ike_deleted", name="c9")], 12)
    found = counts(desk)
    assert found["c0-0", "ike_established", ""] == (2, 2)
    assert found[counting.OTHERS, "ike_established", ""] == (4, 4)
    assert found["c9", "ike_deleted", ""] == (1, 1)
    assert len(found) == 10


class Died(BaseException):
    """The process is gone."""


def test_nothing_is_half_done(desk: Desk, gw: Member) -> None:
    """A process that dies before any statement leaves nothing of the batch; sent again, all of it is there once."""
    made, left = failures(), [0]

    def dies(*_: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Died

    def there() -> int:
        with desk.store.read() as connection:
            tables = (sa_events, sa_counts, sa_days, sa_alerts, sa_watches)
            return sum(
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in tables
            )

    for number in itertools.count():
        left[0] = number
        listen(Engine, "before_cursor_execute", dies)
        try:
            taken = sent(gw, made, until=after(60))
        except Died:
            taken = None
        finally:
            remove(Engine, "before_cursor_execute", dies)
        if taken is not None:
            break
        assert there() == 0
        assert told(desk) == []
    assert number > 8
    assert taken.stored == 10
    assert told(desk) == [("alert.opened", "auth_failures")]
    assert counts(desk) == {(CONNECTION, "auth_failed", "psk"): (10, 10)}


def test_a_memory_that_cannot_be_read_is_let_go(desk: Desk, gw: Member) -> None:
    sent(gw, failures(), until=after(60))
    for memory in (b"", b"{}", None):
        with desk.store.write() as connection:
            connection.execute(sa_watches.update().values(memory=memory))
        number = len(events_of(desk))
        assert sent(gw, [event(after=60)], number).stored == 1
    [alert] = alerts_of(desk)
    assert alert.state == "ended"
    assert [each for each, _ in told(desk)] == ["alert.opened", "alert.ended"]


def test_a_silenced_condition_is_watched_and_not_told(desk: Desk, gw: Member) -> None:
    sent(gw, failures(), until=after(60))
    [alert] = alerts_of(desk)
    silenced = orders.silence(desk, OPERATOR, alert.id, later(90_000), "a new line", now=NOW)
    assert (silenced.silenced_by, silenced.silenced_why) == (OPERATOR.name, "a new line")
    sent(gw, [], 10, until=NOW + QUIET, now=NOW + QUIET)
    again = NOW + 2 * QUIET
    anew = failures(6, (again - START).total_seconds())
    sent(gw, anew, 10, now=again + MINUTE, until=again + MINUTE)
    latest = alerts_of(desk)[0]
    assert (latest.state, latest.silenced_why) == ("open", "a new line")
    # Its end is told, because its beginning was; what came under the silence is not.
    assert [each for each, _ in told(desk)] == ["alert.opened", "alert.ended"]
    assert expiry.end_silences(desk, CLOCKWORK, now=later(80_000)) == 0
    assert expiry.end_silences(desk, CLOCKWORK, now=later(90_000)) == 2
    assert [each for each, _ in told(desk)][2:] == ["alert.opened"]
    assert expiry.end_silences(desk, CLOCKWORK, now=later(90_001)) == 0
    assert alerts_of(desk)[0].silenced_until is None


def test_a_silence_is_taken_back_by_hand(desk: Desk, gw: Member) -> None:
    sent(gw, failures(), until=after(60))
    [alert] = alerts_of(desk)
    with pytest.raises(AlertNotSilenced):
        orders.unsilence(desk, OPERATOR, alert.id, now=NOW)
    orders.silence(desk, OPERATOR, alert.id, later(900), "why", now=NOW)
    assert orders.unsilence(desk, OPERATOR, alert.id, now=later(1)).silenced_until is None
    assert told(desk) == [("alert.opened", "auth_failures")]
    with desk.store.read() as connection:
        query = select(audit_events.c.action).where(audit_events.c.action.startswith("alert."))
        actions = list(connection.scalars(query.order_by(audit_events.c.id)))
    assert actions == ["alert.silence", "alert.unsilence"]


def test_a_silence_has_a_reason_and_an_end(desk: Desk, gw: Member) -> None:
    sent(gw, failures(), until=after(60))
    [alert] = alerts_of(desk)
    for until, why in ((NOW, "a"), (later(-1), "a"), (later(400 * 86_400), "a"), (later(9), " ")):
        with pytest.raises(SilenceRefused):
            orders.silence(desk, OPERATOR, alert.id, until, why, now=NOW)
    with pytest.raises(AlertNotFound):
        orders.silence(desk, OPERATOR, alert.id + 1, later(9), "why", now=NOW)
    tied = Actor("x", Role.OPERATOR, scope=Scope(gateway="other.example"))
    with pytest.raises(OutsideScope):
        orders.silence(desk, tied, alert.id, later(9), "why", now=NOW)


def test_alerts_of_a_device_that_falls_silent_end_by_the_clock(desk: Desk, gw: Member) -> None:
    sent(gw, failures(), until=after(60))
    assert gateways.get(desk, OPERATOR, gw.name, now=NOW).heard_at == NOW
    assert expiry.end_unheard(desk, CLOCKWORK, now=NOW + timedelta(minutes=59)) == 0
    assert alerts_of(desk)[0].state == "open"
    over = NOW + timedelta(minutes=61)
    assert expiry.end_unheard(desk, CLOCKWORK, now=over) == 1
    assert expiry.end_unheard(desk, CLOCKWORK, now=over) == 0
    [alert] = alerts_of(desk)
    assert (alert.state, alert.ended, alert.ended_at, alert.heard_at) == ("ended", NOW, over, NOW)
    assert alert.evidence["unheard"] is True
    assert [each for each, _ in told(desk)] == ["alert.opened", "alert.ended"]


def test_a_batch_that_tells_nothing_opens_nothing_again(desk: Desk, gw: Member) -> None:
    sent(gw, failures(), until=after(60))
    over = NOW + timedelta(minutes=61)
    expiry.end_unheard(desk, CLOCKWORK, now=over)
    sent(gw, [], 10, now=over + MINUTE)
    sent(gw, [], 0, now=over + MINUTE, stream="b")  # a receiver that was started anew
    assert alerts_of(desk)[0].state == "ended"
    sent(gw, [event(after=(over - START).total_seconds())], 10, now=over + MINUTE)
    assert alerts_of(desk)[0].state == "ended"
    assert [each for each, _ in told(desk)] == ["alert.opened", "alert.ended"]


def unheard_and_heard(desk: Desk, gw: Member, first: int) -> None:
    """Its alert ends by the clock while nothing is heard; then what was on its way says that it lasted."""
    over = NOW + timedelta(minutes=61)
    assert expiry.end_unheard(desk, CLOCKWORK, now=over) == 1
    sent(gw, failures(1, 1_800), first, now=over + MINUTE)
    assert alerts_of(desk)[0].state == "open"


def test_what_comes_back_under_a_silence_is_told_when_that_ends(desk: Desk, gw: Member) -> None:
    sent(gw, failures(), until=after(60))
    [alert] = alerts_of(desk)
    orders.silence(desk, OPERATOR, alert.id, later(9_000), "known", now=NOW)
    unheard_and_heard(desk, gw, 10)
    assert [each for each, _ in told(desk)] == ["alert.opened", "alert.ended"]
    assert expiry.end_silences(desk, CLOCKWORK, now=later(9_000)) == 1
    assert [each for each, _ in told(desk)][2:] == ["alert.opened"]


def test_what_began_under_a_silence_is_told_when_it_comes_back_after_it(
    desk: Desk, gw: Member
) -> None:
    sent(gw, failures(), until=after(60), now=after(60))
    [alert] = alerts_of(desk)
    silent = after(60) + QUIET + 10 * MINUTE
    orders.silence(desk, OPERATOR, alert.id, silent, "known", now=after(60))
    sent(gw, [], 10, until=after(60) + QUIET, now=after(60) + QUIET)
    anew = failures(10, (after(60) + QUIET - START).total_seconds() + 120)
    sent(gw, anew, 10, now=after(60) + QUIET + 3 * MINUTE)
    assert [each.state for each in alerts_of(desk)] == ["open", "ended"]
    assert [each for each, _ in told(desk)] == ["alert.opened", "alert.ended"]
    over = after(60) + QUIET + timedelta(minutes=65)
    assert expiry.end_unheard(desk, CLOCKWORK, now=over) == 1
    assert expiry.end_silences(desk, CLOCKWORK, now=over) == 2
    late = failures(1, (over - START).total_seconds() - 3_000)
    sent(gw, late, 20, now=over + MINUTE)
    assert alerts_of(desk)[0].state == "open"
    assert [each for each, _ in told(desk)][2:] == ["alert.opened"]


def test_a_silence_outlives_what_is_kept_of_alerts(desk: Desk, gw: Member) -> None:
    sent(gw, failures(), until=after(60))
    [alert] = alerts_of(desk)
    orders.silence(desk, OPERATOR, alert.id, NOW + timedelta(days=90), "known", now=NOW)
    over = NOW + timedelta(minutes=61)
    assert expiry.end_unheard(desk, CLOCKWORK, now=over) == 1
    rules = replace(desk.rules, retention=Retention(alerts=timedelta(days=7)))
    short = replace(desk, rules=rules)
    expiry.forget_old(short, CLOCKWORK, now=NOW + timedelta(days=30))
    assert [each.silenced_why for each in alerts_of(desk)] == ["known"]
    assert expiry.end_silences(desk, CLOCKWORK, now=NOW + timedelta(days=90)) == 1
    expiry.forget_old(short, CLOCKWORK, now=NOW + timedelta(days=90))
    assert alerts_of(desk) == []


def test_what_only_a_clear_sign_ends_stays_a_day(desk: Desk, gw: Member) -> None:
    sent(gw, failures(), until=after(60))
    with desk.store.write() as connection:
        connection.execute(sa_alerts.update().values(kind="weak_algorithm"))
    assert expiry.end_unheard(desk, CLOCKWORK, now=NOW + timedelta(hours=24)) == 0
    assert expiry.end_unheard(desk, CLOCKWORK, now=NOW + timedelta(hours=25)) == 1


def test_what_shows_seldom_stays_longer(desk: Desk, gw: Member) -> None:
    sent(gw, failures(), until=after(60))
    with desk.store.write() as connection:
        connection.execute(sa_alerts.update().values(evidence={"pause_seconds": 7200}))
    assert expiry.end_unheard(desk, CLOCKWORK, now=NOW + timedelta(hours=12)) == 0
    assert expiry.end_unheard(desk, CLOCKWORK, now=NOW + timedelta(hours=13)) == 1


def test_what_lasts_is_open_again_when_the_device_is_heard(desk: Desk, gw: Member) -> None:
    sent(gw, failures(), until=after(60))
    over = NOW + timedelta(minutes=61)
    expiry.end_unheard(desk, CLOCKWORK, now=over)
    anew = failures(10, (over - START).total_seconds())
    sent(gw, anew, 10, now=over + MINUTE, until=over + MINUTE)
    assert alerts_of(desk)[0].state == "open"
    assert [each for each, _ in told(desk)] == ["alert.opened", "alert.ended", "alert.opened"]
    assert expiry.end_unheard(desk, CLOCKWORK, now=over + 2 * MINUTE) == 0


def test_alerts_of_a_gateway_whose_agent_is_silent_stay(desk: Desk, gw: Member) -> None:
    gw.report()
    sent(gw, failures(), until=after(60))
    assert expiry.end_unheard(desk, CLOCKWORK, now=NOW + timedelta(days=9)) == 0
    assert alerts_of(desk)[0].state == "open"


def test_what_is_old_is_forgotten_but_the_sums(desk: Desk, gw: Member) -> None:
    sent(gw, failures(), until=after(60))
    sent(gw, [], 10, until=NOW + QUIET, now=NOW + QUIET)
    assert expiry.forget_old(desk, CLOCKWORK, now=NOW + timedelta(days=29)) == 0
    assert expiry.forget_old(desk, CLOCKWORK, now=NOW + timedelta(days=31)) == 10
    assert events_of(desk) == []
    [alert] = alerts_of(desk)
    assert shown.alert(desk, OPERATOR, alert.id).events == ()
    expiry.forget_old(desk, CLOCKWORK, now=NOW + timedelta(days=402))
    assert alerts_of(desk) == []
    assert shown.figures(desk, OPERATOR).events == {"auth_failed": 10}


def test_how_long_is_kept_is_a_setting(desk: Desk, gw: Member) -> None:
    retention = Retention(
        events=timedelta(days=3), counts=timedelta(days=5), alerts=timedelta(days=7)
    )
    brief = replace(desk, rules=replace(desk.rules, retention=retention))
    sent(gw, failures(), until=after(60))
    sent(gw, [], 10, until=NOW + QUIET, now=NOW + QUIET)
    gone = [
        expiry.forget_old(brief, CLOCKWORK, now=NOW + timedelta(days=days, hours=3))
        for days in (2, 3, 4, 5, 6, 7)
    ]
    # Counts are by the hour and by the day, and the failures may have been before and after the turn of one. What is
    # of a day goes when all of its hours have gone.
    *before, hours, days, alert = gone
    assert (before, alert) == ([0, 10, 0], 1)
    assert hours in {1, 2, 3, 4}
    assert hours + days in {2, 3, 4}


def test_searches_go_by_what_is_asked(desk: Desk, gw: Member) -> None:
    other = enlist(desk, "other.example")
    sent(gw, [event(after=number) for number in range(5)])
    sent(other, [event("ike_deleted", 10, source="203.0.113.9", name="x")])
    assert len(events_of(desk, gateway=gw.name)) == 5
    assert [each.gateway for each in events_of(desk, peer="203.0.113.9")] == [other.name]
    assert [each.kind for each in events_of(desk, connection="x")] == ["ike_deleted"]
    assert len(events_of(desk, kind="ike_established")) == 5
    inside = {"since": START + timedelta(seconds=1), "until": START + timedelta(seconds=3)}
    assert [each.number for each in events_of(desk, **inside)] == [2, 1]
    seen, cursor = [], None
    while page := events_of(desk, limit=2, cursor=cursor):
        seen += [each.id for each in page]
        at, number = page[-1].position.split(":")
        cursor = int(at), int(number)
    assert seen == [each.id for each in events_of(desk)]
    for wrong in ({"kind": "none"}, {"limit": 0}, {"gateway": "none"}, {"cursor": (1 << 62, 1)}):
        with pytest.raises(IkewardenError):
            events_of(desk, **wrong)
    for wrong in ({"kind": "none"}, {"state": "x"}, {"severity": "x"}, {"limit": 501}):
        with pytest.raises(IkewardenError):
            alerts_of(desk, **wrong)


def test_a_gateway_goes_with_what_it_reported(desk: Desk, gw: Member) -> None:
    sent(gw, failures(), until=after(60))
    gateways.remove(desk, OPERATOR, gw.name, now=NOW)
    assert events_of(desk) == []
    assert alerts_of(desk) == []
    assert shown.figures(desk, OPERATOR).events == {}
    # One of the same name is another one.
    assert sent(enlist(desk, gw.name, now=later(1)), [event()]).stored == 1
    assert len(events_of(desk)) == 1


def test_many_forged_senders_are_one_alert_and_hide_nothing(desk: Desk, gw: Member) -> None:
    """Packets with any sender, more of them than a gateway has alerts; and behind them one who guesses."""
    forged = [
        event("proposal_mismatch", number / 10, source=f"203.0.{number % 1500}", ike_id=number)
        for number in range(4500)
    ]
    forged = [each._replace(peer=each.source, connection=None, name=None) for each in forged]
    for first in range(0, 4500, 1000):
        sent(gw, forged[first : first + 1000], first)
    foe = "203.0.113.77"
    guesses = [
        event(
            "auth_failed", 500 + number, ike_id=9000 + number, identity=f"u{number}",
            source=foe, peer=foe, connection="branches", name="branches",
        )
        for number in range(40)
    ]  # fmt: skip
    sent(gw, guesses, 4500, until=after(600))
    worst, lesser = alerts_of(desk)
    assert (worst.kind, worst.peer, worst.connection) == ("auth_guessing", foe, "branches")
    assert (worst.evidence["attempts"], worst.evidence["identities"]) == (40, 40)
    assert (lesser.kind, lesser.peer, lesser.evidence["attempts"]) == ("unknown_peers", None, 4500)
    assert 1400 < lesser.evidence["sources"] < 1600
    assert len(lesser.evidence["peers"]) == 16


def test_each_peer_of_a_connection_has_its_own_alert(desk: Desk, gw: Member) -> None:
    """Two branches fail behind one address, and a third one comes up between."""
    made: list[SaEvent] = []
    for step in range(8):
        for who in ("seven", "eight"):
            made += failures(1, 60 * step + len(made) % 7, identity=f"branch-{who}")
        made.append(event(after=60 * step + 30, ike_id=900 + step, source="203.0.113.9",
                          peer="203.0.113.9", identity="branch-nine"))  # fmt: skip
    sent(gw, made, until=after(600))
    found = alerts_of(desk, kind="auth_failures")
    assert sorted((each.identity, each.state) for each in found) == [
        ("branch-eight", "open"),
        ("branch-seven", "open"),
    ]
    assert told(desk).count(("alert.opened", "auth_failures")) == 2
    back = event(after=700, ike_id=999, identity="branch-seven")
    sent(gw, [back], len(made), until=after(720))
    assert told(desk).count(("alert.ended", "auth_failures")) == 0  # it may come back at once
    sent(gw, [], len(made) + 1, until=after(1060))
    lasting = alerts_of(desk, kind="auth_failures", state="open")
    assert [each.identity for each in lasting] == ["branch-eight"]
    assert told(desk).count(("alert.ended", "auth_failures")) == 1


def test_worse_alerts_take_the_place_of_lesser_ones(
    desk: Desk, gw: Member, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(alerts, "MOST_OPEN", 3)

    def lasting() -> dict[str, int]:
        return dict(Counter(each.kind for each in alerts_of(desk, state="open")))

    names = [f"c{number}" for number in range(5)]
    made = [
        event("proposal_mismatch", step, source=name, peer=name, name=name, ike_id=step)
        for step, name in enumerate(names * 3)
    ]
    sent(gw, made, until=after(30))
    assert lasting() == {"alerts_limited": 1, "proposal_mismatch": 3}
    [notice] = alerts_of(desk, kind="alerts_limited")
    assert (notice.severity, notice.evidence["left_out"]) == ("high", 2)
    assert notice.evidence["kinds"] == {"proposal_mismatch": 2}
    assert [each.message for each in caplog.records] == ["alerts of a gateway are left out"]
    assert shown.figures(desk, OPERATOR).left_out == {gw.name: 2}

    sent(gw, failures(after=60), len(made), until=after(80))
    assert lasting() == {"alerts_limited": 1, "auth_failures": 1, "proposal_mismatch": 2}
    ended = [each for each in alerts_of(desk, state="ended") if each.kind == "proposal_mismatch"]
    assert [each.evidence["left_out"] for each in ended] == [True]

    number = len(made) + 10
    for step, guessed in enumerate(("g1", "g2", "g3", "g4")):
        tries = [
            event("auth_failed", 100 + step, name=guessed, connection=guessed, identity=f"u{one}",
                  source="203.0.113.77", ike_id=100 * step + 500 + one)
            for one in range(6)
        ]  # fmt: skip
        sent(gw, tries, number, until=after(110))
        number += 6
    # What is critical has room beyond the limit, and pushes out nothing that is as bad.
    assert lasting() == {"alerts_limited": 1, "auth_guessing": 4}
    assert told(desk).count(("alert.opened", "alerts_limited")) == 1

    sent(gw, [], number, until=NOW + 2 * QUIET, now=NOW + 2 * QUIET)
    assert lasting() == {}
    assert shown.figures(desk, OPERATOR).left_out == {}


def test_what_was_left_out_comes_back_where_there_is_room(
    desk: Desk, gw: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "MOST_OPEN", 1)
    made = [
        event("proposal_mismatch", step, source=name, peer=name, name=name, ike_id=step)
        for step, name in enumerate(["c0", "c1"] * 3)
    ]
    sent(gw, made, until=after(30))
    assert len(alerts_of(desk, state="open", kind="proposal_mismatch")) == 1
    monkeypatch.setattr(alerts, "MOST_OPEN", 2)
    sent(gw, [], len(made), until=after(40))
    assert [each.kind for each in alerts_of(desk, state="open")] == ["proposal_mismatch"] * 2


def test_who_guesses_from_many_hosts_is_one_alert(desk: Desk, gw: Member) -> None:
    guesses = [
        event("auth_failed", number / 2, ike_id=number, source=f"203.0.113.{number}",
              identity=f"u{number}", name="branches", connection="branches")
        for number in range(300)
    ]  # fmt: skip
    sent(gw, guesses[:100])
    sent(gw, guesses[100:], 100, until=after(200))
    [alert] = alerts_of(desk)
    assert (alert.kind, alert.connection, alert.peer) == ("auth_guessing", "branches", None)
    counted = {name: alert.evidence[name] for name in ("attempts", "sources", "identities")}
    assert counted == {"attempts": 300, "sources": 300, "identities": 300}
