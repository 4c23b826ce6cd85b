"""Keyed fingerprints of shared secrets: the same value has the same one, and nobody can guess a value from it."""

import hmac
from threading import Lock
from weakref import WeakKeyDictionary

from core.secret import Secret
from fleet.rotation.allotment import store_of
from hsm.secretstore import SecretConflict, SecretNotFound, SecretStore
from pki.desk import Desk

PATH = "ikewarden/fingerprint-key"
_OCTETS = 16
_keys: WeakKeyDictionary[SecretStore, Secret] = WeakKeyDictionary()
_lock = Lock()


def fingerprint(desk: Desk, value: Secret) -> str:
    """The first 16 octets of HMAC-SHA256 under the installation's key, in hexadecimal.

    The key is made on first use and lies in the store of secrets. Raises NoSecretStore and what the store raises.
    """
    store = store_of(desk)
    with _lock:
        if store not in _keys:
            _keys[store] = _key(desk, store)
        key = _keys[store]
    return hmac.digest(key.reveal(), value.reveal(), "sha256")[:_OCTETS].hex()


def _key(desk: Desk, store: SecretStore) -> Secret:
    try:
        return store.get(PATH, 1).value
    except SecretNotFound:
        if store.versions(PATH):
            raise  # another key would give every secret another fingerprint
    try:
        store.put(PATH, Secret(desk.entropy(32)), after=0, tags={})
    except SecretConflict:
        pass  # another process was quicker
    return store.get(PATH, 1).value
