"""A whole audit of one host, from the look at it to the findings that count."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from cryptography.utils import CryptographyDeprecationWarning

from ike.audit import planning
from ike.audit.accepted import Entry, sort
from ike.audit.access import Access
from ike.audit.earlier import Earlier, compare
from ike.audit.exposure import Exposure
from ike.audit.fixing import Change
from ike.audit.ground import Ground
from ike.audit.host import Wanted, look
from ike.audit.rules import RULES, judged
from ike.audit.values import Audit, Policy, Seen
from ike.audit.windows.facts import WindowsFacts
from ike.secrets.values import Problem


@dataclass(frozen=True)
class Task:
    """What is to be audited and by what. `host` is its name for people; `accepted` and `before` as they were read."""

    host: str
    wanted: Wanted = field(default_factory=Wanted)
    policy: Policy = field(default_factory=Policy)
    accepted: Iterable[Entry] = ()
    before: Earlier | None = None


@dataclass(frozen=True)
class Outcome:
    """An audit, and what it was judged from."""

    audit: Audit
    seen: Seen

    def changes(self) -> list[Change]:
        """The changes of modes and owners that mend findings; none for those that are accepted."""
        access = next((facts for facts in self.seen.facts if isinstance(facts, Access)), None)
        if access is None:
            return []
        items = list(access.items)
        for facts in self.seen.facts:
            if isinstance(facts, Exposure):
                items += [each.item for each in facts.copies]
                items += [each.item for each in facts.strays]
        to_mend = (*self.audit.findings, *self.audit.known)
        return planning.plan(to_mend, items, access.accounts, self.audit.policy)


def carry_out(ground: Ground, task: Task, clock: Callable[[], datetime]) -> Outcome:
    """The audit of a host or a copy of its files. Changes nothing; what cannot be read is told in it."""
    started = clock()
    with _quiet():
        seen = look(ground, task.wanted, started)
        audit = _judged(seen, task, started)
    if not ground.is_live:
        audit = replace(audit, root=str(ground.root))
    return Outcome(replace(audit, seconds=max((clock() - started).total_seconds(), 0)), seen)


def of_windows(facts: WindowsFacts, task: Task, now: datetime) -> Audit:
    """The audit of a Windows machine, from what the collector wrote there."""
    with _quiet():
        return _judged(Seen((facts,), facts.problems, facts.items, facts.items), task, now)


@contextmanager
def _quiet() -> Iterator[None]:
    """What the library minds about a certificate is told as a finding, if at all, and not on the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        yield


def _judged(seen: Seen, task: Task, started: datetime) -> Audit:
    stumbles: list[Problem] = []
    chosen = sort(
        judged(seen, task.policy, started, stumbles),
        task.accepted,
        started,
        rules={rule.id for rule in RULES},
        whole=task.wanted.known,
    )
    audit = Audit(
        host=task.host,
        root="",
        started=started,
        seconds=0,
        policy=task.policy,
        findings=chosen.findings,
        suppressed=chosen.suppressed,
        problems=(*seen.problems, *stumbles),
        files=seen.files,
        items=seen.items,
        accepted=chosen.accepted,
        remarks=chosen.remarks,
    )
    return audit if task.before is None else compare(audit, task.before)
