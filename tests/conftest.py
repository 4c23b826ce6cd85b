"""Shared fixtures, by subject, in `tests/fixtures/`."""

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
]

# These wait for daemons more than they work: begun first, they leave none of the workers alone at the end.
_LONG = (
    "tests/lab/",
    "tests/ike/daemons/test_real_esp.py",
    "tests/ike/agent/",
    "tests/ike/audit/test_comparison.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(_LONG))
