"""Every rule finds what it is for, and leaves good certificates alone."""

import pytest
from cryptography import x509

from pki.x509.lint import RULES, lint
from pki.x509.profile import DIALECTS
from tests.x509.lint_cases import CASES, QUIET
from tests.x509.workshop import authority, end_entity, rsa_public

# These two are found with every certificate of the gateway profile on an EC key.
_USUAL = {"rfc4945.extended_key_usage_present", "apple.certificate_type"}


def _found(certificate: x509.Certificate, **arguments: object) -> dict[str, set[str]]:
    """Rule identifiers by dialect."""
    report = lint(certificate, DIALECTS, **arguments)
    return {d: {finding.rule for finding in report.findings(d)} for d in DIALECTS}


def test_every_rule_has_a_case_and_every_case_a_rule() -> None:
    assert {rule.id for rule in RULES} == set(CASES)
    assert len({rule.id for rule in RULES}) == len(RULES)


@QUIET
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_finds_what_it_is_for(rule) -> None:
    case = CASES[rule.id]
    report = lint(case.certificate(), DIALECTS, **case.arguments)
    for dialect in DIALECTS:
        mine = [f for f in report.findings(dialect) if f.rule == rule.id]
        if dialect not in rule.severities:
            assert mine == []
            continue
        (finding,) = mine
        assert finding.severity == rule.severities[dialect]
        assert finding.source == rule.source
        assert finding.fix == rule.fix
        assert finding.message.isprintable()
        assert finding.message[0].isupper() or finding.message.startswith("not")
        assert finding.message.endswith(".")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_is_written_for_its_reader(rule) -> None:
    prefix, _, rest = rule.id.partition(".")
    assert prefix in {"x509", *DIALECTS}
    assert rest.replace("_", "").isalnum()
    assert rule.severities
    if prefix != "x509":
        assert set(rule.severities) == {prefix}
    assert rule.summary.endswith(".")
    assert rule.fix.endswith(".")
    assert len(rule.source) > 8


def test_the_gateway_profile_breaks_no_rule() -> None:
    found = _found(end_entity())
    assert set().union(*found.values()) == _USUAL
    report = lint(end_entity())
    verdicts = {dialect: report.verdict(dialect) for dialect in DIALECTS}
    assert verdicts == dict.fromkeys(DIALECTS, "pass") | {"rfc4945": "warn"}


def test_the_usual_findings_have_their_innocents_too() -> None:
    certificate = end_entity("strict-rfc4945", public_key=rsa_public(3072))
    assert _USUAL.isdisjoint(set().union(*_found(certificate).values()))


def test_the_strict_profile_passes_the_standard() -> None:
    report = lint(end_entity("strict-rfc4945"))
    assert report.findings("rfc4945") == ()
    assert report.verdict("windows") == "warn"


@pytest.mark.parametrize("root", [False, True], ids=["issuing", "root"])
def test_good_authorities_break_no_rule(root: bool) -> None:
    found = _found(authority(root=root))
    assert set().union(*found.values()) <= {"apple.certificate_type"}
