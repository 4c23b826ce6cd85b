"""What the linter finds: a verdict and findings for each dialect."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pki.x509.lint.rule import Severity
from pki.x509.profile import Dialect, LintLevel

Verdict = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that a certificate breaks, as seen by one dialect."""

    rule: str
    severity: Severity
    message: str
    source: str
    fix: str


@dataclass(frozen=True, slots=True)
class LintReport:
    """What each dialect that was asked for minds."""

    found: Mapping[Dialect, tuple[Finding, ...]]

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        """The dialects that were asked for, in the order they were asked for."""
        return tuple(self.found)

    def findings(self, dialect: Dialect) -> tuple[Finding, ...]:
        """What `dialect` minds, the gravest first; raises KeyError if it was not asked for."""
        return self.found[dialect]

    def verdict(self, dialect: Dialect) -> Verdict:
        """The gravest severity found, "info" counting as "pass"; raises KeyError likewise."""
        severities = {finding.severity for finding in self.found[dialect]}
        if "fail" in severities:
            return "fail"
        return "warn" if "warn" in severities else "pass"

    def blocking(self, levels: Mapping[Dialect, LintLevel]) -> tuple[Dialect, ...]:
        """The dialects whose verdict is "fail" and whose level is "block"."""
        return tuple(
            dialect
            for dialect in self.found
            if levels.get(dialect) == "block" and self.verdict(dialect) == "fail"
        )


def report_document(report: LintReport) -> dict[str, object]:
    """The report as `cert lint --format json` prints it; plain JSON types."""
    return {
        "dialects": {
            dialect: {
                "verdict": report.verdict(dialect),
                "findings": [
                    {
                        "rule": finding.rule,
                        "severity": finding.severity,
                        "message": finding.message,
                        "source": finding.source,
                        "fix": finding.fix,
                    }
                    for finding in findings
                ],
            }
            for dialect, findings in report.found.items()
        }
    }
