"""What stands in the recordings: every event of the vocabulary, in a line of a real daemon; and nothing secret."""

import re
import time

import pytest

from ike.detection.bounds import Planned
from ike.detection.records import restored, stored
from ike.detection.watch import Watch
from ike.events.event import EVENTS, SaEvent
from ike.events.reader import Reader
from tests.events.recordings import EXPECTED, recorded
from tests.lab.recording import LARGEST, SECRET

OF_CHARON = [name for name in EXPECTED if not name.startswith("pluto_")]


def events(name: str) -> list[SaEvent]:
    reader = Reader(time.time())
    return reader.feed(recorded(name).read_bytes()) + reader.close()


def test_every_event_of_the_vocabulary_was_recorded() -> None:
    found = {event.kind for name in EXPECTED for event in events(name) if event.phase is None}
    assert set(EVENTS) <= found


@pytest.mark.parametrize("end", ["left", "right"])
def test_failures_after_our_own_rotation_are_a_failed_rotation(end: str) -> None:
    those = events(f"rotation_on_one_end.{end}")
    times = [each.time for each in those if each.time is not None]
    watch = Watch(planned=[Planned(min(times) + 12, max(times) + 60, "site")])
    watch.observe_all(those)
    watch.settle()
    assert [each.kind for each in watch.alerts()] == ["rotation_failed"]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recording_is_small_and_holds_no_secret(name: str) -> None:
    content = recorded(name).read_bytes()
    assert 0 < len(content) <= LARGEST
    assert SECRET.encode() not in content
    assert b"/tmp/" not in content


@pytest.mark.parametrize("name", EXPECTED)
def test_a_watch_that_is_stored_halfway_says_the_same(name: str) -> None:
    those = events(name)
    whole, first = Watch(), Watch()
    whole.observe_all(those)
    whole.settle()
    half = len(those) // 2
    first.observe_all(those[:half])
    second = restored(stored(first))
    second.observe_all(those[half:])
    second.settle()
    assert second.alerts() == whole.alerts()


@pytest.mark.parametrize("name", OF_CHARON)
def test_lines_without_the_number_of_their_sa_say_the_same(name: str) -> None:
    """As charon writes them by default (`ike_name = no`)."""
    content = recorded(name).read_bytes()
    kinds = []
    for log in (content, re.sub(rb"\] <[^>]*> ", b"] ", content)):
        reader, watch = Reader(time.time()), Watch()
        watch.observe_all(reader.feed(log) + reader.close())
        watch.settle()
        kinds.append({alert.kind for alert in watch.alerts()})
    # Without numbers nobody knows which Child SA is whose, and these double again and again.
    assert kinds[1] - kinds[0] <= ({"rekey_too_fast"} if "collision" in name else set())
    assert kinds[0] <= kinds[1]
