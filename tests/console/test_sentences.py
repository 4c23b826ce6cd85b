"""What operations say of rotations is said in Chinese too: every plan, everything that is waited for."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import pytest

from api.console.language import load
from api.console.sentences import translated
from fleet.rotation.plan import plan
from fleet.rotation.records import Slot
from fleet.rotation.values import (
    End,
    EndAbilities,
    EndReport,
    Kind,
    Method,
    Policy,
    Reason,
    Rotation,
    Side,
    State,
)
from fleet.rotation.waiting import waits_for

CHINESE = load("zh")
NOW = datetime(2027, 1, 2, tzinfo=UTC)
SLOT = Slot(
    id=1,
    tunnel_id=1,
    tunnel="t",
    kind=Kind.PSK,
    name="t.psk",
    path="t",
    left_keys=(1,),
    right_keys=(1,),
    policy=Policy(),
    last_version=1,
    rotation_id=None,
    due_at=None,
    left_id=1,
    left="gw1",
    right_id=2,
    right="gw2",
)
BOTH = EndReport(abilities=EndAbilities(overlap=True, gapless=True))
ONE = EndReport()
# Names, and what is the same in all languages.
SAME = re.compile(r"`[^`]*`|gw\d|rotation|UTC|PPK|SA|T|t\.psk|\[|\]")


def ends() -> Iterator[tuple[End, End]]:
    """Two gateways of every kind, and an outside peer."""
    for one, two in product((BOTH, ONE, None), repeat=2):
        left = End(Side.LEFT, True, (1,), one, name="gw1")
        yield left, End(Side.RIGHT, True, (1,), two, name="gw2")
    yield left, End(Side.RIGHT, False, (1,), None, name="gw2")


def plans() -> Iterator[str]:
    """Every sentence of every plan."""
    for both, emergency, gap, keys, number in product(
        ends(), (False, True), (False, True), ((1,), ()), (None, 7)
    ):
        policy = replace(SLOT.policy, gap=gap)
        slot = replace(SLOT, policy=policy, left_keys=keys, rotation_id=number)
        found = plan(slot, both, emergency=emergency)
        yield from (found.interruption, *found.missing)
        for step in found.steps:
            yield from (step.what, step.waits_for)


def waiting() -> Iterator[str]:
    """What rotations wait for, in each state."""
    for both, state, method, at, frozen in product(
        ends(), State, Method, (None, NOW), (False, True)
    ):
        reason = Reason.SCHEDULED if frozen else Reason.DEMANDED
        going = Rotation(1, 1, state, False, method, reason, 1, 2, NOW, NOW, NOW, at)
        marked = tuple(replace(each, mark=1 if frozen else None) for each in both)
        yield waits_for(going, marked, Policy(frozen=frozen), "t")


@pytest.mark.parametrize("sentences", [plans, waiting], ids=["plans", "waiting"])
def test_every_sentence_is_said_in_chinese(sentences: object) -> None:
    assert callable(sentences)
    said = {each for each in sentences() if each}
    assert len(said) > 5
    for sentence in said:
        chinese = translated(CHINESE, sentence)
        english = re.findall(r"[A-Za-z]{2,}", SAME.sub("", chinese))
        assert not english, (sentence, chinese)
        assert translated(load("en"), sentence) == sentence
        for name in re.findall(r"gw\d|`[^`]*`", sentence):
            assert name in chinese


def test_what_a_gateway_said_is_left_as_it_is() -> None:
    for strange in ("gw1: no such {0} key", "{0} {1}", "x" * 10_000, "Waits for {0}"):
        assert translated(CHINESE, strange) == strange
    assert translated(CHINESE, "Cancelled by {0}.") == "由 {0} 取消。"
    assert translated(CHINESE, None) == ""
