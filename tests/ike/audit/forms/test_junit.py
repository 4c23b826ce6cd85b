"""JUnit XML, as a server of builds reads it."""

from xml.etree import ElementTree as ET

import pytest

from ike.audit.forms import junit
from ike.audit.values import Severity
from tests.ike.audit.forms.audits import NOW, RULES, audit, clean, odd


def parsed(*arguments: object) -> ET.Element:
    return ET.fromstring(junit.write(*arguments))  # type: ignore[arg-type]  # noqa: S314 - our own


def test_a_suite_per_area_and_a_case_per_rule() -> None:
    root = parsed(audit(), RULES)
    assert [suite.get("name") for suite in root] == [
        "audit.access",
        "audit.secrets",
        "audit.configuration",
        "audit.unread",
    ]
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert {rule.id for rule in RULES} < set(cases)
    failure = cases["key-file-in-group"].find("failure")
    assert failure is not None
    assert failure.get("message") == "A group can read a private key: 200 places"
    assert (failure.text or "").count("Mode 0640") == 200
    skipped = cases["psk-old"].find("skipped")
    assert skipped is not None
    assert "moves in January" in (skipped.get("message") or "")
    assert cases["/etc/ipsec.secrets"].find("error") is not None
    assert "has no reason" in (root.findtext("testsuite/system-err") or "")


@pytest.mark.parametrize("what", [audit(), clean(), odd(), clean(remarks=("x",))])
def test_the_numbers_are_right(what: object) -> None:
    root = parsed(what, RULES)
    for each in (root, *root.findall("testsuite")):
        assert each.get("tests") == str(len(list(each.iter("testcase"))))
        for name, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert each.get(name) == str(len(list(each.iter(element))))
    stamps = {suite.get("timestamp") for suite in root}
    assert stamps == {f"{NOW:%Y-%m-%dT%H:%M:%S}"}


def test_what_fails_is_what_the_exit_code_says() -> None:
    assert parsed(audit(), RULES).get("failures") == "4"
    worst = parsed(audit(), RULES, Severity.CRITICAL)
    assert worst.get("failures") == "1"
    assert "3des" in "".join(filter(None, (e.text for e in worst.iter("system-out"))))
    assert parsed(audit(), RULES, None).get("failures") == "0"


def test_nothing_at_all_is_a_document_too() -> None:
    assert len(parsed(clean(), ())) == 0
