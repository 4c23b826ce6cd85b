"""Events with the oldest first, whichever way a log runs."""

from collections.abc import Iterator
from itertools import islice
from random import Random

from ike.events.event import SaEvent
from ike.events.order import oldest_first


def events(times: list[float | None]) -> list[SaEvent]:
    return [SaEvent("retransmit", line, at) for line, at in enumerate(times, 1)]


def test_a_log_in_order_is_passed_on_as_it_comes() -> None:
    def endless() -> Iterator[SaEvent]:
        line = 0
        while True:
            line += 1
            yield SaEvent("retransmit", line, float(line))

    assert [each.line for each in islice(oldest_first(endless())[0], 3)] == [1, 2, 3]


def test_a_log_with_the_newest_first_is_turned_round() -> None:
    # Lines of one second keep the order in which they were written: they are turned round too.
    log = events([9.0, 8.0, 8.0, 7.0, None, 3.0])
    assert [each.line for each in oldest_first(log)[0]] == [6, 5, 4, 3, 2, 1]


def test_a_log_in_no_order_is_sorted() -> None:
    times: list[float | None] = [float(number) for number in range(300)]
    Random(7).shuffle(times)
    assert [each.time for each in oldest_first(events(times))[0]] == sorted(
        times, key=lambda at: at or 0
    )


def test_a_clock_that_was_set_back_shows() -> None:
    times: list[float | None] = [*map(float, range(1000, 1100)), *map(float, range(500, 600))]
    log = events(times)
    assert list(oldest_first(log)[0]) == log


def test_a_log_without_times_stays_as_it_is() -> None:
    log = events([None] * 5)
    assert list(oldest_first(log)[0]) == log
    assert list(oldest_first([])[0]) == []
