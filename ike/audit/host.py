"""One look at a host: what is there, then what each area of the audit sees of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ike.audit import discovery
from ike.audit.discovery import Discovered
from ike.audit.ground import Ground
from ike.audit.values import Facts, Seen
from ike.secrets.values import Problem


@dataclass(frozen=True)
class Wanted:
    """What is to be looked at: `paths` are files and folders beside the known places, as the host knows them."""

    paths: tuple[str, ...] = ()


Look = Callable[[Ground, Discovered, Wanted], tuple[Sequence[Facts], Sequence[Problem]]]
"""What an area of the audit sees, and what it could not read."""

AREAS: Final[tuple[Look, ...]] = ()


def look(ground: Ground, wanted: Wanted, now: datetime) -> Seen:
    """Everything that is seen of a host. Never fails for what stands in a file: that is a problem of the result."""
    discovered = discovery.discover(ground, wanted.paths)
    facts: list[Facts] = []
    problems = list(discovered.problems)
    for area in AREAS:
        seen, unread = area(ground, discovered, wanted)
        facts += seen
        problems += unread
    return Seen(tuple(facts), tuple(dict.fromkeys(problems)), 0, len(discovered.items))
