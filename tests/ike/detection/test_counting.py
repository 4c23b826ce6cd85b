"""What charon only counts: a flood and a scan must be told, and what every day brings must not."""

import pytest

from bench.detection import lookalikes
from bench.detection.counting import Counting
from bench.detection.faults import FAULTS, Fault
from bench.detection.fleet import DEVELOPMENT, Story
from bench.detection.judging import faulty, untrue, watched

COUNTED = [fault for fault in FAULTS if "counted" in fault.needs]


@pytest.mark.parametrize("strength", range(3))
@pytest.mark.parametrize("fault", COUNTED, ids=lambda fault: fault.name)
def test_counters_alone_show_it(fault: Fault, strength: int) -> None:
    story, _ = faulty(DEVELOPMENT, fault, strength, 7)
    assert {one.kind for one in untrue(watched(story), story)} == {fault.kind}
    assert not {"unknown_peer", "cookie"} & {one.kind for one in story.lines()}


def test_strays_resets_and_an_absence_are_no_alarm() -> None:
    story = Story(DEVELOPMENT, 5, days=2.0)
    away = (story.start + 20_000, story.start + 90_000)
    strays = tuple(story.start + 300.0 * step for step in range(560))
    story.counting = Counting(
        alone=True, seed=5, away=(away,), resets=(story.start + 100_000,), strays=strays
    )
    story.weather.live, story.weather.loss = True, 0.0
    for index in range(4):
        tunnel = story.make(index)
        story.establish(tunnel)
        story.live(tunnel, story.end, lookalikes.rare)
    lookalikes.around(story)
    counts = [one for one in story.lines() if one.kind == "counted"]
    assert max(one.number or 0 for one in counts) > 20
    assert watched(story) == []
