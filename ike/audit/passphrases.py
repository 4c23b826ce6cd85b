"""Passphrases of private keys that are worth a word: not those whose key is not there, or needs none."""

import errno
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from ike.audit import keyfiles, places
from ike.audit.effort import Effort
from ike.audit.values import Role
from ike.secrets.reading import Found
from ike.secrets.tree import File
from ike.secrets.values import Entry, Kind

_FOLDERS: Final = [name for name, role in places.SWANCTL_FOLDERS.items() if role is Role.KEY]
_MISSING: Final = (errno.ENOENT, errno.ENOTDIR)


class Files(Protocol):
    """What is needed of `ike.audit.ground.Ground`."""

    def read(self, path: str) -> File:
        """A file. Raises OSError."""


def of_keys(files: Files, found: Found) -> Found:
    """What was found, without the passphrases that open no key."""
    bases = dict.fromkeys(
        base
        for each in found.opened
        if each.kind == "swanctl" and not each.included_by
        for base in (posixpath.dirname(each.path), posixpath.dirname(posixpath.dirname(each.path)))
    )
    keys = _Keys(files)
    entries = tuple(
        entry
        for entry in found.entries
        if entry.kind is not Kind.PASSPHRASE or not entry.file or _opens(keys, entry, bases)
    )
    return replace(found, entries=entries)


@dataclass
class _Keys:
    """The files of keys, each looked into once."""

    files: Files
    effort: Effort = field(
        default_factory=Effort
    )  # that something was not tried is told with the keys
    known: dict[str, bool] = field(default_factory=dict)

    def need(self, path: str) -> bool:
        """Whether a key is there and needs a passphrase, as far as that can be seen."""
        if path not in self.known:
            self.known[path] = self._looked(path)
        return self.known[path]

    def _looked(self, path: str) -> bool:
        try:
            octets = self.files.read(path).content
        except OSError as error:
            return error.errno not in _MISSING
        keys = keyfiles.parse(path, octets, self.effort).keys
        return not keys or any(key.encrypted for key in keys)


def _opens(keys: _Keys, entry: Entry, bases: Iterable[str]) -> bool:
    """Whether the key is there and has a passphrase, as far as that can be seen."""
    paths = [entry.file]
    if not entry.file.startswith("/"):
        paths = [posixpath.join(base, name, entry.file) for base in bases for name in _FOLDERS]
    return any(keys.need(path) for path in paths)
