"""The comparison with other auditors: what the page docs/explanation/audit-compared.md says of the planted faults."""

import datetime as dt
import os
import re
from pathlib import Path

import pytest

from tests.fixtures.needs import left_out, needs, needs_program, needs_root
from tests.ike.audit import comparison
from tests.ike.audit.comparison_images import CASES, Case
from tests.ike.audit.conftest import Files

PAGE = Path(__file__).parents[3] / "docs/explanation/audit-compared.md"
NOW = dt.datetime.now(dt.UTC)  # the audit and Lynis are programs, with the clock of the machine
pytestmark = [
    needs_root,
    needs_program("certutil", "libnss3-tools"),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def result(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> comparison.Compared:
    case: Case = request.param
    return comparison.compared(case, tmp_path_factory.mktemp("images"), NOW, with_lynis=False)


def test_the_page_says_what_the_audit_and_the_conditions_find(result: comparison.Compared) -> None:
    page = PAGE.read_text("utf-8")
    of_page = [_cells(line) for line in page.splitlines() if line.startswith("| ")]
    for line in filter(lambda line: line.startswith("| "), comparison.table(result).splitlines()):
        planted, conditions, _, _, ours = _cells(line)
        assert any((row[0], row[1], row[-1]) == (planted, conditions, ours) for row in of_page), (
            line
        )
    ours = result.columns[-1]
    assert not ours.clean
    assert ours.besides(result.faults) == []


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("| "))]


def test_openscap_says_of_its_rules_what_we_say(result: comparison.Compared) -> None:
    if not result.scanned:
        left_out("OpenSCAP and its content are not installed")
    ours = (False, True)  # the Debian image's ipsec.conf is writable, that of RHEL lacks the policy
    rule = comparison.CRYPTO_POLICY if result.case.libreswan else comparison.WORLD_WRITABLE
    assert result.scanned[rule] == ours
    assert result.scanned[comparison.WORLD_WRITABLE][0] is result.case.libreswan


@pytest.mark.parametrize(
    ("line", "taken"),
    [
        ("include /etc/crypto-policies/back-ends/libreswan.config", True),
        ("  include   /etc/crypto-policies/back-ends/libreswan.config # all", True),
        ("#include /etc/crypto-policies/back-ends/libreswan.config", False),
        ("include /etc/crypto-policies/back-ends/libreswan.config.old", False),
    ],
)
def test_the_crypto_policy(tmp_path: Path, line: str, *, taken: bool) -> None:
    Files(tmp_path).put("/etc/ipsec.conf", f"config setup\n{line}\n")
    assert comparison.takes_crypto_policy(tmp_path) is taken


@pytest.mark.parametrize(
    ("mode", "owner", "broken"),
    [
        (0o644, (0, 0), []),
        (0o400, (0, 0), []),
        (0o664, (0, 0), ["file_permissions_etc_ipsec_secrets"]),
        (0o4600, (0, 0), ["file_permissions_etc_ipsec_secrets"]),
        (0o600, (1000, 0), ["file_owner_etc_ipsec_secrets"]),
        (0o600, (0, 1000), ["file_groupowner_etc_ipsec_secrets"]),
    ],
)
def test_the_conditions(
    tmp_path: Path, mode: int, owner: tuple[int, int], broken: list[str]
) -> None:
    files = Files(tmp_path)
    files.put("/etc/ipsec.secrets", "", mode, owner)
    said = comparison.compliance(tmp_path, libreswan=False)
    assert said == {("/etc/ipsec.secrets", f"`{rule}`") for rule in broken}


@needs(comparison.LYNIS.exists(), "needs Lynis (Debian: lynis)")
def test_lynis_sees_a_file_that_it_was_told_of(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.put("/etc/os-release", "ID=debian\n", 0o644)
    files.put("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n", 0o644)
    files.put("/etc/ipsec.secrets", "", 0o644)
    said = comparison.lynis(tmp_path, profile=True)
    assert said is not None
    assert ("/etc/ipsec.secrets", "`FILE-7524`") in said
    assert os.listdir(tmp_path) == ["etc"]  # it works on a copy
