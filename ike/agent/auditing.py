"""The audit of the agent's own host: what `ike.audit` says of it, as the document that the service takes.

The service decides what is accepted, so nothing is suppressed here. It takes nothing that is too long, too much or
holds control characters: what does not fit is left out, the least bad first, and the report says so.
"""

import json
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
_LIMITS: Final = {"path": 4096, "why": 2000, "fix": 2000, "references": 200, "names": 200}
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
    policy, more, unread = _policy(wanted)
    paths = (*wanted.paths, *more)
    started, began = clock.wall(), clock.monotonic()
    seen = host.look(ground, host.Wanted(paths=paths), started)
    stumbles: list[Problem] = []
    found = rules.judged(seen, policy, started, stumbles)
    items = discovery.discover(ground, paths).items
    figures = Figures(started, clock.monotonic() - began, seen.files, seen.items)
    report = document(
        settings.gateway, policy, found, [*unread, *seen.problems, *stumbles], figures
    )
    if any(each.place.path == wanted.policy for each in unread):
        # By other measures something is not found that is there: it must not count as fixed.
        report["complete"] = False
    own = [path for path in (wanted.policy, *wanted.published_keys) if path]
    # What is not there yet may come.
    places = (own, reading.PLACES, *((each.path, each.real) for each in items))
    return Looked(report, watched(places))


def _policy(wanted: AuditSettings) -> tuple[Policy, tuple[str, ...], list[Problem]]:
    """By what is judged, what is looked at beside, and what of it cannot be used: then the defaults are."""
    from ike.audit import policies

    lists, problems = _lists(wanted.published_keys)
    policy, paths = Policy(), tuple[str, ...]()
    if wanted.policy:
        try:
            if stat.S_ISFIFO(os.stat(wanted.policy).st_mode):  # nobody may be there to write to it
                raise policies.PolicyInvalid("It is a pipe.")  # noqa: TRY301
            policy, paths = policies.read(Path(wanted.policy))
        except OSError as error:
            words = error.strerror or "it cannot be read"
            problems.append(Problem(Place(wanted.policy, 0), words))
        except (policies.PolicyInvalid, PublishedKeysInvalid) as error:
            problems.append(Problem(Place(wanted.policy, 0), error.message))
        except ValueError:  # a NUL in it
            problems.append(Problem(Place(wanted.policy, 0), "it is no path"))
    # agent.toml names one always; what it names by default leaves the choice to the policy.
    chosen = policy.baseline if wanted.baseline == AuditSettings.baseline else wanted.baseline
    return replace(policy, baseline=chosen, published=(*policy.published, *lists)), paths, problems


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
    errors: dict[str, Document] = {}
    for each in problems:
        path = _plain("path", each.place.path)
        line, there = each.place.line or None, errors.get(path)
        # One for each path; that nothing of it was read weighs more than a line.
        if there is None or (line is None and there["line"]):
            errors[path] = {"path": path, "line": line, "error": _plain("error", each.message)}
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
        "policy": _told(policy),
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


def _told(policy: Policy) -> Document:
    """By what was judged, no more of it than the service takes."""
    return {
        "baseline": policy.baseline,
        "groups": _names(policy.groups),
        "users": _names(policy.users),
        "encrypted_keys": policy.encrypted_keys,
        "certificates_only": policy.certificates_only,
        "expiring_days": policy.expiring_days,
        "psk_bits": policy.psk_bits,
    }


def _names(names: Iterable[str]) -> list[str]:
    return [_plain("names", each) for each in sorted(names)[:100]]


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
        "references": [_plain("references", each) for each in finding.sources[:30]],
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


def first_wait(chance: float) -> float:
    """Seconds until the first audit of a process: soon, for nobody looked while there was none, and what the files were
    like before is not known. Never at once, so that a fleet that is started anew does not report in one moment.
    """
    return 30.0 + 270.0 * chance


def next_wait(settings: AuditSettings, chance: float) -> float:
    """Seconds from one audit to the next, up to a tenth sooner: what was started together drifts apart."""
    return settings.hours * 3600.0 * (1 - chance / 10)
