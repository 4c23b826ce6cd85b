"""The report as CSV (RFC 4180), for a spreadsheet: a line per finding, no formula."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Final

from ike.audit.forms.names import shown
from ike.audit.values import Audit, Finding

COLUMNS: Final = (
    *("severity", "area", "rule", "title", "path", "line", "subject", "evidence", "why", "fix"),
    *("references", "state", "reason", "until", "id"),
)
# A cell that begins with one of these is calculated by Excel and its like; the wide ones in some languages.
_FORMULAS: Final = tuple("=+-@|%＝＋－＠")  # noqa: RUF001


def write(audit: Audit) -> str:
    """Findings with their `state`: open, accepted, known; then what could not be read, as `unread`."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    for row in _rows(audit):
        writer.writerow([_cell(each) for each in row])
    return out.getvalue()


def _rows(audit: Audit) -> Iterator[Iterable[object]]:
    for finding in audit.findings:
        yield (*_finding(finding), "open", "", "", finding.id)
    for finding in audit.suppressed:
        why = audit.accepted.get(finding.id)
        told = (why.reason, why.until) if why else ("", "")
        yield (*_finding(finding), "accepted", *told, finding.id)
    for finding in audit.known:
        yield (*_finding(finding), "known", "", "", finding.id)
    for problem in audit.problems:
        place = (problem.place.path, problem.place.line or "")
        yield (
            "",
            "",
            "",
            "Not read",
            *place,
            "",
            problem.message,
            "",
            "",
            "",
            "unread",
            "",
            "",
            "",
        )


def _finding(finding: Finding) -> tuple[object, ...]:
    rule = finding.rule
    return (
        *(finding.weight, rule.area, rule.id, rule.title),
        *(finding.place.path, finding.place.line or "", finding.subject),
        *(finding.evidence, rule.why, finding.fix or rule.fix, "; ".join(finding.sources)),
    )


def _cell(value: object) -> str:
    text = shown(str(value))
    return f"'{text}" if text.lstrip().startswith(_FORMULAS) else text
