"""Failures that are too seldom for windows of minutes, and go on all day; and a life in which nothing does."""

from typing import Any

import pytest

from ike.detection.alert import Alert
from ike.detection.bounds import Planned
from ike.detection.records import restored, stored
from ike.detection.watch import Watch
from tests.ike.detection.lines import PEER, START, Log, alerts, kinds

DAY, HOUR = 86_400.0, 3_600.0
FOE = {"name": None, "source": "192.0.2.66"}


def refused(kind: str, pause: float, log: Log | None = None, **fields: Any) -> Log:
    """All day one attempt each `pause` seconds, told in two lines."""
    log = log or Log()
    for step in range(int((DAY - 100) / pause) + 1):
        for _ in range(2):
            log.add(100 + pause * step, kind, ike_id=50 + step, **fields)
    return log


def in_order(log: Log) -> Log:
    log.events.sort(key=lambda each: each.time or 0.0)
    return log


@pytest.mark.parametrize("pause", [301.0, 1_800.0, 7_000.0])
@pytest.mark.parametrize("who", [{"identity": "gw.example"}, {"identity": None}])
def test_a_tunnel_that_is_refused_all_day(pause: float, who: dict[str, Any]) -> None:
    (alert,) = alerts(refused("auth_failed", pause, **who))
    assert (alert.kind, alert.severity, alert.connection) == ("auth_failures", "high", "site")
    assert (alert.start, alert.raised) == (START + 100, START + 100 + 11 * pause)
    assert alert.evidence["attempts"] == int((DAY - 100) / pause) + 1
    assert alert.evidence["pause_seconds"] == pause
    assert alert.end is None
    assert "day" in alert.cause


@pytest.mark.parametrize("known", [False, True])
def test_one_source_guesses_one_identity_every_five_minutes(known: bool) -> None:
    log = Log()
    if known:
        log.up(0, identity="mallory", source="192.0.2.66")
    for step in range(288):
        log.add(100 + 300 * step, "auth_failed", ike_id=50 + step, name="site",
                identity=f"user{step}", source="192.0.2.66")  # fmt: skip
    (alert,) = alerts(log)
    assert (alert.kind, alert.severity) == ("auth_guessing", "critical")
    assert (alert.evidence["attempts"], alert.peer) == (288, "192.0.2.66")
    assert (alert.evidence["identities"], alert.evidence["sources"]) == (288, 1)
    assert alert.raised is not None
    assert alert.raised <= START + 6 * HOUR
    assert "slowly" in alert.cause


def test_a_few_identities_are_tried_all_day() -> None:
    log = Log()
    for step in range(140):
        log.add(600 * step, "auth_failed", ike_id=step, identity=f"user{step % 5}", **FOE)
    found = alerts(log)
    assert [each.kind for each in found if each.end is None] == ["auth_guessing"]


def test_who_is_up_elsewhere_fails_here_all_day() -> None:
    """His own reauthentications elsewhere end nothing of it."""
    log = refused("auth_failed", 900.0, Log().up(0), identity="gw.example", source="192.0.2.66")
    for hour in range(1, 24):
        log.up(hour * HOUR, 1000 + hour, 1000 + hour)
        log.add(hour * HOUR + 1, "ike_deleted", ike_id=999 + hour if hour > 1 else 1)
    (alert,) = alerts(in_order(log))
    assert (alert.kind, alert.peer, alert.end) == ("auth_failures", "192.0.2.66", None)
    assert alert.evidence["claimed_identities"] == ["gw.example"]
    assert "another address" in alert.cause


@pytest.mark.parametrize("kind", ["proposal_mismatch", "ts_unacceptable"])
@pytest.mark.parametrize("known", [False, True])
def test_a_policy_does_not_match_all_day(kind: str, known: bool) -> None:
    log = refused(kind, 600.0, Log().up(0) if known else None)
    (alert,) = alerts(log)
    assert (alert.kind, alert.connection, alert.peer) == ("proposal_mismatch", "site", PEER)
    assert (alert.evidence["attempts"], alert.evidence["pause_seconds"]) == (144, 600)
    assert ("networks" in alert.cause) == (kind == "ts_unacceptable")
    assert alert.end is None


@pytest.mark.parametrize(
    ("kind", "alerted"),
    [("unknown_peer", "unknown_peers"), ("proposal_mismatch", "proposal_mismatch")],
)
def test_a_stranger_asks_all_day(kind: str, alerted: str) -> None:
    (alert,) = alerts(refused(kind, 600.0, **FOE))
    assert (alert.kind, alert.peer, alert.end) == (alerted, "192.0.2.66", None)
    assert alert.evidence["attempts"] == 144


def test_a_certificate_is_rejected_every_other_hour() -> None:
    (alert,) = alerts(refused("cert_invalid", 7_200.0, reason="issuer"))
    assert (alert.kind, alert.evidence["attempts"]) == ("certificate_rejected", 12)
    assert (alert.raised, alert.end) == (START + 100 + 3 * 7_200, None)
    assert alert.evidence["reason"] == "issuer"


def test_a_revoked_certificate_is_shown_every_other_hour() -> None:
    """It is told at once, and is no series of alerts."""
    found = alerts(refused("cert_revoked", 7_200.0, reason="revoked"))
    assert [each.kind for each in found] == ["certificate_rejected"] * 2
    assert (found[0].raised, found[-1].end) == (START + 100, None)
    assert found[-1].evidence["attempts"] == 12


def test_a_device_without_numbers_of_which_no_connection_is_known() -> None:
    log, one = Log(), {"daemon": "asa", "name": None, "source": "192.0.2.66"}
    for step in range(20):
        for after, who in ((0.0, "bob"), (0.4, None)):
            log.add(600 * step + after, "auth_failed", identity=who, **one)
    (alert,) = alerts(log)
    assert (alert.kind, alert.evidence["attempts"]) == ("auth_failures", 20)


def test_success_ends_it_and_begins_the_count_anew() -> None:
    log = refused("auth_failed", 1_800.0, identity="gw.example").up(DAY + 10, 9000)
    for step in range(11):
        log.add(DAY + 600 + 1_800 * step, "auth_failed", ike_id=9100 + step, identity="gw.example")
    (alert,) = alerts(log)
    assert alert.end == START + DAY + 10


def test_it_ends_when_nobody_tries_any_more() -> None:
    log = refused("auth_failed", 1_800.0, identity="gw.example")
    for hour in range(20):
        log.up(DAY + hour * HOUR, 9000 + hour, 9000 + hour, name="other", source="198.51.100.9")
    (alert,) = [each for each in alerts(log) if each.kind == "auth_failures"]
    assert alert.end is not None


@pytest.mark.parametrize("timed", [True, False])
def test_what_goes_on_beside_an_act_of_ours_or_without_times(timed: bool) -> None:
    log, plan = Log(timed=timed), (Planned(START + 1_000, START + 5_000, "site", purpose="cut"),)
    for step in range(6):
        log.add(60 * step, "auth_failed", ike_id=step, identity="gw.example")
    for step in range(6):
        log.add(1_100 + 700 * step, "auth_failed", ike_id=50 + step, identity="gw.example")
    assert kinds(log, None, plan) == ["auth_failures"]


def test_a_condition_that_slows_down_is_one() -> None:
    log = Log()
    for step in range(5):
        log.add(60 * step, "auth_failed", ike_id=step, identity="gw.example")
    refused("auth_failed", 1_000.0, log, identity="gw.example")
    (alert,) = alerts(in_order(log))
    assert (alert.start, alert.end) == (START, None)


def laptop(log: Log, days: int) -> None:
    """Comes up each few hours from wherever it is, and mistypes now and then: at most twice, then it is right."""
    for step in range(days * 6):
        at, where = step * 4 * HOUR, f"203.0.113.{step % 9}"
        one: dict[str, Any] = {"name": "users", "source": where, "identity": "ann@example.com"}
        for wrong in range(step % 3):
            log.add(at + 20 * wrong, "auth_failed", ike_id=10_000 + 10 * step + wrong, **one)
        log.add(at + 60, "ike_established", ike_id=10_005 + 10 * step, **one)
        log.add(at + 3 * HOUR, "ike_deleted", ike_id=10_005 + 10 * step, **one)


def test_a_laptop_that_mistypes_now_and_then() -> None:
    log = Log()
    laptop(log, 7)
    assert kinds(in_order(log)) == []


def test_users_who_mistype_and_give_up_for_the_day() -> None:
    log = Log()
    for step in range(7 * 3):
        log.add(step * 8 * HOUR, "auth_failed", ike_id=2 * step, identity="bob", name="users")
        log.add(step * 8 * HOUR + 40, "auth_failed", ike_id=2 * step + 1, identity="bob",
                name="users")  # fmt: skip
    assert kinds(log) == []


def test_an_office_in_which_many_mistype_within_a_day() -> None:
    """Of sixty users behind one address each second one mistypes twice, by names that exist and come up after that."""
    log = Log()
    for step in range(180):
        who, at = f"user{step % 60}", 450.0 * step
        one: dict[str, Any] = {"name": "users", "source": "192.0.2.200", "identity": who}
        if step % 2:
            log.add(at, "auth_failed", ike_id=3 * step, **one)
            log.add(at + 30, "auth_failed", ike_id=3 * step + 1, **one)
        log.add(at + 60, "ike_established", ike_id=3 * step + 2, **one)
        log.add(at + 400, "ike_deleted", ike_id=3 * step + 2, **one)
    assert kinds(log) == []


def test_strangers_of_the_internet_come_by_each_few_hours() -> None:
    log = Log()
    for step in range(7 * 48):
        kind = ("unknown_peer", "proposal_mismatch")[step % 2]
        log.add(1_800 * step, kind, ike_id=step, name=None, source=f"203.0.113.{step % 6}")
    assert kinds(log) == []


def test_a_wrong_group_at_each_rekey_is_normal() -> None:
    log = Log().up(0)
    for step in range(1, 40):
        log.add(1_700 * step - 1, "invalid_ke", ike_id=1).child(1_700 * step, step + 1, old=step)
    assert kinds(log) == []


def test_what_we_do_ourselves_is_not_counted() -> None:
    plan = (Planned(START, START + 4 * HOUR, "site", purpose="maintenance"),)
    log = Log().up(0)
    for step in range(30):
        log.add(100 + 400 * step, "auth_failed", ike_id=50 + step, identity="gw.example")
    log.add(4 * HOUR + 100, "auth_failed", ike_id=90, identity="gw.example")
    assert kinds(log, None, plan) == []


def test_renewals_of_ours_are_rejected_once_in_a_while() -> None:
    log, plans = Log().up(0), []
    for step in range(6):
        at = 4 * HOUR * step + 500
        plans.append(Planned(START + at - 10, START + at + 600, "site", purpose="renewal"))
        log.add(at, "cert_invalid", ike_id=50 + step, reason="issuer")
        log.add(at, "auth_failed", ike_id=50 + step)
    assert kinds(log, None, tuple(plans)) == []


def test_a_memory_that_is_stored_between_goes_on_counting() -> None:
    watch = Watch()
    told: list[Alert] = []
    for event in refused("auth_failed", 1_800.0, identity="gw.example").events:
        watch.observe(event)
        watch.advance((event.time or 0.0) + 10)
        watch = restored(stored(watch))
    watch.settle()
    told = watch.alerts()
    assert [each.kind for each in told] == ["auth_failures"]


def test_what_is_remembered_of_slow_failures_has_bounds() -> None:
    watch = Watch()
    for step in range(30_000):
        at = START + 120.0 * step
        event = Log().add(0, "auth_failed", name="site", source="192.0.2.66",
                          identity=f"user{step}", ike_id=step).events[0]  # fmt: skip
        watch.observe(event._replace(line=step, time=at))
    (gateway,) = watch.gateways()
    (suspect,) = gateway.suspects.values()
    assert len(suspect.tried) <= 64
    assert all(len(signs) <= 64 for signs in suspect.signs.values())
    assert len(stored(watch)) < 300_000
