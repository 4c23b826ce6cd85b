"""The lines of one device, and when what they tell happened."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings

from api.syslog.device import Device
from ike.agent.watching.crush import MOST
from ike.events.event import LEFT_OUT
from tests.events.said import pieces

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC).timestamp()
HOUR = 3600.0
DEAD = "DPD detected peer 198.51.100.2 is dead"


def old(at: float, zone: float = 0, text: str = DEAD) -> bytes:
    """RFC 3164: a clock of a zone that is not told."""
    moment = datetime.fromtimestamp(at + zone, UTC)
    return f"<28>{moment:%b} {moment.day:2} {moment:%H:%M:%S} srx kmd[1]: KMD_DPD_PEER_DOWN: {text}".encode()


def new(at: float) -> bytes:
    """RFC 5424."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"<28>1 {moment.isoformat()} srx kmd 1 KMD_DPD_PEER_DOWN - {DEAD}".encode()


def time_of(device: Device, line: bytes, now: float) -> float | None:
    [event] = device.hear(line, now)
    return event.time


@pytest.mark.parametrize("zone", [0, HOUR, -5 * HOUR, 5.75 * HOUR, 14 * HOUR, -12 * HOUR])
def test_a_zone_that_is_not_told_is_seen(zone: float) -> None:
    device = Device(NOW)
    assert time_of(device, old(NOW - 2, zone), NOW) == NOW - 2
    # From a relay that could not send for twenty minutes, and then for an hour.
    assert time_of(device, old(NOW - 1200, zone), NOW + 1) == NOW - 1200
    assert time_of(device, old(NOW - HOUR, zone), NOW + 2) == NOW - HOUR


def test_summer_ends_and_begins() -> None:
    device = Device(NOW)
    assert time_of(device, old(NOW, 2 * HOUR), NOW) == NOW
    for minutes in range(1, 20):
        at = NOW + minutes * 60
        found = time_of(device, old(at, HOUR), at)
        assert found == (at - HOUR if minutes <= 6 else at)
    assert time_of(device, old(NOW + 2 * HOUR, 2 * HOUR), NOW + 2 * HOUR) == NOW + 2 * HOUR


def test_a_time_that_is_told_is_believed() -> None:
    device = Device(NOW)
    for at in (NOW, NOW - 3 * HOUR, NOW - 90 * HOUR, NOW + 5 * HOUR):
        assert time_of(device, new(at), NOW) == at


def test_a_clock_that_was_never_set_tells_nothing_and_one_ahead_is_told_of() -> None:
    device = Device(NOW)
    assert time_of(device, old(NOW - 200 * 24 * HOUR), NOW) is None
    assert time_of(device, old(NOW + 20 * HOUR), NOW) == NOW + 20 * HOUR
    assert time_of(device, f"<28>srx kmd[1]: KMD_DPD_PEER_DOWN: {DEAD}".encode(), NOW) == NOW


def test_silence_is_vouched_for_up_to_the_last_line() -> None:
    device = Device(NOW)
    device.hear(b"anything", NOW + 5)
    assert device.vouched() == NOW + 3
    device.hear(new(NOW - HOUR), NOW + 6)
    assert device.vouched() == NOW - HOUR - 2
    device.hear(old(NOW + 7, 3 * HOUR), NOW + 7)
    assert device.vouched() == NOW + 5
    device.hear(new(NOW + HOUR), NOW + 8)
    assert device.vouched() == NOW + 6


def test_what_is_owed_is_settled_after_a_while() -> None:
    device = Device(NOW)
    assert device.settle(NOW) == []
    device.hear(b"x", NOW)
    assert device.settle(NOW + 0.5) is None
    assert device.settle(NOW + 1.5) == []


def test_a_flood_is_slowed_down() -> None:
    device = Device(NOW)
    assert sum(device.allow(NOW) for _ in range(30_000)) == 20_000
    assert sum(device.allow(NOW + 1) for _ in range(30_000)) == 2_000
    assert not device.allow(NOW - 5)


@settings(max_examples=60)
@given(pieces([old(NOW).decode(), new(NOW).decode(), "<13>", "Nov 31 25:61:61", "%ASA-5-713119: "]))
def test_any_line(data: bytes) -> None:
    device = Device(NOW)
    for each in data.split(b"\n"):
        for event in device.hear(each, NOW):
            assert event.time is None or event.time > 0
    device.vouched()
    device.settle(NOW + 5)


def asa(at: float, source: str, error: str) -> bytes:
    moment = datetime.fromtimestamp(at, UTC)
    said = f"Local:192.0.2.1:500 Remote:{source}:500 Username:Unknown IKEv2 Negotiation aborted due"
    return f"<164>{moment:%b %d %H:%M:%S} asa %ASA-4-750003: {said} to ERROR: {error}".encode()


@pytest.mark.parametrize("behind", [0.0, 200 * 24 * HOUR], ids=["the time", "a clock never set"])
def test_a_flood_of_strangers_is_a_number_and_a_guess_in_it_itself(behind: float) -> None:
    device = Device(NOW)
    told = []
    for number in range(2 * MOST):
        source = f"203.0.{number >> 8}.{number & 255}"
        said = asa(NOW - behind, source, "Failed to find a matching policy")
        told += device.hear(said, NOW + number / 1000)
    told += device.hear(asa(NOW, "198.51.100.66", "Auth exchange failed"), NOW + 1)
    assert [each.kind for each in told] == ["proposal_mismatch"] * MOST + ["auth_failed"]
    [counted] = device.left_out()
    assert (counted.kind, counted.reason, counted.number) == ("counted", LEFT_OUT, MOST)
    assert device.left_out() == []
    assert device.settle(NOW + 10) == []
