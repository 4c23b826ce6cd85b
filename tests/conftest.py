"""Shared fixtures, by subject, in `tests/fixtures/`."""

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
