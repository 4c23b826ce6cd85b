"""The audit of the agent's own host: what `ike.audit` says of it, as the document that the service takes.

The service decides what is accepted, so nothing is suppressed here. It takes nothing that is too long, too much or
holds control characters: what does not fit is left out, the least bad first, and the report says so.
"""

import json
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from ike.agent.clock import Clock
from ike.agent.home import stamp
from ike.agent.settings import AgentSettings, AuditSettings
from ike.audit.published import PublishedKeys, PublishedKeysInvalid
from ike.audit.values import Finding, Policy, Severity
from ike.secrets.values import Place, Problem

Document = dict[str, Any]

MAX_FINDINGS: Final = 1000
MAX_ERRORS: Final = 1000
# The service takes a report of 4 MiB.
_MAX_OCTETS: Final = 3_500_000
_MAX_WATCHED: Final = 20_000
_LIMITS: Final = {"path": 4096, "why": 2000, "fix": 2000, "references": 200}
_TEXT: Final = 1000


@dataclass(frozen=True)
class Looked:
    """What an audit came to: the report, and the files and folders whose change may change it."""

    document: Document
    watched: tuple[str, ...]


@dataclass(frozen=True)
class Figures:
    """When an audit began, how long it took, how many files it looked at and how many of them matter."""

    started: datetime
    seconds: float
    files: int
    items: int


def look(settings: AgentSettings, clock: Clock, *, root: Path = Path("/")) -> Looked:
    """Audit the host. What cannot be read is an error of the document; nothing is raised for it."""
    # Not before it is wanted: most commands of the agent do without.
    from ike.audit import discovery, host, rules
    from ike.audit.ground import Ground
    from ike.secrets import reading

    wanted, ground = settings.audit, Ground(root)
    lists, unread = _lists(wanted.published_keys)
    policy = Policy(baseline=wanted.baseline, published=lists)
    started, began = clock.wall(), clock.monotonic()
    seen = host.look(ground, host.Wanted(paths=wanted.paths), started)
    found = rules.judged(seen, policy, started)
    items = discovery.discover(ground, wanted.paths).items
    figures = Figures(started, clock.monotonic() - began, seen.files, seen.items)
    report = document(settings.gateway, policy, found, [*unread, *seen.problems], figures)
    # What is not there yet may come.
    return Looked(report, watched([reading.PLACES, *((each.path, each.real) for each in items)]))


def _lists(paths: Iterable[str]) -> tuple[tuple[PublishedKeys, ...], list[Problem]]:
    """The lists of published keys; one that cannot be used is told, and the audit goes on."""
    found, problems = [], []
    for path in paths:
        try:
            found.append(PublishedKeys(Path(path)))
        except (OSError, PublishedKeysInvalid) as error:
            words = (
                error.strerror if isinstance(error, OSError) else ""
            ) or "it is no list of published keys"
            problems.append(Problem(Place(path, 0), words))
    return tuple(found), problems


def document(
    name: str,
    policy: Policy,
    found: Sequence[Finding],
    problems: Iterable[Problem],
    figures: Figures,
) -> Document:
    """The report, version 1, so that it fits; `found` is sorted, the worst first."""
    errors = {
        _plain("path", each.place.path): {
            "path": _plain("path", each.place.path),
            "line": each.place.line or None,
            "error": _plain("error", each.message),
        }
        for each in problems
    }
    entries = [_entry(each) for each in found]
    told, complete = _fitting(entries, MAX_FINDINGS, _MAX_OCTETS)
    room = max(0, _MAX_OCTETS - len(json.dumps(told)))
    unread, all_told = _fitting(list(errors.values()), MAX_ERRORS, room)
    return {
        "version": 1,
        "host": name,
        "root": None,
        "started": stamp(figures.started),
        "seconds": round(figures.seconds, 3),
        "policy": {"baseline": policy.baseline},
        "findings": told,
        "errors": unread,
        "summary": {
            **{str(each): sum(e["severity"] == each for e in told) for each in Severity},
            "files": figures.files,
            "items": figures.items,
        },
        # Where an error is not told, what was not found there would count as fixed.
        "complete": complete and all_told,
    }


def _entry(finding: Finding) -> Document:
    rule = finding.rule
    texts = {
        "rule": rule.id,
        "area": str(rule.area),
        "severity": str(finding.weight),
        "path": finding.place.path,
        "subject": finding.subject,
        "title": rule.title,
        "evidence": finding.evidence,
        "why": rule.why,
        "fix": finding.fix or rule.fix,
    }
    return {
        "id": finding.id,
        **{name: _plain(name, text) for name, text in texts.items()},
        "line": finding.place.line or None,
        "references": [_plain("references", each) for each in rule.references[:30]],
    }


def _fitting(entries: list[Document], most: int, octets: int) -> tuple[list[Document], bool]:
    """As many from the beginning as there is room for, and whether that is all."""
    kept, size = [], 2
    for each in entries[:most]:
        size += len(json.dumps(each)) + 2
        if size > octets:
            break
        kept.append(each)
    return kept, len(kept) == len(entries)


def _plain(name: str, text: str) -> str:
    """One line that can be shown, no longer than the service takes."""
    line = " ".join(text.split()) if name != "path" else text
    return "".join(c if c.isprintable() else "?" for c in line)[: _LIMITS.get(name, _TEXT)]


def watched(items: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Paths with the folders that they are in, each once, bounded."""
    found: dict[str, None] = {}
    for paths in items:
        for path in paths:
            found[path] = found[os.path.dirname(path)] = None
    return tuple(found)[:_MAX_WATCHED]


Glance = dict[str, tuple[int, ...]]


def glance(paths: Iterable[str], *, but: Path) -> Glance:
    """What the file system says of these now: a change of content, mode, owner or ACL shows in it. Opens nothing.

    Of folders right below the root only mode and owner: names come and go there for other reasons all day. What is in
    the folder `but`, the agent's own, is left out.
    """
    own = f"{but}/"
    return {each: _status(each) for each in paths if not f"{each}/".startswith(own)}


def _status(path: str) -> tuple[int, ...]:
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return ()
    who = (status.st_ino, status.st_mode, status.st_uid, status.st_gid)
    if stat.S_ISDIR(status.st_mode) and path.count("/") <= 1:
        return who
    return (*who, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def first_wait(settings: AuditSettings, since: float | None, chance: float) -> float:
    """Seconds until the first audit of a process; `since`: seconds since the last one, of another process.

    Never at once, so that a fleet that is started anew does not report in one moment.
    """
    soon = 30.0 + 270.0 * chance
    if since is None or since < 0:
        return soon
    return max(soon, settings.hours * 3600.0 - since)


def next_wait(settings: AuditSettings, chance: float) -> float:
    """Seconds from one audit to the next, up to a tenth sooner: what was started together drifts apart."""
    return settings.hours * 3600.0 * (1 - chance / 10)
