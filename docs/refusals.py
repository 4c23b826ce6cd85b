"""The page of what the enrollment doors refuse: the tables that the tests try cell by cell."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tests.api import cmp_findings, test_est_refusals, test_scep_refusals
from tests.api.acme import test_findings as acme
from tests.api.refusals import Cell
from tests.scheduler import test_acme_tricks as tricks

_HEAD = """\
# What the enrollment doors refuse

<!-- Written by `make docs` from the tables of the tests. -->

Every way to prove who one is, with everything that can be wrong with it, and what exactly is answered. The tests try
each cell, and count the certificates on record before and after. The codes are explained in [errors](errors.md).
"""


def render() -> str:
    """The page, in Markdown."""
    parts = [
        _HEAD,
        "## EST\n",
        *_cells(test_est_refusals.TABLE),
        "## SCEP\n",
        *_cells(test_scep_refusals.TABLE),
        "## CMP\n",
        "What is meant by each fault:\n",
        *(f"- **{fault}**: {meaning}" for fault, meaning in cmp_findings.FAULTS.items()),
        "",
        *_cmp(),
        "## ACME\n",
        "Errors are those of RFC 8555 §6.7.\n",
        *_rows(
            ("by what", "what is wrong", "answer"),
            ((each.path, each.wrong, f"{each.status} `{each.kind}`") for each in acme.FINDINGS),
        ),
        "What makes no sense, and why:\n",
        *_rows(("by what", "fault", "why"), acme.SENSELESS),
        "## Proofs of ACME turned against the inside\n",
        "Whatever is tried, nothing inside is asked. The account is told one of the errors named.\n",
        *_rows(
            ("what is tried", "error of the challenge"),
            ((each.what, _codes(each.kinds)) for each in tricks.TRICKS),
        ),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _cells(table: Sequence[Cell]) -> Iterator[str]:
    return _rows(
        ("by what", "fault", "what is tried", "answer"),
        (
            (each.way, each.fault, each.means or "-", each.none or _codes([each.answer]))
            for each in table
        ),
    )


def _cmp() -> Iterator[str]:
    tables: dict[str, dict[tuple[str, str], cmp_findings.Finding]] = {}
    for each in cmp_findings.findings():
        tables.setdefault(each.way, {})[each.fault, each.message] = each
    shown: dict[str, list[str]] = {}  # ways by the same table
    for way, table in tables.items():
        shown.setdefault("\n".join(_matrix(table)), []).append(way)
    for matrix, ways in shown.items():
        yield f"### By {' or '.join(ways)}\n"
        yield matrix


def _matrix(table: Mapping[tuple[str, str], cmp_findings.Finding]) -> Iterator[str]:
    faults = [each for each in cmp_findings.FAULTS if any(fault == each for fault, _ in table)]
    messages = [each for each in cmp_findings.MESSAGES if any(kind == each for _, kind in table)]
    return _rows(
        ("fault", *messages),
        (
            (fault, *(_cmp_cell(table.get((fault, message))) for message in messages))
            for fault in faults
        ),
    )


def _cmp_cell(finding: cmp_findings.Finding | None) -> str:
    if finding is None:
        return "-"
    return finding.code if finding.failure is None else _codes([finding.code])


def _codes(found: Iterable[str]) -> str:
    return ", ".join(f"`{each}`" for each in sorted(found))


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table."""
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(each.replace('|', chr(92) + '|') for each in row)} |"
    yield ""
