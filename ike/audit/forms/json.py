"""The report for programs: JSON, version 1 (DESIGN §4.1)."""

import base64
import json
from collections.abc import Container, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from ike.audit.forms.names import octets, visible
from ike.audit.values import Acceptance, Audit, Finding, Gone, Policy, Rule, Severity
from ike.secrets.values import Place, Problem

VERSION: Final = 1


def write(audit: Audit) -> str:
    """The report, indented; ASCII only, so that no character in it acts in a terminal."""
    return json.dumps(document(audit), indent=2, ensure_ascii=True) + "\n"


def document(audit: Audit) -> dict[str, Any]:
    """The report as a JSON object.

    `findings` are those that count; `suppressed` and `known_findings` are there and do not. A path that is no UTF-8 has
    its octets in `path_base64` too.
    """
    return {
        "version": VERSION,
        "host": visible(audit.host),
        "root": visible(audit.root) or None,
        "started": rfc3339(audit.started),
        "seconds": round(audit.seconds, 3),
        "policy": policy_document(audit.policy),
        "findings": [finding_document(each) for each in audit.findings],
        "suppressed": [
            {**finding_document(each), "accepted": _acceptance(audit.accepted.get(each.id))}
            for each in audit.suppressed
        ],
        "known": len(audit.known),
        "known_findings": [finding_document(each) for each in audit.known],
        "earlier": None if audit.earlier is None else rfc3339(audit.earlier),
        "gone": [_gone(each) for each in audit.gone],
        "errors": [_problem(each, audit.unread_before) for each in audit.problems],
        "remarks": [visible(each) for each in audit.remarks],
        "summary": summary_document(audit),
    }


def finding_document(finding: Finding) -> dict[str, Any]:
    """One finding, with all that its rule says."""
    rule = finding.rule
    return {
        "id": finding.id,
        "rule": rule.id,
        "area": rule.area,
        "severity": finding.weight,
        **place_document(finding.place),
        "subject": visible(finding.subject),
        "title": rule.title,
        "evidence": visible(finding.evidence),
        "why": rule.why,
        "fix": visible(finding.fix or rule.fix),
        "references": list(finding.sources),
    }


def rule_document(rule: Rule) -> dict[str, Any]:
    """One rule."""
    return {
        "rule": rule.id,
        "area": rule.area,
        "severity": rule.severity,
        "title": rule.title,
        "why": rule.why,
        "fix": rule.fix,
        "references": list(rule.references),
    }


def summary_document(audit: Audit) -> dict[str, int]:
    """How many findings of each severity count, and how much was looked at."""
    return {**counts(audit), "files": audit.files, "items": audit.items}


def counts(audit: Audit) -> dict[str, int]:
    """How many findings count, by severity, the worst first."""
    weights = [finding.weight for finding in audit.findings]
    return {str(each): weights.count(each) for each in Severity}


def place_document(place: Place) -> dict[str, Any]:
    """A path and a line, None where the file as a whole is meant."""
    told: dict[str, Any] = {"path": visible(place.path), "line": place.line or None}
    if told["path"] != place.path:
        told["path_base64"] = base64.b64encode(octets(place.path)).decode()
    return told


def policy_document(policy: Policy) -> dict[str, Any]:
    """By what was judged."""
    given = {each.name: getattr(policy, each.name) for each in fields(policy)}
    lists = [str(each.path) for each in given.pop("published")]
    told = {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in given.items()
    }
    return {**told, "published_keys": lists}


def rfc3339(moment: datetime) -> str:
    """A time in UTC, with its milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _acceptance(acceptance: Acceptance | None) -> Mapping[str, Any] | None:
    if acceptance is None:
        return None
    return {
        "reason": visible(acceptance.reason),
        "until": acceptance.until.isoformat(),
        "by": visible(acceptance.by),
    }


def _problem(problem: Problem, before: Container[Problem]) -> dict[str, Any]:
    told = {**place_document(problem.place), "error": visible(problem.message)}
    return {**told, "known": True} if problem in before else told


def _gone(gone: Gone) -> dict[str, Any]:
    return {
        "id": visible(gone.id),
        "rule": visible(gone.rule),
        "severity": gone.severity,
        **place_document(gone.place),
        "title": visible(gone.title),
    }
