"""The machine of rotations against two modelled gateways that are late, die, lie and come back, and a store that fails.

The machine and the work in the store are the real ones; the records are a few fields, written in one go or not at all
(a worker that dies before its commit). The agents fetch, apply and report in separate steps, so that each may be late.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from core.errors import Unavailable
from core.secret import Secret
from fleet.rotation import custody, machine
from fleet.rotation.course import Course, advance
from fleet.rotation.custody import Job
from fleet.rotation.machine import Order, Work
from fleet.rotation.values import (
    ENDED,
    Authentication,
    End,
    EndAbilities,
    EndReport,
    Method,
    Policy,
    Reason,
    Rotation,
    Side,
    State,
)
from hsm.secretstore import SecretConflict, SecretStoreUnavailable, VersionState
from pki.desk import Desk, RotationRules, Rules
from tests.fakes import FakeSecretStore

PATH = "ikewarden/gw1-gw2/psk"
_SELDOM = st.sampled_from([False, False, False, True])
START = datetime(2026, 1, 1, tzinfo=UTC)
RULES = RotationRules()


class FaultyStore(FakeSecretStore):
    """A store of secrets that may lose an answer, and may do what it was asked long after its caller gave up."""

    def __init__(self) -> None:
        super().__init__()
        self.fault = ""
        self.on_their_way: list[tuple[Secret, int, Mapping[str, str]]] = []

    def put(self, path: str, value: Secret, *, after: int, tags: Mapping[str, str]) -> int:
        fault, self.fault = (self.fault, "") if path == PATH else ("", self.fault)
        if fault == "late":
            self.on_their_way.append((value, after, tags))
            raise SecretStoreUnavailable("No answer.")
        number = super().put(path, value, after=after, tags=tags)
        if fault == "lost":
            raise SecretStoreUnavailable("No answer.")
        return number

    def arrive(self) -> None:
        """Do what was still on its way."""
        while self.on_their_way:
            value, after, tags = self.on_their_way.pop()
            try:
                super().put(PATH, value, after=after, tags=tags)
            except SecretConflict:
                continue

    def live(self) -> dict[int, Mapping[str, str]]:
        """The values of ours that are left, by number."""
        return {
            each.number: stored.tags
            for each in self.versions(PATH)
            if each.state is VersionState.LIVE
            and "rotation" in (stored := self.get(PATH, each.number)).tags
        }


@dataclass
class Gateway:
    """An end: what the service wishes, what its agent last fetched, what its daemon has, what was last heard of it."""

    side: Side
    abilities: EndAbilities
    keys: tuple[int, ...] = ()
    version: int = 0
    mark: int | None = None
    since: int | None = None
    fetched: tuple[int, tuple[int, ...], Order | None] = (0, (), None)
    applied: int = 0
    loaded: tuple[int, ...] = ()
    held: tuple[int, ...] = ()
    ordered: Order | None = None
    authenticated: Authentication | None = None
    # The list that it had when that came up.
    under: tuple[int, ...] = ()
    heard: EndReport | None = None
    alive: bool = True
    refuses: bool = False
    lies: bool = False
    ours: bool = True

    def end(self) -> End:
        heard = self.heard if self.ours else None
        starts = self.side is Side.LEFT
        return End(self.side, self.ours, self.keys, heard, starts, self.mark, since=self.since)

    def told(self, mark: int) -> Authentication | None:
        """The latest authentication as it is kept once it is told of: with the mark of the first report of it."""
        before = self.heard.authenticated if self.heard is not None else None
        known = before is not None and replace(before, mark=0) == self.authenticated
        if known or self.authenticated is None:
            return before if known else None
        return replace(self.authenticated, mark=mark)


@dataclass
class Records:
    """What the service has on record."""

    rotation: Rotation | None = None
    current: int | None = None
    last: int = 0
    # By version: the number in the store, and whether it is destroyed.
    numbers: dict[int, int | None] = field(default_factory=dict)
    destroyed: set[int] = field(default_factory=set)
    ended: list[Rotation] = field(default_factory=list)


class Rotations(RuleBasedStateMachine):
    """Two gateways, one slot."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.store = FaultyStore()
        self.desk: Any = Desk(None, None, Rules(""), secrets=self.store)  # type: ignore[arg-type]  # none are needed
        self.book = Records()
        self.spi = 0
        self.lied = False

    @initialize(
        overlaps=st.sampled_from([(True, True), (True, True), (True, False), (False, False)]),
        gapless=st.booleans(),
        gap=st.booleans(),
        fresh=st.sampled_from([False, False, False, True]),
        outside=st.sampled_from([False, False, False, True]),
    )
    def begin(
        self, overlaps: tuple[bool, bool], gapless: bool, gap: bool, fresh: bool, outside: bool
    ) -> None:
        self.policy = Policy(gap=gap)
        self.left, self.right = (
            Gateway(side, EndAbilities(overlap=overlap, gapless=gapless))
            for side, overlap in zip(Side, overlaps, strict=True)
        )
        self.ends = (self.left, self.right)
        self.overlap = all(overlaps)
        if outside:
            self.right.ours, self.overlap = False, False
        if not fresh:
            number = FakeSecretStore.put(
                self.store, PATH, Secret(b"imported"), after=0, tags={"rotation": "0"}
            )
            self.book = Records(current=1, last=1, numbers={1: number})
            for end in self.ends:
                end.keys = end.loaded = end.held = (1,)
                end.fetched = (0, (1,), None)
                end.heard = EndReport((1,), (1,), None, end.abilities)
        self.demand(Reason.SCHEDULED)

    # The service

    @precondition(lambda self: self.book.rotation is None)
    @rule(reason=st.sampled_from([Reason.SCHEDULED, Reason.DEMANDED, Reason.EMERGENCY]))
    def rotate(self, reason: Reason) -> None:
        self.demand(reason)

    def demand(self, reason: Reason) -> None:
        method = Method.OVERLAP if self.overlap else Method.COORDINATED
        if self.book.current is None:
            method = Method.FIRST
        elif reason is Reason.EMERGENCY:
            method = Method.EMERGENCY
        elif not self.right.ours:
            method = Method.MANUAL
        self.book.rotation = Rotation(
            id=len(self.book.ended) + 1,
            slot_id=1,
            state=State.SCHEDULED,
            back=False,
            method=method,
            reason=reason,
            from_version=self.book.current,
            to_version=None,
            created_at=self.now,
            entered_at=self.now,
        )

    @precondition(lambda self: self.book.rotation is not None)
    @rule(really=_SELDOM)
    def hasten(self, really: bool) -> None:
        rotation = self.rotation
        early = {State.SCHEDULED, State.GENERATED, State.STORED, State.STAGED_FIRST, State.STAGED}
        if really and rotation.back and rotation.state is State.STUCK:
            if rotation.method is not Method.FIRST:
                self.book.rotation = replace(
                    rotation,
                    method=Method.EMERGENCY,
                    reason=Reason.EMERGENCY,
                    state=State.PROMOTED,
                    back=False,
                    confirmed_at=None,
                )
        elif (
            really
            and rotation.state in {*early, State.PROMOTED}
            and not rotation.back
            and rotation.method is not Method.FIRST
        ):
            self.book.rotation = replace(rotation, method=Method.EMERGENCY, reason=Reason.EMERGENCY)

    @precondition(lambda self: self.book.rotation is not None)
    @rule(really=_SELDOM)
    def cancel(self, really: bool) -> None:
        rotation = self.rotation
        if not really:
            return
        proven = rotation.method is Method.MANUAL and self.left.keys == (rotation.to_version,)
        may = rotation.method in {Method.FIRST, Method.MANUAL} and not proven
        stuck = rotation.state is State.STUCK and may
        hasty = rotation.method is Method.EMERGENCY
        early = rotation.state in {State.SCHEDULED, State.GENERATED}
        if rotation.back or rotation.state is State.PROVEN or (hasty and not early):
            return
        if rotation.state is State.STUCK:
            if not stuck:
                return
            rotation = replace(rotation, state=State.PROMOTED, confirmed_at=None)
        self.book.rotation = replace(rotation, back=True)
        if rotation.method is Method.MANUAL:
            self.set_by_hand(rotation.from_version)

    @precondition(lambda self: self.book.rotation is not None)
    @rule()
    def confirm(self) -> None:
        """Whoever runs the outside peer takes the new key, and the operator says so."""
        rotation = self.rotation
        waits = rotation.method is Method.MANUAL and rotation.state is State.STAGED
        if waits and not rotation.back and machine.agrees(self.left.end()):
            self.set_by_hand(rotation.to_version)
            self.book.rotation = replace(rotation, confirmed_at=self.now)

    def set_by_hand(self, version: int | None) -> None:
        self.right.loaded = self.right.held = () if version is None else (version,)

    @rule(dies=_SELDOM)
    def run(self, dies: bool) -> None:
        """A worker looks; it may die after its work in the store and before its commit."""
        rotation = self.book.rotation
        if rotation is None:
            return
        if rotation.state is State.SCHEDULED and not rotation.back:
            self.book.rotation = rotation = self._let_in(rotation)
        course = self._course(rotation)
        self._apply(course)
        work = course.pending
        made, done = None, Work.NONE
        if work is not Work.NONE:
            try:
                made = custody.do(self.desk, self._job(self.rotation, work), self._waits)
                done = work
            except (Unavailable, SecretConflict):
                pass
        if dies:
            return
        if made is not None:
            self.book.numbers[self.rotation.to_version or 0] = made.number
        if self.book.rotation is not None:
            self._apply(self._course(self.rotation, done))

    def _waits(self, job: Job) -> bool:
        rotation = self.book.rotation
        known = self.book.numbers.get(job.version)
        return rotation is not None and rotation.id == job.rotation_id and known is None

    def _let_in(self, rotation: Rotation) -> Rotation:
        self.book.last += 1
        self.book.numbers[self.book.last] = None
        state, version = State.GENERATED, self.book.last
        return replace(rotation, state=state, to_version=version, entered_at=self.now)

    @property
    def rotation(self) -> Rotation:
        assert self.book.rotation is not None
        return self.book.rotation

    def _course(self, rotation: Rotation, done: Work = Work.NONE) -> Course:
        ends = (self.left.end(), self.right.end())
        return advance(rotation, ends, self.policy, RULES, self.now, done=done)

    def _job(self, rotation: Rotation, work: Work) -> Job:
        known = self.book.numbers
        return Job(
            rotation.id,
            1,
            work,
            PATH,
            rotation.to_version or 0,
            max((each for each in known.values() if each), default=0),
            known.get(rotation.from_version or 0),
            known.get(rotation.to_version or 0),
        )

    def _apply(self, course: Course) -> None:
        for end, keys in ((self.left, course.left), (self.right, course.right)):
            if end.side in course.told:
                end.version += 1
                end.keys, end.mark = keys, end.version
            if end.side in course.changed:
                end.since = end.version
        rotation = course.rotation
        for each in course.passed:
            event(f"{each.method} {each.state}")
            if each.state is State.PROVEN:
                self.book.current = each.to_version
                self._is_proven_since(each)
            elif each.state is State.RETIRED and each.from_version:
                self.book.destroyed.add(each.from_version)
            elif each.state is State.ROLLED_BACK and each.to_version:
                self.book.destroyed.add(each.to_version)
        if rotation.state in ENDED:
            self.book.ended.append(rotation)
            self.book.rotation = None
            for end in self.ends:
                end.mark = end.since = None
        else:
            self.book.rotation = rotation

    # The agents and their daemons

    which = st.integers(0, 1)

    @rule(which=which)
    def fetch(self, which: int) -> None:
        end = self.ends[which]
        if end.alive:
            ends = (self.left.end(), self.right.end())
            wanted = self.book.rotation
            found = {} if wanted is None else machine.orders(wanted, ends, self.policy)
            end.fetched = (end.version, end.keys, found.get(end.side))

    @rule(which=which)
    def apply(self, which: int) -> None:
        end = self.ends[which]
        if not end.ours:
            if self.book.rotation is None or self.book.rotation.method is not Method.MANUAL:
                self.set_by_hand(end.keys[0] if end.keys else None)
            return
        if not end.alive or end.lies or end.refuses:
            return
        end.applied, keys, end.ordered = end.fetched
        if end.ordered is not None and end.under != keys:
            end.authenticated = None  # it was seen before this list came
        end.held = keys
        end.loaded = keys if end.abilities.overlap else keys[:1]

    @rule(which=which)
    def report(self, which: int) -> None:
        end = self.ends[which]
        if not end.alive or not end.ours:
            return
        if end.lies:
            version, keys, order = end.fetched
            seen = None if order is None else Authentication(order.version, mark=version)
            end.heard = EndReport(keys, keys, seen, end.abilities, mark=version)
            self.lied = True
            return
        mark = end.fetched[0] if end.refuses else end.applied
        end.heard = EndReport(
            end.loaded,
            end.held,
            end.told(mark),
            end.abilities,
            error_code="daemon_refused" if end.refuses else "",
            error="It did not take the key." if end.refuses else "",
            mark=mark,
        )

    @rule(which=which)
    def authenticate(self, which: int) -> None:
        """The tunnel comes up afresh, started by one of the ends: if they know each other's keys."""
        here, there = self.ends[which], self.ends[1 - which]
        if not self._know_each_other(here, there):
            return
        self.spi += 1
        for end in (here, there):
            first = end.loaded[0]
            if end.alive:
                end.authenticated = Authentication(first, f"{self.spi:016x}", f"{self.spi:016x}")
                end.under = end.held

    def _know_each_other(self, here: Gateway, there: Gateway) -> bool:
        return (
            bool(here.loaded and there.loaded)
            and here.loaded[0] in there.loaded
            and there.loaded[0] in here.loaded
        )

    @rule(rounds=st.integers(1, 3), proof=st.booleans())
    def go_well(self, rounds: int, proof: bool) -> None:
        """Some rounds in which everybody does his work, as nearly always."""
        for _ in range(rounds):
            self.run(dies=False)
            for which in (0, 1):
                self.fetch(which)
                self.apply(which)
            if proof:
                self.authenticate(0)
            for which in (0, 1):
                self.report(which)
            self._check()

    @rule(which=which, minutes=st.sampled_from([1, 11]), rounds=st.integers(1, 3))
    def be_late(self, which: int, minutes: int, rounds: int) -> None:
        """One end is held up between fetching and applying, while everybody else goes on."""
        self.fetch(which)
        self.pass_time(minutes)
        for _ in range(rounds):
            self.run(dies=False)
            self.serve(1 - which)
            self._check()
        self.apply(which)

    @precondition(lambda self: self.book.rotation is not None)
    @rule(told=st.booleans())
    def turn_round(self, told: bool) -> None:
        """A promoted one, of which the ends saw an authentication, is undone, gets stuck, and becomes an emergency."""
        early = {Method.FIRST, Method.EMERGENCY}
        rotation = self.rotation
        if rotation.state is not State.PROMOTED or rotation.back or rotation.method in early:
            return
        for which in (0, 1):
            self.serve(which)
        self.authenticate(0)
        if told:
            self.report(0)
        self.cancel(really=True)
        self.run(dies=False)
        self.pass_time(11)
        self.run(dies=False)
        if self.book.rotation is not None:
            self.hasten(really=True)
            self.go_well(rounds=3, proof=False)

    @rule(which=which)
    def serve(self, which: int) -> None:
        """One end does all its work."""
        self.fetch(which)
        self.apply(which)
        self.report(which)

    @rule(which=which, alive=st.sampled_from([True, True, False]))
    def live_or_die(self, which: int, alive: bool) -> None:
        self.ends[which].alive = alive

    @rule(which=which, refuses=_SELDOM)
    def refuse(self, which: int, refuses: bool) -> None:
        self.ends[which].refuses = refuses

    @rule(which=which, lies=_SELDOM)
    def lie(self, which: int, lies: bool) -> None:
        # Where somebody else can contradict: two that agree on a lie cannot be told from two that tell the truth.
        if not self.ends[1 - which].lies and self.right.ours:
            self.ends[which].lies = lies

    # The world

    @rule(minutes=st.sampled_from([1, 5, 11, 60, 1500]))
    def pass_time(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(fault=st.sampled_from(["", "lost", "late"]))
    def disturb(self, fault: str) -> None:
        self.store.fault = fault

    @rule()
    def arrive(self) -> None:
        if not self.store._failing:
            self.store.arrive()

    @rule(sealed=_SELDOM)
    def seal(self, sealed: bool) -> None:
        if sealed:
            self.store.fail()
        else:
            self.store.heal()

    @rule()
    def intrude(self) -> None:
        if not self.store._failing:
            after = len(self.store.versions(PATH))
            FakeSecretStore.put(self.store, PATH, Secret(b"another's"), after=after, tags={})

    # What must always be so

    def _is_proven_since(self, rotation: Rotation) -> None:
        """No emergency is proven by what an end saw before it had let go of the old key.

        Of an end without overlap the daemon has the first key only: what it holds beside that, as one that refused to
        give it away, lets nobody in.
        """
        if rotation.method is Method.EMERGENCY and not self.lied:
            for end in self.ends:
                counts = end.under if end.abilities.overlap else end.under[:1]
                assert counts == (rotation.to_version,) or not end.ours

    def _check(self) -> None:
        self.the_ends_have_a_common_key()
        self.no_value_in_the_store_is_unknown()
        self.what_has_ended_is_destroyed()
        self.what_the_ends_should_have_is_there()

    @invariant()
    def the_ends_have_a_common_key(self) -> None:
        rotation = self.book.rotation
        touched = rotation is not None and rotation.method in {Method.FIRST, Method.EMERGENCY}
        settled = all(end.loaded for end in self.ends)
        if touched or not settled or self.lagging_emergency():
            return
        assert set(self.left.held) & set(self.right.held), (self.left, self.right)
        if self.overlap and not self.lied:
            assert self._know_each_other(self.left, self.right), (self.left, self.right)

    def lagging_emergency(self) -> bool:
        """Whether an end may still have what was before a rotation without overlap."""
        return any(end.applied < (end.mark or 0) for end in self.ends) and any(
            each.method in {Method.FIRST, Method.EMERGENCY} for each in self.book.ended[-1:]
        )

    @invariant()
    def no_value_in_the_store_is_unknown(self) -> None:
        if self.store._failing:
            return
        numbers = {
            number
            for version, number in self.book.numbers.items()
            if number is not None and version not in self.book.destroyed
        }
        rotation = self.book.rotation
        for number, tags in self.store.live().items():
            coming = (
                rotation is not None
                and rotation.state is State.GENERATED
                and tags == {"rotation": str(rotation.id), "version": str(rotation.to_version)}
            )
            assert number in numbers or coming, (number, tags, self.book)

    @invariant()
    def what_has_ended_is_destroyed(self) -> None:
        if self.store._failing:
            return
        ended = {str(each.id) for each in self.book.ended}
        current = self.book.numbers.get(self.book.current or 0)
        for number, tags in self.store.live().items():
            assert tags["rotation"] not in ended or number == current or self.book.rotation

    @invariant()
    def what_the_ends_should_have_is_there(self) -> None:
        if self.store._failing:
            return
        live = self.store.live()
        for end in self.ends if hasattr(self, "ends") else ():
            for version in end.keys:
                assert self.book.numbers[version] in live, (version, self.book)

    def teardown(self) -> None:
        """When the faults end every rotation ends, with one key at both ends and one value in the store."""
        self.store.heal()
        self.store.fault = ""
        for end in self.ends:
            end.alive, end.refuses, end.lies = True, False, False
        for _ in range(200):
            self.run(dies=False)
            if self.book.rotation is not None:
                self.confirm()
            for which in (0, 1):
                self.fetch(which)
                self.apply(which)
            self.authenticate(0)
            for which in (0, 1):
                self.report(which)
            self.now += timedelta(seconds=10)
            if self.book.rotation is None:
                break
        assert self.book.rotation is None, self.book
        self.store.arrive()
        for which in (0, 1):
            self.fetch(which)
            self.apply(which)
        wanted = () if self.book.current is None else (self.book.current,)
        assert self.left.loaded == self.right.loaded == wanted
        number = self.book.numbers.get(self.book.current or 0)
        assert set(self.store.live()) == ({number} if self.book.current else set())


Rotations.TestCase.settings = settings(
    max_examples=400,
    stateful_step_count=60,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
TestRotations = Rotations.TestCase
