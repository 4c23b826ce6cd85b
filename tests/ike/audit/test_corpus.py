"""The audit against a corpus: every planted fault is found, nothing else is, and nothing in the clean twins."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ike.audit.rules import RULES
from ike.audit.values import Policy
from tests.fixtures.needs import left_out
from tests.ike.audit.corpus.__main__ import USUAL, write
from tests.ike.audit.corpus.faults import FAULTS
from tests.ike.audit.corpus.image import Image
from tests.ike.audit.corpus.layouts import LAYOUTS
from tests.ike.audit.corpus.making import NOW
from tests.ike.audit.corpus.planting import Fault, Need, judged

BY_NAME = {fault.name: fault for fault in FAULTS}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    """The clean twins, made once: they are copied for each fault."""
    folder = tmp_path_factory.mktemp("clean")
    images = {name: Image(folder / name) for name in LAYOUTS}
    for name, build in LAYOUTS.items():
        build(images[name], NOW)
    return images


def planted(fault: Fault, clean: dict[str, Image], folder: Path) -> Image:
    """A host with one fault; the test is left out, and says why, where it cannot be planted."""
    if fault.need is Need.OWNERS and os.geteuid() != 0:
        left_out(f"it takes {fault.need}")
    image = clean[fault.layout].copy(folder / "host")
    try:
        fault.plant(image)
    except OSError as error:
        if fault.need is Need.LISTS:
            left_out(f"it takes {fault.need}: {error.strerror}")
        raise
    return image


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_clean_host_has_no_finding_and_all_of_it_is_read(
    clean: dict[str, Image], name: str
) -> None:
    findings, problems = judged(clean[name].root)
    assert [(each.rule.id, str(each.place), each.evidence) for each in findings] == []
    assert problems == ()


@pytest.mark.parametrize("baseline", ["nist", "bsi"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_clean_host_is_clean_by_stricter_baselines(
    clean: dict[str, Image], name: str, baseline: str
) -> None:
    findings, _ = judged(clean[name].root, Policy(baseline=baseline))
    assert [(each.rule.id, str(each.place), each.evidence) for each in findings] == []


@pytest.mark.parametrize("name", BY_NAME)
def test_a_planted_fault_is_found_and_nothing_else(
    clean: dict[str, Image], tmp_path: Path, name: str
) -> None:
    fault = BY_NAME[name]
    image = planted(fault, clean, tmp_path)
    findings, problems = judged(image.root, fault.policy)
    assert sorted((each.rule.id, each.place.path) for each in findings) == fault.findings
    assert problems == ()
    # The ids are by what the report of another run is compared.
    again, _ = judged(image.root, fault.policy)
    assert [each.id for each in again] == [each.id for each in findings]
    assert len({each.id for each in findings}) == len(findings)


def test_every_rule_is_broken_by_a_planted_fault() -> None:
    broken = {fault.rule for fault in FAULTS}
    assert sorted(rule.id for rule in RULES if rule.id not in broken) == []


def test_the_corpus_is_large_enough_and_has_all_layouts() -> None:
    assert len(BY_NAME) == len(FAULTS) >= 120
    assert Counter(fault.layout for fault in FAULTS).keys() == LAYOUTS.keys()


def test_an_image_can_be_written_for_people(tmp_path: Path) -> None:
    where = tmp_path / "image"
    command = [sys.executable, "-m", "tests.ike.audit.corpus", str(where)]
    written = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert f"ikewarden audit --root {where}" in written.stdout
    assert subprocess.run(command, check=False, capture_output=True, timeout=120).returncode != 0
    found = {each.rule.id for each in judged(where)[0]}
    assert {"secrets-file-open-to-others", "psk-weak", "key-folder-open"} <= found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_faults_of_a_host_do_not_hide_each_other(tmp_path: Path, layout: str) -> None:
    image = write(tmp_path / "image", layout, NOW)
    findings, problems = judged(image.root)
    expected = {pair for name in USUAL[layout] for pair in BY_NAME[name].findings}
    assert {(each.rule.id, each.place.path) for each in findings} == expected
    assert problems == ()
