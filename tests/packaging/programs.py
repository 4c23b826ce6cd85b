"""Programs of Debian's that judge what is delivered."""

import os
import shutil

import pytest


def needed(name: str) -> str:
    """Where a program is; without it the test is skipped, but not in CI."""
    found = shutil.which(name)
    if found is None:
        assert os.environ.get("CI") != "true", f"there is no {name}"
        pytest.skip(f"there is no {name}: tests/prepare.sh installs it")
    return found
