"""Failures, per identity and per source; floods, scans, certificates, the clock."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ike.detection.bounds import Planned
from tests.ike.detection.lines import START, Log, alerts, kinds

FOE = {"name": None, "source": "192.0.2.66"}


def failures(times: int, pause: float, log: Log | None = None, **fields: Any) -> Log:
    log = log or Log()
    for step in range(times):
        ike = 50 + step
        fields.setdefault("identity", "gw.example")
        log.add(100 + pause * step, "auth_failed", ike_id=ike, **fields)
        log.add(100 + pause * step, "auth_failed", ike_id=ike, **fields)
    return log


def test_one_identity_fails() -> None:
    (alert,) = alerts(failures(3, 60))
    assert (alert.kind, alert.evidence["attempts"], alert.identity) == (
        "auth_failures",
        3,
        "gw.example",
    )
    assert kinds(failures(2, 60)) == []
    assert kinds(failures(4, 400)) == []


def test_success_ends_it() -> None:
    (alert,) = alerts(failures(3, 60).up(400))
    assert alert.end == START + 400


def test_without_times() -> None:
    assert kinds(failures(3, 60, Log(timed=False))) == []
    assert kinds(failures(6, 60, Log(timed=False))) == ["auth_failures"]
    assert kinds(failures(25, 1, Log(timed=False), **FOE))[-1] == "auth_guessing"


def test_guessing() -> None:
    found = alerts(failures(30, 5, **FOE))
    assert [each.kind for each in found if each.end is None] == ["auth_guessing"]
    assert found[-1].peer == "192.0.2.66"


def test_one_secret_for_many_identities() -> None:
    log = Log()
    for step in range(6):
        log.add(10 * step, "auth_failed", ike_id=step, identity=f"user{step}", **FOE)
    assert kinds(log) == ["auth_guessing"]


def test_a_known_peer_with_an_old_secret_does_not_guess() -> None:
    log = failures(60, 5, Log().up(0).add(50, "ike_deleted", ike_id=1))
    assert kinds(log) == ["auth_failures"]


@pytest.mark.parametrize("times", [1, 2])
def test_our_own_rotation_fails(times: int) -> None:
    log = failures(times, 20, Log().up(0)).add(250, "unknown_peer", **FOE)
    plan = (Planned(START + 90, START + 300, "site"),)
    assert kinds(log, None, plan) == ["rotation_failed"]


def test_our_own_rotation_works() -> None:
    log = failures(1, 1, Log().up(0)).up(120, 99, 99).add(250, "unknown_peer", **FOE)
    assert kinds(log, None, (Planned(START + 90, START + 300, "site"),)) == []


def test_maintenance_is_silence() -> None:
    plan = (Planned(START, START + 3600, purpose="maintenance"),)
    assert kinds(failures(10, 20), None, plan) == []


def test_a_flood() -> None:
    log = Log()
    for step in range(200):
        log.add(0.5 * step, "half_open_limit", **FOE)
    (alert,) = alerts(log)
    assert (alert.kind, alert.evidence["source"]) == ("half_open_flood", "192.0.2.66")


def test_half_open_sas_that_time_out() -> None:
    log = Log()
    for step in range(60):
        log.add(step, "ike_respond", name=None, source=f"203.0.113.{step}", ike_id=step)
        log.add(step + 30, "ike_timeout", name=None, source=f"203.0.113.{step}", ike_id=step)
    assert kinds(log) == ["half_open_flood"]


def test_a_fleet_comes_back() -> None:
    log = Log()
    for step in range(100):
        log.add(0.1 * step, "half_open_limit", name=None, source="192.0.2.9")
        log.up(20 + 0.2 * step, step, step, name="clients", source="192.0.2.9", identity=f"u{step}")
    assert kinds(log) == []


def half_open(number: int, minutes: int, log: Log | None = None) -> Log:
    log = log or Log()
    for step in range(6 * minutes):
        fields: dict[str, Any] = {"name": None, "source": None, "number": number, "seconds": 10.0}
        log.add(10 * step, "half_open", **fields)
    return log


def test_half_open_sas_that_are_only_counted() -> None:
    """Cookies keep them at ten, and the daemon tells nothing of whom it asks for one."""
    (alert,) = alerts(half_open(10, 3))
    assert (alert.kind, alert.evidence["refused"], alert.peer) == ("half_open_flood", 0, None)
    assert alert.evidence["timed_out"] >= 20
    assert kinds(half_open(6, 1)) == []


def test_half_open_sas_of_a_fleet_that_comes_back() -> None:
    log = Log()
    for step in range(100):
        log.up(0.2 * step, step, step, name="clients", source="192.0.2.9", identity=f"u{step}")
    log.events.extend(half_open(60, 1).events)
    assert kinds(log) == []


def test_requests_that_are_only_counted() -> None:
    fields: dict[str, Any] = {"name": None, "source": None, "reason": "refused"}
    log = Log().add(0, "counted", number=12, **fields).add(60, "counted", number=9, **fields)
    (alert,) = alerts(log)
    assert (alert.kind, alert.evidence["attempts"]) == ("unknown_peers", 21)
    apart = Log().add(0, "counted", number=12, **fields).add(900, "counted", number=9, **fields)
    assert kinds(apart) == []
    other = Log().add(0, "counted", number=99, **{**fields, "reason": "unknown_spi"})
    assert kinds(other) == []


def test_requests_that_are_counted_beside_their_events_count_once() -> None:
    log = Log().add(0, "unknown_peer", **FOE)
    fields: dict[str, Any] = {"name": None, "source": None, "reason": "refused"}
    assert kinds(log.add(5, "counted", number=50, **fields)) == []


@pytest.mark.parametrize("kind", ["proposal_mismatch", "ts_unacceptable"])
def test_no_agreement(kind: str) -> None:
    log = Log()
    for step in range(4):
        log.add(100 * step, kind, ike_id=step)
    assert kinds(log) == ["proposal_mismatch"]


def test_one_wrong_group_each_time_is_normal() -> None:
    log = Log()
    for step in range(4):
        log.add(60 * step, "invalid_ke", ike_id=step).up(60 * step + 1, step, step)
        log.add(60 * step + 40, "ike_deleted", ike_id=step)
    assert kinds(log) == []
    loop = Log()
    for step in range(6):
        loop.add(60 * step, "invalid_ke", ike_id=step)
    assert kinds(loop) == ["proposal_mismatch"]


def test_strangers() -> None:
    one, many, daily = Log(), Log(), Log()
    for step in range(12):
        one.add(30 * step, "unknown_peer", ike_id=step, **FOE)
        many.add(60 * step, "unknown_peer", ike_id=step, name=None, source=f"203.0.113.{step}")
        daily.add(8000 * step, "unknown_peer", ike_id=step, name=None, source=f"203.0.113.{step}")
    assert [each.peer for each in alerts(one)] == ["192.0.2.66"]
    assert [each.evidence["sources"] for each in alerts(many)] == [12]
    assert alerts(daily) == []


def test_certificates() -> None:
    revoked = Log().add(0, "cert_revoked", ike_id=1).add(0, "auth_failed", ike_id=1)
    assert kinds(revoked) == ["certificate_rejected"]
    assert kinds(Log().add(0, "cert_invalid", ike_id=1, reason="issuer")) == []
    log = Log()
    for step in range(4):
        log.add(100 * step, "cert_invalid", ike_id=step, reason="issuer")
        log.add(100 * step, "auth_failed", ike_id=step)
    assert kinds(log) == ["certificate_rejected"]


def test_revocation_unchecked() -> None:
    assert kinds(Log().add(0, "crl_fetch_failed", ike_id=1, reason="crl").up(2)) == [
        "revocation_unchecked"
    ]
    assert kinds(Log().add(0, "crl_fetch_failed", ike_id=1, reason="ocsp").up(2)) == []
    assert kinds(Log().add(0, "crl_fetch_failed", ike_id=1, reason="crl")) == []


def test_the_clock_goes_back() -> None:
    log = Log().up(10_000).add(5_000, "ike_reauth", ike_id=1).add(5_100, "ike_reauth", ike_id=1)
    (alert,) = alerts(log)
    assert (alert.kind, alert.evidence) == ("clock", {"went_back_seconds": 5000})


def test_the_clock_by_certificates() -> None:
    log = Log()
    for step in range(3):
        log.add(
            60 * step, "cert_invalid", name=f"s{step}", source=f"203.0.113.{step}", reason="expired"
        )
    assert kinds(log) == ["clock"]


def test_daylight_saving_time_is_no_wrong_clock() -> None:
    sunday = datetime(2025, 10, 26, 2, 55, tzinfo=UTC).timestamp() - START
    log = Log().up(sunday - 600)
    log.add(sunday, "ike_reauth", ike_id=1).add(sunday - 3300, "ike_reauth", ike_id=1)
    assert kinds(log) == []
    monday = sunday + 86_400
    log = Log().up(monday - 600)
    log.add(monday, "ike_reauth", ike_id=1).add(monday - 3300, "ike_reauth", ike_id=1)
    assert kinds(log) == ["clock"]
