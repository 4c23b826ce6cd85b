"""Findings that somebody has decided to live with, for a reason and until a day."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from core.errors import InvalidInput
from ike.audit.settings_file import load
from ike.audit.values import Acceptance, Finding

_TEXTS: Final = ("id", "rule", "path", "reason", "by")


class AcceptedInvalid(InvalidInput):
    """The file of accepted findings cannot be used."""

    code = "audit_accepted_invalid"
    next_step = "Each [[accepted]] has id, or rule and path; reason, until = 2027-01-31, and by."


@dataclass(frozen=True)
class Entry:
    """What is accepted: one finding by its `id`, or all of a `rule` at paths that are or match `path`.

    `*` stands for any characters, slashes too.
    """

    number: int
    id: str = ""
    rule: str = ""
    path: str = ""
    reason: str = ""
    until: date | None = None
    by: str = ""

    def covers(self, finding: Finding) -> bool:
        """Whether it speaks of this finding."""
        if self.id:
            return self.id == finding.id
        if self.rule != finding.rule.id:
            return False
        path = finding.place.path
        return path == self.path or fnmatchcase(path, self.path)

    def __str__(self) -> str:
        what = f"id {self.id}" if self.id else f"{self.rule} at {self.path}"
        return f"Accepted entry {self.number} ({what})"


@dataclass(frozen=True)
class Sorted:
    """Findings that count, and those that do not with the reason of each by its id.

    `remarks` tell which entries have no effect.
    """

    findings: tuple[Finding, ...]
    suppressed: tuple[Finding, ...] = ()
    accepted: Mapping[str, Acceptance] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def read(path: Path) -> tuple[Entry, ...]:
    """The entries of a TOML file; those that have no reason or have ended, too. Raises OSError and AcceptedInvalid."""
    document = load(path, AcceptedInvalid)
    entries = document.pop("accepted", [])
    if document:
        raise AcceptedInvalid(f"{sorted(document)[0]} has no meaning in {path}.")
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise AcceptedInvalid(f"{path}: accepted is to be a list of tables, [[accepted]].")
    return tuple(_entry(number, given) for number, given in enumerate(entries, 1))


def sort(
    findings: Iterable[Finding],
    entries: Iterable[Entry],
    now: datetime,
    *,
    rules: Collection[str] | None = None,
    whole: bool = True,
) -> Sorted:
    """Which findings count. An entry without a reason or an end, or whose end has passed, is told and has no effect.

    With `rules` (their ids) entries of other rules are told. `whole`: everything was looked at, so that an entry
    that covers nothing is told as well.
    """
    remarks: list[str] = []
    valid: list[tuple[Entry, Acceptance]] = []
    for entry in entries:
        acceptance = _acceptance(entry, now, rules, remarks)
        if acceptance is not None:
            valid.append((entry, acceptance))
    kept: list[Finding] = []
    suppressed: list[Finding] = []
    accepted: dict[str, Acceptance] = {}
    used: set[int] = set()
    for finding in findings:
        covering = [(entry, acceptance) for entry, acceptance in valid if entry.covers(finding)]
        used |= {entry.number for entry, _ in covering}
        if covering:
            suppressed.append(finding)
            accepted[finding.id] = covering[0][1]
        else:
            kept.append(finding)
    if whole:
        remarks += [
            f"{entry} covers nothing any more: remove it."
            for entry, _ in valid
            if entry.number not in used
        ]
    return Sorted(tuple(kept), tuple(suppressed), accepted, tuple(remarks))


def _acceptance(
    entry: Entry, now: datetime, rules: Collection[str] | None, remarks: list[str]
) -> Acceptance | None:
    if entry.rule and rules is not None and entry.rule not in rules:
        remarks.append(f"{entry} does not count: there is no such rule.")
    elif not entry.reason:
        remarks.append(f"{entry} does not count: it has no reason.")
    elif entry.until is None:
        remarks.append(f"{entry} does not count: it has no end (until).")
    elif entry.until < now.date():
        remarks.append(f"{entry} does not count any more: it ended on {entry.until}.")
    else:
        return Acceptance(entry.reason, entry.until, entry.by)
    return None


def _entry(number: int, given: Mapping[str, Any]) -> Entry:
    where = f"[[accepted]] number {number}"
    unknown = sorted(given.keys() - {*_TEXTS, "until"})
    if unknown:
        raise AcceptedInvalid(f"{where}: {unknown[0]} has no meaning.")
    texts = {name: given.get(name, "") for name in _TEXTS}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise AcceptedInvalid(f"{where}: {name} is to be a text.")
        texts[name] = text.strip() if name in ("reason", "by") else text
    if bool(texts["id"]) == bool(texts["rule"]) or bool(texts["rule"]) != bool(texts["path"]):
        raise AcceptedInvalid(f"{where}: give either id, or both rule and path.")
    return Entry(number, until=_day(where, given.get("until")), **texts)


def _day(where: str, value: object) -> date | None:
    if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise AcceptedInvalid(f"{where}: until is to be a date, as 2027-01-31.")
