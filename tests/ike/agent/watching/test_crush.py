"""What strangers cause by the thousand is counted, and nothing else gives way to it."""

from hypothesis import given
from hypothesis import strategies as st

from ike.agent.watching.crush import MOST, OF_ALL, OF_ONE, SPAN, STRANGERS, Crush
from ike.events.event import EVENTS, LEFT_OUT, SaEvent


def flood(number: int, at: float = 0.0, kind: str = "proposal_mismatch") -> list[SaEvent]:
    return [SaEvent(kind, n, at + n / number, source=f"192.0.2.{n % 256}") for n in range(number)]


def test_a_flood_is_told_as_a_number_and_a_guess_in_it_as_itself() -> None:
    guess = SaEvent("auth_failed", 7, 0.5, source="203.0.113.9", identity="mallory")
    events = [*flood(3000), guess, *flood(3000, 0.5)]
    told = Crush().thinned(events)
    assert guess in told
    assert len(told) == MOST + 2
    assert (told[-1].kind, told[-1].reason) == ("counted", LEFT_OUT)
    assert told[-1].number == 6000 - MOST


def test_the_next_seconds_are_told_again() -> None:
    crush = Crush()
    crush.thinned(flood(2 * MOST))
    assert len(crush.thinned(flood(10, SPAN))) == 10


def test_each_connection_has_room_of_its_own() -> None:
    """A flood at one that is open to any address hides nothing of another."""
    named = [each._replace(name="branches") for each in flood(20_000)]
    mine = [each._replace(name="site", source="203.0.113.9") for each in flood(5, 0.99)]
    crush = Crush()
    told = crush.thinned([*named, *mine])
    assert told[-6:-1] == mine
    assert len(told) == OF_ONE + MOST + 5 + 1
    assert told[-1].number == 20_000 - OF_ONE - MOST


def test_names_that_a_stranger_chooses_have_no_end() -> None:
    named = [each._replace(name=f"group{n}") for n, each in enumerate(flood(20_000))]
    assert len(Crush().thinned(named)) == OF_ALL + MOST + 1


@given(st.lists(st.tuples(st.sampled_from(sorted(EVENTS)), st.floats(0, 60) | st.none())))
def test_nothing_is_lost_without_being_counted(said: list[tuple[str, float | None]]) -> None:
    events = [SaEvent(kind, n, at) for n, (kind, at) in enumerate(said) for _ in range(MOST)]
    told = Crush().thinned(events)
    counted = sum(each.number or 0 for each in told if each.kind == "counted")
    kept = [each for each in told if each.kind != "counted"]
    assert len(kept) + counted == len(events)
    assert [each for each in kept if each.kind not in STRANGERS] == [
        each for each in events if each.kind not in STRANGERS
    ]
