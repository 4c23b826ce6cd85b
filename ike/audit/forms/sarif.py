"""The report as SARIF 2.1.0 (OASIS, with errata 01), for code scanning and its dashboards."""

import json
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from ike.audit.forms.json import policy_document, rfc3339, summary_document
from ike.audit.forms.names import octets, shown, visible
from ike.audit.forms.references import url
from ike.audit.values import Acceptance, Audit, Finding, Gone, Rule, Severity
from ike.secrets.values import Place, Problem

SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_LEVELS: Final[Mapping[Severity, str]] = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
    Severity.INFO: "note",
}
# What code scanning makes critical (over 9), high (7), medium (4) and low of.
_SCORES: Final[Mapping[Severity, str]] = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.5",
    Severity.LOW: "3.0",
    Severity.INFO: "0.0",
}
_BASE: Final = "HOST"
_DRIVE: Final = re.compile(r"[A-Za-z]:[\\/]")


def write(audit: Audit, rules: Iterable[Rule], version: str) -> str:
    """The log, indented; ASCII only."""
    return json.dumps(document(audit, rules, version), indent=2, ensure_ascii=True) + "\n"


def document(audit: Audit, rules: Iterable[Rule], version: str) -> dict[str, Any]:
    """The log as a JSON object: one run, with those of the `rules` that its results name. `version` is the
    program's.
    """
    found = (*audit.findings, *audit.suppressed, *audit.known)
    gone = {each.rule for each in audit.gone}
    named = (*(finding.rule for finding in found), *(rule for rule in rules if rule.id in gone))
    every = {rule.id: rule for rule in named}
    indices = {identity: index for index, identity in enumerate(every)}
    states = _states(audit)
    results = [
        _result(finding, indices[finding.rule.id], audit.accepted.get(finding.id))
        | states.get(finding.id, {})
        for finding in found
    ]
    run = {
        "tool": {"driver": _driver(tuple(every.values()), version)},
        "automationDetails": {"id": f"ikewarden-audit/{visible(audit.host)}/"},
        "invocations": [_invocation(audit)],
        "originalUriBaseIds": {_BASE: {"uri": _folder_uri(audit.root)}},
        "columnKind": "unicodeCodePoints",
        "results": results + [_gone(each, indices) for each in audit.gone],
        "properties": {
            "policy": policy_document(audit.policy),
            "summary": summary_document(audit),
        },
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _driver(rules: Sequence[Rule], version: str) -> dict[str, Any]:
    return {
        "name": "ikewarden",
        "version": version,
        "fullName": f"ikewarden audit {version}",
        "shortDescription": {"text": "The secrets audit of IPsec gateways."},
        "rules": [_rule(rule) for rule in rules],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    sources = "; ".join(rule.references)
    described = {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.id.split("-")),
        "shortDescription": {"text": f"{rule.title}."},
        "fullDescription": {"text": rule.why},
        "help": {
            "text": f"{rule.why}\n\nFix: {rule.fix}" + (f"\n\nSee: {sources}" if sources else ""),
            "markdown": _markdown(rule),
        },
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {
            "tags": ["security", rule.area],
            "security-severity": _SCORES[rule.severity],
            "precision": "high",
            "severity": rule.severity,
            "references": list(rule.references),
        },
    }
    # §3.49.12 wants an absolute URI: the first source that has one.
    uri = next(filter(None, map(url, rule.references)), "")
    return {**described, "helpUri": uri} if uri else described


def _markdown(rule: Rule) -> str:
    parts = [rule.why, f"**Fix:** {rule.fix}"]
    if rule.references:
        named = (f"[{each}]({uri})" if (uri := url(each)) else each for each in rule.references)
        parts.append(f"**See:** {'; '.join(named)}")
    return "\n\n".join(parts)


def _states(audit: Audit) -> dict[str, dict[str, str]]:
    """`baselineState` by the id of a finding; none where there is no report before."""
    if audit.earlier is None:
        return {}
    new = {finding.id: {"baselineState": "new"} for finding in audit.findings}
    return new | {finding.id: {"baselineState": "unchanged"} for finding in audit.known}


def _result(finding: Finding, index: int, accepted: Acceptance | None) -> dict[str, Any]:
    fix = finding.fix or finding.rule.fix
    result: dict[str, Any] = {
        "ruleId": finding.rule.id,
        "ruleIndex": index,
        "kind": "fail",
        "level": _LEVELS[finding.weight],
        "message": _message(f"{finding.rule.title}: {_ended(finding.evidence)} Fix: {_ended(fix)}"),
        "locations": [_location(finding.place)],
        "partialFingerprints": {"ikewardenFinding/v1": finding.id},
        "properties": {"severity": finding.weight, "subject": visible(finding.subject)},
    }
    if accepted is not None:
        by = f", by {accepted.by}" if accepted.by else ""
        result["suppressions"] = [
            {
                "kind": "external",
                "status": "accepted",
                "justification": shown(f"{accepted.reason} (until {accepted.until}{by})"),
            }
        ]
    return result


def _gone(gone: Gone, indices: Mapping[str, int]) -> dict[str, Any]:
    result = {
        "ruleId": visible(gone.rule),
        "kind": "fail",
        "level": _LEVELS[gone.severity],
        "message": _message(f"{gone.title}. It is not there any more."),
        "locations": [_location(gone.place)],
        "partialFingerprints": {"ikewardenFinding/v1": visible(gone.id)},
        "baselineState": "absent",
    }
    return {**result, "ruleIndex": indices[gone.rule]} if gone.rule in indices else result


def _invocation(audit: Audit) -> dict[str, Any]:
    remarks = [{"level": "note", "message": _message(each)} for each in audit.remarks]
    return {
        "executionSuccessful": True,
        "startTimeUtc": rfc3339(audit.started),
        "endTimeUtc": rfc3339(audit.started + timedelta(seconds=audit.seconds)),
        "toolExecutionNotifications": [_notification(each) for each in audit.problems] + remarks,
    }


def _notification(problem: Problem) -> dict[str, Any]:
    return {
        "level": "warning",
        "message": _message(f"Not read: {problem.message}"),
        "locations": [_location(problem.place)],
    }


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _message(text: str) -> dict[str, str]:
    """A message. `[text](target)` in it would be a link (§3.11.6), wherever a name led it."""
    return {"text": shown(text).replace("](", "] (")}


def _location(place: Place) -> dict[str, Any]:
    uri = _uri(place.path)
    if uri is None:  # a name of something that is no file, as a certificate in a store of Windows
        return {"logicalLocations": [{"fullyQualifiedName": visible(place.path)}]}
    region = {"region": {"startLine": place.line}} if place.line else {}
    return {"physicalLocation": {"artifactLocation": uri, **region}}


def _uri(path: str) -> dict[str, str] | None:
    if path.startswith("/"):
        # Normalized, because a reader of the URI does that, and a link on the way is resolved before.
        relative = quote(octets(posixpath.normpath(path).lstrip("/")), safe="/")
        return {"uri": relative or "./", "uriBaseId": _BASE}
    if _DRIVE.match(path):
        rest = quote(octets(path[2:].replace("\\", "/")), safe="/")
        return {"uri": f"file:///{path[0]}:{rest}"}
    return None


def _folder_uri(root: str) -> str:
    if not root:
        return "file:///"
    return f"file://{quote(octets(str(Path(root).absolute())), safe='/').rstrip('/')}/"
