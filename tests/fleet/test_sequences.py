"""Which events of a stream came: in any order, however often, each is new once."""

import json

from hypothesis import given
from hypothesis import strategies as st

from fleet.monitoring.sequences import _MOST_AHEAD, Stream

BATCHES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=30)


@given(BATCHES)
def test_each_number_is_fresh_once(batches: list[tuple[int, int]]) -> None:
    stream, seen = Stream(), set()
    for first, count in batches:
        fresh = {first + place for place in stream.fresh(first, count)}
        assert fresh == set(range(first, first + count)) - seen
        seen |= fresh
        stream = Stream.of(json.loads(json.dumps(stream.taken(first, count).document())))
        assert set(range(stream.next)) <= seen
        assert stream.next not in seen
        missing = {n for a, b in stream.missing for n in range(a, b)}
        assert missing == set(range(max(seen, default=-1) + 1)) - seen
    assert stream.lost == 0


@given(BATCHES, st.integers(0, 90))
def test_what_can_never_come_is_not_waited_for(batches: list[tuple[int, int]], oldest: int) -> None:
    stream, seen = Stream(), set()
    for first, count in batches:
        stream = stream.taken(first, count)
        seen |= set(range(first, first + count))
    after = stream.without(oldest)
    assert after.next >= oldest
    assert after.lost == len(set(range(oldest)) - seen)
    for first, count in batches:
        assert after.fresh(first, count) == []
    assert after.without(oldest) == after


def test_what_is_behind_too_many_gaps_is_given_up() -> None:
    stream = Stream()
    for number in range(1, 4 * _MOST_AHEAD, 2):
        stream = stream.taken(number, 1)
        assert len(stream.ahead) <= _MOST_AHEAD
    assert stream.fresh(0, 1) == []
    assert stream.lost > 0
