"""The reference page of all rules of the audit, written from the rules themselves."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ike.audit.forms.references import url
from ike.audit.rules import RULES
from ike.audit.values import Area, Rule, Severity

_HEAD: Final = """\
# Rules of the audit

<!-- Written by `make docs` from the rules; change them, not this page. -->

`ikewarden audit` judges a host by these rules ([how to use it](../how-to/audit.md)). A rule's id never changes its
meaning: reports, and files of accepted findings, name it. A single finding may be graver or slighter than its rule
where the place says more.

| severity | means |
|---|---|
"""
_MEANINGS: Final[Mapping[Severity, str]] = {
    Severity.CRITICAL: "Somebody who should not can read or replace a key now.",
    Severity.HIGH: "It takes one more step, or a key can be guessed.",
    Severity.MEDIUM: "Against a standard that is in force, or dangerous together with something else.",
    Severity.LOW: "Worth mending with the next change.",
    Severity.INFO: "Worth knowing.",
}
_TITLES: Final[Mapping[Area, str]] = {
    Area.ACCESS: "Access: who may read and replace what",
    Area.EXPOSURE: "Exposure: copies, traces and other ways to a key",
    Area.SECRETS: "Secrets: pre-shared keys and passwords",
    Area.KEYS: "Private keys",
    Area.CERTIFICATES: "Certificates",
    Area.CONFIGURATION: "Configuration: what is negotiated, and with whom",
    Area.WINDOWS: "Windows",
}


def page(rules: Iterable[Rule] = RULES) -> str:
    """The page as Markdown, ending in a line feed; each rule has its id as anchor."""
    every = sorted(rules, key=lambda rule: (rule.severity.rank, rule.id))
    parts = [_HEAD, *(f"| {each} | {text} |\n" for each, text in _MEANINGS.items())]
    for area in Area:
        those = [rule for rule in every if rule.area is area]
        if those:
            parts += [f"\n## {_TITLES[area]}\n\n", *_table(those)]
            parts += [_section(rule) for rule in those]
    return "".join(parts)


def _table(rules: Iterable[Rule]) -> Iterator[str]:
    yield "| rule | severity | finds |\n|---|---|---|\n"
    for rule in rules:
        yield f"| [`{rule.id}`](#{rule.id}) | {rule.severity} | {_cell(rule.title)} |\n"


def _section(rule: Rule) -> str:
    lines = [f"\n### {rule.id}\n", f"{rule.title}. **{rule.severity.capitalize()}.**\n"]
    lines += [f"{rule.why}\n", f"*Fix:* {rule.fix}\n"]
    if rule.references:
        lines.append(f"*See:* {'; '.join(map(_linked, rule.references))}\n")
    return "\n".join(lines)


def _linked(reference: str) -> str:
    address = url(reference)
    return f"[{reference}]({address})" if address else reference


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
