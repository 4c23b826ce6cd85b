"""A host's files below a folder, as the tests of the audit write them."""

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ike.audit import host as audited
from ike.audit import rules
from ike.audit.ground import Ground
from ike.audit.values import Area, Finding, Policy, Seen
from tests.fixtures.needs import left_out

NOW = datetime(2026, 11, 29, tzinfo=UTC)
KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEG\n-----END PRIVATE KEY-----\n"
PSK = 'gw2.example.com : PSK "a value of these tests"\n'
SWANCTL = (
    'secrets {\n  ike-gw2 {\n    id = gw2.example.com\n    secret = "of these tests"\n  }\n}\n'
)
PASSWD = """\
root:x:0:0:root:/root:/bin/bash
strongswan:x:105:110::/var/lib/strongswan:/usr/sbin/nologin
alice:x:1000:1000:Alice:/home/alice:/bin/bash
bob:x:1001:1001:Bob:/srv/people/bob:/bin/bash
"""
GROUP = """\
root:x:0:
strongswan:x:110:
ipsec-admins:x:120:
alice:x:1000:
bob:x:1001:
staff:x:50:alice,bob
empty:x:60:
"""


@dataclass
class Files:
    """Files below a folder that stands for a host's root."""

    root: Path

    def put(
        self,
        path: str,
        content: str | bytes = "",
        mode: int = 0o600,
        owner: tuple[int, int] | None = None,
    ) -> Path:
        """Write a file; folders on the way are root's, 0755."""
        here = self.folder(os.path.dirname(path)) / os.path.basename(path)
        here.write_bytes(content.encode() if isinstance(content, str) else content)
        here.chmod(mode)
        if owner is not None:
            os.chown(here, *owner)
            here.chmod(mode)
        return here

    def folder(
        self, path: str, mode: int | None = None, owner: tuple[int, int] | None = None
    ) -> Path:
        """Make a folder."""
        here = self.root
        for part in path.strip("/").split("/"):
            here = here / part if part else here
            if not here.exists():
                here.mkdir()
                here.chmod(0o755)
        if mode is not None:
            here.chmod(mode)
        if owner is not None:
            os.chown(here, *owner)
        return here

    def link(self, path: str, target: str, owner: tuple[int, int] | None = None) -> Path:
        """Make a link."""
        here = self.folder(os.path.dirname(path)) / os.path.basename(path)
        here.symlink_to(target)
        if owner is not None:
            os.lchown(here, *owner)
        return here

    def seen(self, *paths: str) -> Seen:
        """What is seen of it."""
        return audited.look(Ground(self.root), audited.Wanted(paths), NOW)

    def findings(self, policy: Policy | None = None) -> list[Finding]:
        """What is said of who gets at it; what stands in the files is the matter of other tests."""
        said = rules.judged(self.seen(), policy or Policy(), NOW)
        return [each for each in said if each.rule.area in (Area.ACCESS, Area.EXPOSURE)]

    def told(self, policy: Policy | None = None) -> list[tuple[str, str, str]]:
        """Severity, rule and path of each finding."""
        return [(f.weight.value, f.rule.id, f.place.path) for f in self.findings(policy)]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A host with accounts and nothing else."""
    found = Files(tmp_path / "host")
    found.root.mkdir()
    found.put("/etc/passwd", PASSWD, 0o644)
    found.put("/etc/group", GROUP, 0o644)
    return found


def acl(*entries: tuple[int, int, int]) -> bytes:
    """The octets of system.posix_acl_access: tag, bits, number; the mask and owners are for the caller to give."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


USER_OBJ, USER, GROUP_OBJ, GROUP_, MASK, OTHER = 1, 2, 4, 8, 16, 32
NONE = 0xFFFFFFFF


@pytest.fixture
def grant() -> Callable[..., None]:
    """Give a file an ACL; skips where the file system has none."""

    def give(path: Path, named: Sequence[tuple[int, int, int]], mask: int = 7) -> None:
        mode = path.stat().st_mode
        entries = [
            (USER_OBJ, mode >> 6 & 7, NONE),
            *[entry for entry in named if entry[0] == USER],
            (GROUP_OBJ, mode >> 3 & 7, NONE),
            *[entry for entry in named if entry[0] == GROUP_],
            (MASK, mask, NONE),
            (OTHER, mode & 7, NONE),
        ]
        try:
            os.setxattr(path, "system.posix_acl_access", acl(*entries))
        except OSError as error:
            left_out(f"no ACLs here: {error.strerror}")

    return give
