"""The report as JUnit XML, for what shows the outcome of builds: a suite per area, a case per rule."""

import re
from collections.abc import Iterable, Sequence
from typing import Final
from xml.etree import ElementTree as ET

from ike.audit.forms.grouping import number, unread
from ike.audit.forms.names import shown
from ike.audit.values import Area, Audit, Finding, Rule, Severity

# What XML 1.0 §2.2 leaves out beside the control characters that are escaped anyway.
_NONE: Final = re.compile("[\ufffe\uffff]")


def write(audit: Audit, rules: Iterable[Rule], fail_on: Severity | None = Severity.LOW) -> str:
    """The XML document, ASCII only. What is at least `fail_on` fails (None: nothing does); else it is output."""
    found = (*audit.findings, *audit.suppressed, *audit.known)
    every = {rule.id: rule for rule in (*rules, *(finding.rule for finding in found))}
    root = ET.Element("testsuites", name="ikewarden audit", time=f"{audit.seconds:.3f}")
    open_ = _by_rule(audit.findings)
    suppressed = _by_rule(audit.suppressed)
    for area in Area:
        cases = [
            _case(rule, audit, fail_on, open_.get(rule.id, []), suppressed.get(rule.id, []))
            for rule in every.values()
            if rule.area is area
        ]
        if cases:
            _suite(root, audit, area, cases)
    if audit.problems:
        _suite(root, audit, "unread", _errors(audit))
    if audit.remarks:
        # Only suites may have output.
        suite = root[0] if len(root) else _suite(root, audit, "audit", [])
        _text(suite, "system-err", audit.remarks)
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ET.indent(root)
    octets: bytes = ET.tostring(root, encoding="us-ascii", xml_declaration=True)
    return octets.decode() + "\n"


def _suite(root: ET.Element, audit: Audit, name: str, cases: Sequence[ET.Element]) -> ET.Element:
    suite = ET.SubElement(
        root,
        "testsuite",
        name=f"audit.{name}",
        hostname=_legal(audit.host),
        timestamp=f"{audit.started:%Y-%m-%dT%H:%M:%S}",
        time="0",
        tests=str(len(cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
        errors=str(sum(case.find("error") is not None for case in cases)),
        skipped=str(sum(case.find("skipped") is not None for case in cases)),
    )
    suite.extend(cases)
    return suite


def _by_rule(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.rule.id, []).append(finding)
    return found


def _case(
    rule: Rule,
    audit: Audit,
    fail_on: Severity | None,
    mine: Sequence[Finding],
    suppressed: Sequence[Finding],
) -> ET.Element:
    case = ET.Element("testcase", classname=f"audit.{rule.area}", name=rule.id, time="0")
    least = -1 if fail_on is None else fail_on.rank
    failed = [each for each in mine if each.weight.rank <= least]
    if failed:
        failure = _text(case, "failure", [*_lines(failed), f"Why: {rule.why}"])
        worst = min(failed, key=lambda each: each.weight.rank).weight
        failure.set("type", worst)
        failure.set("message", _legal(f"{rule.title}: {number(len(failed), 'place')}"))
    if suppressed and not failed:
        reasons = dict.fromkeys(
            f"{why.reason} (until {why.until})"
            for finding in suppressed
            if (why := audit.accepted.get(finding.id))
        )
        skipped = ET.SubElement(case, "skipped")
        skipped.set("message", _legal(f"accepted: {'; '.join(reasons)}"))
    others = [each for each in mine if each.weight.rank > least]
    if others:
        _text(case, "system-out", _lines(others))
    return case


def _lines(findings: Iterable[Finding]) -> Iterable[str]:
    for finding in findings:
        yield f"{finding.weight} {finding.place}: {finding.evidence}"
        yield f"  Fix: {finding.fix or finding.rule.fix}"


def _errors(audit: Audit) -> list[ET.Element]:
    by_file: dict[str, list[str]] = {}
    for place, message in unread(audit.problems):
        by_file.setdefault(place.path, []).append(f"{place}: {message}")
    cases = []
    for path, messages in by_file.items():
        case = ET.Element("testcase", classname="audit.unread", name=_legal(path), time="0")
        error = _text(case, "error", messages)
        error.set("type", "unread")
        error.set("message", _legal(messages[0]))
        cases.append(case)
    return cases


def _text(parent: ET.Element, name: str, lines: Iterable[str]) -> ET.Element:
    element = ET.SubElement(parent, name)
    element.text = "\n".join(map(_legal, lines))
    return element


def _legal(text: str) -> str:
    return _NONE.sub(lambda found: f"\\u{ord(found[0]):04x}", shown(text))
