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

    `changed`: ends whose list changed. `told`: ends that must fetch their state, the changed ones too. `pending`: work
    in the store of secrets without which it goes no further. `wake_at`: when to look again unless something happens;
    None at the end.
    """

    rotation: Rotation
    left: Keys
    right: Keys
    passed: tuple[Rotation, ...]
    changed: frozenset[Side]
    told: frozenset[Side]
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
    told: set[Side] = set()
    for _ in range(_MANY):
        found = step(rotation, ends, policy, rules, now)
        pending = found.work if found.work is not done else Work.NONE
        still = found.rotation == rotation and _changed(ends, found) == set()
        if pending is Work.NONE:
            if found.rotation.state is not rotation.state:
                passed.append(found.rotation)
            changed |= _changed(ends, found)
            told |= _changed(ends, found) | found.tell
            rotation, ends = found.rotation, _after(ends, found)
        if pending is not Work.NONE or still or found.wake_at is None:
            return Course(
                rotation,
                ends[0].keys,
                ends[1].keys,
                passed=tuple(passed),
                changed=frozenset(changed),
                told=frozenset(told),
                pending=pending,
                wake_at=found.wake_at,
            )
    raise RuntimeError(f"rotation {rotation.id} goes round in circles")


def _changed(ends: tuple[End, End], found: Step) -> set[Side]:
    lists = (found.left, found.right)
    return {each.side for each, keys in zip(ends, lists, strict=True) if each.keys != keys}


def _after(ends: tuple[End, End], found: Step) -> tuple[End, End]:
    changed = _changed(ends, found)
    left, right = (
        replace(
            each,
            keys=keys,
            mark=_UNKNOWN_YET if each.side in changed | found.tell else each.mark,
            since=_UNKNOWN_YET if each.side in changed else each.since,
        )
        for each, keys in zip(ends, (found.left, found.right), strict=True)
    )
    return left, right
