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
from ike.secrets.stumbling import stumbling
from ike.secrets.tree import CUT_OFF
from ike.secrets.values import Place, Problem


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


_ALL: Final = Place("/", 0)  # nothing below it counts as looked at
Look = Callable[[Ground, Discovered, Wanted, datetime], View]


def _access(ground: Ground, discovered: Discovered, _wanted: Wanted, _now: datetime) -> View:
    items = discovered.items
    return View((Access(items, ground.accounts), Parents(items, ground.accounts)))


def _exposure(ground: Ground, discovered: Discovered, wanted: Wanted, _now: datetime) -> View:
    seen, problems = exposure.look(ground, discovered, wanted.paths, known=wanted.known)
    return View((seen,), problems, seen.files)


def _content(ground: Ground, discovered: Discovered, _wanted: Wanted, _now: datetime) -> View:
    facts: list[Facts] = []
    problems: list[Problem] = []
    unnamed = False
    for name, read in (("keys", keys.look), ("secrets", secrets.look)):
        with stumbling(_ALL, problems, f"the {name}"):
            more, unread = read(ground, discovered)
            facts += more
            problems += unread
    with stumbling(_ALL, problems, "the certificates"):
        # What is to be done about a configuration depends on the certificates that it is for.
        certificates = (each for each in facts if isinstance(each, CertificateFacts))
        unnamed = any(each.revocation_unnamed for each in certificates)
    with stumbling(_ALL, problems, "the configuration"):
        seen = configuration.look(ground, discovered.starts)
        facts.append(replace(seen, revocation_unnamed=unnamed))
        problems += seen.problems
    return View(tuple(facts), problems)


AREAS: Final[tuple[Look, ...]] = (_access, _exposure, _content)


def look(ground: Ground, wanted: Wanted, now: datetime) -> Seen:
    """Everything that is seen of a host. Never fails for what stands in a file: that is a problem of the result."""
    discovered = discovery.discover(ground, wanted.paths, known=wanted.known)
    views: list[View] = []
    stumbles: list[Problem] = []
    for area in AREAS:
        with stumbling(_ALL, stumbles, f"its own part {area.__name__[1:]}"):
            views.append(area(ground, discovered, wanted, now))
    problems = [*(problem for view in views for problem in view.problems), *stumbles]
    problems += [Problem(Place(pattern, 0), CUT_OFF) for pattern in sorted(ground.cut_off)]
    return Seen(
        facts=tuple(facts for view in views for facts in view.facts),
        problems=tuple(dict.fromkeys((*discovered.problems, *problems))),
        files=len(discovered.items) + sum(view.files for view in views),
        items=len(discovered.items),
    )
