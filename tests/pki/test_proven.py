"""What the sequencer knows of leaves: never more than it was told, however much it forgets."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from pki.proven import Proven
from store.audit_tree import RECENT, Leaf, Run
from tests.fixtures.desk import NOW

BATCHES = st.lists(
    st.tuples(st.lists(st.booleans(), max_size=30), st.integers(0, 300)), min_size=1, max_size=20
)


def leaf(position: int, event: int) -> Leaf:
    return Leaf(position, event, b"")


def known(proven: Proven) -> set[tuple[int, int]]:
    """As pairs of position and id."""
    return {
        (event - run.shift, event)
        for run in proven.runs
        for event in range(run.first, run.last + 1)
    }


@given(BATCHES)
def test_nothing_is_known_that_was_not_told(batches: list[tuple[list[bool], int]]) -> None:
    """Ids in order with gaps between some, over some minutes."""
    proven, told, event, now = Proven(), set(), 0, NOW
    for gaps, seconds in batches:
        now += timedelta(seconds=seconds)
        leaves = []
        for gap in gaps:
            event += 1 + gap
            leaves.append(leaf(len(told) + len(leaves), event))
        proven.add(leaves, now)
        told |= {(each.position, each.event_id) for each in leaves}
        assert known(proven) <= told
        assert len(proven.runs) <= 64
        # Nothing of the last moment is forgotten, unless it is in very many pieces.
        if sum(gaps) < 5:
            assert {(each.position, each.event_id) for each in leaves} <= known(proven)


def test_successive_leaves_are_one_run() -> None:
    proven = Proven()
    proven.add([leaf(each, each + 7) for each in range(5)], NOW)
    proven.add([leaf(each, each + 7) for each in range(5, 9)], NOW + RECENT)
    assert proven.runs == [Run(7, 15, 7)]
    proven.add([leaf(9, 20), leaf(10, 17)], NOW + 2 * RECENT)
    assert proven.runs == [Run(7, 15, 7), Run(20, 20, 11), Run(17, 17, 7)]


def test_what_is_long_past_is_forgotten() -> None:
    proven = Proven()
    proven.add([leaf(0, 1)], NOW)
    proven.add([leaf(1, 3)], NOW + 3 * RECENT)
    assert proven.runs == [Run(3, 3, 2)]
    # A clock that was set back does not keep for ever what it says is to come.
    proven.add([leaf(2, 5)], NOW)
    assert proven.runs == [Run(5, 5, 3)]


def test_of_very_many_the_longest_are_kept() -> None:
    proven = Proven()
    proven.add([leaf(0, 1), leaf(1, 2), *(leaf(each, 2 * each) for each in range(2, 100))], NOW)
    assert len(proven.runs) == 64
    assert proven.runs[0] == Run(1, 2, 1)
    proven.forget()
    assert proven.runs == []
