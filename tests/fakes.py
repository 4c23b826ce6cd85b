"""Hand-written stand-ins, one per port; each passes the contract tests of the real thing."""

import threading
from collections.abc import Callable
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from hsm.errors import BadKeyName, KeyExists, KeyNotFound, SignerUnavailable
from hsm.keys import new_key
from hsm.ports import KeyAlgorithm, PrivateKey, check_name
from hsm.signonly import SignOnlyEcKey, SignOnlyEd25519Key, SignOnlyRsaKey

_HANG_LIMIT: Final = 60.0


class FakeKeyStore:
    """Keys in memory, and a signer that can die (`fail`), hang (`hang`) and come back (`heal`).

    `waiting` counts the threads that hang in a signature now; `signatures` the ones made.
    """

    def __init__(self) -> None:
        self._keys: dict[str, PrivateKey] = {}
        self._lock = threading.Condition()
        self._state = "well"
        self.waiting = 0
        self.signatures = 0

    def fail(self) -> None:
        """From now on every signature raises `SignerUnavailable`, also those that hang."""
        self._become("dead")

    def hang(self) -> None:
        """From now on every signature waits until `heal` or `fail`."""
        self._become("hanging")

    def heal(self) -> None:
        """Sign again; those that hang go on."""
        self._become("well")

    def wait_until_hanging(self, count: int = 1) -> None:
        """Return when `count` threads hang in a signature."""
        with self._lock:
            assert self._lock.wait_for(lambda: self.waiting >= count, _HANG_LIMIT)

    def generate(self, name: str, algorithm: KeyAlgorithm) -> str:
        check_name(name)
        key = self._gated(new_key(algorithm))
        with self._lock:
            if name in self._keys:
                raise KeyExists(f"A key named '{name}' exists.")
            self._keys[name] = key
        return f"fake:{name}"

    def open(self, uri: str) -> PrivateKey:
        try:
            return self._keys[_name_of(uri)]
        except KeyError:
            raise KeyNotFound(f"There is no key '{uri}'.") from None

    def names(self) -> list[str]:
        return sorted(self._keys)

    def destroy(self, uri: str) -> None:
        with self._lock:
            if self._keys.pop(_name_of(uri), None) is None:
                raise KeyNotFound(f"There is no key '{uri}'.")

    def _become(self, state: str) -> None:
        with self._lock:
            self._state = state
            self._lock.notify_all()

    def _gated(self, key: PrivateKey) -> PrivateKey:
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return SignOnlyEcKey(key.public_key(), self._gate(key.sign))
        if isinstance(key, rsa.RSAPrivateKey):
            return SignOnlyRsaKey(key.public_key(), self._gate(key.sign))
        return SignOnlyEd25519Key(key.public_key(), self._gate(key.sign))

    def _gate(self, sign: Callable[..., bytes]) -> Callable[..., bytes]:
        def gated(*arguments: Any) -> bytes:
            with self._lock:
                self.waiting += 1
                self._lock.notify_all()
                ended = self._lock.wait_for(lambda: self._state != "hanging", _HANG_LIMIT)
                self.waiting -= 1
                if not ended or self._state == "dead":
                    raise SignerUnavailable("The fake signer is switched off.")
                self.signatures += 1
            return sign(*arguments)

        return gated


def _name_of(uri: str) -> str:
    if not uri.startswith("fake:"):
        raise BadKeyName("This key URI is not of the fake key store.")
    return check_name(uri.removeprefix("fake:"))
