"""Times and hosts in front of messages, in every usual form."""

from datetime import UTC, datetime

import pytest

from ike.events.stamps import Stamps, end_of_stamp

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)

FORMS = [
    ('<189>date=2026-11-29 time=10:11:12 devname="fgt" devid="F" x', "2026-11-29T10:11:12", None),
    ("date=2026-11-29,time=10:11:12,devname=fgt,x", "2026-11-29T10:11:12", None),
    ("Nov 29 10:11:12 gw charon[1]: x", "2026-11-29T10:11:12", "gw"),
    ("Nov  9 10:11:12 gw.example charon: x", "2026-11-09T10:11:12", "gw.example"),
    ("Dec  1 10:11:12 gw charon: x", "2025-12-01T10:11:12", "gw"),  # not of this year yet
    ("Feb 29 10:11:12 07[IKE] x", "2024-02-29T10:11:12", None),
    ("Nov 29 10:11:12 2025 07[IKE] x", "2025-11-29T10:11:12", None),
    ("Nov 29 2025 10:11:12 gw : x", "2025-11-29T10:11:12", "gw"),
    ("<30>Nov 29 10:11:12 gw charon: x", "2026-11-29T10:11:12", "gw"),
    ("<30>1 2026-11-29T10:11:12.5+02:00 gw charon 12 - - x", "2026-11-29T08:11:12.5", "gw"),
    ("2026-11-29T10:11:12Z gw charon[1]: x", "2026-11-29T10:11:12", "gw"),
    ("2026-11-29T10:11:12+0000.610 07[IKE] x", "2026-11-29T10:11:12.610", None),
    ("2026-11-29T10:11:12Z.6 07[IKE] x", "2026-11-29T10:11:12", None),
    ("2026-11-29 10:11:12,250 07[IKE] x", "2026-11-29T10:11:12.25", None),
    ("Sun, 2026-11-29, 10:11:12 07[IKE] x", "2026-11-29T10:11:12", None),
    ("29.11.2026 10:11:12 07[IKE] x", "2026-11-29T10:11:12", None),
    ("gw_1  | 2026-11-29T10:11:12-0130 07[IKE] x", "2026-11-29T11:41:12", "gw_1"),
    ("07[IKE] x", None, None),
    ("Nov 31 10:11:12 gw charon: x", None, "gw"),
    ("", None, None),
]


@pytest.mark.parametrize(("line", "time", "host"), FORMS, ids=[each[0] for each in FORMS])
def test_a_stamp_is_read(line: str, time: str | None, host: str | None) -> None:
    stamps = Stamps(NOW.timestamp())
    expected = None if time is None else datetime.fromisoformat(f"{time}+00:00").timestamp()
    for _ in range(2):  # the second time from memory
        assert stamps.read(line.encode()) == (expected, host)


def test_what_is_remembered_is_bounded() -> None:
    stamps = Stamps(NOW.timestamp())
    for each in range(20_000):
        stamps.read(b"2026-11-29T10:11:12.%06d gw charon[1]: x" % each)
    assert len(stamps._known) <= 4096


def test_a_line_that_begins_with_a_stamp_is_told_from_one_that_holds_one() -> None:
    for line in (
        b"Nov 29 10:11:12 gw x",
        b"<30>1 2026-11-29T10:11:12Z",
        b"  2026-11-29 10:11:12 x",
    ):
        assert end_of_stamp(line) is not None
    for line in (
        b"<TimeCreated SystemTime='2026-11-29T10:11:12Z'/>",
        b"Date: 2026-11-29T10:11:12",
        b"",
    ):
        assert end_of_stamp(line) is None


@pytest.mark.parametrize("zone", ["+99:99", "-14:01", "+14:30", "+2359"])
def test_no_clock_is_farther_from_utc_than_fourteen_hours(zone: str) -> None:
    stamps = Stamps(NOW.timestamp())
    assert stamps.read(f"2026-11-29T10:11:12{zone} gw charon[1]: x".encode()) == (None, "gw")
    assert stamps.read(b"2026-11-29T10:11:12+14:00 gw charon[1]: x")[0] is not None
