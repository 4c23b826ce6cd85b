"""The fleet's fingerprint of a shared secret: both ends' versions can be compared where no value may be shown."""

import hmac
from secrets import token_bytes
from typing import Final
from weakref import WeakKeyDictionary

from core.secret import Secret
from hsm.secretstore import SecretConflict, SecretNotFound, SecretStore

PATH: Final = "ikewarden/fingerprint-key"
_KEY_BYTES: Final = 32
_SHOWN_BYTES: Final = 16
_KEYS: Final[WeakKeyDictionary[SecretStore, Secret]] = WeakKeyDictionary()


class Fingerprints:
    """HMAC-SHA256 under a key that the store of secrets keeps at `ikewarden/fingerprint-key`.

    Without the key, nobody can try weak secrets against a fingerprint. The first process that needs the key makes it;
    each process reads it once.
    """

    def __init__(self, store: SecretStore) -> None:
        self._store = store

    def of(self, secret: Secret) -> str:
        """The fingerprint: the first 16 octets, as 32 hexadecimal digits.

        Raises what the store raises; SecretNotFound where the key was there once: another key would make all
        fingerprints on record worthless, so none is made in its place.
        """
        digest = hmac.digest(self._key().reveal(), secret.reveal(), "sha256")
        return digest[:_SHOWN_BYTES].hex()

    def _key(self) -> Secret:
        known = _KEYS.get(self._store)
        if known is None:
            known = _KEYS[self._store] = self._find() or self._make()
        return known

    def _find(self) -> Secret | None:
        try:
            return self._store.get(PATH).value
        except SecretNotFound:
            return None

    def _make(self) -> Secret:
        made = Secret(token_bytes(_KEY_BYTES))
        try:
            self._store.put(PATH, made, after=0, tags={"purpose": "fingerprints"})
        except SecretConflict:
            # Somebody else was quicker, or the key was deleted: then this raises SecretNotFound.
            return self._store.get(PATH).value
        return made
