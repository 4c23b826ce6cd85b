"""A host made of a few files, for the tests of keys, certificates and secrets."""

import os
from datetime import UTC, datetime
from pathlib import Path

from ike.audit.discovery import Discovered
from ike.audit.values import Finding, Item, Policy, Role, Sort, Status
from ike.secrets.reading import Found, read
from ike.secrets.tree import MAX_OCTETS, File, Refused, Tree
from ike.secrets.values import Dialect

NOW = datetime(2026, 6, 1, tzinfo=UTC)
RFC = Policy()
_SORTS = {0o100000: Sort.FILE, 0o040000: Sort.FOLDER, 0o120000: Sort.LINK, 0o140000: Sort.SOCKET}


class Files(Tree):
    """The files of the host."""

    def read(self, path: str, limit: int = MAX_OCTETS) -> File:
        """A file of at most `limit` octets."""
        size = os.stat(self.root / path.lstrip("/")).st_size
        if size > limit:
            raise Refused(27, "too large")
        if size <= MAX_OCTETS:
            return super().read(path)
        found = self.root / path.lstrip("/")
        return File(found.read_bytes(), NOW, (0, found.stat().st_ino))


class Premises:
    """The host below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = Files(root)
        self._items: list[Item] = []

    def put(self, path: str, content: bytes | str, role: Role = Role.KEY) -> Item:
        """A file, and what it is."""
        found = self.root / path.lstrip("/")
        found.parent.mkdir(parents=True, exist_ok=True)
        found.write_bytes(content.encode() if isinstance(content, str) else content)
        return self.there(path, role)

    def there(self, path: str, role: Role) -> Item:
        """What is there already."""
        status = os.lstat(self.root / path.lstrip("/"))
        item = Item(
            path=path,
            role=role,
            status=Status(
                sort=_SORTS.get(status.st_mode & 0o170000, Sort.OTHER),
                mode=status.st_mode & 0o7777,
                uid=status.st_uid,
                gid=status.st_gid,
                size=status.st_size,
                links=status.st_nlink,
                changed=NOW,
                identity=(status.st_dev, status.st_ino),
            ),
            real=path,
        )
        self._items.append(item)
        return item

    def discovered(self, *paths: str, dialect: Dialect | None = None) -> Discovered:
        """All that was put, and what stands in these configurations."""
        found = read(self.files, paths, dialect=dialect) if paths else Found((), (), (), {})
        return Discovered(tuple(self._items), (), found)


def told(findings: list[Finding]) -> list[tuple[str, str, int]]:
    """Rule, path and line of each, sorted."""
    return sorted((each.rule.id, each.place.path, each.place.line) for each in findings)
