"""All rules of all areas, and what they say of a host. Pure."""

from collections.abc import Iterable
from contextlib import nullcontext
from datetime import datetime
from typing import Final

from ike.audit import (
    access_rules,
    certificate_rules,
    configuration,
    exposure,
    keys,
    nss,
    parents,
    secret_rules,
)
from ike.audit.values import Finding, Policy, Rule, Seen
from ike.audit.windows import rules as windows_rules
from ike.audit.withholding import Guard
from ike.secrets.stumbling import stumbling
from ike.secrets.values import Place, Problem

RULES: Final[tuple[Rule, ...]] = (
    *access_rules.RULES,
    *parents.RULES,
    *exposure.RULES,
    *secret_rules.RULES,
    *keys.RULES,
    *nss.RULES,
    *certificate_rules.RULES,
    *configuration.RULES,
    *windows_rules.RULES,
)


def sentences() -> frozenset[str]:
    """All that rules say by themselves, for whoever says it in another language."""
    return frozenset(each for rule in RULES for each in (rule.title, rule.why, rule.fix))


def judged(
    seen: Seen, policy: Policy, now: datetime, stumbles: list[Problem] | None = None
) -> list[Finding]:
    """All findings: the worst first, then by path and line; each id once, as the worst of its kind.

    None shows a secret, nor what may be one where a name belongs. What fails in a way that nobody foresaw is told
    among the `stumbles`, where the caller has a place for them.
    """
    found: dict[str, Finding] = {}
    guard = Guard(seen.facts)
    for facts in seen.facts:
        what = f"what it had read ({type(facts).__name__})"
        with nullcontext() if stumbles is None else stumbling(Place("/", 0), stumbles, what):
            for finding in map(guard.passed, facts.judge(policy, now)):
                there = found.get(finding.id)
                if there is None or finding.weight.rank < there.weight.rank:
                    found[finding.id] = finding
    return ordered(found.values())


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first, then by path, line and rule."""
    return sorted(
        findings,
        key=lambda each: (
            each.weight.rank,
            each.place.path,
            each.place.line,
            each.rule.id,
            each.subject,
        ),
    )
