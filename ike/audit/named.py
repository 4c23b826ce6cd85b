"""What is below a folder that somebody names: every known name, and what is a key or certificate by its first octets.

Samples of vendors, other people's packages and the system's trust store are left out, and so is what links lead to,
but for links from the folder to files.
"""

import os
import posixpath
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from ike.audit import copies, places, rights, shapes, system
from ike.audit.gathering import Gathering
from ike.audit.ground import Ground
from ike.audit.shapes import Shape
from ike.audit.sweep import Sweep
from ike.audit.values import Sort
from ike.secrets.values import Place, Problem

MAX_LOOKS: Final = 30_000  # at files whose names say nothing
_KINDS: Final = {
    "strongswan.conf": "strongswan.conf",
    "racoon.conf": "racoon",
    "psk.txt": "racoon-psk",
    "config.boot": "vyos-config",
}
_BACKUPS: Final = re.compile(r"\.(?:xml|boot)\Z", re.IGNORECASE)
_MAIN: Final = frozenset({"swanctl.conf", "ipsec.conf", "ipsec.secrets"})
_WORDS: Final = re.compile(r"\.(?:conf|secrets|cfg)\Z|^(?:ipsec|swanctl)\b", re.IGNORECASE)
_KEYS: Final = re.compile(r"\.(?:key|pem|p12|pfx|p8|pk8|der|crt|cer|cert)\Z", re.IGNORECASE)
_MAX_KEY: Final = 256 * 1024  # octets of a file that may be one though its name does not say so
_MAX_LINKS: Final = 200
_BUNDLE: Final = 20  # so many certificates in one file are everybody's
# A folder by whose name its parts are known, and what is before them on the host is the same for all.
_PARTS: Final = frozenset({"swanctl", "conf.d", "ipsec.d", "strongswan"})


@dataclass
class Named:
    """What is there. `configurations`: by path, what `discovery.Start` calls it; `connections` are what is read as
    swanctl.conf, ipsec.conf and ipsec.secrets, those that include others first. `copies` stand beside what they are a
    copy of. `databases` and `folders` (of keys) are folders. `links` lead to folders elsewhere.
    """

    configurations: dict[str, str] = field(default_factory=dict)
    connections: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    certificates: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    databases: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def grouped(self) -> list[list[str]]:
        """The connections, those of one host together: a copy of another host's files is read by itself."""
        found: dict[str, list[str]] = {}
        for path in self.connections:
            base = posixpath.dirname(path)
            while posixpath.basename(base) in _PARTS:
                base = posixpath.dirname(base)
            found.setdefault(base, []).append(path)
        return list(found.values())


def look(ground: Ground, folder: str) -> Named:
    """What is in a folder and below; `folder` is where it really is on the host. Changes nothing."""
    run = _Look(ground, folder)
    for path in run.sweep.below(folder if folder != "/" else ""):
        run.take(path)
    return run.finished()


class _Look:
    """One run."""

    def __init__(self, ground: Ground, folder: str) -> None:
        self.ground, self.folder = ground, folder
        self.gathering = Gathering(ground)
        self.sweep = Sweep(ground, wanted=self._wanted, entered=self._entered)
        self.named = Named()
        self.files: Counter[str] = Counter()  # by folder
        self.keyed: Counter[str] = Counter()
        self.looks = 0

    def _entered(self, path: str) -> bool:
        if posixpath.basename(path) in places.LARGE:
            return False
        vendors = any(path == each or _ends(path, each) for each in places.VENDORS)
        # Keys may well lie where the system keeps certificates; those of the world are not taken there.
        return not vendors or system.is_trust_store(path)

    def _wanted(self, entry: "os.DirEntry[str]", folder: str, _vendors: bool) -> bool:
        self.files[folder] += 1
        try:
            if entry.is_symlink():
                return self._linked(f"{folder}/{entry.name}")
            if not entry.is_file(follow_symlinks=False):
                return False
            plain = copies.original(entry.name) or entry.name
            if _by_word(plain) or _KEYS.search(plain) or _BACKUPS.search(plain):
                return True
            if not 40 <= entry.stat(follow_symlinks=False).st_size <= _MAX_KEY:
                return False
        except OSError:
            return False  # a link that leads nowhere, or gone meanwhile
        self.looks += 1
        return self.looks <= MAX_LOOKS

    def _linked(self, path: str) -> bool:
        sort = self.ground.status(path).sort
        if sort is Sort.FOLDER and len(self.named.links) < _MAX_LINKS:
            real = self.gathering.real(path)
            barred = real in places.UNSWEPT or system.is_folder_of(real, self.ground.accounts)
            if not barred and not any(rights.is_above(each, f"{real}/") for each in places.VENDORS):
                self.named.links.append(path)
        return sort is Sort.FILE

    def take(self, path: str) -> None:
        """One that is worth a look; what stands beside its original is left for those who know that."""
        folder, name = posixpath.split(path)
        plain = copies.original(name)
        if plain and self.ground.exists(posixpath.join(folder, plain)):
            self.named.copies.append(path)
        else:
            self.sort(path, plain or name)

    def sort(self, path: str, plain: str) -> None:
        """Put a file where it belongs, by its name where that tells, else by its first octets."""
        named, folder = self.named, posixpath.dirname(path)
        hidden = "/." in path[len(self.folder) :]
        if plain in places.NSS_FILES:
            # Browsers keep such databases of their own in homes.
            if folder not in named.databases and not hidden and not system.is_trust_store(path):
                named.databases.append(folder)
            return
        try:
            begins = self.ground.beginning(path, shapes.OCTETS)
        except OSError as error:
            self._unread(path, plain, error)
            return
        shape = shapes.shape(begins)
        if shape is Shape.SECRETS and b"\0" in begins:
            named.secrets.append(path)  # an editor's file
        elif plain in _MAIN or _is_part(plain, begins, shape):
            named.connections.append(path)
        elif kind := _kind(path, plain, begins):
            named.configurations[path] = kind
        else:
            self._keys(path, begins, shape)

    def _keys(self, path: str, begins: bytes, shape: Shape) -> None:
        folder = posixpath.dirname(path)
        if shape.is_key:
            self.named.keys.append(path)
            self.keyed[folder] += 1
        elif shape is Shape.CERTIFICATE or shapes.is_certificate(begins):
            self.files[folder] -= 1
            few = begins.count(b"-----BEGIN ") < _BUNDLE
            if few and not system.is_trust_store(path):
                self.named.certificates.append(path)
        elif shape is Shape.NOTHING:
            self.files[folder] -= 1

    def _copy(self, path: str) -> None:
        """Copies of secrets are known by what they are beside; of what has none any more, the copy is what has."""
        folder, name = posixpath.split(path)
        of = self.gathering.shape(posixpath.join(folder, copies.original(name)))
        if of is not None and (of.is_key or of is Shape.SECRETS):
            return
        shape = self.gathering.shape(path)
        if shape is not None and shape.is_key:
            self.named.keys.append(path)
        elif shape is Shape.SECRETS and _by_word(copies.original(name)):
            self.named.secrets.append(path)

    def _unread(self, path: str, plain: str, error: OSError) -> None:
        """What cannot be read is told where it would matter by its name."""
        if plain in _MAIN or plain.endswith(".secrets") or _by_name(plain):
            self.named.secrets.append(path)
            self.gathering.failed(path, error)
        elif _KEYS.search(plain):
            self.gathering.failed(path, error)

    def finished(self) -> Named:
        """All of it."""
        named = self.named
        for path in named.copies:
            self._copy(path)
        if self.looks > MAX_LOOKS:
            message = (
                f"more than {MAX_LOOKS:,} files whose names say nothing: not all were looked into"
            )
            named.problems.append(Problem(Place(self.folder, 0), message))
        # Where most is something else, as in /etc, keys only happen to lie.
        named.folders += [
            folder
            for folder, keys in self.keyed.items()
            if 2 * keys >= self.files[folder] and not system.is_trust_store(folder)
        ]
        named.connections.sort(key=lambda path: (posixpath.basename(path) not in _MAIN, path))
        named.problems += [*self.sweep.problems, *self.gathering.problems]
        return named


def _ends(path: str, vendors: str) -> bool:
    """Whether it is such a folder in a copy of a host."""
    return vendors.count("/") > 1 and path.endswith(vendors)


def _by_name(plain: str) -> bool:
    return (
        plain in _KINDS
        or plain in places.NSS_FILES
        or plain == "config.xml"
        or plain.endswith(".nmconnection")
    )


def _by_word(plain: str) -> bool:
    return _by_name(plain) or _WORDS.search(plain) is not None


def _kind(path: str, plain: str, begins: bytes) -> str:
    if plain.endswith(".nmconnection"):
        return "networkmanager"
    if plain.endswith(".conf") and "/strongswan.d/" in path:
        return "strongswan.conf"
    return _KINDS.get(plain, "") or shapes.system(begins)


def _is_part(plain: str, begins: bytes, shape: Shape) -> bool:
    """Whether it is a part of swanctl.conf, ipsec.conf or ipsec.secrets under a name of its own."""
    if plain.endswith(".secrets") and shape is Shape.SECRETS:
        return True
    return _WORDS.search(plain) is not None and shapes.is_connections(begins)
