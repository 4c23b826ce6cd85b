"""Files that matter, gathered one by one: each once, under the name that leads to it first."""

import errno
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from ike.audit import shapes
from ike.audit.ground import MAX_NAMES, Ground
from ike.audit.shapes import Shape
from ike.audit.values import Item, Role, Sort, Status
from ike.secrets.values import Place, Problem, Source

_T = TypeVar("_T")
MAX_ITEMS: Final = 20_000
_MAX_DEPTH: Final = 4
_FAR: Final = (
    4 * 2**20
)  # octets of a configuration: comments without an end may stand before a secret
_MISSING: Final = {errno.ENOENT, errno.ENOTDIR}


@dataclass
class Gathering:
    """What was found so far of a host."""

    ground: Ground
    items: dict[str, Item] = field(default_factory=dict)  # by where they really are
    problems: list[Problem] = field(default_factory=list)

    def add(self, path: str, role: Role, named_by: Place | None = None) -> Item | None:
        """Take a file or folder in; None where there is none. What is there already keeps its role."""
        if len(self.items) >= MAX_ITEMS:
            self._full(path)
            return None
        try:
            item = self.ground.item(path, role, named_by)
        except OSError as error:
            if error.errno not in _MISSING:
                self.failed(path, error)
            return None
        there = self.items.get(item.real)
        if there is not None:
            return there
        if item.status.sort is Sort.OTHER or (item.status.sort is Sort.SOCKET) is not (
            role is Role.SOCKET
        ):
            self.strange(path)
        self.items[item.real] = item
        return item

    def _full(self, path: str) -> None:
        message = f"more than {MAX_ITEMS:,} files that matter: the rest is not looked at"
        if not any(problem.message == message for problem in self.problems):
            self.problems.append(Problem(Place(path, 0), message))

    def real(self, path: str) -> str:
        """Where a path really is on the host; empty where it leads nowhere."""
        try:
            return self.ground.item(path, Role.CONFIGURATION).real
        except OSError:
            return ""

    def failed(self, path: str, error: OSError) -> None:
        """Tell of what cannot be looked at."""
        reason = error.strerror or "it cannot be read"
        self.problems.append(Problem(Place(path, 0), reason))

    def strange(self, path: str) -> None:
        """Tell of what is no file where one is looked for: a FIFO, a device, a socket."""
        self.problems.append(Problem(Place(path, 0), "not a regular file"))

    def most(self, found: Iterable[_T], most: int, where: str) -> Iterator[_T]:
        """The first of them; that there are more is told."""
        for count, each in enumerate(found):
            if count >= most:
                message = f"more than {most:,} are named here: the rest is not looked at"
                self.problems.append(Problem(Place(where, 0), message))
                return
            yield each

    def read(self, path: str) -> Source | None:
        """A file's text; None where it cannot be read, which is told."""
        try:
            content = self.ground.read(path).content
        except OSError as error:
            if error.errno not in _MISSING:
                self.failed(path, error)
            return None
        return Source(path, content.decode("utf-8", "surrogateescape"))

    def shape(self, path: str) -> Shape | None:
        """What a file holds; None where it is no file or cannot be read, which is told."""
        return self._shape(path, shapes.OCTETS)

    def holds_secrets(self, path: str) -> bool:
        """Whether a secret or a private key stands in a file by its looks, also where no daemon would read it."""
        shape = self._shape(path, _FAR)
        return shape is not None and (shape is Shape.SECRETS or shape.is_key)

    def is_opaque(self, path: str) -> bool:
        """Whether a file's first octets do not show what it holds; see `shapes.is_opaque`."""
        return shapes.is_opaque(self._beginning(path) or b"")

    def system(self, path: str) -> str:
        """Which system's own configuration a file is, as `shapes.system` calls it; empty for others."""
        return shapes.system(self._beginning(path) or b"")

    def _shape(self, path: str, octets: int) -> Shape | None:
        begins = self._beginning(path, octets)
        return None if begins is None else shapes.shape(begins)

    def _beginning(self, path: str, octets: int = shapes.OCTETS) -> bytes | None:
        try:
            return self.ground.beginning(path, octets)
        except OSError as error:
            if error.errno not in _MISSING:
                self.failed(path, error)
            return None

    def names(self, folder: str) -> list[str]:
        """The names in a folder; none where there is no folder, or it cannot be read, which is told."""
        try:
            names = self.ground.names(folder)
        except OSError as error:
            if error.errno not in _MISSING:
                self.failed(folder, error)
            return []
        if len(names) >= MAX_NAMES:
            message = f"more than {MAX_NAMES:,} files are in it: the rest is not looked at"
            self.problems.append(Problem(Place(folder, 0), message))
        return names

    def add_key(self, path: str, named_by: Place | None = None) -> None:
        """Take in a file that is to be a key: not what holds none by its looks, and a certificate as one of trust.

        What is too long for that is taken as a key, for those who read more of it.
        """
        sort = self._sort(path)
        if sort in (Sort.OTHER, Sort.SOCKET):
            self.strange(path)
        if sort is not Sort.FILE:
            return
        shape = self.shape(path)
        if shape in (Shape.NOTHING, Shape.OTHER, Shape.SECRETS) and not self._is_long(path):
            return
        self.add(path, Role.TRUST if shape is Shape.CERTIFICATE else Role.KEY, named_by)

    def _is_long(self, path: str) -> bool:
        status = self._status(path)  # it may be gone since its first octets were read
        return status is not None and status.size > shapes.OCTETS

    def add_folders(self, base: str, folders: Mapping[str, Role]) -> None:
        """Take in what is in the folders of keys and certificates below `base`."""
        for name, role in folders.items():
            folder = posixpath.join(base, name)
            if not self.ground.is_folder(folder):
                continue
            if role is Role.KEY:
                self.add(folder, Role.FOLDER)
            for each in self.names(folder):
                path = posixpath.join(folder, each)
                if role is Role.KEY:
                    self.add_key(path)
                elif self.is_file(path):
                    self.add(path, role)

    def add_keys_below(self, folder: str) -> None:
        """Take in a folder, and all keys that are in it and below."""
        if self.ground.is_folder(folder) and self.add(folder, Role.FOLDER) is not None:
            self._keys_below(folder, _MAX_DEPTH)

    def _keys_below(self, folder: str, depth: int) -> None:
        for name in self.names(folder):
            path = posixpath.join(folder, name)
            sort = self._sort(path)
            if sort is Sort.FOLDER and depth:
                self._keys_below(path, depth - 1)
            elif sort is Sort.FILE and (shape := self.shape(path)) and shape.is_key:
                self.add(path, Role.KEY)

    def add_own(self, folder: str, depth: int = _MAX_DEPTH) -> None:
        """Take in a folder of ikewarden's own with all below; certificates and empty locks are no secrets."""
        if self.add(folder, Role.OWN) is None:
            return
        for name in self.names(folder):
            path = posixpath.join(folder, name)
            sort = self._sort(path)
            if sort is Sort.FOLDER and depth:
                self.add_own(path, depth - 1)
            elif sort is Sort.FILE:
                shape = self.shape(path)
                if shape not in (Shape.NOTHING, Shape.CERTIFICATE):
                    self.add(path, Role.OWN)

    def there(self, path: str) -> bool:
        """Whether something is there; a link that leads in a ring, or a way that is barred, is told."""
        return self._sort(path) is not None

    def is_file(self, path: str) -> bool:
        """Whether a path leads to a file, links followed."""
        return self._sort(path) is Sort.FILE

    def _sort(self, path: str) -> Sort | None:
        status = self._status(path)
        return None if status is None else status.sort

    def _status(self, path: str) -> Status | None:
        try:
            return self.ground.status(path)
        except OSError as error:
            if error.errno not in _MISSING:
                self.failed(path, error)
            return None
