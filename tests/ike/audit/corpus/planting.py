"""What a planted fault is, and how a host is judged by the audit."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ike.audit import host, rules
from ike.audit.ground import Ground
from ike.audit.values import Finding, Policy, Seen
from ike.audit.windows import look
from ike.secrets.values import Problem
from tests.ike.audit.corpus.image import COLLECTED, Image
from tests.ike.audit.corpus.making import NOW

# The layouts, as faults name them
DEBIAN, STARTER, RHEL = "debian-swanctl", "debian-ipsec", "rhel"
VYOS, OPNSENSE, WINDOWS = "vyos", "opnsense", "windows"

Plant = Callable[[Image], object]


class Need(StrEnum):
    """What it takes to plant a fault, where it takes anything."""

    NOTHING = ""
    OWNERS = "root, who alone gives files to others"
    LISTS = "a file system with access control lists"


@dataclass(frozen=True)
class Fault:
    """A fault that is planted in a clean host, and where which rule must find it.

    `brings` are further findings, rule and path, that it cannot be had without, and why is said where it is not plain.
    A rule that finds two things in one file stands there twice.
    """

    name: str
    layout: str
    plant: Plant
    rule: str
    path: str
    brings: tuple[tuple[str, str], ...] = ()
    policy: Policy = field(default_factory=Policy)
    need: Need = Need.NOTHING

    @property
    def findings(self) -> list[tuple[str, str]]:
        """All that is to be found, sorted."""
        return sorted([(self.rule, self.path), *self.brings])


def judged(root: Path, policy: Policy | None = None) -> tuple[list[Finding], tuple[Problem, ...]]:
    """What the audit says of a host, and what it could not read."""
    policy = policy or Policy()
    if (root / COLLECTED.lstrip("/")).exists():
        facts = look(root / COLLECTED.lstrip("/"))
        seen = Seen((facts,), facts.problems)
    else:
        seen = host.look(Ground(root), host.Wanted(), NOW)
    return rules.judged(seen, policy, NOW), seen.problems


def both(*plants: Plant) -> Plant:
    """One after the other."""

    def plant(image: Image) -> None:
        for each in plants:
            each(image)

    return plant


def mode(path: str, bits: int) -> Plant:
    """Change a mode."""
    return lambda image: image.mode(path, bits)


def own(path: str, user: int, group: int, bits: int | None = None) -> Plant:
    """Give a file to others."""
    return lambda image: image.own(path, user, group, bits)


def put(path: str, content: str | bytes | Callable[[], str | bytes], bits: int = 0o600) -> Plant:
    """Write a file. What takes time to make, or is a secret, is given as a function."""
    return lambda image: image.put(path, content() if callable(content) else content, bits)


def change(path: str, old: str, new: str) -> Plant:
    """Put other words in the place of those that stand there."""
    return lambda image: image.change(path, old, new)


def add(path: str, text: str) -> Plant:
    """Write something behind what stands there."""
    return lambda image: image.add(path, text)
