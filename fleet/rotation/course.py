"""How far a rotation can go now: steps of the machine, one after the other, until it must wait for somebody. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from fleet.rotation.machine import Keys, Step, Work, step
from fleet.rotation.values import End, Policy, Rotation, Side
from pki.desk import RotationRules

# No report can have been made with a state that is not on record yet.
_UNKNOWN_YET: Final = 2**62
# A course has fewer steps; more would be going round in circles.
_MANY: Final = 20


@dataclass(frozen=True)
class Course:
    """Where a rotation comes to. `passed` are its steps on the way, the last is where it is then.

    `changed`: ends whose list changed. `tell`: all ends must fetch their state. `pending`: work in the store of secrets
    without which it goes no further. `wake_at`: when to look again unless something happens; None at the end.
    """

    rotation: Rotation
    left: Keys
    right: Keys
    passed: tuple[Rotation, ...]
    changed: frozenset[Side]
    tell: bool
    pending: Work
    wake_at: datetime | None


def advance(
    rotation: Rotation,
    ends: tuple[End, End],
    policy: Policy,
    rules: RotationRules,
    now: datetime,
    *,
    done: Work = Work.NONE,
) -> Course:
    """Go as far as the ends' words and the work that is done allow."""
    passed: list[Rotation] = []
    changed: set[Side] = set()
    tell = False
    for _ in range(_MANY):
        found = step(rotation, ends, policy, rules, now)
        if found.work not in {Work.NONE, done}:
            return _course(rotation, ends, passed, changed, tell, found, found.work)
        moved = found.rotation != rotation or (found.left, found.right) != _lists(ends)
        tell = tell or found.tell
        for each, keys in zip(ends, (found.left, found.right), strict=True):
            if each.keys != keys:
                changed.add(each.side)
        if found.rotation.state is not rotation.state:
            passed.append(found.rotation)
        rotation, ends = found.rotation, _with_lists(ends, found)
        if not moved or found.wake_at is None:
            return _course(rotation, ends, passed, changed, tell, found, Work.NONE)
    raise RuntimeError(f"rotation {rotation.id} goes round in circles")


def _course(
    rotation: Rotation,
    ends: tuple[End, End],
    passed: list[Rotation],
    changed: set[Side],
    tell: bool,
    last: Step,
    pending: Work,
) -> Course:
    return Course(
        rotation,
        *_lists(ends),
        passed=tuple(passed),
        changed=frozenset(changed),
        tell=tell,
        pending=pending,
        wake_at=last.wake_at,
    )


def _lists(ends: tuple[End, End]) -> tuple[Keys, Keys]:
    return ends[0].keys, ends[1].keys


def _with_lists(ends: tuple[End, End], found: Step) -> tuple[End, End]:
    left, right = (
        each if each.keys == keys else replace(each, keys=keys, mark=_UNKNOWN_YET)
        for each, keys in zip(ends, (found.left, found.right), strict=True)
    )
    return left, right
