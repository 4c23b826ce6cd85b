"""Files of secrets and keys that stand in the work tree of a version control system.

Its programs are not run: a hook or setting in there could have them run anything. What is tracked is seen from the
index, where its form is plain enough.
"""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ike.audit import rights
from ike.audit.ground import Ground
from ike.audit.values import Item, Status

_INDEXES: Final = {".git": "index", ".hg": "dirstate", ".svn": "wc.db", ".bzr": "checkout/dirstate"}
_SETTINGS: Final = {".git": ("config", b"[remote "), ".hg": ("hgrc", b"[paths]")}
_LARGEST: Final = 16 * 2**20
_PLAIN: Final = (
    b"DIRC\0\0\0\2",
    b"DIRC\0\0\0\3",
)  # gitformat-index(5); version 4 shortens the paths


@dataclass(frozen=True)
class Repository:
    """A version control system's folder, such as /etc/.git. `shared` where its settings name another repository."""

    path: str
    status: Status
    shared: bool


@dataclass(frozen=True)
class Kept:
    """A file in a work tree; `tracked` is None where that cannot be seen."""

    item: Item
    repository: Repository
    tracked: bool | None


def look(ground: Ground, items: Sequence[Item]) -> list[Kept]:
    """All files of secrets and keys that are in a work tree."""
    known: dict[str, Repository | None] = {}
    indexes: dict[str, bytes | None] = {}
    found = []
    for item in items:
        if not rights.is_secret(item):
            continue
        folder = posixpath.dirname(item.real)
        while True:
            if folder not in known:
                known[folder] = _repository(ground, folder)
            repository = known[folder]
            if repository is not None:
                if folder not in indexes:
                    indexes[folder] = _index(ground, repository)
                name = posixpath.relpath(item.real, folder)
                found.append(Kept(item, repository, _is_tracked(indexes[folder], name)))
                break
            if folder == "/":
                break
            folder = posixpath.dirname(folder)
    return found


def _repository(ground: Ground, folder: str) -> Repository | None:
    for name in _INDEXES:
        path = posixpath.join(folder, name)
        try:
            status = ground.status(path)
        except OSError:
            continue
        settings, sign = _SETTINGS.get(name, ("", b""))
        shared = name == ".svn" or sign in _read(ground, posixpath.join(path, settings), b"")
        return Repository(path, status, shared and bool(sign or name == ".svn"))
    return None


def _read(ground: Ground, path: str, default: bytes) -> bytes:
    try:
        return ground.read(path, _LARGEST).content
    except OSError:
        return default


def _index(ground: Ground, repository: Repository) -> bytes | None:
    name = _INDEXES[posixpath.basename(repository.path)]
    path = posixpath.join(repository.path, name)
    try:
        return ground.read(path, _LARGEST).content
    except FileNotFoundError:
        return b""  # nothing was ever added
    except OSError:
        return None


def _is_tracked(index: bytes | None, name: str) -> bool | None:
    if index is None:
        return None
    path = name.encode("utf-8", "surrogateescape")
    if not index.startswith(b"DIRC"):
        return path in index
    at = index.find(path + b"\0")
    while at > 0:
        # Before the path stand its flags, whose lower twelve bits are its length.
        if int.from_bytes(index[at - 2 : at], "big") & 0xFFF == min(len(path), 0xFFF):
            return True
        at = index.find(path + b"\0", at + 1)
    return False if index.startswith(_PLAIN) else None
