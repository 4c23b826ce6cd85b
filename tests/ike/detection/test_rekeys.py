"""`rekey_too_fast` and `rekey_missed`, and what looks like them."""

from itertools import accumulate

import pytest

from ike.detection.bounds import Bounds, Lifetime, Planned
from ike.detection.watch import Watch
from tests.ike.detection.lines import START, Log, alerts, kinds

HOUR = {"site": Bounds(child=Lifetime(3600.0, 360.0, 3960.0))}
BY_BYTES = {"site": Bounds(child=Lifetime(3600.0, 360.0, 3960.0), rekey_bytes=1_000_000)}


def every(seconds: float, count: int, after: float = 0.0) -> list[float]:
    return [after + seconds * step for step in range(1, count + 1)]


def busy(log: Log, until: float) -> Log:
    """With lines of another tunnel: nobody can say that the log was silent."""
    for at in range(0, int(until), 1000):
        log.add(at, "retransmit", ike_id=99, name="other", source="198.51.100.8", seq=1)
    log.events.sort(key=lambda each: each.time or 0.0)
    return log


def test_rekeys_within_the_bounds_are_normal() -> None:
    assert kinds(Log().up(0).rekeys([3300, 6700, 10_200, 13_450]), HOUR) == []


def test_four_rekeys_below_the_bound() -> None:
    (alert,) = alerts(Log().up(0).rekeys([3300, 4300, 5300, 6300, 7300]), HOUR)
    assert (alert.kind, alert.severity, alert.connection) == ("rekey_too_fast", "high", "site")
    assert alert.evidence == {
        "rekeys": 4,
        "shortest_seconds": 1000.0,
        "longest_seconds": 1000.0,
        "lower_bound_seconds": 3240.0,
        "bound": "configured",
    }
    assert (alert.start, alert.raised, alert.end) == (START + 4300, START + 7300, None)
    assert len(alert.lines) == 4


def test_the_alert_ends_when_rekeys_are_normal_again() -> None:
    times = [*every(900, 4), *every(3300, 6, 3600)]
    (alert,) = alerts(Log().up(0).rekeys(times), HOUR)
    assert alert.end == START + 3600


def test_one_short_life_is_no_alert() -> None:
    assert kinds(Log().up(0).rekeys([3300, 3301, 6600, 9900, 9950]), HOUR) == []


def test_a_limit_of_bytes_explains_short_lives() -> None:
    log = Log().up(0)
    for number, at in enumerate(every(300, 20), 2):
        log.child(at, number)
        log.add(at + 1, "child_closed", ike_id=1, child="net", child_id=number - 1, size=950_000)
    assert kinds(log, BY_BYTES) == []
    assert kinds(log, HOUR) == ["rekey_too_fast"]


@pytest.mark.parametrize(("reason", "found"), [("bytes", []), ("time", ["rekey_too_fast"])])
def test_a_limit_that_the_kernel_tells_of(reason: str, found: list[str]) -> None:
    """It names no connection: that of the peer is meant."""
    log = Log().up(0)
    for number, at in enumerate(every(300, 20), 2):
        log.add(at - 1, "soft_expired", name=None, reason=reason, daemon="kernel")
        log.child(at, number, old=number - 1)
    assert kinds(log, HOUR) == found


def test_our_own_rotation_explains_short_lives() -> None:
    log = Log().up(0).rekeys([3300, 3330, 3360, 3390, 3420, 3450, 6700])
    assert kinds(log, HOUR) == ["rekey_too_fast"]
    assert kinds(log, HOUR, (Planned(START + 3300, START + 3500, "site"),)) == []
    assert kinds(log, HOUR, (Planned(START + 3300, START + 3500, "another"),)) != []


def test_a_bound_is_learned() -> None:
    normal = [3300.0 * step for step in range(1, 11)]
    assert kinds(Log().up(0).rekeys([*normal, *every(600, 4, 33_000)])) == ["rekey_too_fast"]
    assert kinds(Log().up(0).rekeys([*normal, *every(2900, 4, 33_000)])) == []


def test_a_storm_in_the_first_hour() -> None:
    (alert,) = alerts(Log().up(0).rekeys(every(1.5, 30)))
    assert alert.kind == "rekey_too_fast"
    assert "no configured lifetime" in alert.cause


def test_a_short_regular_lifetime_is_nobodys_fault() -> None:
    assert kinds(Log().up(0).rekeys([20.0, 39.0, 59.5, 80.0, 100.0, 119.0, 139.0])) == []


def test_a_new_shorter_lifetime_is_taken_over() -> None:
    normal = [3300.0 * step for step in range(1, 11)]
    (alert,) = alerts(Log().up(0).rekeys([*normal, *every(900, 30, 33_000)]))
    assert alert.end is not None


def test_a_new_lifetime_that_a_hole_hides_is_taken_over_without_an_alarm() -> None:
    log = Log().up(0).rekeys([3300.0 * step for step in range(1, 11)])
    for number, at in enumerate(every(900, 12, 43_000), 30):
        log.child(at, number, old=number - 1)
    assert kinds(log) == []


def test_what_was_long_normal_is_not_unlearned_little_by_little() -> None:
    ages, age = [3300.0] * 24, 3300.0
    while age > 300:
        ages += [age] * 6
        age *= 0.8
    assert kinds(Log().up(0).rekeys(list(accumulate(ages)))) == ["rekey_too_fast"]
    (alert,) = alerts(Log().up(0).rekeys(list(accumulate([*ages, *[4.0] * 100]))))
    assert (alert.kind, alert.end) == ("rekey_too_fast", None)


@pytest.mark.parametrize("age", [4.0, 61.0, 130.0])
def test_a_storm_that_is_regular_is_a_storm(age: float) -> None:
    (alert,) = alerts(Log().up(0).rekeys(list(accumulate([3300.0] * 24 + [age] * 100))))
    assert (alert.kind, alert.end, alert.evidence["rekeys"]) == ("rekey_too_fast", None, 100)


@pytest.mark.parametrize("age", [4.0, 8.1])
def test_a_new_connection_is_never_that_fast(age: float) -> None:
    log = Log().up(0).rekeys(list(accumulate([3.1] * 3 + [9.0] * 3 + [age] * 50)))
    (alert,) = alerts(log)
    assert (alert.kind, alert.end) == ("rekey_too_fast", None)


@pytest.mark.parametrize("age", [10.5, 61.0])
def test_nobody_configures_so_short_a_lifetime_for_an_hour(age: float) -> None:
    assert kinds(Log().up(0).rekeys(every(age, int(3500 / age)))) == []
    log = Log().up(0).rekeys(every(age, 500))
    (alert,) = alerts(log)
    assert (alert.kind, alert.end, alert.start) == ("rekey_too_fast", None, START)
    assert alert.evidence["rekeys"] == 500
    (alert,) = alerts(Log().up(0).rekeys([*every(age, 500), *every(3300, 3, 500 * age)]))
    assert alert.end is not None


def loaded(ages: list[float], loads: list[float]) -> Log:
    """Rekeys at these ages, and a connection that is loaded again at these times."""
    log = Log().up(0).rekeys(list(accumulate(ages)))
    for at in loads:
        log.add(at, "configured")
    log.events.sort(key=lambda each: each.time or 0.0)
    return log


def test_a_connection_that_is_loaded_again_may_have_another_lifetime() -> None:
    ages = [3300.0] * 24 + [1100.0] * 20
    assert kinds(loaded(ages, [24 * 3300.0 + 5])) == []
    longer = [3300.0] * 24 + [28_000.0] * 3
    assert kinds(loaded(longer, [24 * 3300.0 + 5])) == []


@pytest.mark.parametrize("pause", [60.0, 3600.0])
def test_a_connection_that_is_loaded_all_the_time_keeps_its_bounds(pause: float) -> None:
    until = 24 * 3300.0 + 200 * 130.0
    loads = [pause * step for step in range(1, int(until / pause))]
    log = loaded([3300.0] * 24 + [130.0] * 200, loads)
    (alert,) = alerts(log)
    assert (alert.kind, alert.end) == ("rekey_too_fast", None)


def test_loading_a_connection_hides_no_storm() -> None:
    begin = 24 * 3300.0
    log = loaded([3300.0] * 24 + [12.0] * 500, [begin + 48.0 * step for step in range(100)])
    (alert,) = alerts(log)
    assert (alert.kind, alert.end) == ("rekey_too_fast", None)
    assert alert.raised is not None
    assert alert.raised < START + begin + 600


def test_a_storm_that_slows_down_goes_on() -> None:
    ages = [2.0] * 20 + [12.0] * 50
    (alert,) = alerts(Log().up(0).rekeys(list(accumulate(ages))))
    assert alert.end is None
    (alert,) = alerts(Log().up(0).rekeys(list(accumulate([*ages, *[3300.0] * 8]))))
    assert alert.end is not None


def test_a_rekey_that_never_comes() -> None:
    log = Log().up(0).rekeys([3300.0])
    log.add(3300, "ike_established", ike_id=7, name="other", source="198.51.100.8")
    for at in range(4000, 13_000, 1000):
        log.add(at, "retransmit", ike_id=7, name="other", source="198.51.100.8", seq=1)
    (alert,) = alerts(log, HOUR)
    assert (alert.kind, alert.evidence["sa"]) == ("rekey_missed", "child")
    # Its life_time, and one more life.
    assert START + 3300 + 3960 + 3600 <= (alert.raised or 0) <= START + 3300 + 3960 + 3900


def test_a_rekey_that_never_comes_where_the_ike_sa_is_due_much_later() -> None:
    log = Log().up(0).add(1, "rekey_scheduled", ike_id=1, seconds=40_000.0)
    log.rekeys(every(3300, 11))
    assert kinds(busy(log, 60_000)) == ["rekey_missed"]


@pytest.mark.parametrize("seconds", [float("inf"), 1.7e308, 1e12])
def test_a_timer_that_no_daemon_has_is_none(seconds: float) -> None:
    log = Log().up(0).add(1, "rekey_scheduled", ike_id=1, seconds=seconds)
    assert kinds(log.rekeys(every(3300, 11))) == []


def test_a_rekey_whose_line_was_lost_is_not_missed() -> None:
    log = Log().up(0).rekeys([3300.0, 6600.0])
    # The next one, 3, was not logged.
    log.child(13_200, 5, old=4).child(16_500, 6, old=5)
    for at in range(1000, 20_000, 500):
        log.add(at, "retransmit", ike_id=7, name="other", source="198.51.100.8", seq=1)
    log.events.sort(key=lambda each: each.time or 0.0)
    assert kinds(log, HOUR) == []


def test_a_hole_in_the_log_hides_rekeys() -> None:
    log = Log().up(0).rekeys([3300.0, 6600.0])
    # Eight rekeys were not logged.
    log.child(36_000, 12, old=11).child(39_300, 13, old=12)
    assert kinds(log, HOUR) == []


@pytest.mark.parametrize("pause", [3000.0, 4500.0])
def test_a_rekey_that_never_comes_in_a_quiet_log(pause: float) -> None:
    """Where lines are always so far apart that silences could hide two rekeys, no rekey in many lives is no hole."""
    log = Log().up(0).rekeys([3300.0])
    for step in range(1, 30):
        log.add(3300 + pause * step, "unknown_peer", name=None, source=f"192.0.2.{step}")
    (alert,) = alerts(log, HOUR)
    assert (alert.kind, alert.start) == ("rekey_missed", START + 3300)
    assert alert.raised is not None
    assert alert.raised < START + 3300 + 10 * 3600


def test_a_rekey_that_never_comes_after_seven_that_did() -> None:
    """Of a configuration that nobody told, as soon as the rekeys show one."""
    log = Log().up(0).rekeys(every(3300, 7))
    assert kinds(busy(log, 60_000)) == ["rekey_missed"]
    irregular = Log().up(0).rekeys([1000, 6000, 8000, 20_000, 21_000, 25_000, 33_000])
    assert kinds(busy(irregular, 90_000)) == []
    few = Log().up(0).rekeys(every(3300, 3))
    assert kinds(busy(few, 60_000)) == []


def test_a_hole_of_many_lives_is_waited_for() -> None:
    log = Log().up(0).rekeys([3300.0])
    for at in range(50_000, 53_000, 500):
        log.add(at, "retransmit", ike_id=7, name="other", source="198.51.100.8", seq=1)
    assert kinds(log, HOUR) == []
    assert kinds(log.child(53_000, 20, old=19), HOUR) == []


def test_a_hole_hides_rekeys_however_long_silences_were_before() -> None:
    bounds = {"site": Bounds(child=Lifetime(900.0, 90.0, 990.0))}
    log = Log()
    for step in range(40):
        log.add(5000 * step, "retransmit", ike_id=7, name="other", source="198.51.100.8", seq=1)
    log.up(200_000).rekeys([200_900, 201_800])
    log.child(204_500, 6, old=5).child(205_400, 7, old=6)
    assert kinds(log, bounds) == []


def test_a_daemon_whose_start_was_not_logged_gives_its_numbers_again() -> None:
    log = Log().up(0).rekeys([3300.0, 6600.0])
    log.up(9800, 1, 3).child(13_100, 4, old=3).child(16_400, 5, old=4)
    assert kinds(log, HOUR) == []


@pytest.mark.parametrize(("spi", "found"), [("c0000001", ["rekey_missed"]), ("cfffffff", [])])
def test_a_number_is_not_enough_to_call_an_sa_old(spi: str, found: list[str]) -> None:
    log = Log().up(0).child(12_000, 2)
    log.add(12_001, "child_closed", ike_id=1, child="net", child_id=1, spi_in=spi, size=5)
    assert kinds(log, HOUR) == found


def test_a_number_that_another_peer_has_now() -> None:
    log = Log()
    for step in range(2):
        log.add(5000 * step, "ike_established", ike_id=1, name="users", source=f"203.0.113.{step}")
    watch = Watch()
    watch.observe_all(log.events)
    watch.settle()
    (gateway,) = watch.gateways()
    assert {source: set(each.up) for (_, source), each in gateway.tunnels.items()} == {
        "203.0.113.0": set(),
        "203.0.113.1": {1},
    }


def test_a_peer_that_moved_may_still_miss_a_rekey() -> None:
    log = Log().up(0).add(100, "address_changed", ike_id=1, source="203.0.113.5")
    assert kinds(busy(log, 20_000), HOUR) == ["rekey_missed"]


def test_an_identity_that_is_elsewhere_now() -> None:
    log = Log().up(0).rekeys([3300.0])
    other = {"name": "site", "source": "203.0.113.5", "ike_id": 2, "child": "net", "child_id": 3}
    log.add(5000, "ike_established", identity="gw.example", **other)
    log.add(5000, "child_established", **other).add(6000, "child_closed", **other)
    assert kinds(busy(log, 20_000), HOUR) == []


def test_a_peer_that_came_back_while_nothing_was_logged() -> None:
    log = Log().up(0).rekeys([3300.0]).add(5000, "duplicate_replaced", ike_id=1)
    away = {"name": "site", "source": "203.0.113.5", "ike_id": 2, "child": "net", "child_id": 3}
    log.add(5000, "ike_established", **away).add(5000, "child_established", **away)
    for step in range(4):
        log.child(9000 + 3300 * step, 9 + step, 3, old=8 + step)
    assert kinds(busy(log, 20_000), HOUR) == []


@pytest.mark.parametrize("end", ["ike_deleted", "duplicate_replaced"])
def test_what_came_up_without_a_line_is_gone_with_its_ike_sa(end: str) -> None:
    log = Log().up(0).rekeys([3300.0])
    away = {"ike_id": 9, "source": "203.0.113.5"}
    log.add(5000, "child_established", child="net", child_id=8, **away)
    log.add(6000, end, **away).up(6000, 10, 11)
    for step in range(4):
        log.child(9300 + 3300 * step, 12 + step, 10, old=11 + step)
    assert [each.peer for each in alerts(busy(log, 20_000), HOUR)] == []


def test_a_peer_that_moved_while_nothing_was_logged() -> None:
    log = Log().up(0).rekeys([3300.0])
    for step in range(5):
        log.add(
            6800 + 3300 * step, "child_established", ike_id=1, source="203.0.113.5", child="net",
            child_id=4 + step, spi_in=f"c{4 + step:07x}", spi_out=f"d{4 + step:07x}", name="site",
        )  # fmt: skip
        if step:
            log.add(6801 + 3300 * step, "child_closed", source="203.0.113.5", child_id=3 + step)
    log.events = [one._replace(ike_id=None) for one in log.events]
    assert kinds(busy(log, 20_000), HOUR) == []


def test_a_late_rekey_ends_it() -> None:
    (alert,) = alerts(Log().up(0).rekeys([3300.0, 9900.0]), HOUR)
    assert (alert.kind, alert.end) == ("rekey_missed", START + 9901)


def test_a_closed_tunnel_misses_nothing() -> None:
    log = Log().up(0).rekeys([3300.0]).add(4000, "ike_deleted", ike_id=1)
    log.add(20_000, "unknown_peer", name=None, source="192.0.2.1")
    assert kinds(log, HOUR) == []


def test_refused_again_and_again() -> None:
    log = Log().up(0)
    for step in range(4):
        log.add(3300 + 20 * step, "child_rekey_failed", ike_id=1, child="net", child_id=1)
    (alert,) = alerts(log, HOUR)
    assert (alert.kind, alert.evidence["refusals"]) == ("rekey_missed", 4)
    assert "PFS" in alert.cause


def test_refused_once_in_a_collision() -> None:
    log = Log().up(0).add(3300, "child_rekey_failed", ike_id=1, child="net", child_id=1)
    assert kinds(log.rekeys([3302.0]), HOUR) == []


def test_mobike_and_a_restart_explain_short_lives() -> None:
    log = Log().up(0).rekeys([3300.0])
    for step in range(4):
        at = 3400 + 100 * step
        log.add(at, "address_changed", ike_id=1, source=f"203.0.113.{step}")
        log.child(at + 1, 3 + step, old=2 + step)
    assert kinds(log, HOUR) == []


def test_a_move_explains_no_storm() -> None:
    log = Log().up(0).rekeys([3300.0]).add(3400, "address_changed", ike_id=1)
    log.rekeys([3401 + 1.9 * step for step in range(25)], 3)
    (alert,) = alerts(log, HOUR)
    assert (alert.kind, alert.start) == ("rekey_too_fast", START + 3401)


def stormy(step: float, count: int, moved: float, after: float = 3400.0) -> Log:
    """Rekeys each `step` seconds, and an address that changes each `moved` seconds."""
    log = Log().up(0).rekeys([3300.0])
    for at in range(int(after), int(after + step * count), int(moved)):
        log.add(at, "address_changed", ike_id=1)
    log.rekeys([after + 1 + step * each for each in range(count)], 3)
    log.events.sort(key=lambda each: each.time or 0.0)
    return log


def test_a_peer_that_moves_all_the_time_does_not_hide_a_storm() -> None:
    (alert,) = alerts(stormy(5.0, 200, 50.0), HOUR)
    assert (alert.kind, alert.end) == ("rekey_too_fast", None)


def test_child_sas_that_are_idle_explain_no_storm_of_another() -> None:
    log = stormy(5.0, 200, 50.0)
    for child in range(50):
        log.add(
            -9, "child_established", ike_id=1, child=f"idle{child}", child_id=9_000 + child,
            spi_in=f"a{child:07x}", spi_out=f"b{child:07x}",
        )  # fmt: skip
    log.events.sort(key=lambda each: each.time or 0.0)
    assert kinds(log, HOUR) == ["rekey_too_fast"]


def test_an_end_that_closes_first_excuses_no_more() -> None:
    """charon's end that did not start the rekey."""
    log = Log().up(0)
    for child in range(50):
        log.add(
            1, "child_established", ike_id=1, child=f"idle{child}", child_id=9_000 + child,
            spi_in=f"a{child:07x}", spi_out=f"b{child:07x}",
        )  # fmt: skip
    for step in range(200):
        at = 3300 + 5 * step
        if step % 10 == 0:
            log.add(at - 1, "address_changed", ike_id=1)
        log.add(at, "child_closed", ike_id=1, child="net", child_id=1 + step)
        log.add(
            at + 0.1, "child_established", ike_id=1, child="net", child_id=2 + step,
            spi_in=f"c{2 + step:07x}", spi_out=f"d{2 + step:07x}", reason="rekey",
        )  # fmt: skip
    assert kinds(log, HOUR) == ["rekey_too_fast"]


def test_a_move_rekeys_every_child_sa() -> None:
    log = Log().up(0)
    for move in range(12):
        at = 300.0 * move + 100
        log.add(at, "address_changed", ike_id=1)
        for child in range(50):
            number = 100 * (move + 1) + child
            log.add(
                at + 1, "child_rekeyed", ike_id=1, child=f"net{child}", child_id=number - 100,
                new_child_id=number, spi_in=f"a{number:07x}", spi_out=f"b{number:07x}",
            )  # fmt: skip
    assert kinds(log, HOUR) == []


def test_a_soft_limit_that_is_told_all_the_time_hides_no_storm() -> None:
    log = stormy(5.0, 200, 2000.0)
    for at in range(3400, 4400, 30):
        log.add(at, "soft_expired", ike_id=1, reason="bytes", daemon="kernel")
    log.events.sort(key=lambda each: each.time or 0.0)
    assert kinds(log, HOUR) == ["rekey_too_fast"]


def test_who_roams_twelve_times_an_hour_roams() -> None:
    log = stormy(300.0, 12, 300.0)
    assert kinds(log, HOUR) == []


@pytest.mark.parametrize("purpose", ["renewal", "rotation", "cut"])
def test_what_we_do_explains_no_storm(purpose: str) -> None:
    log = Log().up(0).rekeys([3300.0, *every(1.0, 25, 3400.0)])
    ours = (Planned(START + 3300, START + 3960, "site", purpose=purpose),)
    assert kinds(log, HOUR, ours) == ["rekey_too_fast"]


def test_renewals_one_after_the_other_explain_no_storm() -> None:
    log = Log().up(0).rekeys([3300.0, *every(20.0, 100, 3400.0)])
    ours = tuple(
        Planned(START + at, START + at + 660, None, purpose="renewal")
        for at in range(3300, 5500, 60)
    )
    assert kinds(log, HOUR, ours) == ["rekey_too_fast"]
