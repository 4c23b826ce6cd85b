"""The machine's rules one by one, the calendar of policies, and plans in words. No clock, no database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.rotation import calendar, machine
from fleet.rotation.begin import due_after
from fleet.rotation.course import advance
from fleet.rotation.machine import Order, Work
from fleet.rotation.plan import plan
from fleet.rotation.records import Slot, policy_document, policy_of
from fleet.rotation.values import (
    Authentication,
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
    Window,
)
from fleet.rotation.waiting import waits_for
from pki.desk import RotationRules

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
RULES = RotationRules()
POLICY = Policy()
BOTH = EndAbilities(overlap=True, gapless=True)


def rotation(state: State, **fields: object) -> Rotation:
    made = Rotation(
        id=7,
        slot_id=1,
        state=state,
        back=False,
        method=Method.OVERLAP,
        reason=Reason.DEMANDED,
        from_version=1,
        to_version=2,
        created_at=NOW,
        entered_at=NOW,
        deadline_at=NOW + RULES.step,
    )
    return replace(made, **fields)  # type: ignore[arg-type]  # fields of a Rotation


def end(
    side: Side,
    keys: tuple[int, ...],
    *,
    said: tuple[int, ...] | None = None,
    abilities: EndAbilities = BOTH,
    seen: Authentication | None = None,
    mark: int = 5,
) -> End:
    versions = keys if said is None else said
    report = EndReport(versions, keys, seen, abilities, mark=mark)
    return End(side, True, keys, report, initiator=side is Side.LEFT, mark=5)


def ends(keys: tuple[int, ...], **fields: object) -> tuple[End, End]:
    return end(Side.LEFT, keys, **fields), end(Side.RIGHT, keys, **fields)  # type: ignore[arg-type]  # as `end`


def test_a_report_from_before_the_list_confirms_nothing() -> None:
    # Rolled back while an end had not heard of the promotion: its old report says the same, and it may be about to
    # apply what it fetched.
    waiting = rotation(State.ROLLING_BACK, back=True)
    course = advance(waiting, ends((1, 2), mark=4), POLICY, RULES, NOW)
    assert (course.left, course.pending) == ((1, 2), Work.NONE)
    course = advance(waiting, ends((1, 2), mark=5), POLICY, RULES, NOW)
    assert (course.left, course.right) == ((1,), (1,))


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("secret_unavailable", State.STAGED_FIRST),
        ("daemon_unreachable", State.STAGED_FIRST),
        ("daemon_refused", State.ROLLING_BACK),
    ],
)
def test_what_passes_by_itself_is_no_refusal(code: str, state: State) -> None:
    left = end(Side.LEFT, (1, 2), said=(1,))
    assert left.report is not None
    left = replace(left, report=replace(left.report, error_code=code, error="words"))
    waiting = rotation(State.STAGED_FIRST)
    found = machine.step(waiting, (left, end(Side.RIGHT, (1,))), POLICY, RULES, NOW)
    assert found.rotation.state is state


@pytest.mark.parametrize(
    ("left", "right", "proven"),
    [
        (Authentication(2, "a" * 16, "b" * 16), Authentication(2, "a" * 16, "b" * 16), True),
        (Authentication(2, "a" * 16, "b" * 16), Authentication(2, "", ""), True),
        (Authentication(2, "a" * 16, "b" * 16), Authentication(2, "a" * 16, "c" * 16), False),
        (Authentication(2, "a" * 16, "b" * 16), Authentication(2, "d" * 16, "b" * 16), False),
        (Authentication(2), Authentication(1), False),
        (Authentication(2), None, False),
        (None, None, False),
    ],
)
def test_a_proof_is_what_both_ends_saw(
    left: Authentication | None, right: Authentication | None, proven: bool
) -> None:
    both = (end(Side.LEFT, (2, 1), seen=left), end(Side.RIGHT, (2, 1), seen=right))
    waiting = rotation(State.PROMOTED, confirmed_at=NOW)
    course = advance(waiting, both, POLICY, RULES, NOW)
    assert course.rotation.state is (State.PROVEN if proven else State.PROMOTED)
    late = advance(waiting, both, POLICY, RULES, NOW + RULES.step)
    assert late.rotation.state is (State.PROVEN if proven else State.ROLLING_BACK)


STARTS: list[tuple[str, EndAbilities, EndAbilities, Side | None, bool, Side | None]] = [
    ("who started it, if able", BOTH, BOTH, Side.RIGHT, False, Side.RIGHT),
    ("else who is able", BOTH, EndAbilities(), Side.RIGHT, False, Side.LEFT),
    ("else with a gap, if allowed", EndAbilities(), EndAbilities(), Side.RIGHT, True, Side.RIGHT),
    ("else nobody", EndAbilities(), EndAbilities(), Side.RIGHT, False, None),
    ("nothing is up", EndAbilities(), EndAbilities(), None, False, Side.LEFT),
]


@pytest.mark.parametrize(
    ("left", "right", "initiator", "gap", "starter"),
    [each[1:] for each in STARTS],
    ids=[each[0] for each in STARTS],
)
def test_who_starts_the_proof(
    left: EndAbilities, right: EndAbilities, initiator: Side, gap: bool, starter: Side | None
) -> None:
    both = (
        replace(end(Side.LEFT, (2, 1), abilities=left, said=(2, 1)), initiator=initiator == "left"),
        replace(
            end(Side.RIGHT, (2, 1), abilities=right, said=(2, 1)), initiator=initiator == "right"
        ),
    )
    policy = Policy(gap=gap, proof_hours=24)
    asked = advance(rotation(State.PROMOTED), both, policy, RULES, NOW)
    assert asked.rotation.confirmed_at == NOW
    patience = RULES.proof if starter else timedelta(hours=24)
    assert asked.rotation.deadline_at == NOW + patience
    wanted = {side: Order(2, side is starter, gap) for side in Side}
    assert machine.orders(asked.rotation, both, policy) == wanted
    assert asked.told == set(Side)


def test_until_it_is_promoted_nobody_is_asked_for_a_proof() -> None:
    for state in set(State) - {State.PROMOTED, State.STUCK}:
        assert machine.orders(rotation(state, confirmed_at=NOW), ends((2, 1)), POLICY) == {}
    assert machine.orders(rotation(State.PROMOTED), ends((2, 1)), POLICY) == {}


@pytest.mark.parametrize("method", [Method.FIRST, Method.EMERGENCY])
def test_where_there_is_nothing_to_go_back_to_it_waits(method: Method) -> None:
    waiting = rotation(State.PROMOTED, method=method)
    late = NOW + RULES.step
    stuck = advance(waiting, ends((2,), said=()), POLICY, RULES, late).rotation
    assert (stuck.state, stuck.back, stuck.error_code) == (State.STUCK, False, "end_silent")
    found = advance(stuck, ends((2,)), POLICY, RULES, late)
    assert (found.rotation.state, found.rotation.error) == (State.PROMOTED, "")


# The calendar

BERLIN = "Europe/Berlin"
EVERY = tuple(range(7))


def berlin(*clock: int, fold: int = 0) -> datetime:
    return datetime(*clock, tzinfo=ZoneInfo(BERLIN), fold=fold)  # type: ignore[arg-type,misc]  # year, month, …


def windowed(start: int, end: int, days: tuple[int, ...] = EVERY) -> Policy:
    return Policy(windows=(Window(days, start * 60, end * 60),), zone=BERLIN)


@pytest.mark.parametrize(
    ("policy", "now", "opens"),
    [
        (windowed(22, 4), berlin(2026, 3, 2, 23), berlin(2026, 3, 2, 23)),
        (windowed(22, 4), berlin(2026, 3, 3, 3, 59), berlin(2026, 3, 3, 3, 59)),
        (windowed(22, 4), berlin(2026, 3, 3, 4), berlin(2026, 3, 3, 22)),
        (windowed(22, 4, (5,)), berlin(2026, 3, 2, 23), berlin(2026, 3, 7, 22)),
        (windowed(22, 4, (5,)), berlin(2026, 3, 8, 3), berlin(2026, 3, 8, 3)),
        # The clocks skip 2 to 3 o'clock on 29 March 2026: no such window that day.
        (windowed(2, 3), berlin(2026, 3, 29, 0), berlin(2026, 3, 30, 2)),
        (windowed(2, 3, (6,)), berlin(2026, 3, 29, 0), berlin(2026, 4, 5, 2)),
        (windowed(1, 4), berlin(2026, 3, 29, 3, 30), berlin(2026, 3, 29, 3, 30)),
        # They show 2 to 3 o'clock twice on 25 October 2026.
        (windowed(2, 3), berlin(2026, 10, 25, 2, 30, fold=1), berlin(2026, 10, 25, 2, 30, fold=1)),
        (windowed(2, 3), berlin(2026, 10, 25, 3), berlin(2026, 10, 26, 2)),
        (Policy(), NOW, NOW),
    ],
)
def test_windows_open_by_the_clock_on_the_wall(
    policy: Policy, now: datetime, opens: datetime
) -> None:
    assert calendar.opening(policy, now.astimezone(UTC)) == opens.astimezone(UTC)


@given(
    st.integers(0, 6),
    st.integers(0, 1439),
    st.integers(0, 1440),
    st.integers(0, 366 * 1440),
    st.sampled_from([BERLIN, "UTC", "Australia/Lord_Howe", "America/New_York"]),
)
def test_an_opening_is_soon_and_stays_open(
    day: int, start: int, end: int, minutes: int, zone: str
) -> None:
    policy = Policy(windows=(Window((day,), start, end),), zone=zone)
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    opens = calendar.opening(policy, now)
    assert now <= opens <= now + timedelta(days=15)
    assert calendar.opening(policy, opens) == opens


@given(st.floats(0, 1), st.floats(0, 0.5), st.integers(1, 400))
def test_jitter_only_makes_it_earlier(draw: float, jitter: float, days: int) -> None:
    policy = Policy(interval_days=days, jitter=jitter)
    due = calendar.next_due(policy, NOW, draw)
    assert due is not None
    assert timedelta(days=days * (1 - jitter)) - timedelta(seconds=1) <= due - NOW
    assert due - NOW <= timedelta(days=days)
    assert calendar.next_due(Policy(interval_days=0), NOW, draw) is None


def test_a_scheduled_one_waits_for_its_window_and_one_that_was_asked_for_does_not() -> None:
    policy = windowed(22, 4)
    asked = rotation(State.SCHEDULED, deadline_at=None)
    scheduled = replace(asked, reason=Reason.SCHEDULED)
    waits = machine.step(scheduled, ends((1,)), policy, RULES, NOW)
    assert (waits.rotation.state, waits.wake_at) == (State.SCHEDULED, berlin(2026, 3, 2, 22))
    frozen = machine.step(scheduled, ends((1,)), Policy(frozen=True), RULES, NOW)
    assert frozen.rotation.state is State.SCHEDULED
    goes = machine.step(asked, ends((1,)), policy, RULES, NOW)
    assert goes.rotation.state is State.GENERATED


def test_a_policy_is_kept_as_a_document() -> None:
    for policy in (Policy(), windowed(22, 4), Policy(interval_days=0, gap=True, frozen=True)):
        assert policy_of(policy_document(policy)) == policy
    assert policy_of({}) == Policy()


# Plans

SLOT = Slot(
    1, 1, "a-b", Kind.PSK, "a-b.psk", "p", (1,), (1,), Policy(), 1, None, None, 1, "a", 2, "b"
)


def named(abilities: EndAbilities | None, name: str, side: Side, *, ours: bool = True) -> End:
    report = None if abilities is None else EndReport((1,), (1,), abilities=abilities)
    return End(side, ours, (1,), report, name=name)


def test_a_plan_tells_what_is_interrupted_and_what_is_missing() -> None:
    a, b = named(BOTH, "a", Side.LEFT), named(BOTH, "b", Side.RIGHT)
    single = named(EndAbilities(), "b", Side.RIGHT)
    smooth = plan(SLOT, (a, b))
    assert (smooth.method, smooth.interruption, smooth.missing) == (Method.OVERLAP, "", ())
    assert not any(step.interrupts for step in smooth.steps)
    mixed = plan(SLOT, (a, single))
    assert mixed.method is Method.COORDINATED
    assert [step.side for step in mixed.steps if step.interrupts] == [Side.RIGHT]
    assert plan(SLOT, (a, b), emergency=True).method is Method.EMERGENCY
    silent = plan(SLOT, (a, named(None, "b", Side.RIGHT)))
    assert silent.missing == ("b has never reported on this secret.",)
    assert silent.interruption == "Unknown until the agents report."
    assert not any(step.interrupts or "knows one" in step.what for step in silent.steps)
    assert sum("unknown until the agents report" in step.what for step in silent.steps) == 1
    unheard = plan(SLOT, (named(None, "a", Side.LEFT), named(None, "b", Side.RIGHT)))
    assert unheard.interruption == "Unknown until the agents report."
    assert sum("unknown until the agents report" in step.what for step in unheard.steps) == 3
    outside = replace(SLOT, right=None, right_id=None)
    by_hand = plan(outside, (a, named(None, "bank", Side.RIGHT, ours=False)))
    assert by_hand.method is Method.MANUAL
    assert by_hand.missing == ()
    assert any("confirmation" in step.waits_for for step in by_hand.steps)
    hasty = plan(outside, (a, named(None, "bank", Side.RIGHT, ours=False)), emergency=True)
    assert [step.side for step in hasty.steps if "handed over" in step.what] == [Side.RIGHT]
    hastened = plan(replace(SLOT, rotation_id=7), (a, b), emergency=True)
    assert not any("is made and kept" in step.what for step in hastened.steps)


def test_whoever_is_waited_for_is_named() -> None:
    left, right = end(Side.LEFT, (1, 2)), end(Side.RIGHT, (1, 2), said=(1,))
    both = (replace(left, name="gw1"), replace(right, name="gw2"))

    def words(state: State, ends: tuple[End, End] = both, **fields: object) -> str:
        return waits_for(rotation(state, **fields), ends, POLICY, "site")

    assert words(State.STAGED) == "Waits for gw2 to take its keys until 2026-03-02 12:10:00 UTC."
    outside = replace(both[1], ours=False, keys=(1,), report=None, mark=None)
    manual = words(State.STAGED, (both[0], outside), method=Method.MANUAL)
    assert "`ikewarden tunnel handover site`" in manual
    assert "`ikewarden rotation confirm 7`" in manual
    first = {"method": Method.FIRST, "from_version": None, "confirmed_at": NOW}
    assert "tunnel handover site" in words(State.PROMOTED, (both[0], outside), **first)
    hasty = {"method": Method.EMERGENCY, "confirmed_at": NOW}
    assert "tunnel handover site" in words(State.PROMOTED, (both[0], outside), **hasty)
    agreed = (both[0], replace(both[1], report=both[0].report))
    assert "fresh authentication" in words(State.PROMOTED, agreed, confirmed_at=NOW)
    assert "turn" in words(State.SCHEDULED)
    assert words(State.RETIRED) == ""


def test_what_was_asked_for_and_undone_leaves_the_due_date_alone() -> None:
    due = replace(SLOT, due_at=NOW + timedelta(hours=1))
    asked = rotation(State.SCHEDULED)  # as a cancellation finds it
    assert due_after(due, asked, NOW) == due.due_at
    assert due_after(due, replace(asked, state=State.ROLLED_BACK), NOW) == due.due_at
    was_due = replace(asked, reason=Reason.SCHEDULED)
    assert due_after(due, was_due, NOW) == NOW + timedelta(days=1)
    done = due_after(due, replace(asked, state=State.RETIRED), NOW)
    assert done is not None
    assert done > NOW + timedelta(days=80)
