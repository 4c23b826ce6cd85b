"""Passphrases of private keys that are worth a word: not those whose key is not there, or needs none."""

import errno
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from ike.audit import keyfiles, places
from ike.audit.effort import Effort
from ike.audit.values import Role
from ike.secrets.reading import Found
from ike.secrets.tree import File
from ike.secrets.values import Entry, Kind

_FOLDERS: Final = [name for name, role in places.SWANCTL_FOLDERS.items() if role is Role.KEY]
_MISSING: Final = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


class Files(Protocol):
    """What is needed of `ike.audit.ground.Ground`."""

    def read(self, path: str) -> File:
        """A file. Raises OSError."""


def of_keys(files: Files, found: Found) -> Found:
    """What was found, without the passphrases that open no key."""
    kinds = {each.path: each.kind for each in found.opened}
    folders = {kind: _folders(found, kind) for kind in ("swanctl", "secrets")}
    keys = _Keys(files)
    entries = tuple(
        entry
        for entry in found.entries
        if entry.kind is not Kind.PASSPHRASE
        or not entry.file
        or _opens(keys, entry, folders.get(kinds.get(entry.place.path, ""), ()))
    )
    return replace(found, entries=entries)


@dataclass
class _Keys:
    """The files of keys, each looked into once."""

    files: Files
    # That something was not tried is told with the keys.
    effort: Effort = field(default_factory=Effort)
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


def _folders(found: Found, kind: str) -> Sequence[str]:
    """Where the daemon looks for keys that a configuration of this kind names."""
    paths = [each.path for each in found.opened if each.kind == kind and not each.included_by]
    bases = [posixpath.dirname(path) for path in paths]
    if kind == "secrets":
        return [posixpath.join(base, "ipsec.d/private") for base in dict.fromkeys(bases)]
    both = dict.fromkeys(each for base in bases for each in (base, posixpath.dirname(base)))
    return [posixpath.join(base, name) for base in both for name in _FOLDERS]


def _opens(keys: _Keys, entry: Entry, folders: Sequence[str]) -> bool:
    """Whether the key is there and has a passphrase, as far as that can be seen."""
    paths = [entry.file]
    if not entry.file.startswith("/"):
        paths = [posixpath.join(folder, entry.file) for folder in folders]
    return any(keys.need(path) for path in paths)
