"""Does this certificate work with that IKE daemon? A verdict per dialect, because they disagree."""

from pki.x509.lint.linter import RULES, lint
from pki.x509.lint.report import Finding, LintReport, Verdict, report_document
from pki.x509.lint.rule import Rule, Severity

__all__ = [
    "RULES",
    "Finding",
    "LintReport",
    "Rule",
    "Severity",
    "Verdict",
    "lint",
    "report_document",
]
