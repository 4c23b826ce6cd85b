"""The values of shared secrets: fetched once, kept on disk, read back without the service.

One file for each, `secrets/<id>`, private as all of the home. A value is on disk before it is given to a daemon, and
leaves the disk after the daemon has let go of it. Nothing else of the agent writes a value anywhere.
"""

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from core.errors import IkewardenError, Unavailable
from core.secret import Secret
from ike.agent.channel import ServerUnreachable, Service
from ike.agent.desired import DesiredKey, DesiredSlot
from ike.agent.errors import HomeDamaged
from ike.agent.folder import Folder
from ike.daemons.port import SharedKey

_LARGEST: Final = 16 * 1024
_LONGEST_VALUE: Final = 4096  # as much as the service keeps


class SecretUnavailable(Unavailable):
    """The value of a shared secret is not here and cannot be had; the daemon goes on with what it has."""

    code = "secret_unavailable"
    next_step = "The agent asks again by itself; look at the service and its secret store."


class SecretUnusable(Unavailable):
    """What came as the value of a shared secret is another one's, or is none; it was not used."""

    code = "secret_unusable"
    next_step = "Nothing was changed here; look at the service's log."


@dataclass(frozen=True)
class HeldSecret:
    """A shared secret on disk, and whose it is."""

    id: int
    slot: str
    kind: str
    fingerprint: str | None
    key: SharedKey

    def serves(self, slot: DesiredSlot, wanted: DesiredKey) -> bool:
        """Whether it is the one that is wanted."""
        mine = (self.slot, self.kind, self.id, self.fingerprint, self.key.version, self.key.ppk_id)
        its = (wanted.id, wanted.fingerprint, wanted.version, wanted.ppk_id)
        return mine == (slot.name, slot.kind, *its)


class Keyring:
    """The shared secrets of one home. What was read once is kept in memory for as long as its file is there."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._known: dict[str, HeldSecret] = {}

    def all(self) -> list[HeldSecret]:
        """Every one that can be read. Raises HomeNotPrivate, HomeNotWritable."""
        names = self._folder.names()
        self._known = {name: self._known[name] for name in names if name in self._known}
        found = (self._read(name) for name in names)
        return [each for each in found if each is not None]

    def fetch(self, service: Service, slot: DesiredSlot, wanted: DesiredKey) -> HeldSecret:
        """Ask the service for a value, and keep it.

        Raises SecretUnavailable, SecretUnusable, HomeNotWritable; ServerUnreachable where nobody answers.
        """
        try:
            body = service.fetch(f"/v1/gateways/self/secrets/{wanted.id}", limit=_LARGEST)
        except ServerUnreachable:
            raise
        except IkewardenError as error:
            raise SecretUnavailable(
                f"Version {wanted.version} was not given: {error.message}"
            ) from None
        document = _object(body or b"")
        held = _understood(wanted.id, document) if document is not None else None
        if held is None or document is None or document.get("id") != wanted.id:
            raise SecretUnusable(f"What came as version {wanted.version} cannot be understood.")
        if not held.serves(slot, wanted):
            raise SecretUnusable(f"What came as version {wanted.version} is another secret's.")
        self._folder.make()
        self._folder.write(str(held.id), json.dumps(_document(held)).encode())
        self._known[str(held.id)] = held
        return held

    def sweep(self, keep: Callable[[HeldSecret], bool]) -> None:
        """Destroy those that are not to be kept, and what cannot be read."""
        kept = {str(each.id) for each in self.all() if keep(each)}
        for name in self._folder.names():
            if name not in kept:
                self._known.pop(name, None)
                self._folder.remove(name)

    def _read(self, name: str) -> HeldSecret | None:
        if name not in self._known:
            try:
                content = self._folder.read(name, limit=_LARGEST)
            except HomeDamaged:
                return None
            document = _object(content or b"")
            if document is None or not name.isdecimal():
                return None
            held = _understood(int(name), document)
            if held is None:
                return None
            self._known[name] = held
        return self._known[name]


def _object(content: bytes) -> dict[str, Any] | None:
    """The object in a JSON text; None for anything else, and no error that would quote the text."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _understood(number: int, document: dict[str, Any]) -> HeldSecret | None:
    slot, kind, version = document.get("slot"), document.get("kind"), document.get("version")
    fingerprint, ppk_id = document.get("fingerprint"), document.get("ppk_id")
    value = _value(document.get("value"))
    if not (isinstance(slot, str) and isinstance(kind, str) and isinstance(version, int)):
        return None
    if not (isinstance(fingerprint, str | None) and isinstance(ppk_id, str | None)):
        return None
    if value is None:
        return None
    return HeldSecret(number, slot, kind, fingerprint, SharedKey(version, value, ppk_id))


def _value(text: object) -> Secret | None:
    """The octets of a value; None where it is no base64, empty, or longer than any secret of a daemon."""
    try:
        value = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        return None
    return Secret(value) if 0 < len(value) <= _LONGEST_VALUE else None


def _document(held: HeldSecret) -> dict[str, Any]:
    return {
        "slot": held.slot,
        "kind": held.kind,
        "version": held.key.version,
        "fingerprint": held.fingerprint,
        "ppk_id": held.key.ppk_id,
        "value": base64.b64encode(held.key.value.reveal()).decode(),
    }
