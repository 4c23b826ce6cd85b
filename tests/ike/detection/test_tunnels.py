"""Tunnels that do not stay up, SAs that stay too long, peers that come and go."""

from ike.detection.bounds import Bounds, Lifetime
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


def test_the_link_goes_up_and_down() -> None:
    log = Log()
    for step in range(4):
        log.up(400 * step, 10 + step, 100 + step)
        log.add(400 * step + 200, "giving_up", ike_id=10 + step)
        log.add(400 * step + 200, "dpd_timeout", ike_id=10 + step)
    (alert,) = alerts(log)
    assert (alert.kind, alert.evidence["losses"]) == ("dpd_flapping", 4)


def test_a_link_that_is_down_for_hours_went_down_once() -> None:
    log = Log().up(0)
    for step in range(40):
        log.add(100 + 165 * step, "ike_initiate", ike_id=10 + step)
        for seq in range(1, 6):
            log.add(110 + 165 * step + seq, "retransmit", ike_id=10 + step, seq=seq)
        log.add(260 + 165 * step, "giving_up", ike_id=10 + step)
    assert kinds(log) == []


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
