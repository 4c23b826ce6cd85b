"""Fixtures of the key custody tests."""

from pathlib import Path

import pytest

from core.secret import Secret
from hsm.seal import ScryptCost, Seal
from hsm.sealedfiles import SealedFileKeyStore

CHEAP = ScryptCost(n=2**14)
PASSPHRASE = Secret("correct horse battery")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def seal(directory: Path) -> Seal:
    return Seal.create(directory, PASSPHRASE, cost=CHEAP)


@pytest.fixture
def store(directory: Path, seal: Seal) -> SealedFileKeyStore:
    return SealedFileKeyStore(directory, seal)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try each kind of key that the store of a contract makes, and leave out none by a skip."""
    if "algorithm" in metafunc.fixturenames and hasattr(metafunc.cls, "algorithms"):
        metafunc.parametrize("algorithm", metafunc.cls.algorithms)
