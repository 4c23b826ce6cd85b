"""Write a host to try the audit on: `python -m tests.ike.audit.corpus DIR [--layout NAME] [--clean]`."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.ike.audit.corpus.image import COLLECTED, Image
from tests.ike.audit.corpus.layouts import LAYOUTS
from tests.ike.audit.corpus.planting import both, change, mode, put

_SITE_C = "/etc/swanctl/conf.d/site-c.conf"
_SITE_B = "/etc/swanctl/conf.d/site-b.conf"
# What is usual on hosts that nobody has looked at.
_USUAL = both(
    mode(_SITE_C, 0o644),
    mode("/etc/swanctl/private", 0o755),
    mode("/etc/swanctl/private/gw1.pem", 0o644),
    change(_SITE_B, "proposals = aes256gcm16-prfsha384-ecp384", "proposals = 3des-sha1-modp1024"),
    put(
        "/etc/swanctl/conf.d/old.conf",
        'secrets {\n  ike-b {\n    id = gw2\n    secret = "qx7Rk2"\n  }\n}\n',
    ),
    lambda image: image.put(_SITE_C + ".bak", image.text(_SITE_C), 0o644),
)


def main() -> int:
    """Write it; 1 where the folder is there already and not empty."""
    parser = argparse.ArgumentParser(prog="python -m tests.ike.audit.corpus", description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder that is empty, or not there yet")
    parser.add_argument("--layout", choices=LAYOUTS, default="debian-swanctl")
    parser.add_argument("--clean", action="store_true", help="with nothing wrong")
    given = parser.parse_args()
    if given.folder.exists() and any(given.folder.iterdir()):
        sys.stderr.write(f"{given.folder} is not empty\n")
        return 1
    image = Image(given.folder)
    LAYOUTS[given.layout](image, datetime.now(UTC))
    if given.layout == "debian-swanctl" and not given.clean:
        _USUAL(image)
    collected = image.here(COLLECTED)
    how = f"--windows {collected}" if collected.exists() else f"--root {given.folder}"
    sys.stdout.write(f"ikewarden audit {how}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
