"""What the events of a log come to: SAs over time, rekeys counted once, failures by connection."""

import time
from typing import Any

import pytest

from ike.events.event import SaEvent
from ike.events.reader import Reader
from ike.events.summary import Connection, Intervals, Summary, summarized
from tests.events.recordings import recorded


def event(kind: str, time: float | None, line: int = 0, **fields: Any) -> SaEvent:
    connection = fields.pop("connection", "site")
    return SaEvent(kind, line, time, connection=connection, name=connection, **fields)


def one(events: list[SaEvent]) -> Connection:
    (connection,) = summarized(events).connections()
    return connection


def up(ike: int = 1, child: int = 1, at: float = 100.0) -> list[SaEvent]:
    return [
        event("ike_established", at, peer="192.0.2.1", ike_id=ike),
        event("child_established", at, ike_id=ike, child="net", child_id=child, spi_in=f"c{child}"),
    ]


def test_a_rekey_of_a_child_sa_is_one_rekey_in_any_wording() -> None:
    new = {"ike_id": 1, "child": "net", "child_id": 2, "spi_in": "c2"}
    wordings = {
        # charon 5.9, the end that rekeys: the new one, then the old one closes
        "new first": [
            event("child_established", 160.0, **new, reason="rekey"),
            event("child_closed", 160.0, ike_id=1, child="net", child_id=1, spi_in="c1"),
        ],
        # the other end: the old one closes, then the new one is whole
        "old first": [
            event("child_closed", 160.0, ike_id=1, child="net", child_id=1, spi_in="c1"),
            event("child_established", 160.1, **new, reason="rekey"),
        ],
        # charon 6: a sentence of its own, beside the others
        "said twice": [
            event("child_established", 160.0, **new),
            event("child_rekeyed", 160.0, ike_id=1, child="net", child_id=1, new_child_id=2),
            event("child_closed", 160.0, ike_id=1, child="net", child_id=1, spi_in="c1"),
        ],
        "alone": [event("child_rekeyed", 160.0, ike_id=1, child="net", child_id=1, new_child_id=2)],
        "announced": [
            event("child_rekeyed", 159.0, ike_id=1, child="net", child_id=1, phase="start"),
            event("child_established", 160.0, **new),
        ],
    }
    for wording, events in wordings.items():
        site = one([*up(), *events])
        counts = (site.counts["child_established"], site.counts["child_rekeys"])
        assert counts == (1, 1), wording
        assert site.child.points[0][1] == pytest.approx(60, abs=0.2), wording
        assert [life.number for life in site.lives if not life.ended] == [1, 2], wording


def test_a_child_sa_that_is_closed_and_made_anew_is_not_rekeyed() -> None:
    site = one(
        [
            *up(),
            event("child_closed", 130.0, ike_id=1, child="net", child_id=1, spi_in="c1"),
            event("child_established", 130.5, ike_id=1, child="net", child_id=2, spi_in="c2"),
        ]
    )
    assert (site.counts["child_established"], site.counts["child_rekeys"]) == (2, 0)


def test_child_sas_survive_the_rekey_of_their_ike_sa() -> None:
    site = one(
        [
            *up(),
            event("ike_rekeyed", 400.0, ike_id=2, old_ike_id=1),
            event("ike_deleted", 400.0, ike_id=1),
            event("child_established", 500.0, ike_id=2, child="net", child_id=2, reason="rekey"),
        ]
    )
    assert site.counts["ike_rekeys"] == 1
    assert site.ike.points == [(400.0, 300.0)]
    assert site.counts["child_rekeys"] == 1
    assert site.child.points == [(500.0, 400.0)]


def test_the_end_of_an_ike_sa_ends_its_children() -> None:
    for kind in ("ike_deleted", "giving_up", "dpd_timeout"):
        site = one([*up(), event(kind, 200.0, ike_id=1)])
        assert not site.is_up, kind
    assert one([*up(), event("giving_up", 200.0, ike_id=7)]).is_up, "another exchange"


def test_a_daemon_that_starts_has_no_sas() -> None:
    site = one([*up(), event("daemon_started", 300.0, connection=None)])
    assert not site.is_up


def test_reauthentication_is_no_rekey() -> None:
    site = one([*up(), event("ike_reauth", 300.0, ike_id=1), *up(2, 2, 300.1)])
    assert (site.counts["ike_established"], site.counts["ike_rekeys"]) == (2, 0)
    assert site.counts["ike_reauth"] == 1
    assert site.counts["child_rekeys"] == 0


def test_what_is_said_twice_is_counted_once() -> None:
    site = one(
        [
            *up(),
            *up(),
            event("auth_failed", 150.0, ike_id=2),
            event("auth_failed", 150.1, ike_id=2),
            event("auth_failed", 160.0, ike_id=3),
        ]
    )
    assert site.counts["ike_established"] == site.counts["child_established"] == 1
    assert site.counts["auth_failed"] == site.failures == 2


def test_what_a_peer_did_before_its_connection_is_known_counts_with_it() -> None:
    answered = SaEvent("ike_respond", 1, 99.0, peer="192.0.2.1", ike_id=1, source="192.0.2.1")
    site = one([answered, *up()])
    assert site.counts["ike_respond"] == 1
    stranger = SaEvent("unknown_peer", 9, 99.0, peer="192.0.2.7", source="192.0.2.7")
    assert len(summarized([stranger, *up()]).connections()) == 2


def test_a_child_sa_counts_with_the_connection_that_it_is_of() -> None:
    child = event("child_established", 100.0, connection="net", child="net", child_id=1)
    connection = one([up()[0], child._replace(name="site")])
    assert (connection.name, connection.counts["child_established"]) == ("site", 1)


def test_gateways_are_kept_apart() -> None:
    events = [each._replace(host=host) for host in ("gw1", "gw2") for each in up()]
    assert [each.gateway for each in summarized(events).connections()] == ["gw1", "gw2"]


def test_a_log_without_times_is_counted_all_the_same() -> None:
    events = [each._replace(time=None) for each in up()]
    again = event("child_established", None, ike_id=1, child="net", child_id=2, reason="rekey")
    site = one([*events, again])
    assert site.counts["child_rekeys"] == 1
    assert site.child.count == 0, "no interval is known"


@pytest.mark.parametrize("number", [1, None])
def test_an_ike_sa_that_got_no_child_sa_is_not_up(number: int | None) -> None:
    (ike, child) = up()
    assert one([ike]).is_up  # a log that tells of no Child SAs
    for kind in ("ts_unacceptable", "proposal_mismatch"):
        refusal = event(kind, 100.1, ike_id=number)
        assert not one([ike, refusal]).is_up
        assert one([ike, refusal, child._replace(time=200.0)]).is_up
        again = ike._replace(ike_id=2, time=300.0)
        assert one([ike, refusal, event("ike_deleted", 200.0, ike_id=1), again]).is_up
    # The proposals of the IKE SA itself did not fit at first.
    assert one([event("proposal_mismatch", 99.0, ike_id=number), ike]).is_up


@pytest.mark.parametrize(
    "name", ["ts_mismatch.left", "ts_mismatch.right", "child_proposal_mismatch.left"]
)
def test_a_recorded_tunnel_without_child_sa_is_not_up(name: str) -> None:
    reader = Reader(time.time())
    (site,) = summarized(reader.feed(recorded(name).read_bytes()) + reader.close()).connections()
    assert not site.is_up


def test_memory_stays_flat() -> None:
    intervals = Intervals()
    for number in range(100_000):
        intervals.add(float(number), 50.0 + number % 10)
    assert intervals.count == 100_000
    assert len(intervals.points) <= 600
    assert (intervals.shortest, intervals.longest) == (50.0, 59.0)
    assert 53 <= intervals.quantile(0.5) <= 56

    summary = Summary()
    for number in range(30_000):
        address = f"2001:db8::{number:x}"
        summary.observe(SaEvent("unknown_peer", number, float(number), peer=address))
    assert len(summary.connections()) <= 10_001
    assert sum(each.failures for each in summary.connections()) == 30_000

    for number in range(1_000):
        summary.observe(event("ike_established", float(number), ike_id=number))
        summary.observe(event("ike_deleted", float(number), ike_id=number))
    site = summary.connections()[0]
    assert (len(site.lives), site.unlisted) == (400, 600)
