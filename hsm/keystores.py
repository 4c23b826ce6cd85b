"""Several key stores as one: a key is found where its URI says, and made where the settings say."""

from collections.abc import Mapping
from typing import Final, Protocol, runtime_checkable

from hsm.errors import BadKeyName, KeyAlgorithmUnknown, KeyStoreOff
from hsm.ports import KeyAlgorithm, KeyStore, PrivateKey
from hsm.sealedfiles import SealedFileKeyStore

SEALED: Final = "sealed"
KNOWN: Final = (SEALED, "pkcs11", "transit")
# As settings and people name them, and the schemes of their URIs.
STORES: Final[Mapping[str, str]] = {"files": SEALED, "pkcs11": "pkcs11", "transit": "transit"}
_NAMES: Final[Mapping[str, str]] = {scheme: name for name, scheme in STORES.items()}


@runtime_checkable
class _Closing(Protocol):
    def close(self) -> None: ...


@runtime_checkable
class _Checking(Protocol):
    def check(self) -> object: ...


class KeyStores:
    """A `KeyStore` of key stores: the sealed files, which always are, and `others` by the scheme of their URIs.

    `chosen` is the scheme of the one that makes new keys. `sealed` also keeps what is not a signing key. A store that
    is away harms only who asks for its keys.
    """

    def __init__(
        self, sealed: SealedFileKeyStore, others: Mapping[str, KeyStore], chosen: str = SEALED
    ) -> None:
        self.sealed = sealed
        self._stores: dict[str, KeyStore] = {SEALED: sealed, **others}
        self._chosen = self._stores[chosen]

    def store(self, scheme: str) -> KeyStore | None:
        """The store of a scheme, if it is set up."""
        return self._stores.get(scheme)

    def generate(self, name: str, algorithm: KeyAlgorithm) -> str:
        """See `KeyStore.generate`."""
        return self._chosen.generate(name, algorithm)

    def open(self, uri: str) -> PrivateKey:
        """See `KeyStore.open`. Raises also KeyStoreOff."""
        return self._of(uri).open(uri)

    def uri_of(self, name: str) -> str:
        """See `KeyStore.uri_of`: in the store that makes new keys."""
        return self._chosen.uri_of(name)

    def names(self) -> list[str]:
        """See `KeyStore.names`: those of the store that makes new keys."""
        return self._chosen.names()

    def destroy(self, uri: str) -> None:
        """See `KeyStore.destroy`. Raises also KeyStoreOff."""
        self._of(uri).destroy(uri)

    @property
    def has_others(self) -> bool:
        """Whether there is one that can be away."""
        return len(self._stores) > 1

    def check(self, scheme: str) -> None:
        """Raise what keeps a store from serving now, where there is something to say about it."""
        store = self._stores.get(scheme)
        if isinstance(store, _Checking):
            store.check()

    def close(self) -> None:
        """Give back what the stores hold open; a later use opens it again. Nothing of it may cross a fork."""
        for each in self._stores.values():
            if isinstance(each, _Closing):
                each.close()

    def _of(self, uri: str) -> KeyStore:
        scheme = uri.partition(":")[0]
        if scheme in self._stores:
            return self._stores[scheme]
        if scheme in KNOWN and ":" in uri:
            raise KeyStoreOff(f"The settings have no key store for {scheme}: keys.")
        raise BadKeyName(
            "This is no URI of a key.", next_step=f"It starts with one of: {', '.join(KNOWN)}."
        )


def place_of(uri: str) -> str:
    """The name of the store that a key of this URI is in."""
    scheme = uri.partition(":")[0]
    return _NAMES.get(scheme, scheme)


def chosen_place(keys: KeyStore) -> str:
    """The name of the store that makes new keys."""
    return place_of(keys.uri_of("key"))


def store_at(keys: KeyStore, place: str) -> KeyStore:
    """The store of a name, to make a key there. Raises KeyStoreOff."""
    if place == chosen_place(keys):
        return keys
    found = keys.store(STORES.get(place, place)) if isinstance(keys, KeyStores) else None
    if found is None:
        raise KeyStoreOff(
            f"The key would be made in {place!r}, and the settings have no such key store.",
            next_step="Put its settings back ([keys.pkcs11], [keys.transit]), or name another one: `--store files`.",
        )
    return found


def check_makes(place: str, algorithm: KeyAlgorithm) -> None:
    """Make sure that a store of this name makes such keys, as far as that is known without asking it. Raises
    KeyAlgorithmUnknown.
    """
    if not makes(place, algorithm):
        raise KeyAlgorithmUnknown(
            f"Keys of the kind {algorithm} are made in sealed files only, and this one would be made in {place!r}.",
            next_step="Have it made in files, whatever [keys] store says: `--store files` (`key_store` over REST).",
        )


def place_for(keys: KeyStore, place: str | None, algorithm: KeyAlgorithm) -> str:
    """The name of the store where such a key is to be made: the one named, or the one that makes new keys.

    Raises KeyStoreOff, KeyAlgorithmUnknown.
    """
    chosen = place or chosen_place(keys)
    store_at(keys, chosen)
    check_makes(chosen, algorithm)
    return chosen


def store_for(keys: KeyStore, algorithm: KeyAlgorithm) -> KeyStore:
    """The store that makes new keys; the sealed files where that one makes none of this kind."""
    return keys if makes(chosen_place(keys), algorithm) else store_at(keys, "files")


def makes(place: str, algorithm: KeyAlgorithm) -> bool:
    """Whether a store of this name may make such keys; it may still refuse one that is asked for."""
    return not (algorithm.startswith("ml-dsa") and place in {"pkcs11", "transit"})
