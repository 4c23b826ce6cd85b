"""What an alert says while its condition changes."""

import pytest

from ike.detection.alert import Alert
from ike.detection.bounds import Bounds, Lifetime
from ike.detection.conditions import Conditions, Place
from ike.detection.watch import Watch
from tests.ike.detection.lines import START, Log, alerts

HOUR = {"site": Bounds(child=Lifetime(3600.0, 360.0, 3960.0))}
FOE = {"name": None, "source": "192.0.2.66"}


def only(log: Log, kind: str) -> Alert:
    (alert,) = [each for each in alerts(log, HOUR) if each.kind == kind]
    return alert


def test_a_certificate_that_expires_and_then_lacks_its_issuer() -> None:
    log = Log()
    for step in range(3):
        log.add(100 * step, "cert_invalid", ike_id=step, reason="expired")
    assert "expired" in only(log, "certificate_rejected").cause
    for step in range(3, 6):
        log.add(100 * step, "cert_invalid", ike_id=step, reason="issuer")
    alert = only(log, "certificate_rejected")
    assert (alert.start, alert.evidence["attempts"]) == (START, 6)
    assert alert.evidence["reason"] == "issuer"
    assert "does not trust" in alert.cause
    assert "authority" in alert.next_step


def test_a_policy_that_first_lacks_a_proposal_and_then_networks() -> None:
    log = Log()
    for step in range(8):
        kind = "proposal_mismatch" if step < 4 else "ts_unacceptable"
        log.add(100 * step, kind, ike_id=step)
    alert = only(log, "proposal_mismatch")
    assert "networks" in alert.cause
    assert "traffic selectors" in alert.next_step


def test_a_rekey_that_is_refused_and_then_never_comes() -> None:
    log = Log().up(0)
    for step in range(4):
        log.add(3300 + 20 * step, "child_rekey_failed", ike_id=1, child="net", child_id=1)
    assert "PFS" in only(log, "rekey_missed").cause
    for at in range(1000, 9000, 1000):
        log.add(at, "retransmit", ike_id=7, name="other", source="198.51.100.8", seq=1)
    log.events.sort(key=lambda each: each.time or 0.0)
    alert = only(log, "rekey_missed")
    assert (alert.end, alert.evidence["refusals"]) == (None, 4)
    assert "passed its lifetime" in alert.cause
    log.child(9500, 2).add(9501, "child_closed", ike_id=1, child="net", child_id=1, size=5)
    assert only(log, "rekey_missed").end == START + 9500


def test_a_guesser_who_was_slow_and_is_not_any_more() -> None:
    log = Log()
    for step in range(30):
        log.add(600 * step, "auth_failed", ike_id=step, identity=f"user{step}", **FOE)
    assert "slowly" in only(log, "auth_guessing").cause
    for step in range(30):
        log.add(18_000 + 10 * step, "auth_failed", ike_id=50 + step, identity=f"u{step}", **FOE)
    alert = only(log, "auth_guessing")
    assert "slowly" not in alert.cause
    assert alert.start == START


def test_many_strangers_of_whom_one_goes_on() -> None:
    """There were many, and it stays a scan."""
    log = Log()
    for step in range(30):
        log.add(10 * step, "unknown_peer", ike_id=step, name=None, source=f"203.0.113.{step}")
    for step in range(20):
        log.add(3700 + 20 * step, "unknown_peer", ike_id=50 + step, **FOE)
    alert = only(log, "unknown_peers")
    assert "scanned" in alert.cause


@pytest.mark.parametrize("first", ["", "configured"])
def test_a_severity_rises_and_does_not_fall(first: str) -> None:
    conditions, place = Conditions(), Place("gw", "site")
    for variant in (first, "", "configured"):
        conditions.sign("downgrade", place, START, [1], {}, variant=variant)
    (there,) = conditions.opened.values()
    assert there.alert().severity == "critical"
    assert "somebody between" in there.alert().cause


def test_the_newest_text_is_told_while_it_lasts() -> None:
    watch = Watch()
    for step in range(6):
        reason = "expired" if step < 3 else "constraint"
        watch.observe_all(Log().add(100 * step, "cert_invalid", ike_id=step, reason=reason).events)
        watch.advance(START + 100 * step + 50)
        if step == 2:
            assert "expired" in watch.alerts()[0].cause
    (alert,) = watch.alerts()
    assert (alert.end, "constraint" in alert.cause) == (None, True)


def clients(nights: int) -> Log:
    """Thirty users behind one address come each day; the lines that ended their SAs were lost in a hole."""
    log = Log()
    for night in range(nights):
        for user in range(30):
            at, ike = 86_400.0 * night + 60 * user, 100 * night + user
            one = {"name": "laptops", "source": "203.0.113.9", "identity": f"user{user}"}
            log.add(at, "ike_established", ike_id=ike, **one)
            if night:
                log.add(at + 9_000, "ike_deleted", ike_id=ike, **one)
    log.events.sort(key=lambda each: each.time or 0.0)
    return log


def test_sas_whose_ends_were_lost_are_no_duplicates_of_those_a_day_later() -> None:
    assert alerts(clients(3)) == []
