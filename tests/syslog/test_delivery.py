"""Events on their way into the records: each once, in order, whatever the records do."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from api.syslog.delivery import Delivery, Room
from api.syslog.tally import Tally
from fleet import gateways
from fleet.monitoring import intake, shown
from fleet.monitoring.values import MAX_EVENTS, MAX_STREAMS, Batch
from ike.events.event import SaEvent
from pki.desk import Desk
from store.engine import Store
from store.monitoring_tables import sa_watches
from tests.fixtures.desk import NOW, OPERATOR
from tests.fleet.crew import Member, enlist
from tests.fleet.monitoring import alerts_of, event, events_of, failures

GW = "gw1.example"


def delivery(desk: Desk, tally: Tally | None = None, stream: str = "syslog-h-1") -> Delivery:
    return Delivery(desk, stream, tally or Tally(), Room(3000, 5000))


def numbered(count: int, first: int = 0) -> list[SaEvent]:
    return [event("retransmit", first + each, seq=first + each) for each in range(count)]


def seqs(desk: Desk, gateway: str = GW) -> list[int]:
    return [each.document["seq"] for each in reversed(events_of(desk, gateway=gateway))]


@pytest.fixture
def member(desk: Desk) -> Member:
    return enlist(desk, GW)


def test_events_are_delivered_in_order_and_the_next_process_goes_on(
    desk: Desk, member: Member
) -> None:
    first = delivery(desk)
    first.add(GW, numbered(3))
    assert (first.deliver(NOW), first.waiting) == (3, 0)
    first.add(GW, numbered(2, 3))
    first.deliver(NOW)
    second = delivery(desk)
    second.add(GW, numbered(2, 5))
    second.deliver(NOW)
    assert seqs(desk) == list(range(7))


def test_many_wait_no_longer_than_one_after_the_other(desk: Desk, member: Member) -> None:
    made = delivery(desk)
    made.add(GW, numbered(MAX_EVENTS + 5))
    made.deliver_all(lambda: NOW, threading.Event())
    assert made.waiting == 0


def test_what_the_records_do_not_take_waits(desk: Desk, member: Member) -> None:
    enlist(desk, "gw2.example")
    made = delivery(desk)
    made.add(GW, numbered(3))
    made.deliver(NOW)
    # So many streams that ours may be forgotten, and is not begun again before a day has passed.
    for number in range(MAX_STREAMS - 1):
        at = NOW + timedelta(seconds=1)
        intake.take(desk, member.actor, Batch(str(number), 0, [event()]), now=at)
    other = delivery(desk, stream="another")
    other.add(GW, numbered(2, 3))
    other.add("gw2.example", numbered(1))
    # The other gateway does not wait for it.
    assert (other.deliver(NOW + timedelta(seconds=2)), other.waiting) == (1, 2)
    assert other.deliver(NOW + timedelta(seconds=2)) == 0
    assert (other.deliver(NOW + timedelta(days=2)), other.waiting) == (2, 0)


def test_rooms(desk: Desk) -> None:
    made = delivery(desk)
    made.add(GW, numbered(2999))
    assert made.has_room(GW)
    made.add(GW, numbered(1))
    assert (made.has_room(GW), made.has_room("gw2.example")) == (False, True)
    made.add("gw2.example", numbered(2000))
    assert not made.has_room("gw3.example")


def test_a_gateway_that_is_not_registered_or_anew(desk: Desk) -> None:
    tally = Tally()
    made = delivery(desk, tally)
    made.add(GW, numbered(4))
    assert (made.deliver(NOW), made.waiting) == (0, 0)
    assert tally.fresh() == {"gateway_not_found": 4}
    enlist(desk, GW)
    made.add(GW, numbered(2))
    assert made.deliver(NOW + timedelta(seconds=5)) == 0
    assert made.deliver(NOW + timedelta(minutes=2)) == 2
    gateways.remove(desk, OPERATOR, GW, now=NOW)
    gateways.create(desk, OPERATOR, gateways.GatewayRequest(GW, (f"dns:{GW}",)), now=NOW)
    made.add(GW, numbered(3, 10))
    assert made.deliver(NOW + timedelta(minutes=3)) == 3
    assert seqs(desk) == [10, 11, 12]


def test_an_event_that_is_refused_is_found_and_left_out(desk: Desk, member: Member) -> None:
    tally = Tally()
    made = delivery(desk, tally)
    bad = event("retransmit", 5, seq=[object()])
    made.add(GW, [*numbered(5), bad, *numbered(5, 6)])
    for round_ in range(30):
        made.deliver(NOW + timedelta(minutes=round_))
    assert made.waiting == 0
    assert seqs(desk) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert tally.fresh() == {"event_refused": 1}
    assert shown.figures(desk, OPERATOR).counters == {(GW, "lost"): 1}


def test_what_will_never_come_is_told(desk: Desk, member: Member) -> None:
    made = delivery(desk)
    made.lose(GW, 3)
    made.add(GW, numbered(2))
    assert made.deliver(NOW) == 2
    [alert] = alerts_of(desk)
    assert (alert.kind, alert.evidence["events"]) == ("events_lost", 3)
    # Nothing need be there to tell it with, and it is told once.
    made.lose(GW, 4)
    made.deliver(NOW)
    made.deliver(NOW)
    made.add(GW, numbered(1, 2))
    made.deliver(NOW)
    assert shown.figures(desk, OPERATOR).counters == {(GW, "lost"): 7}
    assert seqs(desk) == [0, 1, 2]


def test_what_was_lost_is_counted_once_though_it_is_told_again(
    desk: Desk, member: Member, second_store: Store
) -> None:
    """Whether a batch was taken is not known: it is sent again as it was, and what was lost since with the next."""
    made = delivery(desk)
    made.add(GW, numbered(2))
    made.lose(GW, 3)
    made.deliver(NOW)
    with second_store.write():
        made.add(GW, numbered(2, 2))
        made.lose(GW, 4)
        made.deliver(NOW)
        made.lose(GW, 5)
    for seconds in (5, 10, 15):
        made.deliver(NOW + timedelta(seconds=seconds))
    assert shown.figures(desk, OPERATOR).counters == {(GW, "lost"): 12}
    assert seqs(desk) == [0, 1, 2, 3]


def test_two_receivers_that_cannot_be_told_apart(desk: Desk, member: Member) -> None:
    one, two = delivery(desk), delivery(desk)
    one.add(GW, numbered(1))
    one.deliver(NOW)
    two.add(GW, numbered(1, 1))
    two.deliver(NOW)
    one.add(GW, numbered(1, 2))
    one.deliver(NOW)
    one.deliver(NOW)
    two.add(GW, numbered(1, 3))
    two.deliver(NOW)
    assert sorted(seqs(desk)) == [0, 1, 2, 3]


def test_what_is_heard_last_is_judged_though_nothing_follows(desk: Desk, member: Member) -> None:
    made = delivery(desk)
    made.add(GW, failures(10))
    made.deliver(NOW)
    assert [each.evidence["attempts"] for each in alerts_of(desk)] != [10]
    made.deliver(NOW + timedelta(seconds=2))
    made.deliver(NOW + timedelta(seconds=7))
    [alert] = alerts_of(desk)
    assert (alert.kind, alert.evidence["attempts"]) == ("auth_failures", 10)
    # Told once: nothing is due until something is heard again.
    with desk.store.read() as connection:
        before = connection.execute(select(sa_watches.c.seen_at)).scalar_one()
    made.deliver(NOW + timedelta(seconds=20))
    with desk.store.read() as connection:
        assert connection.execute(select(sa_watches.c.seen_at)).scalar_one() == before


def test_silence_is_told_once_a_minute_and_only_after_what_was_heard(
    desk: Desk, member: Member
) -> None:
    made = delivery(desk)
    made.add(GW, numbered(1))
    made.vouch(GW, NOW.timestamp() - 5)

    def heard() -> datetime:
        with desk.store.read() as connection:
            return connection.execute(select(sa_watches.c.seen_at)).scalar_one()

    made.deliver(NOW)
    made.vouch(GW, NOW.timestamp() + 1)
    made.deliver(NOW + timedelta(seconds=2))
    assert heard() == NOW
    made.deliver(NOW + timedelta(seconds=61))
    assert heard() == NOW + timedelta(seconds=61)
    # Nothing was heard since: nothing is vouched for.
    made.deliver(NOW + timedelta(seconds=200))
    assert heard().astimezone(UTC) == NOW + timedelta(seconds=61)
