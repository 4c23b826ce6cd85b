"""The machine of a rotation: what comes next, given where it stands and what the ends say. Pure.

No list of keys is changed before both ends have confirmed those before (fleet.rotation.values). Until a rotation is
proven every silence beyond its deadline, and every refusal of an end, undoes it; from then on it only goes forward.
Where there is nothing to go back to (the first key, an old key that others know, an outside peer that was changed by
hand) it waits, STUCK, and goes on when the ends answer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from fleet.rotation import calendar
from fleet.rotation.values import (
    ENDED,
    End,
    EndReport,
    Method,
    Policy,
    Reason,
    Rotation,
    Side,
    State,
)
from pki.desk import RotationRules

Keys = tuple[int, ...]
SILENT = "end_silent"
UNPROVEN = "key_not_proven"
# Nobody need wait for this: who reports wakes the rotation. It is for what nobody thought of.
_LOOK_AGAIN = timedelta(hours=1)
# Nobody wakes who waits for another rotation at a gateway.
_IN_A_MOMENT = timedelta(seconds=2)
_FORWARD_ONLY = frozenset({Method.FIRST, Method.EMERGENCY})


# What an end may say that is no refusal: it goes on trying by itself, and has until the deadline.
_PASSING = frozenset({"", "secret_unavailable", "daemon_unreachable"})
# Who has to answer in these has no deadline.
_PATIENT = ENDED | {State.STUCK, State.GENERATED}
_UNDOING = " Undoing it waits for: "


@dataclass(frozen=True)
class Problem:
    """What is wrong with a rotation, for people, and what they can do."""

    code: str
    error: str
    next_step: str


_NO_PROBLEM = Problem("", "", "")
_UNPROVEN = Problem(
    UNPROVEN,
    "No fresh authentication under the new key was seen at both ends in time.",
    "Look at the tunnel's log at both ends; a policy with `gap` lets the service interrupt it for the proof.",
)
_UNPROVEN_OUTSIDE = replace(
    _UNPROVEN,
    next_step="Look whether the outside peer has the key, and starts the tunnel or answers.",
)


def _problem(rotation: Rotation) -> Problem:
    return Problem(rotation.error_code, rotation.error, rotation.next_step)


class Work(StrEnum):
    """What must be done in the store of secrets before a step may be put on record."""

    NONE = "none"
    MAKE = "make"  # the value of the new version
    DESTROY_OLD = "destroy_old"
    DESTROY_NEW = "destroy_new"


@dataclass(frozen=True)
class Order:
    """A wanted proof: a fresh IKE_AUTH under `version`. `start`: this end starts it; `gap`: it may interrupt."""

    version: int
    start: bool
    gap: bool


@dataclass(frozen=True)
class Step:
    """What is to be put on record, once `work` is done. `left`, `right` are the lists desired from then on.

    `tell`: ends that must fetch their state though their list has not changed. `wake_at`: when to look again unless
    something happens; None at the end.
    """

    rotation: Rotation
    left: Keys
    right: Keys
    wake_at: datetime | None
    work: Work = Work.NONE
    tell: frozenset[Side] = frozenset()


def step(
    rotation: Rotation, ends: tuple[End, End], policy: Policy, rules: RotationRules, now: datetime
) -> Step:
    """The next step. One that changes nothing but `wake_at` is to wait; otherwise ask again after it is on record."""
    case = _Case(rotation, ends, policy, rules, now)
    if rotation.state in ENDED:
        return Step(rotation, *case.lists, wake_at=None)
    if rotation.back and rotation.state not in {State.ROLLING_BACK, State.STUCK}:
        return case.roll_back()
    return _STATES[rotation.state](case)


def orders(rotation: Rotation, ends: tuple[End, End], policy: Policy) -> Mapping[Side, Order]:
    """The proofs that are wanted of the ends now: none before both have confirmed what is promoted.

    From then on both take note of what comes up, so that either may start it.
    """
    wanted = rotation.state in {State.PROMOTED, State.STUCK} and rotation.confirmed_at is not None
    if not wanted or rotation.back or rotation.to_version is None:
        return {}
    gap = policy.gap or rotation.method is Method.EMERGENCY
    starter = _starter(ends, gap=gap)
    # An outside peer is shown a whole tunnel, made before the old one is broken where that can be.
    whole = gap or not all(each.ours for each in ends)
    return {
        each.side: Order(rotation.to_version, each.side is starter, whole)
        for each in ends
        if each.ours
    }


def proven(ends: tuple[End, End], version: int) -> bool:
    """Whether every end of ours saw a fresh authentication under the version, and both ends the same one.

    One from before an end was given its present list is none: it was made while other keys counted too, and an
    emergency wants SAs that were made since.
    """
    known = [
        seen
        for each in ends
        if each.ours and each.report is not None and (seen := each.report.authenticated) is not None
        if seen.version == version and seen.mark >= (each.since or 0)
    ]
    if not known or len(known) != sum(each.ours for each in ends):
        return False
    for name in ("spi_initiator", "spi_responder"):
        if len({value for each in known if (value := getattr(each, name))}) > 1:
            return False
    return True


def agrees(end: End) -> bool:
    """Whether the end has what is desired of it, by a report that was made since. An outside peer's word is the
    operator's.
    """
    if not end.ours or end.mark is None:
        return True
    report = end.report
    if report is None or report.mark < end.mark:
        return False
    if report.abilities.overlap:
        return report.versions == end.keys
    return report.versions[:1] == end.keys[:1] and set(report.held) >= set(end.keys)


def _refusal(end: End) -> EndReport | None:
    """The report of an end that says that it cannot have what is desired of it."""
    report = end.report
    if not end.ours or end.mark is None or report is None or report.mark < end.mark:
        return None
    return report if report.error_code not in _PASSING else None


def has_refused(end: End) -> bool:
    """Whether the end says that it cannot have what is desired of it, and does not go on trying."""
    return _refusal(end) is not None


def _takes_both(end: End) -> bool:
    return end.report is not None and end.report.abilities.overlap


def _gapless(end: End) -> bool:
    return end.report is not None and end.report.abilities.gapless


def _starter(ends: tuple[End, End], *, gap: bool) -> Side | None:
    """Which end starts the proof; nobody where that would interrupt what may not be interrupted."""
    ours = [each for each in ends if each.ours]
    if not any(each.initiator for each in ends):
        return ours[0].side  # nothing is up, so nothing can be interrupted
    # The end that started the SA first: it knows how, and the other one may not be able to reach it.
    ours.sort(key=lambda each: not each.initiator)
    able = [each for each in ours if _gapless(each)]
    if able:
        return able[0].side
    return ours[0].side if gap else None


@dataclass(frozen=True)
class _Case:
    """A rotation and all that its next step depends on."""

    rotation: Rotation
    ends: tuple[End, End]
    policy: Policy
    rules: RotationRules
    now: datetime

    @property
    def lists(self) -> tuple[Keys, Keys]:
        return self.ends[0].keys, self.ends[1].keys

    @property
    def old(self) -> Keys:
        """The old key as a list; empty where there is none."""
        return () if self.rotation.from_version is None else (self.rotation.from_version,)

    @property
    def new(self) -> Keys:
        return () if self.rotation.to_version is None else (self.rotation.to_version,)

    @property
    def gap(self) -> bool:
        """Whether the tunnel may be interrupted for the proof."""
        return self.policy.gap or self.rotation.method is Method.EMERGENCY

    @property
    def agreed(self) -> bool:
        return all(agrees(each) for each in self.ends)

    @property
    def promoted(self) -> bool:
        """Whether an end may prove itself by the new key."""
        return bool(self.new) and any(each.keys[:1] == self.new for each in self.ends)

    @property
    def forward_only(self) -> bool:
        by_hand = self.rotation.method is Method.MANUAL and self.promoted
        return self.rotation.method in _FORWARD_ONLY or by_hand

    def wait(self, *, until: datetime | None = None) -> Step:
        """Stay, and look again at the deadline or `until`."""
        wake = until or self.rotation.deadline_at or self.now + _LOOK_AGAIN
        return Step(self.rotation, *self.lists, wake_at=wake)

    def enter(
        self,
        state: State,
        lists: tuple[Keys, Keys] | None = None,
        *,
        work: Work = Work.NONE,
        back: bool = False,
        problem: Problem | None = None,
    ) -> Step:
        """Go on: a new state or new lists, and a new deadline for whoever has to answer.

        Old problems are over, but for the reason of a way back.
        """
        back = back or self.rotation.back
        if problem is None:
            problem = _problem(self.rotation) if back else _NO_PROBLEM
        made = replace(
            self.rotation,
            state=state,
            back=back,
            entered_at=self.rotation.entered_at if self.rotation.state is state else self.now,
            deadline_at=None if state in _PATIENT else self.now + self.rules.step,
            confirmed_at=self.rotation.confirmed_at if state is State.STUCK else None,
            tries=0,
            error_code=problem.code,
            error=problem.error,
            next_step=problem.next_step,
        )
        wake = None if state in ENDED else self.now
        return Step(made, *(self.lists if lists is None else lists), wake_at=wake, work=work)

    def fail(self, problem: Problem) -> Step:
        """Undo it, or wait for better times where there is no way back."""
        if self.forward_only:
            return self.enter(State.STUCK, problem=problem)
        return self.roll_back(problem)

    def roll_back(self, problem: Problem | None = None) -> Step:
        """The first step back; the problem that is on record stays where there is none to tell."""
        if self.rotation.state is State.SCHEDULED:
            return self.enter(State.CANCELLED, back=True, problem=problem)
        touched = any(set(self.new) & set(each.keys) for each in self.ends)
        if not touched:
            return self.enter(State.ROLLED_BACK, work=Work.DESTROY_NEW, back=True, problem=problem)
        # An end that proves itself by the new key must first use the old one again, while its peer still takes both.
        lists = (self.old, self.old)
        if self.old and self.promoted:
            lists = self.both(self.old + self.new)
        return self.enter(State.ROLLING_BACK, lists, back=True, problem=problem)

    def both(self, keys: Keys) -> tuple[Keys, Keys]:
        """A list for both ends; an outside peer has one key, the first."""
        left, right = (keys if each.ours else keys[:1] for each in self.ends)
        return left, right

    def refused(self) -> Step | None:
        """The step where an end that was given the new key says that it cannot have it."""
        for each in self.ends:
            report = _refusal(each)
            if report is not None and set(self.new) & set(each.keys):
                what = f"{each.name or each.side}: {report.error}"
                mend = "Mend what the gateway says, then rotate again."
                return self.fail(Problem(report.error_code, what, mend))
        return None

    def late(self) -> bool:
        """Whether the deadline has passed."""
        deadline = self.rotation.deadline_at
        return deadline is not None and self.now >= deadline

    def silence(self) -> Problem:
        """Who has not confirmed his keys, in words."""
        silent = ", ".join(each.name or str(each.side) for each in self.ends if not agrees(each))
        return Problem(
            SILENT,
            f"Did not confirm its keys in time: {silent}.",
            "Look whether the agent runs there and reaches the service.",
        )

    def wait_or_fail(self) -> Step:
        """Wait until the deadline, then fail for who is silent, or else for want of a proof."""
        if not self.late():
            return self.wait()
        if not self.agreed:
            return self.fail(self.silence())
        outside = not all(each.ours for each in self.ends)
        return self.fail(_UNPROVEN_OUTSIDE if outside else _UNPROVEN)


def _scheduled(case: _Case) -> Step:
    if case.rotation.reason is Reason.SCHEDULED:
        if case.policy.frozen:
            return case.wait(until=case.now + _LOOK_AGAIN)
        opens = calendar.opening(case.policy, case.now)
        if opens > case.now:
            return case.wait(until=opens)
    return case.enter(State.GENERATED)


def _generated(case: _Case) -> Step:
    return case.enter(State.STORED, work=Work.MAKE)


def _stored(case: _Case) -> Step:
    if case.rotation.method in _FORWARD_ONLY:
        return _replace_at_once(case)
    staged = case.old + case.new
    if case.rotation.method is Method.MANUAL:
        return case.enter(State.STAGED, (staged, case.ends[1].keys))
    return case.enter(State.STAGED_FIRST, (staged, case.ends[1].keys))


def _replace_at_once(case: _Case) -> Step:
    return case.enter(State.PROMOTED, (case.new, case.new))


def _staged_first(case: _Case) -> Step:
    if case.rotation.method is Method.EMERGENCY:
        return _replace_at_once(case)
    if (refused := case.refused()) is not None:
        return refused
    if case.agreed:
        return case.enter(State.STAGED, case.both(case.old + case.new))
    return case.wait_or_fail()


def _staged(case: _Case) -> Step:
    if case.rotation.method is Method.EMERGENCY:
        return _replace_at_once(case)
    turned = case.new + case.old
    if case.rotation.method is Method.MANUAL and case.rotation.confirmed_at is not None:
        # The peer has the new key alone, whatever our end says since.
        return case.enter(State.PROMOTED, case.both(turned))
    if (refused := case.refused()) is not None:
        return refused
    if not case.agreed:
        return case.wait_or_fail()
    if case.rotation.method is Method.MANUAL:
        # For as long as people take.
        waits = case.wait(until=case.now + _LOOK_AGAIN)
        return replace(waits, rotation=replace(case.rotation, deadline_at=None))
    return _promote(case)


def _promote(case: _Case) -> Step:
    """Have the ends prove themselves by the new key, one after the other where one knows one key only, in turn."""
    turned = case.new + case.old
    if any(each.taken for each in case.ends):
        # Nothing is lost by it: both ends have both keys, and prove themselves by the old one.
        waits = case.wait(until=case.now + _IN_A_MOMENT)
        patient = replace(case.rotation, deadline_at=case.now + case.rules.step)
        return replace(waits, rotation=patient)
    # Ends that know one key only go first: the others take both meanwhile.
    single = [not _takes_both(each) for each in case.ends]
    first = single if any(single) else [True, True]
    left, right = (
        turned if turns else each.keys for turns, each in zip(first, case.ends, strict=True)
    )
    return case.enter(State.PROMOTED, (left, right))


def _promoted(case: _Case) -> Step:
    if case.rotation.method is Method.EMERGENCY and case.lists != (case.new, case.new):
        return _replace_at_once(case)
    if case.rotation.confirmed_at is None:
        return _confirmed(case)
    if case.agreed and proven(case.ends, case.new[0]):
        return case.enter(State.PROVEN)
    return case.wait_or_fail()


def _confirmed(case: _Case) -> Step:
    """Ends that were to prove themselves by the new key do, or the next ones are to, or a proof is asked for."""
    # Without a way back a complaint is one only where it keeps the end from its keys: the proof will tell.
    if not (case.agreed and case.forward_only) and (refused := case.refused()) is not None:
        return refused
    if not case.agreed:
        return case.wait_or_fail()
    if any(each.keys[:1] != case.new for each in case.ends):
        return case.enter(State.PROMOTED, case.both(case.new + case.old))
    # Where nobody may start it, it comes with the tunnel's own next authentication; an outside peer may not be ready.
    starter = _starter(case.ends, gap=case.gap)
    unhurried = starter is None or not all(each.ours for each in case.ends)
    patience = timedelta(hours=case.policy.proof_hours) if unhurried else case.rules.proof
    asked = case.enter(State.PROMOTED)
    made = replace(asked.rotation, confirmed_at=case.now, deadline_at=case.now + patience)
    # Both: the other end reports what it sees at once only while a proof is wanted of it.
    tell = frozenset(Side)
    return replace(asked, rotation=made, tell=tell)


def _proven(case: _Case) -> Step:
    withdrawn = (case.new, case.new)
    if case.lists != withdrawn:
        return case.enter(State.PROVEN, withdrawn)
    if case.agreed:
        return case.enter(State.RETIRED, work=Work.DESTROY_OLD)
    if not case.late():
        return case.wait()
    # Never back from here, whatever the method: the ends may have forgotten the old key.
    note = "Look whether the agent runs there; until it answers, the old key may be accepted there."
    return case.enter(State.STUCK, problem=replace(case.silence(), next_step=note))


def _rolling_back(case: _Case) -> Step:
    if case.rotation.deadline_at is None:
        # Both were without the new key, and its destruction may be under way since: whatever they say now, it ends.
        return case.enter(State.ROLLED_BACK, work=Work.DESTROY_NEW)
    if case.agreed:
        if any(set(case.new) & set(each.keys) for each in case.ends):
            return case.enter(State.ROLLING_BACK, (case.old, case.old))
        # On record before anything is destroyed.
        decided = replace(case.rotation, deadline_at=None)
        return replace(case.wait(until=case.now), rotation=decided)
    if not case.late():
        return case.wait()
    silence, first = case.silence(), _problem(case.rotation)
    reason = first.error.partition(_UNDOING)[0] or "It was cancelled."
    silent = silence.error.partition(": ")[2]
    note = "Look whether the agent runs there and reaches the service; it goes on by itself."
    told = Problem(first.code or SILENT, f"{reason}{_UNDOING}{silent}", note)
    return case.enter(State.STUCK, problem=told)


def _stuck(case: _Case) -> Step:
    if not case.agreed:
        return case.wait()
    if case.rotation.back:
        return case.enter(State.ROLLING_BACK)
    withdrawn = case.lists == (case.new, case.new)
    if withdrawn and case.rotation.method not in _FORWARD_ONLY:
        return case.enter(State.PROVEN)
    if case.rotation.confirmed_at is None:
        return case.enter(State.PROMOTED)
    if proven(case.ends, case.new[0]):
        return case.enter(State.PROVEN)
    return case.wait()


_STATES: Mapping[State, Callable[[_Case], Step]] = {
    State.SCHEDULED: _scheduled,
    State.GENERATED: _generated,
    State.STORED: _stored,
    State.STAGED_FIRST: _staged_first,
    State.STAGED: _staged,
    State.PROMOTED: _promoted,
    State.PROVEN: _proven,
    State.ROLLING_BACK: _rolling_back,
    State.STUCK: _stuck,
}
