"""Findings of one rule told together: two hundred files that one `chmod` mends are one thing to people."""

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ike.audit.values import Audit, Finding, Rule, Severity
from ike.secrets.values import Place, Problem

SHOWN: Final = 3
_PROBLEMS: Final = 3  # of one file


@dataclass(frozen=True)
class Group:
    """All findings of one rule and severity, in their order."""

    rule: Rule
    severity: Severity
    findings: tuple[Finding, ...]

    @property
    def fix(self) -> str:
        """What mends them all; empty where each has its own."""
        fixes = {finding.fix or self.rule.fix for finding in self.findings}
        return fixes.pop() if len(fixes) == 1 else ""

    @property
    def sources(self) -> tuple[str, ...]:
        """Where it is said that these are wrong."""
        return tuple(dict.fromkeys(each for finding in self.findings for each in finding.sources))

    def first(self, *, everything: bool = False) -> tuple[Finding, ...]:
        """Those that are shown where not all are: never all but one."""
        if everything or len(self.findings) <= SHOWN + 1:
            return self.findings
        return self.findings[:SHOWN]

    def rest(self, *, everything: bool = False) -> str:
        """How many more there are and where; empty where all are shown."""
        left = self.findings[len(self.first(everything=everything)) :]
        if not left:
            return ""
        paths = dict.fromkeys(finding.place.path for finding in left)
        if len(paths) == 1:
            return f"{len(left)} more in {left[0].place.path}"
        folders = dict.fromkeys(posixpath.dirname(path) for path in paths)
        if len(folders) == 1:
            return f"{len(left)} more in {next(iter(folders)) or '.'}"
        return f"{len(left)} more in {len(folders)} folders"


def grouped(findings: Iterable[Finding]) -> list[Group]:
    """The findings by rule and severity: the worst first, then in the order of their first."""
    groups: dict[tuple[int, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.weight.rank, finding.rule.id), []).append(finding)
    those = sorted(groups.values(), key=lambda each: each[0].weight.rank)
    return [Group(each[0].rule, each[0].weight, tuple(each)) for each in those]


def unread(problems: Iterable[Problem]) -> list[tuple[Place, str]]:
    """What could not be read, by file; of one that is no such file at all the first lines tell enough."""
    by_file: dict[str, list[Problem]] = {}
    for problem in problems:
        by_file.setdefault(problem.place.path, []).append(problem)
    told = []
    for path, those in by_file.items():
        those.sort(key=lambda each: each.place.line)
        first = those if len(those) <= _PROBLEMS + 1 else those[:_PROBLEMS]
        told += [(each.place, each.message) for each in first]
        if len(those) > len(first):
            told.append((Place(path, 0), f"{len(those) - len(first)} more lines like these"))
    return told


def unread_sum(audit: Audit) -> str:
    """How many files were not read, as a sentence; empty where all were."""
    count = len({problem.place.path for problem in audit.problems})
    return f"{number(count, 'file was', 'files were')} not read, or not all of it." if count else ""


def number(count: int, one: str, many: str = "") -> str:
    """`1 finding`, `2 findings`, `1,024 findings`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def totals(audit: Audit) -> str:
    """`2 critical, 1 low`; empty where nothing was found."""
    weights = [finding.weight for finding in audit.findings]
    numbers = ((weights.count(each), each) for each in Severity)
    return ", ".join(f"{count:,} {each}" for count, each in numbers if count)


def extent(audit: Audit) -> str:
    """What was looked at, as a sentence without its end."""
    # Not every area counts what it opens.
    looked = number(max(audit.files, audit.items), "file or folder", "files and folders")
    return (
        f"{looked} looked at, {audit.items:,} of them with keys, secrets or configuration;"
        f" baseline {audit.policy.baseline}; {audit.seconds:.1f} s"
    )
