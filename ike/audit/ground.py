"""The host that is audited, this one or a copy below a folder: all that the audit learns of its files.

As `ike.secrets.tree.Tree`, and what the file system says of each file and of all folders and links on the way to it.
Nothing but regular files is opened, nothing is waited for.
"""

import errno
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from ike.audit import accounts, attributes
from ike.audit.values import Accounts, Grant, Item, Role, Sort, Status, Step
from ike.secrets.tree import MAX_OCTETS, File, Tree, moment
from ike.secrets.values import Place

MAX_NAMES: Final = 10_000
MAX_SYSTEM: Final = 16 * 2**20  # that of a firewall with all its rules, certificates and lists
_SYSTEMS: Final = re.compile(r"(?:\.xml|\.boot|/config\.boot[^/]*)\Z")
_MAX_LINKS: Final = 40
_MAX_KEPT: Final = 20_000
_SORTS: Final = {
    stat.S_IFREG: Sort.FILE,
    stat.S_IFDIR: Sort.FOLDER,
    stat.S_IFLNK: Sort.LINK,
    stat.S_IFSOCK: Sort.SOCKET,
}
_NO_ATTRIBUTES: Final = {errno.ENODATA, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES}


@dataclass(frozen=True)
class _Way:
    real: str
    here: str
    steps: tuple[Step, ...]


class Ground(Tree):
    """The files below `root`, and whose they are.

    Owners are numbers of the host. In a copy whose folder does not belong to root, as one that a person unpacked,
    owners were lost: there the one who owns the folder stands for root.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        super().__init__(root)
        self.is_live = os.path.realpath(root) == "/"
        self._kept: dict[str, Step] = {}
        self._owner, self._group = 0, 0
        with suppress(OSError):
            status = os.stat(root)
            if status.st_uid and not self.is_live:
                self._owner, self._group = status.st_uid, status.st_gid

    @cached_property
    def accounts(self) -> Accounts:
        """The host's users and groups; none where its files cannot be read."""
        return accounts.parse(self._text("/etc/passwd"), self._text("/etc/group"))

    def read(self, path: str, limit: int = MAX_OCTETS) -> File:
        """As of `Tree`; a whole system's configuration may be larger."""
        whole = _SYSTEMS.search(path) is not None
        return super().read(path, max(limit, MAX_SYSTEM) if whole else limit)

    def item(self, path: str, role: Role, named_by: Place | None = None) -> Item:
        """What stands under a path, and the way there. Raises OSError where there is nothing, or the way is barred."""
        way = self._way(path)
        status = os.lstat(way.here)
        return Item(
            path=path,
            role=role,
            status=self._status(status),
            real=way.real,
            steps=way.steps,
            grants=_grants(way.here),
            named_by=named_by,
            capabilities=_capabilities(way.here) if stat.S_ISREG(status.st_mode) else "",
        )

    def status(self, path: str) -> Status:
        """What the file system says, links followed. Raises OSError."""
        return self._status(os.lstat(self._resolved(path)))

    def names(self, folder: str) -> list[str]:
        """The names in a folder, sorted, MAX_NAMES at most. Raises OSError."""
        with os.scandir(self._resolved(folder)) as listed:
            return sorted(each.name for each, _ in zip(listed, range(MAX_NAMES), strict=False))

    def _text(self, path: str) -> str:
        try:
            return self.read(path).content.decode("utf-8", "replace")
        except OSError:
            return ""

    def _way(self, path: str) -> _Way:
        """As `_resolved`, with what is passed. Raises OSError."""
        if "\0" in path:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        waiting = _parts(path)
        at: list[str] = []
        # The folder of a copy is not the host's own `/`.
        steps = [self._step("/", str(self.root))] if self.is_live else []
        links = 0
        while waiting:
            part = waiting.pop(0)
            if part == "..":
                at = at[:-1]
                continue
            name, here = "/" + "/".join([*at, part]), os.path.join(self.root, *at, part)
            if not waiting and not stat.S_ISLNK(os.lstat(here).st_mode):
                at.append(part)
                break
            step = self._step(name, here)
            steps += [step] if step not in steps else []
            if step.status.sort is not Sort.LINK:
                at.append(part)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            at = [] if step.target.startswith("/") else at
            waiting = _parts(step.target) + waiting
        return _Way("/" + "/".join(at), os.path.join(self.root, *at), tuple(steps))

    def _step(self, path: str, here: str) -> Step:
        kept = self._kept.get(path)
        if kept is not None:
            return kept
        status = os.lstat(here)
        if stat.S_ISLNK(status.st_mode):
            step = Step(path, self._status(status), target=os.readlink(here))
        else:
            step = Step(path, self._status(status), _grants(here))
        if len(self._kept) < _MAX_KEPT:
            self._kept[path] = step
        return step

    def _status(self, status: os.stat_result) -> Status:
        lost = bool(self._owner)
        return Status(
            sort=_SORTS.get(stat.S_IFMT(status.st_mode), Sort.OTHER),
            mode=stat.S_IMODE(status.st_mode),
            uid=0 if lost and status.st_uid == self._owner else status.st_uid,
            gid=0 if lost and status.st_gid == self._group else status.st_gid,
            size=status.st_size,
            links=status.st_nlink,
            changed=moment(status.st_mtime),
            identity=(status.st_dev, status.st_ino),
        )


def _grants(here: str) -> tuple[Grant, ...]:
    return attributes.acl(_attribute(here, attributes.ACL))


def _capabilities(here: str) -> str:
    return attributes.capabilities(_attribute(here, attributes.CAPABILITIES))


def _attribute(here: str, name: str) -> bytes:
    if not hasattr(os, "getxattr"):  # a copy may be looked at elsewhere than on Linux
        return b""
    try:
        return os.getxattr(here, name, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_ATTRIBUTES:
            return b""
        raise


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
