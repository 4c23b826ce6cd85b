"""Hand-written stand-ins, one per port; each passes the contract tests of the real thing."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from core.secret import Secret
from hsm.errors import BadKeyName, KeyExists, KeyNotFound, SignerUnavailable
from hsm.keys import new_key
from hsm.ports import KeyAlgorithm, PrivateKey, check_name
from hsm.secretstore import (
    PATH,
    VALUE_LIMIT,
    BadSecretPath,
    SecretConflict,
    SecretNotFound,
    SecretStoreUnavailable,
    Stored,
    VersionInfo,
    VersionState,
)
from hsm.signonly import signing_by

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

    def uri_of(self, name: str) -> str:
        return f"fake:{check_name(name)}"

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
        return signing_by(key.public_key(), self._gate(key.sign))

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


class FakeSecretStore:
    """Secrets in memory, in a store that can be switched off (`fail`) and on again (`heal`).

    `puts` counts the values that were kept. `before`, if set, is called with a method's name and its path before each.
    """

    def __init__(self) -> None:
        self._kept: dict[str, list[tuple[VersionInfo, Stored]]] = {}
        self._lock = threading.RLock()
        self._failing = False
        self.puts = 0
        self.before: Callable[[str, str], None] | None = None

    def fail(self) -> None:
        """From now on every method raises `SecretStoreUnavailable`."""
        self._failing = True

    def heal(self) -> None:
        """Serve again."""
        self._failing = False

    def put(self, path: str, value: Secret, *, after: int, tags: Mapping[str, str]) -> int:
        with self._lock:
            kept = self._at("put", path)
            if not 1 <= len(value.reveal()) <= VALUE_LIMIT:
                raise BadSecretPath(f"A value has 1 to {VALUE_LIMIT} octets.")
            if len(kept) != after:
                raise SecretConflict(f"{path} has a version after {after}.")
            number = after + 1
            info = VersionInfo(number, VersionState.LIVE, datetime.now(UTC))
            self._kept[path] = [*kept, (info, Stored(number, value, dict(tags)))]
            self.puts += 1
            return number

    def get(self, path: str, number: int | None = None) -> Stored:
        with self._lock:
            kept = self._at("get", path)
            wanted = len(kept) if number is None else number
            for info, stored in kept:
                if info.number == wanted and info.state is VersionState.LIVE:
                    return stored
            raise SecretNotFound(f"{path} has no version {wanted}.")

    def versions(self, path: str) -> tuple[VersionInfo, ...]:
        with self._lock:
            return tuple(info for info, _ in self._at("versions", path))

    def delete(self, path: str, number: int) -> None:
        self._turn("delete", path, number, {VersionState.LIVE}, VersionState.DELETED)

    def undelete(self, path: str, number: int) -> None:
        with self._lock:
            kept = self._at("undelete", path)
            states = {info.number: info.state for info, _ in kept}
            if states.get(number, VersionState.DESTROYED) is VersionState.DESTROYED:
                raise SecretNotFound(f"{path} has no version {number}.")
        self._turn("undelete", path, number, {VersionState.DELETED}, VersionState.LIVE)

    def destroy(self, path: str, number: int) -> None:
        left = {VersionState.LIVE, VersionState.DELETED}
        self._turn("destroy", path, number, left, VersionState.DESTROYED)

    def forget(self, path: str) -> None:
        with self._lock:
            self._at("forget", path)
            self._kept.pop(path, None)

    def check(self) -> None:
        self._at("check", "check")

    def _at(self, method: str, path: str) -> list[tuple[VersionInfo, Stored]]:
        if self.before is not None:
            self.before(method, path)
        if self._failing:
            raise SecretStoreUnavailable("The fake store of secrets is switched off.")
        if not PATH.fullmatch(path):
            raise BadSecretPath("This is no path.")
        return self._kept.get(path, [])

    def _turn(
        self, method: str, path: str, number: int, before: set[VersionState], after: VersionState
    ) -> None:
        with self._lock:
            kept = self._at(method, path)
            if not kept:
                return
            self._kept[path] = [
                (replace(info, state=after), self._rest(stored, after))
                if info.number == number and info.state in before
                else (info, stored)
                for info, stored in kept
            ]

    def _rest(self, stored: Stored, state: VersionState) -> Stored:
        gone = state is VersionState.DESTROYED
        return replace(stored, value=Secret(b"destroyed")) if gone else stored
