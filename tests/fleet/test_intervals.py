"""How old SAs were at their rekey, from events as different daemons tell them."""

from datetime import timedelta

from fleet.monitoring import intervals
from fleet.monitoring.intervals import Interval
from pki.desk import Desk
from tests.fixtures.desk import NOW, OPERATOR
from tests.fleet.crew import enlist
from tests.fleet.monitoring import CONNECTION, event, sent


def of(desk: Desk, connection: str = CONNECTION) -> list[Interval]:
    """What there is of a connection."""
    return list(intervals.of_connection(desk, OPERATOR, "gw1", connection).found)


def told(found: list[Interval]) -> list[tuple[str, str, str, float]]:
    """The same without its times."""
    return [(each.layer, each.child, each.kind, each.seconds) for each in found]


def test_each_sa_is_as_old_as_since_its_own_beginning(desk: Desk) -> None:
    member = enlist(desk, "gw1")
    begin = [
        event("ike_established", 0, ike_id=1),
        event("child_established", 0, child="net", child_id=1),
        event("child_established", 5, child="voice", child_id=2),
        # The second statement about one that is up changes nothing.
        event("child_established", 6, child="voice", child_id=2),
    ]
    rekeys = [
        event("child_rekeyed", 100, child="net", child_id=1, new_child_id=3),
        event("child_established", 100, child="net", child_id=3),
        event("child_rekeyed", 125, child="voice", child_id=2, new_child_id=4),
        event("child_rekeyed", 190, child="net", child_id=3, new_child_id=5),
        event("ike_rekeyed", 300, ike_id=2, old_ike_id=1),
        event("ike_rekeyed", 700, ike_id=3, old_ike_id=2),
        event("ike_reauth", 900, ike_id=3),
    ]
    sent(member, [*begin, *rekeys])
    found = of(desk)
    assert told(found) == [
        ("child", "net", "child_rekeyed", 100),
        ("child", "voice", "child_rekeyed", 120),
        ("child", "net", "child_rekeyed", 90),
        ("ike", "", "ike_rekeyed", 300),
        ("ike", "", "ike_rekeyed", 400),
        ("ike", "", "ike_reauth", 200),
    ]
    assert found[0].at == NOW - timedelta(minutes=30) + timedelta(seconds=100)


def test_a_daemon_without_numbers_has_one_sa_of_a_name(desk: Desk) -> None:
    member = enlist(desk, "gw1")
    made = event("child_established", 0, ike_id=None, child="net")
    rekeys = [
        event("child_rekeyed", after, ike_id=None, child="net") for after in (60.0, 60.4, 150.0)
    ]
    sent(member, [made, *rekeys])
    # Both ends told of the second one: it is an echo, and no rekey after less than a second.
    assert [each.seconds for each in of(desk)] == [60, 89.6]


def test_a_storm_of_rekeys_is_seen_as_one(desk: Desk) -> None:
    member = enlist(desk, "gw1")
    children = [
        event("child_rekeyed", number / 8, child="net", child_id=number, new_child_id=number + 1)
        for number in range(1, 5)
    ]
    sas = [event("ike_rekeyed", 1 + each, ike_id=2, old_ike_id=1) for each in (0, 0.25)]
    made = [event("child_established", 0, child="net", child_id=1), event("ike_established", 0.5)]
    sent(member, [*made, *children, *sas])
    # What is told twice of SAs with numbers is one fact all the same.
    assert [each.seconds for each in of(desk)] == [0.125, 0.125, 0.125, 0.125, 0.5]


def test_nothing_is_known_of_what_began_before(desk: Desk) -> None:
    member = enlist(desk, "gw1")
    sent(member, [event("child_rekeyed", 50, child="net", child_id=8, new_child_id=9)])
    assert of(desk) == []
    assert of(desk, "other") == []
    whole = intervals.of_connection(desk, OPERATOR, "gw1", CONNECTION)
    assert whole.since is not None
    assert whole.bounds.child is None
