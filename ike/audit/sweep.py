"""A tree of files gone through for keys and secrets that lie about: names first, the first octets of few.

A host in use is looked through only where keys usually lie, and not for long; a copy as a whole. Nothing is kept of a
tree but the way to where one is.
"""

import os
import posixpath
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from ike.audit import places, shapes
from ike.audit.gathering import Gathering
from ike.audit.ground import Ground
from ike.audit.shapes import Shape
from ike.audit.values import Item, Role
from ike.secrets.tree import first_octets
from ike.secrets.values import Place, Problem

_ENDING: Final = (
    r"(?:[-._~]|\d|bak|backup|old|orig|save|copy|tmp|sw[opn]|dpkg-(?:old|dist|new|bak|tmp)"
    r"|ucf-(?:old|dist|new)|rpm(?:save|new|orig))*"
)
# Of daemons that we know, and looked for everywhere.
_OURS: Final = re.compile(
    rf"^[.\#]?(?:.*\.secrets|swanctl.*\.conf|strongswan.*\.conf|ipsec.*\.conf|psk\.txt|nsspassword"
    rf"|config.*\.xml|.*\.boot)"  # of OPNsense, pfSense and VyOS, as they are exported
    rf"{_ENDING}\#?$",
    re.IGNORECASE,
)
_KEYS: Final = re.compile(rf"\.(?:key|pem|p12|pfx|p8|pk8|der){_ENDING}$", re.IGNORECASE)
_ARCHIVES: Final = re.compile(
    r"^(?:.*[-_.])?(?:etc|ipsec|swanctl|strongswan|libreswan|vpn)(?:[-_.].*)?"
    r"\.(?:tar|tgz|tbz2?|txz|zip|7z|cpio|tar\.[a-z0-9]+)$"
    r"|^config.*\.(?:xml|boot)(?:\.\d+)?\.(?:gz|bz2|xz|zst)$",
    re.IGNORECASE,
)
# One look at each name is all that there is time for: what these find is looked at again.
_WORTH: Final = re.compile(
    r"(?i:\.(?:key|pem|p12|pfx|p8|pk8|der|secrets|conf|xml|boot|txt|tar|tgz|tbz|txz|zip|7z|cpio)|nsspassword)"
).search
_OUR_FOLDERS: Final = re.compile(
    r"/(?:swanctl|ipsec\.d|strongswan)(?:[-._~]?[a-z0-9._~-]*)(?:/(?:conf\.d|private|rsa|ecdsa|pkcs8|pkcs12))?\Z",
    re.IGNORECASE,
).search
_MAX_ENTRIES: Final = 30_000  # of one place on a host in use
_DEEPEST: Final = 200  # each level keeps a folder open
_MAX_STRAYS: Final = 1000
_MAX_PROBLEMS: Final = 100


_Level = tuple[
    str, bool, "os._ScandirIterator[str]"
]  # a folder, whether it is a vendor's, what is left of it


@dataclass(frozen=True)
class Stray:
    """A file with a key or secrets that no configuration leads to; Shape.OTHER for an archive."""

    item: Item
    shape: Shape


Wanted = Callable[["os.DirEntry[str]", str, bool], bool]


@dataclass
class Sweep:
    """One run; `files` counts what was gone through.

    `wanted` says of an entry that is no folder, in that folder, which may be a vendor's, whether it is worth a look;
    `entered` of a folder by its path whether it is gone into.
    """

    ground: Ground
    problems: list[Problem] = field(default_factory=list)
    files: int = 0
    wanted: Wanted = lambda entry, folder, vendors: (
        (_WORTH(entry.name) is not None and _is_suspect(entry, vendors=vendors))
        or (
            # /etc/swanctl.bak: a copy of all of it, whatever the files are called
            not vendors
            and _OUR_FOLDERS(folder) is not None
            and entry.is_file(follow_symlinks=False)
        )
    )
    entered: Callable[[str], bool] = lambda _path: True

    def strays(self, paths: Sequence[str], known: frozenset[str]) -> Iterator[Stray]:
        """What lies about in these folders, or where keys usually lie; `known` are the files not to be told of."""
        gathering = Gathering(self.ground)
        found = 0
        for path in self._suspects(paths):
            if path in known:
                continue
            shape = Shape.OTHER if _is_archive(path) else self._shape(path)
            if shape is None or not (shape.is_key or shape is Shape.SECRETS or _is_archive(path)):
                continue
            item = gathering.add(path, Role.KEY if shape.is_key else Role.SECRETS)
            if item is None or item.real in known:
                continue
            found += 1
            if found > _MAX_STRAYS:
                self._tell(path, "too many files of keys: the rest is not told")
                break
            yield Stray(item, shape)
        self.problems += gathering.problems[:_MAX_PROBLEMS]

    def _suspects(self, paths: Sequence[str]) -> Iterator[str]:
        """Files that are worth a look by their names."""
        if not self.ground.is_live:
            yield from self.below("/")
            return
        for path in dict.fromkeys([*places.SWEPT, *paths]):
            try:
                status = self.ground.status(path)
            except OSError:
                continue  # told where it was asked for by name
            if status.sort is status.sort.FOLDER:
                yield from self.below(path, 0 if path in paths else places.SWEPT[path])

    def below(self, start: str, levels: int = 0) -> Iterator[str]:
        """What is worth a look in a folder and all below, or in so many levels of it and not for long.

        No link is followed: `start` is where the folder really is.

        Each level is one open folder, so that nothing grows with what is in them.
        """
        stack: list[_Level] = []
        self._enter(stack, start.rstrip("/"), levels)
        count, most = 0, _MAX_ENTRIES if levels else sys.maxsize
        try:
            while stack and count < most:
                folder, vendors, entries = stack[-1]
                try:
                    for entry in entries:
                        count += 1
                        name = entry.name
                        if entry.is_dir(follow_symlinks=False):
                            if self._enter(stack, f"{folder}/{name}", levels):
                                break
                        elif self.wanted(entry, folder, vendors):
                            yield f"{folder}/{name}"
                        if count >= most:
                            break
                    else:
                        stack.pop()[2].close()
                except OSError as error:
                    self._tell(folder, error.strerror or "it cannot be read")
                    stack.pop()[2].close()
            if stack:
                self._tell(start, "it is too large to be gone through; name it to have it done")
        finally:
            self.files += count
            for _, _, entries in stack:
                entries.close()

    def _enter(self, stack: list[_Level], path: str, levels: int) -> bool:
        """Go into a folder, unless it is not to be gone through."""
        name = posixpath.basename(path)
        if path in places.UNSWEPT or (levels and stack and name in places.LARGE):
            return False
        if stack and not self.entered(path):
            return False
        if len(stack) >= (levels or _DEEPEST):
            if not levels:
                self._tell(path, "folders are nested too deeply: it is not gone through")
            return False
        try:
            entries = os.scandir(self._here(path))
        except OSError as error:
            self._tell(path, error.strerror or "it cannot be read")
            return False
        vendors = path in places.VENDORS or name in places.FOREIGN
        stack.append((path, vendors or bool(stack and stack[-1][1]), entries))
        return True

    def _shape(self, path: str) -> Shape | None:
        # No link is passed on the way, but for that to where it began: there is nothing to resolve.
        try:
            return shapes.shape(first_octets(self._here(path), shapes.OCTETS)[0])
        except OSError as error:
            self._tell(path, error.strerror or "it cannot be read")
            return None

    def _here(self, path: str) -> str:
        return os.path.join(self.ground.root, path.lstrip("/"))

    def _tell(self, path: str, message: str) -> None:
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(Problem(Place(path, 0), message))


def _is_suspect(entry: "os.DirEntry[str]", *, vendors: bool) -> bool:
    name = entry.name
    known = _OURS.match(name) or (
        not vendors and (_KEYS.search(name) is not None or _ARCHIVES.match(name) is not None)
    )
    return bool(known) and entry.is_file(follow_symlinks=False)


def _is_archive(path: str) -> bool:
    return _ARCHIVES.match(posixpath.basename(path)) is not None
