"""Several key stores as one: keys are found where they were made."""

import pytest

from hsm.errors import BadKeyName, KeyExists, KeyNotFound, KeyStoreOff
from hsm.keystores import KeyStores
from hsm.sealedfiles import SealedFileKeyStore
from tests.fakes import FakeKeyStore
from tests.hsm.contract import certificate, spki


class Closing(FakeKeyStore):
    """One that holds something open."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_new_keys_are_made_in_one_and_old_ones_are_found_in_all(store: SealedFileKeyStore) -> None:
    other = Closing()
    before = KeyStores(store, {"fake": other})
    after = KeyStores(store, {"fake": other}, "fake")
    old, new = before.generate("a", "ec-p256"), after.generate("a", "ec-p256")
    assert (old, new) == ("sealed:a", "fake:a")
    assert before.names() == after.names() == ["a"]
    for each in (before, after):
        assert spki(each.open(old)) == spki(store.open(old)) != spki(each.open(new))
        certificate(each.open(new))
        with pytest.raises(KeyExists):
            each.generate("a", "ec-p256")
    after.destroy(old)
    with pytest.raises(KeyNotFound):
        before.open(old)
    assert spki(before.open(new))
    after.close()
    assert other.closed == 1
    assert after.store("fake") is other
    assert after.store("pkcs11") is None


def test_a_store_that_is_away_harms_only_its_own_keys(store: SealedFileKeyStore) -> None:
    other = FakeKeyStore()
    keys = KeyStores(store, {"fake": other}, "fake")
    other.fail()
    certificate(keys.open(store.generate("a", "ec-p256")))


@pytest.mark.parametrize("uri", ["pkcs11:object=a", "transit:pki/a?version=1"])
def test_a_store_that_is_not_set_up_is_named(store: SealedFileKeyStore, uri: str) -> None:
    keys = KeyStores(store, {})
    for act in (keys.open, keys.destroy):
        with pytest.raises(KeyStoreOff, match=uri.partition(":")[0]):
            act(uri)
    with pytest.raises(BadKeyName):
        keys.open("pkcs11")
