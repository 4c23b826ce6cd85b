"""Tunnels that do not stay up, SAs that stay too long, peers that come and go."""

from typing import Any

import pytest

from ike.detection.bounds import Bounds, Lifetime, Planned
from ike.detection.watch import Watch
from tests.ike.detection.lines import START, Log, alerts, kinds


def loop(times: int, life: float, pause: float, *, timed: bool = True) -> Log:
    log = Log(timed=timed)
    for step in range(times):
        at = step * (life + pause)
        log.up(at, 10 + step, 100 + step).add(at + life, "ike_deleted", ike_id=10 + step)
    return log


def test_established_and_deleted_in_a_loop() -> None:
    (alert,) = alerts(loop(3, 4, 20))
    assert (alert.kind, alert.evidence["deletions"]) == ("sa_flapping", 3)
    assert (alert.start, alert.raised) == (START + 4, START + 52)
    assert kinds(loop(2, 4, 20)) == []
    assert kinds(loop(5, 30, 20)) == ["sa_flapping"]
    assert kinds(loop(8, 300, 20)) == []


def test_a_loop_in_a_log_without_times() -> None:
    (alert,) = alerts(loop(8, 4, 20, timed=False))
    assert (alert.kind, alert.start, alert.end) == ("sa_flapping", None, None)
    assert kinds(loop(3, 4, 20, timed=False)) == []


def test_short_reauthentication_is_no_loop() -> None:
    log = Log()
    for step in range(10):
        log.up(30 * step, 10 + step, 100 + step)
        log.add(30 * step, "rekey_scheduled", ike_id=10 + step, seconds=32.0)
        if step:
            log.add(30 * step + 1, "ike_deleted", ike_id=9 + step)
    assert kinds(log) == []


def test_a_restart_is_no_loop() -> None:
    log = Log().up(0)
    for step in range(4):
        log.add(20 + 10 * step, "daemon_started", name=None, source=None)
        log.up(21 + 10 * step, 2, 2).add(25 + 10 * step, "ike_deleted", ike_id=2)
    assert kinds(log) == []


@pytest.mark.parametrize("kind", ["address_changed", "configured"])
def test_what_a_peer_does_all_the_time_hides_no_loop(kind: str) -> None:
    log = Log()
    for step in range(60):
        log.up(5 * step, 10 + step, 100 + step)
        if step % 10 == 0:
            log.add(5 * step + 1, kind, ike_id=10 + step)
        log.add(5 * step + 4, "ike_deleted", ike_id=10 + step)
    assert kinds(log) == ["sa_flapping"]


def test_a_loop_goes_on_whatever_we_do() -> None:
    ours = (Planned(START - 60, START + 7200, "site", purpose="renewal"),)
    assert kinds(loop(3, 4, 20), planned=ours) == []
    assert kinds(loop(60, 4, 20), planned=ours) == ["sa_flapping"]


def test_the_link_goes_up_and_down() -> None:
    log = Log()
    for step in range(4):
        log.up(400 * step, 10 + step, 100 + step)
        log.add(400 * step + 200, "giving_up", ike_id=10 + step)
        log.add(400 * step + 200, "dpd_timeout", ike_id=10 + step)
    (alert,) = alerts(log)
    assert (alert.kind, alert.evidence["losses"]) == ("dpd_flapping", 4)


def outage(log: Log, tries: int, begin: float = 0, *, calls: bool = True, **fields: Any) -> Log:
    """An SA is given up at `begin` + 100, and then tries, each after 165 seconds."""
    log.add(begin + 100, "giving_up", ike_id=1, **fields)
    for step in range(tries):
        at = begin + 101 + 165 * step
        if calls:
            log.add(at, "ike_initiate", ike_id=10 + step, **fields)
        for seq in range(1, 6):
            log.add(at + 30 * seq, "retransmit", ike_id=10 + step, seq=seq, **fields)
        log.add(at + 164, "giving_up", ike_id=10 + step, **fields)
    return log


def test_a_peer_that_stays_away_is_told_until_it_is_back() -> None:
    log = outage(Log().add(-1, "ike_initiate", ike_id=1).up(0), 40)
    (alert,) = alerts(log)
    assert (alert.kind, alert.connection, alert.identity) == (
        "peer_unreachable",
        "site",
        "gw.example",
    )
    assert (alert.start, alert.end) == (START + 100, None)
    assert alert.raised is not None
    assert alert.raised - START == pytest.approx(1000, abs=60)
    assert (alert.evidence["tries"], alert.evidence["age_seconds"]) == (40, 40 * 165)
    (alert,) = alerts(log.up(7000, 99, 99))
    assert alert.end == START + 7000
    back = outage(Log().up(0), 40).up(7000, 99, 99, source="203.0.113.9")
    assert [each.end for each in alerts(back)] == [START + 7000]


@pytest.mark.parametrize("tries", [0, 1, 4])
def test_a_peer_that_is_away_for_minutes_is_not_told(tries: int) -> None:
    log = outage(Log().add(-1, "ike_initiate", ike_id=1).up(0), tries).up(800, 99, 99)
    assert kinds(log.rekeys([4300, 8000, 12_000], 100)) == []


def test_it_is_told_where_nobody_tries_any_more() -> None:
    """`keyingtries = 1`: after one try the daemon rests for ever."""
    log = outage(Log().add(-1, "ike_initiate", ike_id=1).up(0), 1)
    other = {"name": "other", "source": "203.0.113.5"}
    for step in range(20):
        log.add(300 + 60 * step, "retransmit", ike_id=77, **other)
    assert kinds(log) == ["peer_unreachable"]
    assert kinds(Log().up(0).add(100, "giving_up", ike_id=1).add(5000, "ike_reauth")) == []


def test_whom_nobody_calls_may_leave() -> None:
    log = Log()
    for number in range(20):
        log.add(600 * number, "giving_up", ike_id=number, name="clients", source="203.0.113.9")
    assert kinds(log) == []


def test_a_log_that_begins_when_the_peer_is_away() -> None:
    assert kinds(outage(Log(), 20)) == ["peer_unreachable"]
    assert kinds(outage(Log(timed=False), 20)) == ["peer_unreachable"]
    assert kinds(outage(Log(timed=False), 3)) == []


def test_its_return_is_seen_by_its_child_sa_too() -> None:
    log = (
        outage(Log().up(0), 10).child(2000, 50, 60).add(2100, "ike_reauth").add(2200, "ike_reauth")
    )
    (alert,) = alerts(log)
    assert alert.end is not None
    assert 2000 <= alert.end - START <= 2100


def test_a_lossy_path() -> None:
    log = Log().up(0)
    for step in range(8):
        log.add(60 * step + 4, "retransmit", ike_id=1, seq=1)
        log.add(60 * step + 11, "retransmit", ike_id=1, seq=2)
    assert kinds(log) == ["retransmit_storm"]


def test_crossing_checks_are_no_loss() -> None:
    log = Log().up(0)
    for step in range(30):
        log.add(100 * step, "retransmit", ike_id=1, seq=1)
    assert kinds(log) == []


def test_old_child_sas_stay() -> None:
    log = Log().up(0).child(3300, 2, old=1)
    for number in (3, 4, 5):
        log.child(3300 * (number - 1), number)
    (alert,) = alerts(log.add(15_000, "ike_reauth", ike_id=1))
    assert (alert.kind, alert.evidence["layer"]) == ("duplicate_sas", "child")


def test_closings_that_were_lost_hours_apart_are_no_duplicates() -> None:
    log = Log().up(0)
    for number in range(2, 40):
        old = None if number in (5, 15) else number - 1
        log.child(1800.0 * (number - 1), number, old=old)
    assert kinds(log) == []
    # A twin that is not closed, in one life after the other.
    again = Log().up(0).rekeys([900.0 * number for number in range(1, 8)])
    for number in (20, 30):
        at = 900.0 * (number // 10 + 6)
        again.child(at, number, old=8 if number == 20 else 20).child(at + 5, number + 1)
    again.add(12_000, "ike_reauth", ike_id=1)
    assert kinds(again) == ["duplicate_sas"]


def test_a_closing_that_was_lost_makes_no_third_one_of_a_handover() -> None:
    log = Log().up(0)
    for number in range(2, 30):
        log.child(1205.0 * number, number)
        if number != 5:
            log.add(1205.0 * number + 9, "child_closed", ike_id=1, child="net", child_id=number - 1)
    assert kinds(log) == []


def test_a_closing_that_was_lost_is_forgotten_when_others_follow() -> None:
    """Where bytes limit them, SAs live much shorter than they may."""
    hour = {"site": Bounds(child=Lifetime(3600.0, 360.0), rekey_bytes=500)}
    for lost, found in (((5, 10), []), ((5, 7), ["duplicate_sas"])):
        log = Log().up(0)
        for number in range(2, 20):
            log.child(300.0 * number, number, old=None if number in lost else number - 1)
        assert kinds(log, hour) == found


def test_after_a_lost_closing_limits_of_bytes_explain_collisions_too() -> None:
    limit = {"site": Bounds(child=Lifetime(3600.0, 360.0), rekey_bytes=500)}
    log, number = Log().up(0), 1
    for step in range(1, 40):
        at, old = 400.0 * step, number
        log.child(at, number + 1)
        number += 1
        if step % 2:
            log.add(at, "collision", ike_id=1).child(at + 0.1, number + 1)
            log.add(at + 0.3, "child_closed", ike_id=1, child="net", child_id=number, size=0)
            number += 1
        if step != 3:
            log.add(at + 1, "child_closed", ike_id=1, child="net", child_id=old, size=500)
    assert kinds(log, limit) == []


def over_vici(log: Log, times: list[float], size: int = 500) -> Log:
    """A rekey in one event, with what the replaced SA had carried; nothing tells that it is closed."""
    for number, at in enumerate(times, 1):
        log.add(
            at, "child_rekeyed", ike_id=1, child="net", child_id=number, new_child_id=number + 1,
            spi_in=f"c{number + 1:07x}", spi_out=f"d{number + 1:07x}", size=size,
        )  # fmt: skip
    return log


def test_over_vici_nobody_tells_that_a_replaced_sa_is_closed() -> None:
    log = Log().up(0)
    for at, kind in ((1, "child_established"), (5, "child_closed")):
        log.add(at, kind, ike_id=1, child="other", child_id=100, spi_in="c0", spi_out="d0")
    assert kinds(over_vici(log, [900.0 * step for step in range(1, 30)])) == []


def test_over_vici_a_rekey_may_be_lost() -> None:
    log = Log().up(0)
    for at, kind in ((1, "child_established"), (5, "child_closed")):
        log.add(at, kind, ike_id=1, child="other", child_id=100, spi_in="c0", spi_out="d0")
    over_vici(log, [1800.0 * step for step in range(1, 30)])
    log.events = [one for one in log.events if one.new_child_id not in (5, 7, 9, 11)]
    assert kinds(log) == []


def test_over_vici_a_limit_of_bytes_explains_short_lives() -> None:
    lifetime = Lifetime(3600.0, 360.0)
    times = [300.0 * step for step in range(1, 20)]
    by_bytes = {"site": Bounds(child=lifetime, rekey_bytes=1_000_000)}
    assert kinds(over_vici(Log().up(0), times, 950_000), by_bytes) == []
    assert kinds(over_vici(Log().up(0), times, 95_000), by_bytes) == ["rekey_too_fast"]


def test_over_vici_nobody_tells_of_collisions() -> None:
    times = [at for step in range(1, 12) for at in (700.0 * step, 700.0 * step + 0.1)]
    limit = {"site": Bounds(child=Lifetime(3600.0, 360.0), rekey_bytes=1_000_000)}
    assert kinds(over_vici(Log().up(0), times, 950_000), limit) == []
    storm = [3300 + 0.7 * step for step in range(30)]
    assert kinds(over_vici(Log().up(0), storm), limit) == ["rekey_too_fast"]


def test_ike_sas_whose_end_was_not_logged_are_not_side_by_side() -> None:
    """Twice, a hole in the log hides that one was replaced."""
    log = Log()
    for step, ike in enumerate((1, 3, 5)):
        at = 12_000.0 * step
        log.up(at, ike, 10 * ike)
        log.child(at + 6000, 10 * ike + 1, ike + 1)  # of one that is not known
        log.add(at + 11_999, "ike_deleted", ike_id=ike + 1)
    assert kinds(log.add(40_000, "unknown_peer", name=None, source="192.0.2.1")) == []


def test_years_pass_at_once_where_a_clock_was_wrong() -> None:
    """What is looked at each minute is not looked at for each of sixteen million of them."""
    log = Log().up(0)
    for number in (2, 3, 4, 5):
        log.up(3600 * (number - 1), number, number)
    watch = Watch()
    for event in log.events:
        watch.observe(event)
    watch.advance(START + 30 * 365 * 86_400, [None])
    assert "duplicate_sas" in {alert.kind for alert in watch.alerts()}


def test_many_clients_behind_one_address_are_no_duplicates() -> None:
    log = Log()
    for number in range(20):
        log.up(number, number, 100 + number, name="clients", identity=f"user{number}@example.com")
    assert kinds(log.add(9000, "unknown_peer", name=None, source="192.0.2.9")) == []


def test_collisions_at_each_rekey() -> None:
    log = Log().up(0)
    for step in range(1, 5):
        at = 3600.0 * step
        log.add(at, "collision", ike_id=1).add(at + 0.2, "collision", ike_id=1)
        log.child(at + 0.3, 10 * step).child(at + 0.4, 10 * step + 1)
        log.add(at + 0.6, "child_closed", ike_id=1, child="net", child_id=10 * step)
        old = 1 if step == 1 else 10 * step - 9
        log.add(at + 1, "child_closed", ike_id=1, child="net", child_id=old)
    (alert,) = alerts(log)
    assert alert.kind == "rekey_collisions"


def collisions(apart: int, times: int, jitter: float = 0.0) -> Log:
    """So many, with `apart` rekeys from one to the next, whose ages differ by `jitter` seconds."""
    log, at = Log().up(0), 0.0
    for step in range(1, apart * times + 1):
        at += 300.0 - jitter * (step * 7 % 10) / 9
        if step % apart == 0:
            log.add(at - 0.1, "collision", ike_id=1)
        log.child(at, step + 1, old=step)
    return log


@pytest.mark.parametrize(
    ("apart", "times", "found"),
    [(5, 20, []), (4, 6, ["rekey_collisions"]), (2, 5, ["rekey_collisions"])],
)
def test_how_often_rekeys_collide(apart: int, times: int, found: list[str]) -> None:
    """One of five is chance where lifetimes are short and jitter is small; one of four is none."""
    assert kinds(collisions(apart, times)) == found


def test_where_the_jitter_is_small_some_collisions_are_chance() -> None:
    known = {"site": Bounds(child=Lifetime(300.0, 18.0))}
    for bounds in (None, known):
        assert kinds(collisions(4, 6, 18.0), bounds) == []
        assert kinds(collisions(2, 12, 18.0), bounds) == ["rekey_collisions"]
    assert kinds(collisions(4, 6, 60.0)) == ["rekey_collisions"]


def test_limits_of_bytes_are_reached_together() -> None:
    limit = {"site": Bounds(child=Lifetime(3600.0, 360.0), rekey_bytes=500)}
    assert kinds(collisions(2, 12), limit) == []
    assert kinds(collisions(1, 19), limit) == ["rekey_collisions"]


def test_limits_of_bytes_that_nobody_told_collide_from_the_first_rekey_on() -> None:
    log, number = Log().up(0), 1
    for at in (300.0, 620.0, 1030.0, 1440.0):
        log.add(at, "collision", ike_id=1).child(at + 0.1, number + 1).child(at + 0.2, number + 2)
        for closed, size in ((number + 1, 0), (number, 9_000_000)):
            log.add(at + 1, "child_closed", ike_id=1, child="net", child_id=closed, size=size)
        number += 2
    assert kinds(log) == []


def test_two_hosts_with_one_identity() -> None:
    log = Log()
    for step in range(8):
        source = ("198.51.100.7", "203.0.113.9")[step % 2]
        log.up(60 * step, 10 + step, 100 + step, source=source)
        log.add(
            60 * step + 59,
            "duplicate_replaced",
            ike_id=10 + step,
            source=source,
            identity="gw.example",
        )
    (alert,) = alerts(log)
    assert (alert.kind, alert.identity) == ("identity_conflict", "gw.example")
    assert alert.evidence["addresses"] == ["198.51.100.7", "203.0.113.9"]


def everywhere(log: Log, places: int, begin: float, who: str = "boss@example.com") -> Log:
    """One identity comes up at so many addresses, and stays."""
    for step in range(places):
        ike = len(log.events) + 100
        where = f"203.0.{int(begin // 3600)}.{step}"
        log.add(begin + 60 * step, "ike_established", ike_id=ike, source=where, identity=who)
    return log


def test_one_identity_at_many_addresses() -> None:
    day = 86_400.0
    log = everywhere(everywhere(Log(), 2, 0), 40, 2 * day)
    (alert,) = alerts(log)
    assert (alert.kind, alert.identity) == ("identity_conflict", "boss@example.com")
    assert alert.evidence["at_once"] == 40
    assert alert.raised == START + 2 * day + 60 * 10
    assert "is up at many addresses" in alert.cause
    assert kinds(everywhere(everywhere(Log(), 2, 0), 10, 2 * day)) == []


@pytest.mark.parametrize(("who", "first"), [("group", 30), ("192.168.1.5", 2)])
def test_an_identity_of_many_hosts(who: str, first: int) -> None:
    log = everywhere(Log(), first, 0, who)
    for day in range(1, 5):
        everywhere(log, 60, day * 86_400.0, who)
    assert kinds(log) == []


def test_a_host_that_roams_and_whose_leaving_is_not_logged() -> None:
    log = Log()
    for step in range(200):
        where = f"203.0.113.{step}"
        log.add(4000.0 * step, "ike_established", ike_id=step, source=where, identity="phone")
    assert kinds(log) == []


def test_a_roaming_host() -> None:
    log = Log()
    for step in range(8):
        log.up(60 * step, 10 + step, 100 + step, source=f"203.0.113.{step}")
        log.add(60 * step + 59, "duplicate_replaced", ike_id=10 + step, identity="gw.example")
    assert kinds(log) == []


def test_one_sa_under_two_connections() -> None:
    spis = {"spi_in": "c0ffee01", "spi_out": "c0ffee02"}
    log = Log().add(0, "child_established", ike_id=1, child="net", child_id=1, **spis)
    log.add(0, "child_established", ike_id=1, child="net", child_id=1, **spis)
    assert kinds(log) == []
    log.add(5, "child_established", name="b", ike_id=2, child="net", child_id=2, **spis)
    (alert,) = alerts(log)
    assert (alert.kind, alert.evidence["other_connection"]) == ("sa_shared", "site")


def test_algorithms() -> None:
    log = Log().add(
        0, "algorithms", ike_id=1, algorithms="IKE:AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384"
    )
    log.up(1)
    assert kinds(log) == []
    weak = "IKE:3DES_CBC/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024"
    log.add(100, "ike_deleted", ike_id=1).add(200, "algorithms", ike_id=2, algorithms=weak).up(
        201, 2, 2
    )
    assert kinds(log) == ["downgrade", "weak_algorithm"]
    (alert,) = [each for each in alerts(log) if each.kind == "downgrade"]
    assert (alert.severity, alert.end) == ("critical", None)
    stranger = Log().add(0, "algorithms", name=None, source="192.0.2.1", ike_id=9, algorithms=weak)
    assert kinds(stranger) == []


def test_bounds_of_json() -> None:
    shown = {"child": {"rekey_time": 3600.0, "rand_time": 360.0}, "rekey_bytes": 5}
    bounds = Bounds.of(shown)
    assert bounds.child is not None
    assert (bounds.child.lower, bounds.rekey_bytes, bounds.ike) == (3240.0, 5, None)


def test_a_peer_moves_to_where_it_was_before() -> None:
    def child(at: float, number: int, source: str) -> None:
        # A daemon that shows no numbers.
        pair = {"spi_in": f"c{number:07x}", "spi_out": f"d{number:07x}"}
        log.add(at, "child_established", child="net", source=source, **pair)
        if number > 1:
            old = {"spi_in": f"c{number - 1:07x}", "spi_out": f"d{number - 1:07x}"}
            log.add(at + 1, "child_closed", child="net", source=source, **old)

    home, away = "198.51.100.7", "203.0.113.9"
    log = Log()
    log.add(0, "ike_established", source=away, identity="gw.example")
    log.add(100, "duplicate_replaced", source=away, identity="gw.example")
    log.add(100, "ike_established", source=home, identity="gw.example")
    child(101, 1, home)
    log.add(2000, "address_changed", source=away)
    for number in range(2, 12):
        child(2001 + 3300 * (number - 2), number, away)
    assert kinds(log, {"site": Bounds(child=Lifetime(3600.0, 360.0, 3960.0))}) == []


def test_one_closing_that_was_not_logged_is_no_surplus() -> None:
    log = Log().up(0).child(3300, 2)
    for number in range(3, 9):
        log.child(3300 * (number - 1), number, old=number - 1)
    assert kinds(log) == []


def test_vici_after_a_log_crowds_nothing() -> None:
    """The log told of closings; VICI tells of none, and not always what an SA had carried."""
    log = Log().up(0).rekeys([17.0 * step for step in range(1, 9)])
    for step in range(9, 40):
        pair = {"child": "net", "child_id": step, "new_child_id": step + 1}
        log.add(17.0 * step, "child_rekeyed", ike_id=1, spi_in=f"e{step:07x}", **pair)
    assert kinds(log) == []


def agreed(log: Log, at: float, ike: int, group: str) -> Log:
    text = f"IKE:AES_GCM_16_256/PRF_HMAC_SHA2_384/{group}"
    log.add(at, "algorithms", ike_id=ike, algorithms=text)
    log.add(at, "ike_established", ike_id=ike, identity="gw.example")
    log.add(at, "algorithms", ike_id=ike, algorithms="ESP:AES_GCM_16_256")
    return log.child(at, ike, ike).add(at + 100, "ike_deleted", ike_id=ike)


def test_a_weaker_policy_that_was_loaded_is_a_lesser_downgrade() -> None:
    log = agreed(Log(), 0, 1, "ECP_384").add(200, "configured", source=None)
    (alert,) = alerts(agreed(log, 300, 2, "MODP_2048"))
    assert (alert.kind, alert.severity, alert.end) == ("downgrade", "medium", None)
    assert (alert.evidence["before"], alert.evidence["now"]) == ("192 bits", "112 bits")
    (alert,) = alerts(agreed(log, 600, 3, "MODP_2048"))  # that is the measure now
    assert alert.end == START + 600
    (alert,) = alerts(agreed(log, 900, 4, "MODP_1024"))[1:2]
    assert (alert.kind, alert.severity) == ("downgrade", "critical")
    stronger = agreed(Log(), 0, 1, "MODP_2048").add(200, "configured", source=None)
    assert kinds(agreed(stronger, 300, 2, "ECP_384")) == []
