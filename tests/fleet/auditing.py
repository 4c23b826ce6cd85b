"""Reports of audits, made by hand."""

import hashlib
from dataclasses import replace
from datetime import datetime
from typing import Any

from fleet.findings import filing, shown
from fleet.findings.records import FindingView
from fleet.findings.shown import FindingQuery
from fleet.findings.values import AuditReport, ReportedFinding
from ike.audit.values import Severity
from pki.desk import Desk
from tests.fixtures.desk import NOW, OPERATOR
from tests.fleet.crew import Member


def found(
    rule: str = "psk-weak",
    severity: Severity = Severity.HIGH,
    path: str = "/etc/ipsec.secrets",
    **fields: Any,
) -> ReportedFinding:
    """A finding, the same for the same rule, path and subject."""
    subject = fields.pop("subject", "")
    number = hashlib.sha256("\0".join((rule, path, subject)).encode()).hexdigest()[:16]
    made = ReportedFinding(
        finding=number,
        rule=rule,
        area="secrets",
        severity=severity,
        path=path,
        line=3,
        subject=subject,
        title="A pre-shared key can be guessed",
        evidence="The key of %any has about 20 bits.",
        why="Whoever records a handshake can try keys at leisure.",
        fix="Let the service make one.",
        references=("RFC 7296 §2.15",),
    )
    return replace(made, **fields)


def report(*findings: ReportedFinding, at: datetime = NOW, **fields: Any) -> AuditReport:
    """What an audit came to."""
    made = AuditReport(started=at, baseline="rfc", complete=True, findings=findings)
    return replace(made, **fields)


def audited(member: Member, *findings: ReportedFinding, now: datetime = NOW, **fields: Any) -> None:
    """Have a gateway report these, begun when they came unless said otherwise."""
    at = fields.pop("at", now)
    filing.file(member.desk, member.actor, report(*findings, at=at, **fields), now=now)


def all_of(desk: Desk, **query: Any) -> list[FindingView]:
    """What a search gives."""
    return shown.search(desk, OPERATOR, FindingQuery(**query))


def states(desk: Desk, member: Member) -> dict[str, str]:
    """The state of each finding of a gateway, by rule."""
    return {each.rule: each.state for each in all_of(desk, gateway=member.name)}
