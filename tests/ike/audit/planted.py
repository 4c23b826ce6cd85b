"""Files as the audit sees them, for tests of what is changed in them."""

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

from ike.audit.values import Item, Role, Sort, Status, Step

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
_SORTS = {stat.S_IFREG: Sort.FILE, stat.S_IFDIR: Sort.FOLDER, stat.S_IFLNK: Sort.LINK}


def status_of(found: os.stat_result) -> Status:
    return Status(
        sort=_SORTS.get(stat.S_IFMT(found.st_mode), Sort.OTHER),
        mode=stat.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
        size=found.st_size,
        links=found.st_nlink,
        changed=datetime.fromtimestamp(found.st_mtime, UTC),
        identity=(found.st_dev, found.st_ino),
    )


def item(root: Path, path: str, links: tuple[str, ...] = ()) -> Item:
    """What stands below a root under a path without links; `links` are told as passed on the way."""
    steps = tuple(Step(each, status_of(os.lstat(root / each[1:]))) for each in links)
    return Item(path, Role.KEY, status_of(os.lstat(root / path[1:])), path, steps)


def make(root: Path, path: str, mode: int, owner: tuple[int, int] = (0, 0)) -> Path:
    """A file below a root, with its folders."""
    made = root / path[1:]
    made.parent.mkdir(parents=True, exist_ok=True)
    made.write_text("-----BEGIN PRIVATE KEY-----\n")
    if os.geteuid() == 0:
        os.chown(made, *owner)
    made.chmod(mode)
    return made


def rights(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
