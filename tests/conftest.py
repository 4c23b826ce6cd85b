"""Shared fixtures, by subject, in `tests/fixtures/`."""

import os
import shutil

import pytest
from hypothesis import settings

# No test is judged by how long it took: the machine may be busy.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

pytest_plugins = [
    "tests.fixtures.databases",
    "tests.fixtures.desk",
    "tests.fixtures.lab",
    "tests.fixtures.openbao",
    "tests.fixtures.served",
    "tests.fixtures.softhsm",
    "tests.fixtures.custody",
]

# These wait for daemons more than they work: begun first, they leave none of the workers alone at the end.
_LONG = (
    "tests/lab/",
    "tests/ike/daemons/test_real_esp.py",
    "tests/ike/agent/",
    "tests/ike/audit/test_comparison.py",
)


_MEMORY = "/dev/shm"
_ROOM = 4 * 2**30


def pytest_configure() -> None:
    """Keep what tests write in memory where there is room: the service waits for the disk at each commit (SQLite with
    synchronous=FULL), and most of the tests' time went there. What a SIGKILL leaves is the same in both.
    """
    if os.path.ismount(_MEMORY) and os.access(_MEMORY, os.W_OK):
        if shutil.disk_usage(_MEMORY).free > _ROOM:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", _MEMORY)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(_LONG))
