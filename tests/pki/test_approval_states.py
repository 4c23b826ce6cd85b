"""Approvals against a model: people ask, decide, withdraw, use, are fired, in whatever order and at whatever time."""

import itertools
import shutil
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from core.errors import IkewardenError
from pki import decisions, tokens
from pki.actors import Actor, Role
from pki.approvals import ApprovalRequired
from pki.guarded import Guarded, Step
from pki.tokens import TokenRequest
from store.approval_tables import approvals
from store.engine import open_store
from store.tables import audit_events
from store.tables import tokens as tokens_table
from tests.fixtures.desk import CLOCKWORK, NOW, Custody, new_desk
from tests.pki.approving import bearing, fire, guarded, hire

VALID = timedelta(hours=4)
ASKERS = ("alice", "carol")
APPROVERS = ("bob", "dave", "Alice")
WISHES = [TokenRequest(f"new {number}", Role.OPERATOR) for number in range(2)]


@dataclass
class Known:
    """What the model knows of one request."""

    asker: str
    wish: TokenRequest
    ends: datetime
    state: str = "pending"
    approver: str = ""
    used: int = 0

    def at(self, now: datetime) -> str:
        over = self.state in {"pending", "approved"} and self.ends <= now
        return "expired" if over else self.state


@dataclass
class Model:
    """What is known of all of them."""

    known: dict[int, Known] = field(default_factory=dict)
    fired: set[str] = field(default_factory=set)
    made: int = 0


class Approvals(RuleBasedStateMachine):
    """The real operations, and after each of them what they ought to have done."""

    template: Path
    directory: Path
    numbers = itertools.count(1)
    requests: Bundle[int] = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        path = self.directory / f"{next(self.numbers)}.db"
        shutil.copy(self.template, path)
        self.store = open_store(f"sqlite:///{path}", pool_size=2)
        free = new_desk(self.store, Custody())
        self.people: dict[str, Actor] = {}
        for name in ASKERS:
            self.people[name] = hire(free, name, Role.ADMIN)
        for name in APPROVERS:
            self.people[name] = hire(free, name, Role.APPROVER)
        self.desk = guarded(free, Guarded.ROLE_CHANGE, valid=VALID)
        self.now = NOW
        self.model = Model()

    def teardown(self) -> None:
        self.store.close()

    def _ask(self, who: Actor, wish: TokenRequest) -> Any:
        return tokens.create(self.desk, who, wish, now=self.now)

    @rule(target=requests, name=st.sampled_from(ASKERS), wish=st.sampled_from(WISHES))
    def ask(self, name: str, wish: TokenRequest) -> Any:
        model = self.model
        try:
            self._ask(self.people[name], wish)
        except ApprovalRequired as refused:
            number = refused.details["approval"]
            assert isinstance(number, int)
        else:
            raise AssertionError("done without an approval")
        open_ = [
            each
            for each, known in model.known.items()
            if (known.asker, known.wish) == (name, wish)
            and known.at(self.now) in {"pending", "approved"}
        ]
        if open_:
            assert number == max(open_)
            return multiple()
        assert number not in model.known
        model.known[number] = Known(name, wish, self.now + VALID)
        return number

    @rule(
        number=requests,
        name=st.sampled_from(APPROVERS),
        step=st.sampled_from([Step.APPROVE, Step.APPROVE, Step.REFUSE]),
    )
    def decide(self, number: int, name: str, step: Step) -> None:
        known, was = self.model.known[number], self.model.known[number].at(self.now)
        able = name not in self.model.fired and name.lower() != known.asker
        possible = was == "pending" or (was == "approved" and step is Step.REFUSE)
        try:
            decisions.decide(self.desk, self.people[name], number, step, "why", now=self.now)
        except IkewardenError:
            assert not (able and possible)
            return
        assert able
        assert possible
        if step is Step.APPROVE:
            known.state, known.approver, known.ends = "approved", name, self.now + VALID
        else:
            known.state = "refused"

    @rule(number=requests, name=st.sampled_from(ASKERS))
    def withdraw(self, number: int, name: str) -> None:
        known = self.model.known[number]
        possible = name == known.asker and known.at(self.now) in {"pending", "approved"}
        try:
            decisions.withdraw(self.desk, self.people[name], number, now=self.now)
        except IkewardenError:
            assert not possible
            return
        assert possible
        known.state = "withdrawn"

    @rule(
        number=requests,
        name=st.sampled_from([None, None, *ASKERS]),
        wish=st.sampled_from([None, None, *WISHES]),
    )
    def use(self, number: int, name: str | None, wish: TokenRequest | None) -> None:
        known = self.model.known[number]
        name, wish = name or known.asker, wish or known.wish
        possible = (
            name == known.asker
            and wish == known.wish
            and known.at(self.now) == "approved"
            and known.approver not in self.model.fired
            and name not in self.model.fired
        )
        try:
            self._ask(bearing(self.people[name], number), wish)
        except IkewardenError:
            assert not possible
            return
        assert possible
        known.state = "used"
        known.used += 1
        self.model.made += 1

    @rule(name=st.sampled_from([*ASKERS, *APPROVERS]))
    def fire(self, name: str) -> None:
        if len(self.model.fired) < 2:
            fire(self.desk, self.people[name])
            self.model.fired.add(name)

    @rule(minutes=st.sampled_from([1, 60, 239, 240, 300]))
    def wait(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule()
    def sweep(self) -> None:
        decisions.expire(self.desk, CLOCKWORK, now=self.now)
        for known in self.model.known.values():
            known.state = known.at(self.now)

    @invariant()
    def the_records_say_what_happened(self) -> None:
        with self.store.read() as connection:
            rows = connection.execute(select(approvals)).all()
            made = connection.execute(
                select(tokens_table.c.id).where(tokens_table.c.name.like("new %"))
            ).all()
            uses = connection.scalars(
                select(audit_events.c.object).where(
                    audit_events.c.action == "approval.use", audit_events.c.outcome == "ok"
                )
            ).all()
        assert {row.id for row in rows} == set(self.model.known)
        for row in rows:
            known = self.model.known[row.id]
            assert row.state == known.state
            assert known.used == (known.state == "used") <= 1
            if row.state in {"approved", "used"}:
                assert row.decided_by.lower() != row.asked_by
        used = sorted(f"approval:{n}" for n, known in self.model.known.items() if known.used)
        # One act, one approval, one trail.
        assert sorted(uses) == used
        assert len(made) == len(used) == self.model.made


def test_approvals_do_what_the_model_does(sqlite_template: Path, tmp_path: Path) -> None:
    class Here(Approvals):
        template = sqlite_template
        directory = tmp_path

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Here,
        settings=settings(
            max_examples=30,
            stateful_step_count=40,
            deadline=None,
            phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
