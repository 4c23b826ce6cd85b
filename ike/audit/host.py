"""One look at a host: what is there, then what each area of the audit sees of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from ike.audit import configuration, discovery, exposure, keys, secrets
from ike.audit.access import Access
from ike.audit.certificates import CertificateFacts
from ike.audit.discovery import Discovered
from ike.audit.ground import Ground
from ike.audit.parents import Parents
from ike.audit.values import Facts, Seen
from ike.secrets.values import Problem


@dataclass(frozen=True)
class Wanted:
    """What is to be looked at: `paths` are files and folders, as the host knows them. With `known` unset they are all
    that is, without the places where daemons keep their files.
    """

    paths: tuple[str, ...] = ()
    known: bool = True


@dataclass(frozen=True)
class View:
    """What an area of the audit sees, and what it could not read. `files` were gone through beside the items."""

    facts: tuple[Facts, ...]
    problems: Sequence[Problem] = ()
    files: int = 0


Look = Callable[[Ground, Discovered, Wanted, datetime], View]


def _access(ground: Ground, discovered: Discovered, _wanted: Wanted, _now: datetime) -> View:
    items = discovered.items
    return View((Access(items, ground.accounts), Parents(items, ground.accounts)))


def _exposure(ground: Ground, discovered: Discovered, wanted: Wanted, _now: datetime) -> View:
    seen, problems = exposure.look(ground, discovered, wanted.paths, known=wanted.known)
    return View((seen,), problems, seen.files)


def _content(ground: Ground, discovered: Discovered, _wanted: Wanted, _now: datetime) -> View:
    facts, problems = keys.look(ground, discovered)
    more, unread = secrets.look(ground, discovered)
    seen = configuration.look(ground, discovered.starts)
    # What is to be done about a configuration depends on the certificates that it is for.
    unnamed = any(isinstance(each, CertificateFacts) and each.revocation_unnamed for each in facts)
    seen = replace(seen, revocation_unnamed=unnamed)
    return View((*facts, *more, seen), (*problems, *unread, *seen.problems))


AREAS: Final[tuple[Look, ...]] = (_access, _exposure, _content)


def look(ground: Ground, wanted: Wanted, now: datetime) -> Seen:
    """Everything that is seen of a host. Never fails for what stands in a file: that is a problem of the result."""
    discovered = discovery.discover(ground, wanted.paths, known=wanted.known)
    views = [area(ground, discovered, wanted, now) for area in AREAS]
    problems = [problem for view in views for problem in view.problems]
    return Seen(
        facts=tuple(facts for view in views for facts in view.facts),
        problems=tuple(dict.fromkeys((*discovered.problems, *problems))),
        files=len(discovered.items) + sum(view.files for view in views),
        items=len(discovered.items),
    )
