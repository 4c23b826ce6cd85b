"""A host's files below a folder, and the ways to spoil them."""

import json
import os
import shutil
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.ike.audit.conftest import GROUP_OBJ, MASK, NONE, OTHER, USER, USER_OBJ, acl

COLLECTED = "/collected.json"  # what the collector of a Windows machine wrote


class Image:
    """The files of a host. Paths are the host's own; what is written belongs to whoever runs this, and so to root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o755)

    def copy(self, root: Path) -> "Image":
        """The same host again, below another folder."""
        _copy(self.root, root)
        return Image(root)

    def here(self, path: str) -> Path:
        """Where a path is on this machine; links are not followed."""
        return self.root / path.lstrip("/")

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Make a folder with this mode; those on the way have 0755."""
        at = self.root
        for part in path.strip("/").split("/"):
            at = at / part
            if not at.exists():
                at.mkdir()
                at.chmod(0o755)
        at.chmod(mode)

    def put(self, path: str, content: str | bytes = "", mode: int = 0o600) -> None:
        """Write a file; folders on the way are made."""
        here = self.here(path)
        if not here.parent.exists():
            self.folder(os.path.dirname(path))
        here.write_bytes(content.encode() if isinstance(content, str) else content)
        here.chmod(mode)

    def text(self, path: str) -> str:
        """What stands in a file."""
        return self.here(path).read_text()

    def change(self, path: str, old: str, new: str) -> None:
        """Put other words in the place of those that stand in a file; its mode stays."""
        text = self.text(path)
        if old not in text:
            raise AssertionError(f"{path} does not hold {old!r}")
        self.here(path).write_text(text.replace(old, new, 1))

    def add(self, path: str, text: str) -> None:
        """Write something behind what stands in a file."""
        with self.here(path).open("a") as written:
            written.write(text)

    def mode(self, path: str, mode: int) -> None:
        """Change a mode."""
        self.here(path).chmod(mode)

    def own(self, path: str, user: int, group: int, mode: int | None = None) -> None:
        """Give a file, folder or link to others. Only root may."""
        here = self.here(path)
        kept = stat.S_IMODE(here.lstat().st_mode) if mode is None else mode
        os.lchown(here, user, group)
        if not here.is_symlink():
            here.chmod(kept)

    def link(self, path: str, target: str) -> None:
        """Put a link there, in the place of what is."""
        here = self.here(path)
        here.unlink(missing_ok=True)
        here.symlink_to(target)

    def move(self, path: str, new: str) -> None:
        """Move a file and leave a link to it; the folders on the way are made."""
        if not self.here(new).parent.exists():
            self.folder(os.path.dirname(new))
        self.here(path).rename(self.here(new))
        self.link(path, new)

    def socket(self, path: str, mode: int) -> None:
        """A socket that nobody listens at."""
        self.folder(os.path.dirname(path))
        os.mknod(self.here(path), stat.S_IFSOCK | 0o600)
        self.mode(path, mode)

    def grant(self, path: str, user: int, bits: int) -> None:
        """An access control list that names a user. Raises OSError where the file system has none."""
        mode = self.here(path).stat().st_mode
        entries = [
            (USER_OBJ, mode >> 6 & 7, NONE),
            (USER, bits, user),
            (GROUP_OBJ, mode >> 3 & 7, NONE),
            (MASK, 7, NONE),
            (OTHER, mode & 7, NONE),
        ]
        os.setxattr(self.here(path), "system.posix_acl_access", acl(*entries))

    def capability(self, path: str, bit: int) -> None:
        """A capability of a program's file. Only root may."""
        value = struct.pack("<5I", 0x02000001, 1 << bit, 0, 0, 0)
        os.setxattr(self.here(path), "security.capability", value)

    def document(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change what the collector told of a Windows machine."""
        document = json.loads(self.text(COLLECTED))
        change(document)
        self.put(COLLECTED, json.dumps(document))


def _copy(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    with os.scandir(source) as entries:
        for entry in entries:
            to = target / entry.name
            status = entry.stat(follow_symlinks=False)
            if entry.is_symlink():
                to.symlink_to(os.readlink(entry.path))
            elif entry.is_dir():
                _copy(Path(entry.path), to)
            elif stat.S_ISSOCK(status.st_mode):
                os.mknod(to, status.st_mode)
                to.chmod(stat.S_IMODE(status.st_mode))
            else:
                shutil.copyfile(entry.path, to)
                _alike(status, to)
    _alike(source.stat(), target)


def _alike(status: os.stat_result, to: Path) -> None:
    if os.geteuid() == 0:
        os.chown(to, status.st_uid, status.st_gid)
    to.chmod(stat.S_IMODE(status.st_mode))
