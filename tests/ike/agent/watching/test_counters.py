"""charon's counters as remarks: what is new since the last look, through restarts, resets and nonsense."""

from typing import Any

import pytest

from ike.daemons.strongswan.counters import Reading, Tally, reading_of
from ike.events.event import REMARKS, SaEvent


def reading(half_open: int = 0, whose: str = "1-1", **counters: int) -> Reading:
    return Reading(whose, {name.replace("_", "-"): n for name, n in counters.items()}, half_open)


def counted(events: list[SaEvent]) -> dict[str, int | None]:
    assert {each.kind for each in events} <= REMARKS
    return {str(each.reason): each.number for each in events if each.kind == "counted"}


def test_what_was_before_the_agent_is_not_its_business() -> None:
    tally = Tally(None)
    assert tally.take(reading(invalid=5), 100.0) == []
    (event,) = tally.take(reading(invalid=7), 110.0)
    assert (event.kind, event.reason, event.number, event.time) == ("counted", "malformed", 2, 110)
    assert tally.take(reading(invalid=7), 120.0) == []


def test_what_was_counted_while_the_agent_was_away_is_told_once() -> None:
    first = Tally(None)
    first.take(reading(invalid_spi=5), 100.0)
    again = Tally(first.position)
    assert counted(again.take(reading(invalid_spi=9), 200.0)) == {"unknown_spi": 4}
    assert Tally(again.position).take(reading(invalid_spi=9), 300.0) == []


def test_it_says_in_how_long_a_time_so_many_came() -> None:
    tally = Tally(None)
    tally.take(reading(invalid_spi=5), 100.0)
    (often,) = tally.take(reading(invalid_spi=6), 110.0)
    (after_a_day,) = Tally(tally.position).take(reading(invalid_spi=30), 86_510.0)
    assert (often.seconds, after_a_day.seconds) == (10.0, 86_400.0)
    (put_back,) = Tally(tally.position).take(reading(invalid_spi=30), 50.0)
    assert put_back.seconds == 0.0


def test_another_charon_counts_from_nothing_and_so_do_reset_counters() -> None:
    tally = Tally(None)
    tally.take(reading(invalid=5), 100.0)
    assert counted(tally.take(reading(whose="2-2", invalid=3), 110.0)) == {"malformed": 3}
    assert counted(tally.take(reading(whose="2-2", invalid=1), 120.0)) == {"malformed": 1}
    away = Tally(tally.position)
    assert counted(away.take(reading(whose="2-2", invalid=0), 130.0)) == {}
    assert counted(away.take(reading(whose="2-2", invalid=2), 140.0)) == {"malformed": 2}


def test_answers_to_requests_that_were_not_taken_are_refusals() -> None:
    tally = Tally(None)
    tally.take(reading(ike_init_in_req=10, ike_init_out_resp=10), 100.0)
    late = reading(ike_init_in_req=12, ike_init_out_resp=11)  # one answer is on its way
    assert tally.take(late, 110.0) == []
    more = reading(ike_init_in_req=12, ike_init_out_resp=15)
    assert counted(tally.take(more, 120.0)) == {"refused": 3}


def test_half_open_ones_are_those_that_peers_began() -> None:
    tally = Tally(None)
    tally.take(reading(40, ike_init_in_req=0), 100.0)
    assert tally.take(reading(40, ike_init_in_req=2), 110.0) == []  # its own, to dead peers
    (event,) = tally.take(reading(40, ike_init_in_req=12), 120.0)
    assert (event.kind, event.number, event.seconds) == ("half_open", 12, 10.0)
    (event,) = tally.take(reading(0, ike_init_in_req=12), 130.0)
    assert (event.number, event.seconds) == (0, 10.0)
    assert tally.take(reading(0, ike_init_in_req=12), 140.0) == []
    assert tally.take(reading(9, ike_init_in_req=12), 200.0) == []  # nobody asked lately


ODD: list[Any] = [None, [], "x", {}, {"counters": "x"}, {"counters": {"": ["y"]}}]


@pytest.mark.parametrize("answer", [*ODD, {"counters": {"": {"invalid": "many"}}}])
def test_an_answer_that_is_none(answer: Any) -> None:
    found = reading_of("1-1", answer, {"ikesas": answer})
    assert (found.half_open, Tally(None).take(found, 1.0)) == (0, [])


@pytest.mark.parametrize(
    "position", [{}, {"counters": 7, "told": []}, {"told": {"x": "y"}}, {"told": {}, "at": "y"}]
)
def test_a_position_that_is_none(position: dict[str, Any]) -> None:
    tally = Tally(position)
    tally.take(reading(invalid=1), 1.0)
    assert counted(tally.take(reading(invalid=2), 2.0)) == {"malformed": 1}
