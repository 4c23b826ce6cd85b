"""Programs of Debian packages that are unpacked into a cache folder, not installed (tests/lab/unpack.sh)."""

import os
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("IKEWARDEN_LAB_CACHE", "/var/cache/ikewarden-lab"))


@dataclass(frozen=True)
class Unpacked:
    """A tree of unpacked packages."""

    tree: Path

    @property
    def libraries(self) -> Path:
        """For LD_LIBRARY_PATH of the tree's own programs; others must not see it."""
        return self.tree / "usr/lib" / f"{os.uname().machine}-linux-gnu"

    def missing(self) -> str:
        """Why the tree cannot be used, in one sentence, or ""."""
        if (self.tree / ".complete").exists():
            return ""
        return f"{self.tree} is not there: run tests/lab/unpack.sh as root"


LIBRESWAN = Unpacked(CACHE / "libreswan")
UML = Unpacked(CACHE / "uml")
