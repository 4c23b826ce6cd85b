"""Write a host to try the audit on, with faults that are common: `python -m tests.ike.audit.corpus DIR`."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.ike.audit.corpus.faults import FAULTS
from tests.ike.audit.corpus.image import COLLECTED, Image
from tests.ike.audit.corpus.layouts import LAYOUTS
from tests.ike.audit.corpus.planting import DEBIAN, OPNSENSE, RHEL, STARTER, VYOS, WINDOWS

# Faults of the corpus that one host can have at once, by name.
USUAL: Final = {
    DEBIAN: (
        "PSK of words in swanctl.conf",
        "PSK 0644",
        "an open copy",
        "key 0644 in an open folder",
        "3DES",
        "no PFS",
        "old secrets in /root",
    ),
    STARTER: ("ipsec.secrets 0644", "a key in old PEM in ipsec.d", "3DES in conn %default"),
    RHEL: (
        "key4.db 0644",
        "PSK without owners of Libreswan",
        "dh2 in Libreswan",
        "keys in pluto's log",
    ),
    VYOS: ("PSK of the keyboard", "config.boot 0604", "an open copy of config.boot", "modp1024"),
    OPNSENSE: ("PSK of words", "config.xml 0644", "an open copy of config.xml", "ESP with 3DES"),
    WINDOWS: ("a PFX file", "everyone reads a key", "main mode with DH2", "PSK in Windows"),
}


def write(folder: Path, layout: str, now: datetime, *, clean: bool = False) -> Image:
    """A host of this layout below a folder, with its usual faults or without any."""
    image = Image(folder)
    LAYOUTS[layout](image, now)
    by_name = {fault.name: fault for fault in FAULTS}
    for name in () if clean else USUAL[layout]:
        by_name[name].plant(image)
    return image


def main() -> int:
    """Write it; 1 where the folder is there already and not empty."""
    parser = argparse.ArgumentParser(prog="python -m tests.ike.audit.corpus", description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder that is empty, or not there yet")
    parser.add_argument("--layout", choices=LAYOUTS, default=DEBIAN)
    parser.add_argument("--clean", action="store_true", help="with nothing wrong")
    given = parser.parse_args()
    if given.folder.exists() and any(given.folder.iterdir()):
        sys.stderr.write(f"{given.folder} is not empty\n")
        return 1
    image = write(given.folder, given.layout, datetime.now(UTC), clean=given.clean)
    collected = image.here(COLLECTED)
    how = f"--windows {collected}" if collected.exists() else f"--root {given.folder}"
    sys.stdout.write(f"ikewarden audit {how}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
