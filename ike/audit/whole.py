"""A whole audit of one host, from the look at it to the findings that count."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from ike.audit.accepted import Entry, sort
from ike.audit.earlier import Earlier, compare
from ike.audit.ground import Ground
from ike.audit.host import Wanted, look
from ike.audit.rules import RULES, judged
from ike.audit.values import Audit, Policy


@dataclass(frozen=True)
class Task:
    """What is to be audited and by what. `host` is its name for people; `accepted` and `before` as they were read."""

    host: str
    wanted: Wanted = field(default_factory=Wanted)
    policy: Policy = field(default_factory=Policy)
    accepted: Iterable[Entry] = ()
    before: Earlier | None = None


def carry_out(ground: Ground, task: Task, clock: Callable[[], datetime]) -> Audit:
    """The audit. Changes nothing; what cannot be read is told in it."""
    started = clock()
    seen = look(ground, task.wanted, started)
    chosen = sort(
        judged(seen, task.policy, started),
        task.accepted,
        started,
        rules={rule.id for rule in RULES},
        whole=not task.wanted.paths,
    )
    audit = Audit(
        host=task.host,
        root="" if ground.is_live else str(ground.root),
        started=started,
        seconds=0,
        policy=task.policy,
        findings=chosen.findings,
        suppressed=chosen.suppressed,
        problems=seen.problems,
        files=seen.files,
        items=seen.items,
        accepted=chosen.accepted,
        remarks=chosen.remarks,
    )
    if task.before is not None:
        audit = compare(audit, task.before)
    return replace(audit, seconds=max((clock() - started).total_seconds(), 0))
