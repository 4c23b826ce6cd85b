"""The store of shared secrets of an embedded instance: one encrypted file per path.

::

    DIR/<2 hex>/<62 hex>.json    SHA-256 of the path; its versions, each value sealed on its own
    DIR/<2 hex>/.lock            held by whoever changes something there

A file is replaced as a whole, so that every change is there or not. The seal is that of the signing keys
(hsm/seal.py); it binds a value to its path and version. Numbers, states and times stand in clear, as do the paths:
whoever can write here can hide a version, but neither read nor forge one.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from core.secret import Secret
from hsm.errors import (
    KeyFileDamaged,
    KeyFormatUnknown,
    KeyStoreError,
    KeyStoreMissing,
    NotAPlainFile,
)
from hsm.folder import PrivateFolder
from hsm.seal import Seal
from hsm.secretstore import (
    SecretConflict,
    SecretNotFound,
    SecretPathUnusable,
    SecretStoreUnavailable,
    Stored,
    VersionInfo,
    VersionState,
    check_path,
    check_value,
)

FILE_FORMAT: Final = 1
_SUFFIX: Final = ".json"
# Of versions whose values are destroyed some 100 bytes are left: enough for tens of thousands of rotations.
_LIMIT: Final = 4 * 1024 * 1024
_TRIES: Final = 10  # writers that may come in between, one after the other
_OF_ONE_FILE: Final = (KeyFileDamaged, KeyFormatUnknown, NotAPlainFile)


@dataclass(frozen=True)
class _Version:
    info: VersionInfo
    sealed: bytes  # empty once it is destroyed


@dataclass(frozen=True)
class _Place:
    folder: PrivateFolder
    file: str


class SecretFiles:
    """A `SecretStore` in a directory, for any number of processes at once.

    Making an instance looks at the directory if it is there, and refuses a weak one; the first version that is kept
    makes it. Every file is looked at again whenever it is read. `clock` dates the versions.
    """

    def __init__(self, directory: Path, seal: Seal, clock: Callable[[], datetime]) -> None:
        self._top = PrivateFolder(directory)
        self._seal = seal
        self._clock = clock
        self.check()

    def __repr__(self) -> str:
        return f"SecretFiles({str(self._top.path)!r})"

    def put(self, path: str, value: Secret, *, after: int, tags: Mapping[str, str]) -> int:
        """See `SecretStore.put`."""
        place = self._place(path)
        content = {"value": _text(check_value(value)), "tags": dict(tags)}
        number = after + 1
        sealed = self._seal.seal(place.file, json.dumps(content).encode(), _bound(path, number))
        live = _Version(VersionInfo(number, VersionState.LIVE, self._clock()), sealed)

        def add(versions: tuple[_Version, ...]) -> tuple[_Version, ...]:
            newest = len(versions)
            if newest != after:
                raise SecretConflict(f"The newest version of {path} is {newest}, not {after}.")
            return (*versions, live)

        with _told():
            self._top.make()
            place.folder.make()
        self._change(place, path, add)
        return number

    def get(self, path: str, number: int | None = None) -> Stored:
        """See `SecretStore.get`."""
        place = self._place(path)
        versions = self._read(place, path)
        wanted = len(versions) if number is None else number
        if not 1 <= wanted <= len(versions):
            raise SecretNotFound(f"There is no version {wanted} of {path}.")
        found = versions[wanted - 1]
        if found.info.state is not VersionState.LIVE:
            raise SecretNotFound(f"Version {wanted} of {path} was {found.info.state.value}.")
        with _told():
            plain = self._seal.unseal(place.file, found.sealed, _bound(path, wanted))
        content = json.loads(plain)  # the seal vouches for it
        return Stored(wanted, Secret(base64.b64decode(content["value"])), content["tags"])

    def versions(self, path: str) -> tuple[VersionInfo, ...]:
        """See `SecretStore.versions`."""
        return tuple(each.info for each in self._read(self._place(path), path))

    def delete(self, path: str, number: int) -> None:
        """See `SecretStore.delete`."""
        with suppress(SecretNotFound):
            self._turn(path, number, VersionState.DELETED)

    def undelete(self, path: str, number: int) -> None:
        """See `SecretStore.undelete`."""
        self._turn(path, number, VersionState.LIVE)

    def destroy(self, path: str, number: int) -> None:
        """See `SecretStore.destroy`. What the file held before is overwritten."""
        with suppress(SecretNotFound):
            self._turn(path, number, VersionState.DESTROYED)

    def forget(self, path: str) -> None:
        """See `SecretStore.forget`."""
        place = self._place(path)
        with _told(), suppress(KeyStoreMissing):
            place.folder.shred(place.file)

    def check(self) -> None:
        """See `SecretStore.check`."""
        with _told(), suppress(KeyStoreMissing):  # nothing was kept yet
            self._top.check(lambda name: False)

    def _turn(self, path: str, number: int, state: VersionState) -> None:
        """Bring a version into a state. Raises SecretNotFound where there is none, or it was destroyed before."""
        place = self._place(path)

        def turn(versions: tuple[_Version, ...]) -> tuple[_Version, ...] | None:
            if not 1 <= number <= len(versions):
                raise SecretNotFound(f"There is no version {number} of {path}.")
            old = versions[number - 1]
            if old.info.state is VersionState.DESTROYED:
                raise SecretNotFound(f"Version {number} of {path} was destroyed.")
            if old.info.state is state:
                return None
            sealed = b"" if state is VersionState.DESTROYED else old.sealed
            new = _Version(replace(old.info, state=state), sealed)
            return (*versions[: number - 1], new, *versions[number:])

        self._change(place, path, turn)

    def _place(self, path: str) -> _Place:
        # A hash: a path's segments are no names of files (length, case), and 256 folders keep each of them small.
        name = hashlib.sha256(check_path(path).encode()).hexdigest()
        return _Place(PrivateFolder(self._top.path / name[:2]), name[2:] + _SUFFIX)

    def _change(
        self,
        place: _Place,
        path: str,
        change: Callable[[tuple[_Version, ...]], tuple[_Version, ...] | None],
    ) -> None:
        def rewrite(content: bytes | None) -> bytes | None:
            changed = change(self._decode(place, path, content))
            if changed is None:
                return None
            encoded = _encode(path, changed)
            if len(encoded) > max(_LIMIT, len(content or b"")):
                raise SecretPathUnusable(
                    f"{path} has too many versions for one file.",
                    next_step="Make the tunnel anew under another name, which has a file of its own.",
                )
            return encoded

        with _told():
            try:
                place.folder.update(place.file, rewrite, limit=_LIMIT)
            except KeyStoreMissing:  # nothing was ever kept in that folder
                change(())

    def _read(self, place: _Place, path: str) -> tuple[_Version, ...]:
        def read() -> tuple[_Version, ...]:
            return self._decode(place, path, place.folder.read(place.file, limit=_LIMIT))

        with _told(), suppress(FileNotFoundError, KeyStoreMissing):
            for _ in range(_TRIES - 1):
                # It may have been replaced, and overwritten, between being opened and being read.
                with suppress(KeyFileDamaged):
                    return read()
            return read()
        return ()

    def _decode(self, place: _Place, path: str, content: bytes | None) -> tuple[_Version, ...]:
        if content is None:
            return ()
        where = place.folder.path / place.file
        try:
            document = json.loads(content)
            if document["format"] != FILE_FORMAT:
                raise KeyFormatUnknown(f"{where} has a format that this version does not know.")
            versions = tuple(map(_version, document["versions"]))
            named = document["path"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise KeyFileDamaged(f"{where} is truncated or was altered.") from None
        if named != path or [each.info.number for each in versions] != list(
            range(1, len(versions) + 1)
        ):
            raise KeyFileDamaged(f"{where} was altered or renamed.")
        return versions


@contextmanager
def _told() -> Iterator[None]:
    """What keeps the files from being read or written, as the error that every store of secrets has for it."""
    try:
        yield
    except (SecretConflict, SecretNotFound, SecretPathUnusable):
        raise
    except KeyStoreError as error:
        raise (SecretPathUnusable if isinstance(error, _OF_ONE_FILE) else SecretStoreUnavailable)(
            error.message, next_step=error.next_step, details=error.details
        ) from error


def _version(document: Mapping[str, Any]) -> _Version:
    info = VersionInfo(
        number=document["number"],
        state=VersionState(document["state"]),
        created_at=datetime.fromisoformat(document["created_at"]),
    )
    return _Version(info, base64.b64decode(document["sealed"], validate=True))


def _encode(path: str, versions: tuple[_Version, ...]) -> bytes:
    document = {
        "format": FILE_FORMAT,
        "path": path,
        "versions": [
            {
                "number": each.info.number,
                "state": each.info.state.value,
                "created_at": each.info.created_at.isoformat(),
                "sealed": _text(each.sealed),
            }
            for each in versions
        ],
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def _bound(path: str, number: int) -> bytes:
    return f"secret\0{path}\0{number}".encode()


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
