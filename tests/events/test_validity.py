"""Too late or too early: what charon says of the dates of a certificate."""

from datetime import UTC, datetime, timedelta

import pytest

from ike.events.dialects.validity import is_early

_SAID = "subject certificate invalid (valid from Mar 04 08:00:00 2026 to Mar 04 08:00:00 2027)"
_BEGIN, _END = datetime(2026, 3, 4, 8, tzinfo=UTC), datetime(2027, 3, 4, 8, tzinfo=UTC)


@pytest.mark.parametrize("off", [timedelta(minutes=1), timedelta(days=400), timedelta(hours=-13)])
def test_the_nearer_end_tells(off: timedelta) -> None:
    # Up to thirteen hours within the dates: the log and the sentence are in different zones.
    assert is_early(_SAID, (_BEGIN - off).timestamp())
    assert not is_early(_SAID, (_END + off).timestamp())


@pytest.mark.parametrize(
    "said",
    ["", "subject certificate invalid", "valid from Foo 99 08:00:00 2026 to Mar 04 08:00:00 2027"],
)
def test_what_names_no_dates_is_not_early(said: str) -> None:
    assert not is_early(said, 0.0)
    assert not is_early(_SAID, None)
