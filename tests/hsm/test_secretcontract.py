"""The contract, on the sealed files and on a real OpenBao under the policy that we print."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hsm.seal import Seal
from hsm.secretfiles import SecretFiles
from hsm.secretstore import SecretStore
from hsm.vaultstore import VaultSecretStore
from hsm.vaultwire import Address
from tests.fixtures.openbao import OpenBao
from tests.hsm.secretcontract import SecretStoreContract
from tests.hsm.vaults import given, open_with_token


class TestFiles(SecretStoreContract):
    @pytest.fixture
    def secrets(self, seal: Seal, tmp_path: Path) -> SecretStore:
        return SecretFiles(tmp_path / "secrets", seal, lambda: datetime.now(UTC))

    @pytest.fixture
    def operator(self, secrets: SecretStore, seal: Seal, tmp_path: Path) -> SecretStore:
        return SecretFiles(tmp_path / "secrets", seal, lambda: datetime.now(UTC))


class TestOpenBao(SecretStoreContract):
    @pytest.fixture
    def mount(self, openbao: OpenBao) -> str:
        return openbao.engine()

    @pytest.fixture
    def secrets(self, openbao: OpenBao, mount: str) -> SecretStore:
        return open_with_token(openbao, mount)

    @pytest.fixture
    def operator(self, openbao: OpenBao, mount: str) -> SecretStore:
        return VaultSecretStore(Address(openbao.url), given(openbao.token), mount=mount)
