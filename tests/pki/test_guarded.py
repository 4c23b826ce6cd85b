"""The pure part of the two-person rule: what an approval is bound to, and the states it can have."""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from pki.actors import Scope
from pki.guarded import (
    OPEN,
    Guarded,
    State,
    Step,
    after,
    differences,
    digest,
    person,
    plain,
    shown,
    state_at,
)

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(),
    st.datetimes(timezones=st.just(UTC)),
    st.timedeltas(),
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
PARAMETERS = st.dictionaries(st.text(), VALUES, max_size=5)
ACTS = st.sampled_from(list(Guarded))


@given(ACTS, PARAMETERS)
def test_the_order_of_parameters_is_nothing_to_an_approval(
    act: Guarded, parameters: dict[str, Any]
) -> None:
    turned = dict(reversed(parameters.items()))
    assert digest(act, turned) == digest(act, parameters)


@given(ACTS, PARAMETERS)
def test_what_is_kept_in_the_records_has_the_same_digest(
    act: Guarded, parameters: dict[str, Any]
) -> None:
    kept = json.loads(json.dumps(shown(parameters)))
    assert digest(act, kept) == digest(act, parameters)


@given(ACTS, PARAMETERS, ACTS, PARAMETERS)
def test_what_looks_different_has_another_digest(
    act: Guarded, one: dict[str, Any], another: Guarded, two: dict[str, Any]
) -> None:
    same = (act, json.dumps(shown(one), sort_keys=True)) == (
        another,
        json.dumps(shown(two), sort_keys=True),
    )
    assert (digest(act, one) == digest(another, two)) is same


@given(PARAMETERS.filter(bool), st.data())
def test_one_value_that_changes_changes_the_digest(
    parameters: dict[str, Any], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(parameters)))
    value = data.draw(VALUES)
    changed = {**parameters, name: value}
    # Not ==, for which True is 1.
    same = json.dumps(plain(value), sort_keys=True) == json.dumps(
        plain(parameters[name]), sort_keys=True
    )
    act = Guarded.MASS_REVOKE
    assert (digest(act, changed) == digest(act, parameters)) is same
    missing = {key: each for key, each in parameters.items() if key != name}
    assert digest(act, missing) != digest(act, parameters)


def test_one_moment_has_one_form() -> None:
    noon = datetime(2027, 1, 1, 12, tzinfo=UTC)
    assert plain(noon) == plain(noon.astimezone(timezone(timedelta(hours=5)))) != plain(None)
    assert plain(timedelta(days=3650)) == "3650 days, 0:00:00"
    assert plain(timedelta(microseconds=1)) != plain(timedelta(0))


def test_every_field_counts_also_one_that_is_new() -> None:
    @dataclass(frozen=True)
    class Request:
        name: str = "a"
        scope: Scope = field(default_factory=Scope)
        newcomer: int | None = None

    class Word(StrEnum):
        A = "a"

    first = Request()
    assert plain(first) == plain(Request(name=Word.A))
    forms = [first, replace(first, newcomer=0), replace(first, scope=Scope(names=()))]
    assert len({digest(Guarded.ROLE_CHANGE, {"request": each}) for each in forms}) == 3


@pytest.mark.parametrize("value", [1.5, b"octets", {1, 2}, object(), Scope], ids=repr)
def test_what_has_no_single_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        plain(value)


def test_it_is_told_which_parameters_differ() -> None:
    one: dict[str, object] = {"name": "a", "days": 1, "parent": None}
    assert differences(one, one) == {}
    assert differences({**one, "days": 2}, {"name": "a", "days": 1, "more": 0}) == {
        "days": {"asked": 2, "approved": 1},
        "more": {"asked": None, "approved": 0},
        "parent": {"asked": None, "approved": None},
    }


@pytest.mark.parametrize(
    "name",
    ["alice", " Alice ", "ALICE", "\uff41\uff4c\uff49\uff43\uff45", "alice\u2003"],
    ids=ascii,
)
def test_a_person_is_one_however_the_name_is_written(name: str) -> None:
    assert person(name) == "alice"


@given(st.text())
def test_a_person_stays_the_same(name: str) -> None:
    assert person(person(name)) == person(name)


def test_the_table_of_steps() -> None:
    taken = {(str(state), str(step)): after(state, step) for state in State for step in Step}
    allowed = {key: str(state) for key, state in taken.items() if state is not None}
    assert allowed == {
        ("pending", "approve"): "approved",
        ("pending", "refuse"): "refused",
        ("pending", "withdraw"): "withdrawn",
        ("pending", "expire"): "expired",
        ("approved", "use"): "used",
        ("approved", "refuse"): "refused",
        ("approved", "withdraw"): "withdrawn",
        ("approved", "expire"): "expired",
    }
    assert {State.PENDING, State.APPROVED} == OPEN


@given(st.lists(st.sampled_from(list(Step)), max_size=12))
def test_nothing_is_used_that_was_not_approved_and_nothing_after_its_end(steps: list[Step]) -> None:
    state, approved, ended = State.PENDING, False, False
    for step in steps:
        following = after(state, step)
        if following is None:
            continue
        assert not ended
        assert step is not Step.USE or approved
        approved = approved or step is Step.APPROVE
        state, ended = following, following not in OPEN


@pytest.mark.parametrize("state", State)
def test_the_clock_ends_what_is_open(state: State) -> None:
    end = datetime(2027, 1, 1, tzinfo=UTC)
    assert state_at(state, end, end - timedelta(microseconds=1)) is state
    assert state_at(state, end, end) is (State.EXPIRED if state in OPEN else state)
