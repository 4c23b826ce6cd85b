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
_MAX_SEARCHED: Final = 2**30  # octets of all indexes, each for every name that is looked for in it
_MAX_OCCURRENCES: Final = 1000  # of a name in an index, as the end of others
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
    """All files of secrets and keys that are in a work tree. One index is kept at a time, and only so much is gone
    through: of what comes after, nobody sees whether it is tracked.
    """
    known: dict[str, Repository | None] = {}
    within: dict[str, list[Item]] = {}  # by the folder that the repository is in
    for item in items:
        if rights.is_secret(item) and (folder := _above(ground, item, known)):
            within.setdefault(folder, []).append(item)
    left = _MAX_SEARCHED
    tracked: dict[str, bool | None] = {}
    for folder, kept in within.items():
        repository = known[folder]
        index = _index(ground, repository) if repository is not None and left > 0 else None
        for item in kept:
            name = posixpath.relpath(item.real, folder)
            tracked[item.real] = _is_tracked(index, name) if left > 0 else None
            left -= len(index or b"")
    return [
        Kept(item, repository, tracked[item.real])
        for folder, kept in within.items()
        for item in kept
        if (repository := known[folder]) is not None
    ]


def _above(ground: Ground, item: Item, known: dict[str, Repository | None]) -> str:
    """The nearest folder above with a repository, which is then known; empty where there is none."""
    folder = posixpath.dirname(item.real)
    while True:
        if folder not in known:
            known[folder] = _repository(ground, folder)
        if known[folder] is not None:
            return folder
        if folder == "/":
            return ""
        folder = posixpath.dirname(folder)


def _repository(ground: Ground, folder: str) -> Repository | None:
    for name in _INDEXES:
        path = posixpath.join(folder, name)
        try:
            status = ground.status(path)
        except OSError:
            continue
        settings, sign = _SETTINGS.get(name, ("", b""))
        shared = name == ".svn" or sign in _read(ground, posixpath.join(path, settings))
        return Repository(path, status, shared and bool(sign or name == ".svn"))
    return None


def _read(ground: Ground, path: str) -> bytes:
    try:
        return ground.read(path).content
    except OSError:
        return b""


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
    for _ in range(_MAX_OCCURRENCES):
        if at <= 0:
            return False if index.startswith(_PLAIN) else None
        # Before the path stand its flags, whose lower twelve bits are its length.
        if int.from_bytes(index[at - 2 : at], "big") & 0xFFF == min(len(path), 0xFFF):
            return True
        at = index.find(path + b"\0", at + 1)
    return None
