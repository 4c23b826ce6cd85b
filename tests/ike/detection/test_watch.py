"""The watch: order, repetitions, state, many gateways; on stories of the simulator."""

import json
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.detection.faults import FAULTS
from bench.detection.fleet import DEVELOPMENT, Story
from bench.detection.judging import faulty
from ike.detection.advice import advice
from ike.detection.alert import KINDS, Alert
from ike.detection.bounds import Bounds, Lifetime
from ike.detection.order import in_order
from ike.detection.records import MemoryUnreadable, restored, stored
from ike.detection.watch import Watch
from ike.events.event import EVENTS, REMARKS, SaEvent
from tests.ike.detection.lines import START, Log, kinds

# Those in which time goes on: where a clock is put back, only the order of lines tells which one is later.
GOING_ON = tuple(fault for fault in FAULTS if fault.name != "clock put back")


def story_of(index: int, strength: int, number: int) -> tuple[Story, list[SaEvent]]:
    story, _ = faulty(DEVELOPMENT, GOING_ON[index], strength, 1000 + number)
    return story, story.lines()


def told(watch: Watch) -> list[Alert]:
    watch.settle()
    return watch.alerts()


def straight(story: Story, events: list[SaEvent]) -> list[Alert]:
    watch = Watch(story.bounds(), story.planned)
    watch.observe_all(events)
    return told(watch)


stories = st.builds(
    story_of, st.integers(0, len(GOING_ON) - 1), st.integers(0, 2), st.integers(0, 5)
)


@settings(max_examples=60, deadline=None)
@given(stories, st.floats(0, 1))
def test_memory_is_stored_anywhere(made: tuple[Story, list[SaEvent]], where: float) -> None:
    story, events = made
    cut = int(where * len(events))
    before = Watch(story.bounds(), story.planned)
    before.observe_all(events[:cut])
    after = restored(stored(before), story.bounds(), story.planned)
    after.observe_all(events[cut:])
    assert told(after) == straight(story, events)


@settings(max_examples=40, deadline=None)
@given(stories)
def test_every_event_twice(made: tuple[Story, list[SaEvent]]) -> None:
    story, events = made
    twice = [event for one in events for event in (one, one)]
    assert straight(story, twice) == straight(story, events)


@settings(max_examples=40, deadline=None)
@given(stories)
def test_a_batch_posted_again(made: tuple[Story, list[SaEvent]]) -> None:
    story, events = made
    again = [
        event
        for begin in range(0, len(events), 50)
        for event in events[begin : begin + 50] + events[begin : begin + 50]
    ]
    assert straight(story, again) == straight(story, events)


@settings(max_examples=40, deadline=None)
@given(stories, st.integers(0, 2**32))
def test_a_little_disorder(made: tuple[Story, list[SaEvent]], seed: int) -> None:
    story, events = made
    draw = random.Random(seed)
    keyed = sorted(
        ((one.time or 0.0) + 2 * draw.random(), number) for number, one in enumerate(events)
    )
    moved = [events[number] for _, number in keyed]
    assert {each.key for each in straight(story, moved)} == {
        each.key for each in straight(story, events)
    }


@settings(max_examples=40, deadline=None)
@given(stories)
def test_time_that_is_told_changes_nothing(made: tuple[Story, list[SaEvent]]) -> None:
    story, events = made
    watch = Watch(story.bounds(), story.planned)
    newest = 0.0
    for number, event in enumerate(events):
        watch.observe(event)
        newest = max(newest, event.time or 0.0)
        if number % 17 == 0:
            watch.advance(newest)
    assert told(watch) == straight(story, events)


words = st.one_of(
    st.none(), st.sampled_from(["a", "b", "=cmd|x", "\x1b[31m", "<b>", "198.51.100.7"])
)
numbers = st.one_of(st.none(), st.integers(0, 5))
anything = st.builds(
    SaEvent,
    kind=st.sampled_from(sorted([*EVENTS, *REMARKS, "nonsense"])),
    line=st.integers(0, 300),
    time=st.one_of(st.none(), st.floats(0, 1e5), st.sampled_from([0.0, -1e9, 4e9, 1e18])),
    peer=words,
    connection=words,
    ike_id=numbers,
    child=words,
    child_id=numbers,
    spi_in=words,
    spi_out=words,
    old_ike_id=numbers,
    new_child_id=numbers,
    seq=numbers,
    source=words,
    name=words,
    identity=words,
    reason=words,
    algorithms=words,
    size=numbers,
    seconds=st.one_of(st.none(), st.floats(0, 1e6)),
    host=st.sampled_from([None, "gw"]),
    number=st.one_of(numbers, st.just((1 << 63) - 1)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(anything, max_size=80), st.integers(0, 80))
def test_anything_is_taken_and_stored(events: list[SaEvent], cut: int) -> None:
    whole = Watch()
    whole.observe_all(events)
    parts = Watch()
    parts.observe_all(events[:cut])
    parts = restored(stored(parts))
    parts.observe_all(events[cut:])
    assert told(parts) == told(whole)
    json.dumps([dict(each.evidence) for each in whole.alerts()])


def test_newest_first() -> None:
    log = Log().up(0)
    for step in range(5):
        log.add(100 + 60 * step, "auth_failed", ike_id=9 + step, identity="x")
    turned = [one._replace(line=line) for line, one in enumerate(reversed(log.events), 1)]
    log.events = in_order(turned)
    assert kinds(log) == ["auth_failures"]


def test_gateways_are_apart() -> None:
    log = Log()
    for step in range(4):
        log.add(60 * step, "auth_failed", ike_id=step, identity="x", host=f"gw{step % 2}")
    assert kinds(log) == []


def test_silence_is_judged_only_for_gateways_that_were_heard() -> None:
    bounds = {"site": Bounds(child=Lifetime(3600.0, 360.0, 3960.0))}
    watch = Watch(bounds)
    watch.observe_all(Log().up(0).events)
    watch.advance(START + 9000, gateways=["another"])
    assert watch.alerts() == []
    watch.advance(START + 9000)
    assert [each.kind for each in watch.alerts()] == ["rekey_missed"]


def test_rekeys_that_nobody_could_tell_of_are_not_missed() -> None:
    """Over VICI, what happens while no agent listens is lost."""
    bounds = {"site": Bounds(child=Lifetime(3600.0, 360.0, 3960.0))}
    for away, found in (((100, 9000), []), ((100, 200), ["rekey_missed"])):
        watch = Watch(bounds)
        watch.observe_all(Log().up(0).events)
        watch.doubt(START + away[0], START + away[1])
        watch.advance(START + 9000)
        assert [each.kind for each in watch.alerts()] == found


def test_times_that_overlap_of_which_nobody_could_tell_are_one() -> None:
    bounds = {"site": Bounds(child=Lifetime(3600.0, 360.0, 3960.0))}
    for parts, found in (
        (((100, 60_000), (40_000, 99_000)), []),
        (((100, 60_000), (60_000, 99_000)), ["rekey_missed"]),
    ):
        watch = Watch(bounds)
        watch.observe_all(Log().up(0).events)
        for begin, end in parts:
            watch.doubt(START + begin, START + end)
        watch.advance(START + 100_000)
        assert [each.kind for each in watch.alerts()] == found


def test_ended_alerts_are_forgotten() -> None:
    watch = Watch()
    log = Log()
    for step in range(3):
        log.add(60 * step, "auth_failed", ike_id=step, identity="x")
    watch.observe_all(log.up(200).events)
    watch.settle()
    watch.forget(START + 100)
    assert len(watch.alerts()) == 1
    watch.forget(START + 300)
    assert watch.alerts() == []


def test_what_was_stored_otherwise_is_refused() -> None:
    good = stored(Watch())
    plain = zlib.decompress(good)
    other_version = zlib.compress(plain.replace(b"\x03", b"\x02", 1))
    for wrong in (b"", b"{}", good[:-1], zlib.compress(b"{}"), other_version):
        with pytest.raises(MemoryUnreadable):
            restored(wrong)
    assert restored(good).alerts() == []


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_advice(kind: str) -> None:
    cause, next_step = advice(kind)
    assert cause.endswith(".")
    assert next_step.endswith(".")


def test_each_kind_is_tried() -> None:
    # No log shows that events were lost on their way.
    assert {fault.kind for fault in FAULTS} == set(KINDS) - {"events_lost"}
