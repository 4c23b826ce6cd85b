"""Shared fixtures, by subject, in `tests/fixtures/`."""

pytest_plugins = [
    "tests.fixtures.databases",
    "tests.fixtures.desk",
    "tests.fixtures.lab",
    "tests.fixtures.served",
]
