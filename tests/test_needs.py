"""A test that cannot run is left out on a machine of one's own, and fails in CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_TESTS = """
import pytest
from tests.fixtures.needs import needs, needs_program, program

@pytest.fixture
def asks() -> None:
    program("no-such-program", "its-package")

@needs_program("no-such-program", "its-package")
def test_marked() -> None: ...

def test_asks(asks: None) -> None: ...

@needs(True, "nothing")
@needs_program("sh")
def test_runs() -> None: ...
"""


@pytest.mark.parametrize(
    ("ci", "status", "said"), [("", 0, "1 passed, 2 skipped"), ("true", 1, "1 passed, 2 errors")]
)
def test_what_is_not_there(tmp_path: Path, ci: str, status: int, said: str) -> None:
    (tmp_path / "test_it.py").write_text(_TESTS)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-ra", "--color=no", "-p", "no:cacheprovider"),
            *("-p", "tests.fixtures.needs", "-o", "markers=needs", f"--rootdir={tmp_path}"),
            *("-c", os.devnull, str(tmp_path / "test_it.py")),
        ],
        env={
            **os.environ,
            "CI": ci,
            "PYTEST_ADDOPTS": "",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert said in done.stdout
    assert "needs no-such-program (Debian: its-package)" in done.stdout
