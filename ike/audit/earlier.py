"""The report before this one: only what is new counts, and what is gone is told."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from core.errors import InvalidInput
from ike.audit.forms.json import VERSION
from ike.audit.forms.names import visible
from ike.audit.settings_file import octets
from ike.audit.values import Audit, Finding, Gone, Severity
from ike.secrets.values import Place

_MAX_OCTETS: Final = 2**28


class EarlierInvalid(InvalidInput):
    """The report before this one cannot be used."""

    code = "audit_earlier_invalid"
    next_step = "Give a report that `ikewarden audit --format json` wrote."


@dataclass(frozen=True)
class Earlier:
    """A report of before: when and of which host, by which baseline, what was found and not accepted, by id, and what
    could not be read: path and why.
    """

    started: datetime
    host: str
    baseline: str
    findings: Mapping[str, Gone]
    unread: frozenset[tuple[str, str]] = frozenset()


def read(path: Path) -> Earlier:
    """The report that stands in a file. Raises OSError and EarlierInvalid; never quotes the file."""
    content = octets(path, _MAX_OCTETS, EarlierInvalid)
    try:
        document = json.loads(content)
        if document["version"] != VERSION:
            raise EarlierInvalid(f"{path} is a report of another version.")
        # Those that a report did not count, because they were known, were there.
        found = [*document["findings"], *document.get("known_findings", [])]
        return Earlier(
            started=datetime.fromisoformat(document["started"]),
            host=_text(document["host"]),
            baseline=_text(document["policy"]["baseline"]),
            findings={each["id"]: _gone(each) for each in found},
            unread=frozenset(
                (_text(each["path"]), _text(each["error"])) for each in document["errors"]
            ),
        )
    except (ValueError, OverflowError, LookupError, TypeError, AttributeError, RecursionError):
        raise EarlierInvalid(f"{path} is no report of an audit.") from None


def compare(audit: Audit, earlier: Earlier) -> Audit:
    """The audit with what was there before among the known, unless it has become worse; and with what is gone.

    What stands in a file that could not be read this time is not gone. What could not be read then
    either is nothing new.
    """
    new: list[Finding] = []
    known: list[Finding] = []
    for finding in audit.findings:
        before = earlier.findings.get(finding.id)
        if before is not None and before.severity.rank <= finding.weight.rank:
            known.append(finding)
        else:
            new.append(finding)
    here = {finding.id for finding in (*audit.findings, *audit.suppressed)}
    unread = {visible(problem.place.path) for problem in audit.problems}
    gone = [
        each
        for each in earlier.findings.values()
        if each.id not in here and each.place.path not in unread
    ]
    return replace(
        audit,
        findings=tuple(new),
        known=tuple(known),
        earlier=earlier.started,
        unread_before=frozenset(
            each
            for each in audit.problems
            if (visible(each.place.path), visible(each.message)) in earlier.unread
        ),
        gone=tuple(_ordered(gone)),
        remarks=(*audit.remarks, *_remarks(audit, earlier)),
    )


def _ordered(gone: Iterable[Gone]) -> list[Gone]:
    return sorted(gone, key=lambda each: (each.severity.rank, each.place.path, each.place.line))


def _remarks(audit: Audit, earlier: Earlier) -> Iterable[str]:
    if visible(audit.host) != earlier.host:
        yield f"The report before is of another host: {earlier.host}."
    if audit.policy.baseline != earlier.baseline:
        yield f"The report before was made by another baseline: {earlier.baseline}."


def _gone(document: Mapping[str, Any]) -> Gone:
    return Gone(
        id=_text(document["id"]),
        rule=_text(document["rule"]),
        severity=Severity(document["severity"]),
        place=Place(_text(document["path"]), int(document["line"] or 0)),
        title=_text(document["title"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
