"""The contract, on the key store that is and on the one that stands in for it."""

import threading

import pytest
from cryptography import x509

from hsm.errors import SignerUnavailable
from hsm.keystores import KeyStores
from hsm.ports import KEY_ALGORITHMS, KeyAlgorithm, KeyStore
from hsm.sealedfiles import SealedFileKeyStore
from tests.fakes import FakeKeyStore
from tests.hsm.contract import KeyStoreContract, certificate


class TestSealedFiles(KeyStoreContract):
    @pytest.fixture
    def keys(self, store: SealedFileKeyStore) -> KeyStore:
        return store


class TestStores(KeyStoreContract):
    @pytest.fixture
    def keys(self, store: SealedFileKeyStore) -> KeyStore:
        return KeyStores(store, {"fake": FakeKeyStore()}, "fake")


class TestFake(KeyStoreContract):
    @pytest.fixture
    def keys(self) -> KeyStore:
        return FakeKeyStore()


@pytest.mark.parametrize("algorithm", KEY_ALGORITHMS)
def test_a_dead_signer_is_told_through_the_builder(algorithm: KeyAlgorithm) -> None:
    keys = FakeKeyStore()
    key = keys.open(keys.generate("a", algorithm))
    keys.fail()
    with pytest.raises(SignerUnavailable):
        certificate(key)
    keys.heal()
    certificate(key)
    assert keys.signatures == 1


@pytest.mark.parametrize("outcome", ["heal", "fail"])
def test_a_hanging_signer_waits_for_its_release(outcome: str) -> None:
    keys = FakeKeyStore()
    key = keys.open(keys.generate("a", "ec-p256"))
    made: list[x509.Certificate] = []
    refused: list[SignerUnavailable] = []

    def work() -> None:
        try:
            made.append(certificate(key))
        except SignerUnavailable as error:
            refused.append(error)

    keys.hang()
    thread = threading.Thread(target=work)
    thread.start()
    keys.wait_until_hanging()
    assert not made
    getattr(keys, outcome)()
    thread.join(10)
    assert (len(made), len(refused)) == ((1, 0) if outcome == "heal" else (0, 1))
    assert keys.waiting == 0
