"""The linter: rules applied to one certificate for some dialects."""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Final

from cryptography import x509

from pki.x509.lint import authority, form, identity, keys, revocation, usage
from pki.x509.lint.facts import Facts, read_facts
from pki.x509.lint.report import Finding, LintReport
from pki.x509.lint.rule import Check, Rule
from pki.x509.profile import DIALECTS, Dialect

RULES: Final[tuple[Rule, ...]] = tuple(
    rule
    for book in (
        form.BOOK,
        form.END_ENTITY_BOOK,
        keys.BOOK,
        identity.BOOK,
        usage.BOOK,
        authority.BOOK,
        revocation.BOOK,
    )
    for rule in book.rules
)
_GRAVITY: Final = {"fail": 0, "warn": 1, "info": 2}
_Step = tuple[Check, tuple[tuple[Dialect, Rule], ...]]


def lint(
    certificate: x509.Certificate,
    dialects: Iterable[Dialect] = DIALECTS,
    *,
    at: datetime | None = None,
    chain_octets: int = 0,
) -> LintReport:
    """What each of `dialects` minds about `certificate`; pure, and no signature is verified.

    Whether the certificate has expired is judged only where `at` is given (UTC). `chain_octets` is
    the size of the intermediate certificates sent along with it. A certificate of which a field is
    malformed is reported, never raised.
    """
    asked = tuple(dict.fromkeys(dialects))
    facts = read_facts(certificate, at=at, chain_octets=chain_octets)
    found: dict[Dialect, list[Finding]] = {dialect: [] for dialect in asked}
    for check, targets in _steps(asked, facts):
        message = check(facts)
        if message is not None:
            for dialect, rule in targets:
                severity = rule.severities[dialect]
                found[dialect].append(Finding(rule.id, severity, message, rule.source, rule.fix))
    return LintReport(
        {
            dialect: tuple(sorted(findings, key=lambda finding: _GRAVITY[finding.severity]))
            for dialect, findings in found.items()
        }
    )


def _steps(dialects: tuple[Dialect, ...], facts: Facts) -> tuple[_Step, ...]:
    if facts.unreadable is not None:
        # Every rule about an extension would report it missing.
        return tuple(step for step in _plan(dialects, False) if step[0] is form.unreadable)
    return _plan(dialects, facts.authority)


@lru_cache(maxsize=256)
def _plan(dialects: tuple[Dialect, ...], for_authority: bool) -> tuple[_Step, ...]:
    """Every check once, with the rules that its message goes to."""
    unwanted = "end entity" if for_authority else "authority"
    targets: dict[Check, list[tuple[Dialect, Rule]]] = {}
    for rule in RULES:
        if rule.subject == unwanted:
            continue
        for dialect in dialects:
            if dialect in rule.severities:
                targets.setdefault(rule.check, []).append((dialect, rule))
    return tuple((check, tuple(pairs)) for check, pairs in targets.items())
